import json

import pytest
from support.hub_server import HubServer
from support.small_tokenizers import byte_level

from components.core.errors import StorageError
from components.core.recipe import ModelConfig
from components.core.registry.base_model import read_tokenizer, resolve_model, resolve_tokenizer
from components.core.settings import Settings

CONFIG = json.dumps({"model_type": "llama", "max_position_embeddings": 64}).encode()


@pytest.fixture(scope="module")
def tokenizer_bytes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache", None)
        yield server


def settings(hub, token=None):
    return Settings(hf_endpoint=hub.url, hf_token=token)


def model_files(tokenizer_bytes, **more):
    unsafe = {"pytorch_model.bin": b"pickle", "onnx/model.safetensors": b"x", "code.py": b"x"}
    return {"config.json": CONFIG, "model.safetensors": b"weights", **unsafe, **tokenizer_bytes, **more}


def test_only_config_tokenizer_and_safetensors_come_from_the_hub(hub, tokenizer_bytes):
    sha = hub.add_repo("model", "acme/base", model_files(tokenizer_bytes), private=False, gated=False)
    found = resolve_model(ModelConfig(model_id="acme/base"), settings(hub))
    names = {path.relative_to(found.path).as_posix() for path in found.path.rglob("*") if path.is_file()}
    assert names == {"config.json", "model.safetensors", *tokenizer_bytes}
    assert (found.revision, found.max_positions) == (sha, 64)


def test_the_tokenizer_comes_without_the_weights(hub, tokenizer_bytes):
    hub.add_repo("model", "acme/base", model_files(tokenizer_bytes), private=False, gated=False)
    tokenizer = read_tokenizer(resolve_tokenizer(ModelConfig(model_id="acme/base"), settings(hub)).path)
    assert len(tokenizer) == len(byte_level())
    assert not [request for request in hub.requests if "safetensors" in request.path]


def test_a_private_model_opens_with_the_token_only(hub, tokenizer_bytes):
    hub.add_repo("model", "acme/base", model_files(tokenizer_bytes), private=True, gated=False)
    for token in (None, "hf_wrong"):
        with pytest.raises(StorageError, match=r"acme/base .*not found, or private and HF_TOKEN does not open it"):
            resolve_model(ModelConfig(model_id="acme/base"), settings(hub, token))
    assert resolve_model(ModelConfig(model_id="acme/base"), settings(hub, "hf_read")).path.is_dir()


def test_a_gated_model_asks_for_access(hub, tokenizer_bytes):
    hub.add_repo("model", "acme/gated", model_files(tokenizer_bytes), private=False, gated=True)
    with pytest.raises(StorageError, match="access is restricted. Ask for access"):
        resolve_model(ModelConfig(model_id="acme/gated"), settings(hub, "hf_read"))


def test_a_revision_that_is_not_there_is_named(hub, tokenizer_bytes):
    hub.add_repo("model", "acme/base", model_files(tokenizer_bytes), private=False, gated=False)
    with pytest.raises(StorageError, match="no revision `v9`. Check model.revision"):
        resolve_model(ModelConfig(model_id="acme/base", revision="v9"), settings(hub))


def test_a_server_error_is_named(hub, tokenizer_bytes):
    hub.add_repo("model", "acme/base", model_files(tokenizer_bytes), private=False, gated=False)
    hub.fail_next(500, times=50, path="/api/models/")
    with pytest.raises(StorageError, match="the Hub answered HTTP 500. Try again later"):
        resolve_model(ModelConfig(model_id="acme/base"), settings(hub))


def test_a_cut_connection_is_tried_again(hub, tokenizer_bytes):
    files = model_files(tokenizer_bytes, **{"model.safetensors": b"weights" * 1000})
    hub.add_repo("model", "acme/base", files, private=False, gated=False)
    hub.fail_next(path="model.safetensors", mode="cut")
    found = resolve_model(ModelConfig(model_id="acme/base"), settings(hub))
    assert (found.path / "model.safetensors").read_bytes() == b"weights" * 1000


def test_a_connection_that_is_always_cut_is_named(hub, tokenizer_bytes):
    hub.add_repo("model", "acme/base", model_files(tokenizer_bytes), private=False, gated=False)
    hub.fail_next(path="/api/models/", mode="cut", times=50)
    with pytest.raises(StorageError, match="cannot download acme/base .*connection failed"):
        resolve_model(ModelConfig(model_id="acme/base"), settings(hub))


def test_a_model_without_safetensors_is_refused(hub, tokenizer_bytes):
    files = model_files(tokenizer_bytes)
    del files["model.safetensors"]
    hub.add_repo("model", "acme/base", files, private=False, gated=False)
    with pytest.raises(StorageError, match="acme/base has no safetensors weights"):
        resolve_model(ModelConfig(model_id="acme/base"), settings(hub))


def test_a_missing_shard_is_named(tmp_path):
    (tmp_path / "config.json").write_bytes(CONFIG)
    (tmp_path / "a.safetensors").write_bytes(b"x")
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StorageError, match=r"lacks 1 of 2 weight files \(b.safetensors\)"):
        resolve_model(ModelConfig(model_id=str(tmp_path)), Settings())


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "a/b/c"])
def test_a_local_folder_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(StorageError, match="there is no model folder"):
        resolve_model(ModelConfig(model_id=name), Settings(hf_endpoint="http://127.0.0.1:1"))


def test_a_hub_that_refuses_connections_is_named():
    with pytest.raises(StorageError, match="the connection failed .*HF_ENDPOINT"):
        resolve_model(ModelConfig(model_id="acme/unreachable"), Settings(hf_endpoint="http://127.0.0.1:1"))


def test_a_folder_without_tokenizer_is_named(tmp_path):
    (tmp_path / "config.json").write_bytes(CONFIG)
    with pytest.raises(StorageError, match="cannot load a tokenizer from"):
        read_tokenizer(resolve_tokenizer(ModelConfig(model_id=str(tmp_path)), Settings()).path)
