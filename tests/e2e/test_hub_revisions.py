"""A model named with its revision, on the stand-in Hub: what the endpoint opens, and how large it is taken to be."""

import pytest
from llm_endpoint.served.folder import open_served_model
from llm_endpoint.settings import Settings as EndpointSettings
from support.run_output import write_llama

from components.core.deployment.model_size import model_bytes
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

TUNED = "acme/tuned"


@pytest.fixture
def files(tmp_path):
    write_llama(tmp_path)
    return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", ["{id}@{sha}", "hf://{id}@{sha}"])
def test_the_endpoint_serves_the_commit_that_is_named(hub, files, name):
    first = hub.add_repo("model", TUNED, files)
    hub.repo("model", TUNED).commit({"README.md": "newer"})
    model = open_served_model(EndpointSettings(model=name.format(id=TUNED, sha=first), hf_endpoint=hub.url))
    assert (model.name, model.revision) == (TUNED, first[:12])
    assert model.folder.name == first


def test_the_size_of_the_weights_is_asked_for_at_the_revision(hub, files):
    first = hub.add_repo("model", TUNED, files)
    hub.repo("model", TUNED).commit({"more.safetensors": b"0" * 100, "pytorch_model.bin": b"0" * 1000})
    settings, size = Settings(hf_endpoint=hub.url), len(files["model.safetensors"])
    assert model_bytes(f"{TUNED}@{first}", settings) == size
    assert model_bytes(TUNED, settings) == size + 100
    assert model_bytes("acme/none", settings) is None
