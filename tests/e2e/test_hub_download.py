"""Downloading from the Hub: base models and datasets, through the real clients, from the stand-in Hub."""

import json
import os
import subprocess
import sys

import pytest
from support.hub_server import HubServer
from support.run_output import write_llama

from components.core.errors import StorageError
from components.core.recipe import ModelConfig
from components.core.registry.base_model import read_tokenizer, resolve_model, resolve_tokenizer
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

BASE = "acme/base"


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    write_llama(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resolve(hub: HubServer, token: str | None = None, revision: str | None = None):
    settings = Settings(hf_endpoint=hub.url, hf_token=token)
    return resolve_model(ModelConfig(model_id=BASE, revision=revision), settings)


def test_a_base_model_comes_at_its_commit_with_safe_files_only(hub, llama):
    unsafe = {"pytorch_model.bin": b"\x80", "modeling_base.py": "raise SystemExit", "onnx/model.onnx": b"x"}
    sha = hub.add_repo("model", BASE, llama | unsafe)
    found = resolve(hub)
    assert found.revision == sha
    names = {path.name for path in found.path.iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert names.isdisjoint({"pytorch_model.bin", "modeling_base.py", "onnx"})


def test_a_downloaded_model_loads(hub, llama):
    from transformers import AutoModelForCausalLM

    hub.add_repo("model", BASE, llama)
    model = AutoModelForCausalLM.from_pretrained(resolve(hub).path)
    assert model.config.model_type == "llama"
    assert (
        read_tokenizer(
            resolve_tokenizer(ModelConfig(model_id=BASE), Settings(hf_endpoint=hub.url)).path
        ).convert_tokens_to_ids("bridge")
        > 0
    )


def test_an_older_revision_can_be_asked_for(hub, llama):
    old = hub.add_repo("model", BASE, llama)
    new = hub.repo("model", BASE).commit({"generation_config.json": "{}"})
    assert resolve(hub, revision=old).revision == old
    assert resolve(hub).revision == new


def test_a_private_model_needs_the_token(hub, llama):
    hub.add_repo("model", BASE, llama, private=True)
    with pytest.raises(StorageError, match="not found, or private and HF_TOKEN does not open it"):
        resolve(hub)
    assert resolve(hub, "hf_read").path.is_dir()


def test_a_gated_model_needs_access(hub, llama):
    hub.add_repo("model", BASE, llama, gated=True)
    with pytest.raises(StorageError, match="access is restricted. Ask for access on its page"):
        resolve(hub, "hf_read")
    hub.granted.add("hf_read")
    assert resolve(hub, "hf_read").path.is_dir()


def test_a_download_that_is_cut_once_goes_on(hub, llama):
    hub.add_repo("model", BASE, llama)
    hub.fail_next(path="/cdn/", mode="cut")
    assert (resolve(hub).path / "model.safetensors").read_bytes() == llama["model.safetensors"]


def test_weights_come_from_the_second_host_without_the_token(hub, llama):
    hub.add_repo("model", BASE, llama, private=True)
    resolve(hub, "hf_read")
    assert {request.token for request in hub.requests if request.path.startswith("/cdn/")} == {None}
    assert {request.token for request in hub.requests if not request.path.startswith("/cdn/")} == {"hf_read"}


def parquet(rows: list[dict[str, str]]) -> bytes:
    import io

    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


ROWS = [{"question": f"Which number is {number}?", "answer": str(number)} for number in range(500)]


@pytest.mark.parametrize(
    "files",
    [
        {"train.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS), "README.md": "---\nlicense: mit\n---\n"},
        {"data/train-00000-of-00001.parquet": parquet(ROWS)},
    ],
    ids=["jsonl", "parquet"],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_loads_by_its_id_in_another_process(hub, tmp_path, files, streaming):
    sha = hub.add_repo("dataset", "acme/questions", files, private=True)
    code = (
        "import datasets, json\n"
        f"rows = datasets.load_dataset('acme/questions', split='train', streaming={streaming}, revision={sha!r})\n"
        "print(json.dumps(list(rows)))"
    )
    env = os.environ | hub.env("hf_read") | {"HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ROWS


def test_a_dataset_loads_by_its_id_in_this_process(hub):
    import datasets

    hub.add_repo("dataset", "acme/here", {"train.csv": "a,b\n1,2\n", "test.csv": "a,b\n3,4\n"})
    loaded = datasets.load_dataset("acme/here")
    assert loaded["test"][0] == {"a": 3, "b": 4}
