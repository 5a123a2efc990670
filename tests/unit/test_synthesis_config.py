"""The shipped configurations of the two tools, and settings that cannot be."""

from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.recipe import parse_config
from components.core.synthesis import DataGenConfig, DatasetMergeConfig

CONFIG = Path(__file__).resolve().parents[2] / "llm-pipelines/config"
KINDS = {"data_gen": DataGenConfig, "dataset_merge": DatasetMergeConfig}


@pytest.mark.parametrize("tool", KINDS)
def test_the_shipped_example_is_valid_and_a_flag_wins(tool):
    arguments = ["--from-config", str(CONFIG / f"{tool}.yaml")]
    assert parse_config(KINDS[tool], arguments)
    with pytest.raises(ConfigError, match=r"\.yaml: unknown key|Did you mean --more_test_sets"):
        parse_config(KINDS[tool], [*arguments, "--more_test_set", "a:b"])


def test_the_defaults_of_the_specification():
    config = parse_config(DataGenConfig, ["--from-config", str(CONFIG / "data_gen.yaml"), "--num_samples", "7"])
    assert (config.gen_workers, config.rate_limit_per_minute, config.num_samples) == (4, 60, 7)
    assert config.call_limit == 8
    assert config.test_sets == [("HuggingFaceH4/no_robots", "test_sft")]
    merged = parse_config(DatasetMergeConfig, ["--from-config", str(CONFIG / "dataset_merge.yaml")])
    assert not merged.result_test_append


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reference_ds_split", "test_sft"], "is also a test split"),
        (["--more_test_sets", "[HuggingFaceH4/no_robots:train_sft]"], "is also a test split"),
        (["--num_samples", "0"], "num_samples='0' on the command line"),
        (["--avg_similarity_threshold", "101"], "avg_similarity_threshold"),
        (["--provider", "openai", "--model", ""], "model"),
    ],
)
def test_impossible_settings_are_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(DataGenConfig, ["--from-config", str(CONFIG / "data_gen.yaml"), *flags])
