"""Merged rows on the Hub with the real clients; a loopback server stands in for the Hub."""

import json

import pytest
from pydantic import SecretStr
from support.chat_rows import raw_row
from support.service_llm_server import ServiceLLMServer

from components.core.settings import Settings
from components.core.synthesis import DataGenConfig, DatasetMergeConfig, generate, merge
from components.core.tables import read_rows, write_rows

pytestmark = pytest.mark.e2e

FIRST, SECOND, THIRD, TEST = (
    "Tell me what a cooper does all day long",
    "Where do millers get their grain from",
    "How long does the tanning of a hide take",
    "Which tools hang on a glazier's wall",
)


def test_two_datasets_are_merged_on_the_hub_and_appended_to(hub, tmp_path):
    settings = Settings(hf_endpoint=hub.url, hf_token=SecretStr("hf_write"), whetstone_home=tmp_path)
    write_rows([raw_row(FIRST)], "acme/one", "train_sft", settings, push_to_hub=True)
    write_rows([raw_row(TEST)], "acme/one", "test_sft", settings, push_to_hub=True)
    write_rows([raw_row(SECOND), raw_row(FIRST), raw_row(TEST)], "two", "train_sft", settings)
    keys = {"ds1_id": "acme/one", "ds2_id": "two", "result_ds_id": "acme/all", "push_result_ds_to_hf_hub": True}
    result = merge(DatasetMergeConfig(**keys), settings)
    assert (result.rows, result.test_rows) == (2, 1)
    assert result.counts() == {"duplicate": 1, "test_overlap": 1}
    assert result.where == f"{hub.url}/datasets/acme/all"
    write_rows([raw_row(THIRD)], "two", "train_sft", settings)
    result = merge(DatasetMergeConfig(**keys, result_train_append=True), settings)
    assert (result.rows, result.counts()) == (3, {"duplicate": 1})
    rows = read_rows("acme/all", "train_sft", settings)
    assert [row["prompt"] for row in rows] == [FIRST, SECOND, THIRD]
    assert [row["source"] for row in rows] == ["acme/one:train_sft#1", "two:train_sft#1", "two:train_sft#1"]
    assert [row["prompt"] for row in read_rows("acme/all", "test_sft", settings)] == [TEST]


def test_new_rows_are_appended_on_the_hub_and_not_twice(hub, tmp_path):
    settings = Settings(hf_endpoint=hub.url, hf_token=SecretStr("hf_write"), whetstone_home=tmp_path)
    write_rows([raw_row(FIRST)], "acme/one", "train_sft", settings, push_to_hub=True)
    examples = [[SECOND], [SECOND, THIRD], []]

    def script(call, number):
        """A scripted service LLM: what it says the second time it partly said before."""
        return json.dumps(
            {"examples": [{"prompt": prompt, "response": "He works."} for prompt in examples[min(number, 2)]]}
        )

    with ServiceLLMServer(script) as server:
        config = DataGenConfig(
            provider="openai", model="m", base_url=server.url(), reference_ds_id="acme/one", test_ds_split=None,
            num_samples=1, max_retries=0, synth_ds_id="acme/new", synth_ds_append=True, push_synth_ds_to_hf_hub=True,
        )  # fmt: skip
        generate(config, settings)
        result = generate(config, settings)
    assert result.dropped == {"duplicate": 1}
    rows = read_rows("acme/new", "train_sft", settings, revision="main")
    assert [row["messages"][0]["content"] for row in rows] == [SECOND, THIRD]
    assert list(rows[0]) == ["generator", "prompt_id", "seed_prompt", "messages", "category"]
