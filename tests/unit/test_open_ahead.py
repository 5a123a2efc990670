"""The model is opened while the rest of the server is imported, where nothing can go wrong by it."""

from pathlib import Path

import pytest
from llm_endpoint.engines.opening import open_ahead
from llm_endpoint.settings import Settings


def write_folder(folder: Path, *more: str) -> Path:
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json", *more):
        (folder / name).write_text("{}")
    (folder / "config.json").write_text('{"max_position_embeddings": 64}')
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "openai"},
        {"openai_base_url": "http://127.0.0.1:1/v1"},
        {"model": "user/name"},
        {"model": "/no/such/folder"},
    ],
)
def test_only_a_model_that_is_here_is_opened_ahead(tmp_path, settings):
    assert open_ahead(Settings(**({"model": str(write_folder(tmp_path / "model"))} | settings))) is None


def test_an_adapter_is_not_since_its_base_may_have_to_be_downloaded(tmp_path):
    assert open_ahead(Settings(model=str(write_folder(tmp_path / "model", "adapter_config.json")))) is None


def test_what_is_wrong_with_a_folder_is_left_to_the_start_to_say(tmp_path):
    folder = write_folder(tmp_path / "model", "prompt.json")
    assert open_ahead(Settings(model=str(folder))) is None
    assert open_ahead(Settings(model=str(write_folder(tmp_path / "int8")), weights="int8")) is None
