"""The model folder between its two real sides: what the evaluation judged is what the endpoint answers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from llm_endpoint.answering import Question
from llm_endpoint.errors import ModelError
from llm_endpoint.served.folder import read_served_folder
from llm_endpoint.settings import Settings
from support.model_line import ModelLine
from support.served import answers_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> ModelLine:
    return ModelLine(tmp_path_factory.mktemp("line"), merge=True)


@pytest.fixture
def folder(line, tmp_path) -> Path:
    return Path(shutil.copytree(line.published.uri, tmp_path / "3"))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").split("\n") if text]


@pytest.mark.parametrize("engine", ["transformers", "openvino"])
def test_the_endpoint_answers_what_the_evaluation_judged(line, engine):
    rows, judged = read(line.dataset / "test.jsonl"), read(line.evaluation / "predictions.jsonl")
    questions = [Question(row["question"], row["context"]) for row in rows]
    served = answers_of(Path(line.published.uri), questions, 8, engine)
    assert len({record["tuned"] for record in judged}) > 1
    assert [answer.response for answer in served] == [record["tuned"] for record in judged]


def test_the_reader_takes_name_version_prompt_and_decoding_from_the_folder(line, folder):
    model = read_served_folder(folder, Settings())
    assert (model.name, model.revision) == ("contract", "3")
    assert model.prompt.template == line.recipe["task"]["prompt_template"]
    assert model.repetition_penalty == line.recipe["evaluation"]["repetition_penalty"] == 1.03
    assert model.one_line is True
    assert model.context_length == 256


@pytest.mark.parametrize("name", ["prompt.json", "model_info.json", "manifest.json", "tokenizer.json", "config.json"])
def test_a_file_that_is_missing_is_an_error_and_never_a_default(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"it lacks {name}.*Publish the model folder again"):
        read_served_folder(folder, Settings())


def test_a_file_of_another_size_is_an_error(folder):
    with (folder / "model.safetensors").open("ab") as weights:
        weights.write(b"x")
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that was published"):
        read_served_folder(folder, Settings())


@pytest.mark.parametrize(
    "content", ["not json", "[]", '{"template": "no placeholders", "chat_template": false, "no_answer_text": "x"}']
)
def test_a_broken_prompt_is_an_error(folder, content):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "prompt.json").write_text(content)
    manifest["files"]["prompt.json"]["size"] = len(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="prompt"):
        read_served_folder(folder, Settings())


def test_pickled_weights_are_not_read(folder):
    for file in folder.iterdir():
        if file.suffix == ".safetensors":
            file.rename(folder / "pytorch_model.bin")
    for name in ("prompt.json", "manifest.json", "model_info.json", "evaluation.json", "training_info.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"pytorch_model\.bin, which can run code when loaded"):
        read_served_folder(folder, Settings())


def test_an_adapter_whose_base_is_nowhere_names_the_remedy(tmp_path):
    adapter = ModelLine(tmp_path, merge=False)
    with pytest.raises(ModelError, match="holds an adapter for base.*merge_lora_weights=true"):
        read_served_folder(Path(adapter.published.uri), Settings())
