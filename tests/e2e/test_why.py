"""`why` from a real trace: tiny model published and registered, served by the real endpoint, traced into SQLite."""

import importlib
import json
import shutil
import time
from pathlib import Path

import httpx
import pytest
from support.endpoint_server import EndpointServer
from support.run_output import DATASET_INFO, TRAINING_INFO, RunOutput, write_llama, write_run
from typer.testing import CliRunner

from components.core.registry import Published, publish, register
from components.core.registry.mlflow_store import open_client

pytestmark = pytest.mark.e2e
APP = importlib.import_module("llm-pipelines.why").app
NAME = "starter-context-qa"
BODY = {"question": "When was the bridge opened ?", "context": "The bridge was opened in 1932 .", "max_new_tokens": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunOutput:
    """What a training of a tiny random Llama left: real weights, so that it can be served."""
    made = write_run(tmp_path_factory.mktemp("run"))
    for file in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        (made.model_dir / file).unlink(missing_ok=True)
    write_llama(made.model_dir)
    return made


@pytest.fixture(scope="module")
def published(run, tmp_path_factory) -> Published:
    made = publish(*run.inputs(), tmp_path_factory.mktemp("out"))
    register(made, *run.inputs())
    return made


def ask(home, *arguments, **environment):
    known = {"WHETSTONE_HOME": str(home), "MLFLOW_TRACKING_URI": "", "KFP_NAMESPACE": ""}
    return CliRunner().invoke(APP, arguments, env=known | environment)


def wait_for(home: Path, trace_id: str):
    """`why`, once the trace has come in; it is sent after the answer."""
    ended = time.monotonic() + 60
    while (said := ask(home, trace_id)).exit_code and "there is no trace" in said.stderr and time.monotonic() < ended:
        time.sleep(0.3)
    return said


@pytest.fixture(scope="module")
def answers(run, published, tmp_path_factory) -> dict[str, str]:
    """Trace ids of two answers: by /score, and by OpenAI chat in the form of its own id."""
    home = run.settings.whetstone_home
    traced = {"TRACE_TO_MLFLOW": "true", "ENGINE": "transformers", "WHETSTONE_HOME": str(home), "FLUSH_SECONDS": "20"}
    found = {}
    turns = [{"role": "system", "content": BODY["context"]}, {"role": "user", "content": BODY["question"]}]
    with EndpointServer(tmp_path_factory.mktemp("served"), published.uri, **traced) as server:
        body = {"input_data": {"input_string": turns, "parameters": {"max_new_tokens": 5}}}
        said = httpx.post(f"{server.url}/score", json=body, timeout=60)
        assert said.status_code == 200, said.text
        found["score"] = said.json()["trace_id"]
        chat = {"messages": turns, "max_tokens": 5}
        found["chat"] = httpx.post(f"{server.url}/openai/v1/chat/completions", json=chat, timeout=60).json()["id"]
    return found


def test_an_answer_is_led_back_to_weights_data_verdict_run_and_code(run, published, answers):
    home = run.settings.whetstone_home
    said = wait_for(home, answers["score"])
    assert said.exit_code == 0, said.stderr
    lines = dict(line.split(maxsplit=1) for line in said.stdout.replace("Base model", "Base").splitlines())
    assert lines["Answer"].startswith(answers["score"])
    assert lines["Answer"].endswith(" by score")
    assert lines["Served"] == f"{NAME} revision 1 on transformers"
    assert lines["Model"] == f"{NAME} version 1 (candidate, champion), found by its content"
    assert lines["Place"] == f"whetstone:/{NAME}/1"
    assert lines["Content"] == published.content_sha256
    manifest = json.loads((Path(published.uri) / "manifest.json").read_text(encoding="utf-8"))
    assert lines["Weights"] == f"model.safetensors {manifest['files']['model.safetensors']['sha256']}"
    assert lines["Fingerprint"] == DATASET_INFO["fingerprint"]
    assert lines["Verdict"] == "PASSED: F1 of the tuned model is better"
    assert lines["Code"] == TRAINING_INFO["git_commit"]
    version = open_client(run.settings).get_model_version(NAME, "1")
    assert said.stdout.count(version.run_id) == 1


def test_every_form_of_the_id_is_taken_and_json_holds_the_recipe(run, answers):
    home = run.settings.whetstone_home
    assert answers["chat"].startswith("chatcmpl-")
    assert wait_for(home, answers["chat"]).exit_code == 0
    plain = answers["chat"].removeprefix("chatcmpl-")
    forms = [ask(home, form, "--json").stdout for form in (plain, answers["chat"], f"tr-{plain.replace('-', '')}")]
    assert len(set(forms)) == 1
    found = json.loads(forms[0])
    assert found["answer"]["protocol"] == "openai_chat"
    assert found["lineage"]["recipe"]["training.learning_rate"] == "0.0002"


def test_an_older_trace_without_the_content_is_found_by_its_place(run, answers, tmp_path):
    wait_for(run.settings.whetstone_home, answers["score"])
    shutil.copyfile(run.settings.whetstone_home / "mlflow.db", tmp_path / "mlflow.db")
    forget(tmp_path, answers["score"])
    said = ask(tmp_path, answers["score"])
    assert f"{NAME} version 1 (candidate, champion), found by its place" in said.stdout, said.stderr


def test_a_model_that_is_not_registered_is_named(run, answers, tmp_path):
    wait_for(run.settings.whetstone_home, answers["score"])
    shutil.copyfile(run.settings.whetstone_home / "mlflow.db", tmp_path / "mlflow.db")
    client = open_client(run.settings.model_copy(update={"whetstone_home": tmp_path}))
    client.delete_registered_model(NAME)
    said = ask(tmp_path, answers["score"])
    assert said.exit_code == 2
    assert f"was answered by {NAME}, revision 1, on transformers: that model is not registered in " in said.stderr


@pytest.mark.parametrize(
    ("trace_id", "message"),
    [
        ("not-an-id", "'not-an-id' is no trace id. It stands in the answer as `trace_id`"),
        ("0" * 32, "there is no trace 00000000-0000-0000-0000-000000000000 in sqlite:"),
    ],
)
def test_what_is_not_known_is_told_in_a_line(run, published, tmp_path, trace_id, message):
    for home in (run.settings.whetstone_home, tmp_path / "empty"):
        said = ask(home, trace_id)
        assert (said.exit_code, said.stdout) == (2, "")
        assert said.stderr.startswith(f"error: {message}")
        assert len(said.stderr.splitlines()) == 1
    assert not (tmp_path / "empty").exists()


def forget(home: Path, trace_id: str) -> None:
    """Take the content's hash out of a trace, as in those that older endpoints wrote."""
    import sqlite3

    with sqlite3.connect(home / "mlflow.db") as store:
        gone = store.execute(
            "DELETE FROM trace_request_metadata WHERE key = 'content_sha256' AND request_id = ?",
            (f"tr-{trace_id.replace('-', '')}",),
        )
        assert gone.rowcount == 1
