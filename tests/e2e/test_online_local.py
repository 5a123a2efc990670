"""A model brought behind an endpoint of its own on this machine: a real endpoint process."""

import importlib
import json

import httpx
import pytest
from support.run_output import write_llama, write_run, write_training_facts

from components.core.deployment import local_servers
from components.core.deployment.online import deploy_model
from components.core.errors import ConfigError, RegistryError
from components.core.recipe import RegistryConfig
from components.core.registry import publish
from components.core.settings import Settings

pytestmark = pytest.mark.e2e
SERVING = importlib.import_module("llm-pipelines.serving")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("ENGINE", "transformers")
    monkeypatch.setenv("MAX_NEW_TOKENS", "4")
    made = write_run(tmp_path / "run", kfp_namespace="team-a")
    write_llama(made.model_dir)
    write_training_facts(made.model_dir)
    yield made
    SERVING.stop_servers(made.settings.whetstone_home)


def test_it_answers_under_its_name_keeps_its_port_when_replaced_and_ends_with_make_stop(run, tmp_path):
    run.registry = RegistryConfig(restricted=True)  # in our own namespace it is served
    published = publish(*run.inputs(), tmp_path / "out")
    first = deploy_model(published, "Our-Model", run.settings, port=18300)
    assert (first.name, first.where) == ("our-model", "local")
    assert httpx.get(f"{first.address}/v1/models/Our-Model").status_code == 200
    record = run.settings.whetstone_home / "serving" / "endpoints" / "our-model.json"
    (before,) = json.loads(record.read_text())

    again = deploy_model(published, "Our-Model", run.settings, port=18400)

    (after,) = json.loads(record.read_text())
    assert again == first
    assert after["pid"] != before["pid"]
    assert httpx.get(f"{again.address}/readyz").status_code == 200
    assert [server.name for server in SERVING.stop_servers(run.settings.whetstone_home)] == ["our-model"]
    assert not record.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{again.address}/readyz")


def test_a_model_of_another_namespace_is_refused_and_no_process_starts(run, tmp_path):
    run.registry = RegistryConfig(restricted=True)
    published = publish(*run.inputs(), tmp_path / "out")
    other = run.settings.model_copy(update={"kfp_namespace": "team-b"})
    with pytest.raises(RegistryError, match="restricted to namespace team-a and cannot be used from namespace team-b"):
        deploy_model(published, "model", other)
    assert not (run.settings.whetstone_home / "serving").exists()


def test_an_endpoint_that_ends_at_its_start_gives_its_own_words_and_leaves_no_record(run, tmp_path):
    published = publish(*run.inputs(), tmp_path / "out")
    (tmp_path / "out" / "config.json").unlink()
    with pytest.raises(local_servers.ServingError, match="lacks config.json"):
        deploy_model(tmp_path / "out", "model", run.settings, port=18300)
    assert not list(run.settings.whetstone_home.rglob("endpoints/*.json"))
    assert published.version == "1"


def test_without_the_endpoints_code_it_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(local_servers, "_ENDPOINT_FOLDER", tmp_path / "nothing")
    published = publish(*run.inputs(), tmp_path / "out")
    with pytest.raises(local_servers.ServingError, match="the pipeline's image has none. Deploy to a cluster, or"):
        deploy_model(published, "model", run.settings)


def test_what_only_a_cluster_could_serve_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    settings = Settings(whetstone_home=tmp_path)
    with pytest.raises(ConfigError, match="is a volume of a cluster, and no cluster is configured. Set KUBECONFIG"):
        deploy_model("pvc://models/a", "model", settings)
    with pytest.raises(ConfigError, match="there is no model folder /nowhere/model"):
        deploy_model("/nowhere/model", "model", settings)
