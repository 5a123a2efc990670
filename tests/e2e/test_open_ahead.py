"""Opening ahead ends as opening does: with a core, or with its error, for the one who waits."""

import threading

import pytest
from llm_endpoint.engines.opening import open_ahead
from llm_endpoint.errors import ModelError
from llm_endpoint.settings import Settings
from support.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.e2e


def settings_of(folder, home, engine) -> Settings:
    (folder / "prompt.json").unlink()  # then it is any model, and needs no manifest
    return Settings(model=str(folder), whetstone_home=home, engine=engine, threads=1)


def test_the_core_is_opened_before_it_is_asked_for(tmp_path):
    open_core = open_ahead(settings_of(write_tiny_llama(tmp_path / "model"), tmp_path, "auto"))
    assert any(thread.name == "opening" for thread in threading.enumerate())
    core = open_core()
    assert core.name == "openvino"
    core.close()


@pytest.mark.parametrize("engine", ["openvino", "auto"])
def test_its_failure_reaches_the_one_who_waits(tmp_path, engine):
    folder = write_tiny_llama(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"no weights")
    open_core = open_ahead(settings_of(folder, tmp_path, engine))
    with pytest.raises(ModelError, match="cannot load the model in model: .*Publish the model folder again"):
        open_core()
