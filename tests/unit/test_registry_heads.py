"""Model folders of the task catalogue: what they hold, say and refuse."""

import json

import pytest
import yaml
from support.head_output import CATALOGUE, LABELS, write_head_evaluation, write_head_run

from components.core.errors import RegistryError, StorageError
from components.core.recipe import ModelConfig, RegistryConfig
from components.core.registry import publish_head, registered_name
from components.core.registry.manifest import verify_checksums
from components.core.registry.model_folder import read_model_folder, write_head_folder

TASKS = list(CATALOGUE)


@pytest.fixture
def run(tmp_path):
    return write_head_run(tmp_path)


def card_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", TASKS)
def test_a_written_folder_is_complete_and_says_what_the_model_is(tmp_path, task):
    run = write_head_run(tmp_path, task)
    for name in ("model.onnx", "model.int8.onnx"):
        (run.model_dir / name).write_bytes(b"\x08\x0a")
    (run.model_dir / "onnx.json").write_text('{"format": 1, "int8": null}')
    for name in ("checkpoints", "runs"):
        (run.model_dir / name / "checkpoint-3").mkdir(parents=True)
    write_head_folder(*run.inputs(), tmp_path / "out")
    model = read_model_folder(tmp_path / "out")
    assert model.head["task"] == model.info["task"] == task
    assert model.prompt == {}
    assert model.info.get("labels", []) == LABELS[task]
    assert ("thresholds" in model.info, "scale" in model.info) == (task == "multi_label", task == "regression")
    assert "generation" not in model.info
    assert model.info["name"] == f"starter-{CATALOGUE[task].replace('_', '-')}"
    assert model.info["base_model"] == {"id": "starter", "revision": "starter", "weights_sha256": "e" * 64}
    assert model.info["dataset"]["fingerprint"] == "c" * 64
    assert (model.info["dataset"]["id"], model.info["dataset"]["license"]) == ("reviews.csv", "cc-by-4.0")
    assert model.info["recipe"]["preprocess"]["batch_size"] == 1000
    assert model.info["recipe"]["finetune"] == {"learning_rate": 5e-5, "deepspeed": "zero.json"}
    assert model.info["metrics"]["tuned_accuracy"] == 0.8
    assert "tuned_auc" not in model.info["metrics"]
    assert (model.info["git_commit"], model.info["verdict"]["status"]) == ("0123abc", "passed")
    assert {"model.onnx", "model.int8.onnx", "onnx.json"} < set(model.manifest.files)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(model.manifest.files) | {"manifest.json"}
    verify_checksums(tmp_path / "out")


def test_a_label_that_looks_like_a_path_stays_what_it_is_and_no_other_path_is_written(run, tmp_path):
    write_head_folder(*run.inputs(), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"]["1"] == "/home/somebody/good"
    assert (tmp_path / "out" / "head.json").read_bytes() == (run.model_dir / "head.json").read_bytes()
    for path in (tmp_path / "out").glob("*.json*"):
        assert "/home/somebody/" not in path.read_text(encoding="utf-8").replace("/home/somebody/good", ""), path.name
        assert str(tmp_path) not in path.read_text(encoding="utf-8"), path.name
    assert str(tmp_path) not in card_of(tmp_path / "out")


def test_the_name_of_the_parameters_wins_and_a_champion_can_be_looked_up_before_there_is_a_model(run, tmp_path):
    model = ModelConfig(model_id="acme/tiny.bert")
    assert registered_name(RegistryConfig(), model, "classification_single_label") == (
        "acme-tiny-bert-classification-single-label"
    )
    run.registry = RegistryConfig(name="our-reviews")
    assert publish_head(*run.inputs(), tmp_path / "out").name == "our-reviews"


@pytest.mark.parametrize("name", ["head.json", "model.safetensors", "config.json", "tokenizer.json"])
def test_a_training_output_that_lacks_a_file_is_not_published(run, tmp_path, name):
    (run.model_dir / name).unlink()
    with pytest.raises(StorageError, match=f"not a finished training output: it lacks {name}. Run the fine-tuning"):
        write_head_folder(*run.inputs(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_published_folder_that_lost_its_head_says_so_and_not_that_a_prompt_is_missing(run, tmp_path):
    write_head_folder(*run.inputs(), tmp_path / "out")
    (tmp_path / "out" / "head.json").unlink()
    with pytest.raises(StorageError, match="not a complete model folder: it lacks head.json"):
        read_model_folder(tmp_path / "out")


def test_folders_of_two_runs_do_not_make_one_model(run, tmp_path):
    other = write_head_run(tmp_path / "other", "ner")
    run.preprocess_dir = other.preprocess_dir
    with pytest.raises(StorageError, match="is a model for single_label.* was prepared for ner. Name the folders of"):
        write_head_folder(*run.inputs(), tmp_path / "out")
    write_head_evaluation(run.evaluation_dir, "single_label")
    path = run.evaluation_dir / "evaluation.json"
    path.write_text(path.read_text().replace("c" * 64, "d" * 64))
    with pytest.raises(StorageError, match="was measured on dataset d+"):
        write_head_folder(*run.inputs(), tmp_path / "out")


def test_a_secret_in_a_parameter_is_not_published(tmp_path):
    run = write_head_run(tmp_path, hf_token="hf_planted_secret")
    (run.model_dir / "finetune_args.json").write_text('{"parameters": {"note": "hf_planted_secret"}}')
    with pytest.raises(RegistryError, match="HF_TOKEN stands in finetune_args.json"):
        write_head_folder(*run.inputs(), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_pickled_files_are_refused(run, tmp_path):
    (run.model_dir / "optimizer.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(StorageError, match="holds optimizer.pt: such files can run code"):
        write_head_folder(*run.inputs(), tmp_path / "out")


@pytest.mark.parametrize("task", TASKS)
def test_the_card_shows_the_floors_and_says_on_the_hub_what_kind_of_model_it_is(tmp_path, task):
    run = write_head_run(tmp_path, task)
    write_head_folder(*run.inputs(), tmp_path / "out")
    card = card_of(tmp_path / "out")
    metric = "mae" if task == "regression" else "f1 macro"
    assert "| Rows | Metric | Majority answer | Bag of words | This model | This model - bag of words |" in card
    assert (
        f"| all (1000) | {metric} | 0.100 (0.080 to 0.120) | 0.400 (0.380 to 0.420) | 0.620 (0.600 to 0.640) | "
        "+0.220 (+0.190 to +0.250) |" in card
    )
    assert "- One label has 3 test rows." in card
    meta = yaml.safe_load(card.split("---\n")[1])
    tag = "token-classification" if task == "ner" else "text-classification"
    assert meta["pipeline_tag"] == meta["model-index"][0]["results"][0]["task"]["type"] == tag
    assert meta["library_name"] == "transformers"


def test_an_adapter_is_a_complete_folder_that_names_its_base(tmp_path):
    run = write_head_run(tmp_path, adapter=True)
    write_head_folder(*run.inputs(), tmp_path / "out")
    assert read_model_folder(tmp_path / "out").adapter
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "starter"
    assert "AutoPeftModelForSequenceClassification" in card_of(tmp_path / "out")
