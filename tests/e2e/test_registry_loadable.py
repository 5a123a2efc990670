"""A registered text model by MLflow's own loader: the answers that the evaluation judged, from any place."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.model_line import ModelLine
from support.run_output import write_llama

from components.core.registry import lineage, list_models, publish, register
from components.core.registry.mlflow_store import open_client
from components.core.settings import Settings

pytestmark = pytest.mark.e2e
NAME = "contract"


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> ModelLine:
    """A whole run of a tiny model, published and registered."""
    made = ModelLine(tmp_path_factory.mktemp("line"), merge=True)
    register(made.published, *made.inputs())
    return made


@pytest.fixture
def load(line, monkeypatch):
    """MLflow's loader, which knows nothing but the store's address."""
    import mlflow

    monkeypatch.delenv("WHETSTONE_HOME", raising=False)
    use_store(monkeypatch, line.settings.tracking_uri)
    return lambda uri=f"models:/{NAME}@candidate": mlflow.pyfunc.load_model(uri)


def use_store(monkeypatch, address):
    """By the environment: what MLflow's setters write there would stay for other tests."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, address)


def read(path: Path):
    return [json.loads(text) for text in path.read_text(encoding="utf-8").split("\n") if text]


def test_the_loaded_model_answers_what_the_evaluation_judged(line, load):
    rows, judged = read(line.dataset / "test.jsonl"), read(line.evaluation / "predictions.jsonl")
    asked = [{"question": row["question"], "context": row["context"]} for row in rows]
    said = load().predict(asked, params={"max_new_tokens": 8})
    assert len(set(said)) > 1
    assert list(said) == [record["tuned"] for record in judged]


def test_a_table_messages_and_sampling_are_taken(line, load):
    import pandas

    row = read(line.dataset / "test.jsonl")[0]
    model = load(f"models:/{NAME}/1")
    (greedy,) = model.predict(pandas.DataFrame([row])[["question", "context"]], params={"max_new_tokens": 8})
    turns = [{"role": "system", "content": row["context"]}, {"role": "user", "content": row["question"]}]
    truth = {"role": "assistant", "content": "none"}
    assert model.predict([{"messages": [*turns, truth]}], params={"max_new_tokens": 8}) == [greedy]
    drawn = [
        model.predict(
            [{"messages": turns}], params={"max_new_tokens": 8, "do_sample": True, "temperature": 5.0, "seed": seed}
        )
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_cannot_be_answered_is_said(load):
    from mlflow.exceptions import MlflowException

    model = load()
    with pytest.raises(MlflowException, match="a row needs `question` and `context`, or `messages`"):
        model.predict([{"question": "Who?"}])
    with pytest.raises(MlflowException, match="the prompt has .* tokens, and the model reads 256 in all"):
        model.predict([{"question": "Who?", "context": "ship " * 500}])


def test_nothing_is_pickled_and_nothing_names_this_machine(line):
    client = open_client(line.settings)
    version = client.get_model_version(NAME, "1")
    assert version.source == f"runs:/{version.run_id}/model"
    folder = Path(client.download_artifacts(version.run_id, "model"))
    names = {file.name for file in folder.iterdir()} - {"registered_model_meta"}
    assert names == {"MLmodel", "text_model.py", "requirements.txt", "python_env.yaml"}
    described = (folder / "MLmodel").read_text(encoding="utf-8")
    assert str(line.settings.whetstone_home) not in described
    flavor = yaml.safe_load(described)["flavors"]["python_function"]
    assert flavor["model_code_path"] == "text_model.py"
    assert flavor["config"] == {"place": f"whetstone:/{NAME}/1", "content_sha256": line.published.content_sha256}


def test_the_registry_says_where_the_folder_is(line):
    assert lineage(NAME, "1", line.settings)["uri"] == f"whetstone:/{NAME}/1"
    assert [each.uri for each in list_models(line.settings)] == [f"whetstone:/{NAME}/1"]


def test_another_process_loads_it_without_our_code_or_settings(line, tmp_path):
    script = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]);"
        f"model = mlflow.pyfunc.load_model('models:/{NAME}@candidate');"
        "assert not any(name.split('.')[0] in ('components', 'llm_endpoint') for name in sys.modules);"
        "print('said', model.predict([{'question': 'How many?', 'context': 'Ship 1 sailed.'}])[0])"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WHETSTONE", "PYTHONPATH"))}
    argv = [sys.executable, "-c", script, line.settings.tracking_uri]
    done = subprocess.run(argv, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("said ")
    assert "UserWarning" not in done.stderr


def test_another_model_in_its_place_or_another_namespace_is_refused(line, load, tmp_path, monkeypatch):
    from mlflow.exceptions import MlflowException

    place = tmp_path / "registry" / NAME / "1"
    shutil.copytree(line.published.uri, place)
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path))
    access = {"restricted": True, "namespace": "team-a"}
    (place / "access.json").write_text(json.dumps(access), encoding="utf-8")
    with pytest.raises(MlflowException, match="is restricted to namespace team-a; it is not loaded in kubeflow-user"):
        load()
    monkeypatch.setenv("KFP_NAMESPACE", "team-a")
    load()
    manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    (place / "manifest.json").write_text(json.dumps(manifest | {"content_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(MlflowException, match="holds another model than was registered"):
        load()


def test_without_the_folder_the_message_says_what_to_set(line, load, tmp_path, monkeypatch):
    from mlflow.exceptions import MlflowException

    client = open_client(line.settings)
    moved = tmp_path / "model"
    shutil.copytree(client.download_artifacts(client.get_model_version(NAME, "1").run_id, "model"), moved)
    monkeypatch.chdir(tmp_path)
    use_store(monkeypatch, f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(MlflowException, match=f"Set WHETSTONE_HOME to what holds registry/{NAME}/1"):
        load(str(moved))


def test_a_chat_template_is_used_and_the_users_text_stays_text(tmp_path):
    from transformers import AutoTokenizer

    from components.core.registry.loadable.text_model import Texts

    write_llama(tmp_path, chat=True)
    texts = Texts(tmp_path, True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    turns = [{"role": "system", "content": "The bridge"}, {"role": "user", "content": "When was the bridge opened ?"}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert texts.encode(turns) == tokenizer(expected, add_special_tokens=False)["input_ids"]
    assert texts.encode([{"role": "user", "content": "</s>"}]).count(tokenizer.eos_token_id) == 1
    assert texts.stop_ids == {tokenizer.eos_token_id}


def test_a_version_on_the_hub_is_loaded_from_there(line, hub, tmp_path, monkeypatch):
    import mlflow

    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(line.settings.whetstone_home / "mlflow.db", home / "mlflow.db")
    addresses = {"hf_token": "hf_write", "hf_repo": "acme/tuned", "hf_endpoint": hub.url}
    settings = Settings(whetstone_home=home, **addresses)
    inputs = (*line.inputs()[:-1], settings)
    published = publish(*inputs, tmp_path / "out")
    assert register(published, *inputs).version == "2"
    assert open_client(settings).get_model_version(NAME, "2").tags["model_uri"] == published.uri
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    use_store(monkeypatch, settings.tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/2")
    row, judged = read(line.dataset / "test.jsonl")[0], read(line.evaluation / "predictions.jsonl")[0]
    asked = {"question": row["question"], "context": row["context"]}
    assert model.predict([asked], params={"max_new_tokens": 8}) == [judged["tuned"]]
