"""The preprocess of a Hub dataset for a Hub model, whose cache holds links to its files."""

import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from support.task_files import task_rows
from support.tiny_encoder import parameters_of, write_encoder

from components.core.errors import StorageError
from components.core.heads.preprocess import preprocess
from components.core.recipe import DataConfig, ModelConfig
from components.core.settings import Settings

pytestmark = pytest.mark.e2e


def test_dataset_and_model_come_from_the_hub_and_are_recorded_by_their_commits(hub, tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(task_rows("multi_label", 80)), file)
    hub.add_repo("dataset", "acme/moods", {"data/train-00000-of-00001.parquet": file.getvalue()})
    hub.add_repo("model", "acme/encoder", {path.name: path.read_bytes() for path in encoder.iterdir()})
    settings = Settings(hf_endpoint=hub.url, whetstone_home=tmp_path / "home")
    report = preprocess(
        "classification_multi_label", parameters_of("multi_label"), DataConfig(dataset_id="acme/moods"),
        ModelConfig(model_id="acme/encoder"), tmp_path / "out", settings,
    )  # fmt: skip
    args = json.loads((tmp_path / "out" / "preprocess_args.json").read_text())
    assert (args["model"]["id"], args["dataset"]["id"]) == ("acme/encoder", "acme/moods")
    assert len(args["model"]["revision"]) == len(args["dataset"]["revision"]) == 40
    assert report.data.rows == {"train": 64, "validation": 8, "test": 8}
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        copy = tmp_path / "out" / "pretrained_model" / name
        assert not copy.is_symlink()
        assert copy.read_bytes() == (encoder / name).read_bytes()


def test_a_model_that_is_not_there_is_refused_before_the_data_are_read(hub, tmp_path):
    settings = Settings(hf_endpoint=hub.url, whetstone_home=tmp_path / "home")
    with pytest.raises(StorageError, match="cannot download acme/none .* not found"):
        preprocess(
            "ner", parameters_of("ner"), DataConfig(dataset_id="acme/none-either"), ModelConfig(model_id="acme/none"),
            tmp_path / "out", settings,
        )  # fmt: skip
