"""The published components of the task catalogue, and the graph that is built from them."""

import json
from pathlib import Path

import pytest
import yaml
from kfp import compiler, components, dsl

from components._published import CATALOGUE, environment, find_component, publish, read_index
from components._task_components import inputs_of, task_component
from components.core.catalogue.steps import VERBS
from components.core.catalogue.task_names import CORE_TASKS
from components.core.errors import ConfigError, StorageError
from components.core.image_names import PIPELINE, image_setting

NAMES = [f"{verb}_{task}" for verb in VERBS for task in CORE_TASKS]


@pytest.mark.parametrize("name", NAMES)
def test_a_published_component_resolves_by_name_and_loads(name):
    loaded = components.load_component_from_file(str(find_component(name)))
    assert loaded.name == name.replace("_", "-")


def test_the_components_of_the_specification_are_there():
    assert find_component("preprocess_classification_multi_label", environment()["version"]).is_file()
    wanted = {f"{verb}_{task}" for verb in ("preprocess", "finetune", "inference", "deploy") for task in CORE_TASKS}
    assert wanted <= {each.name for each in read_index()}


def test_what_is_committed_is_what_this_checkout_makes(tmp_path, monkeypatch):
    monkeypatch.delenv("PIPELINE_IMAGE", raising=False)
    monkeypatch.delenv("REGISTRY", raising=False)
    monkeypatch.delenv("TAG", raising=False)
    made = publish(tmp_path)
    known = {(each.name, each.digest) for each in read_index() if each.version == environment()["version"]}
    assert {(each.name, each.digest) for each in made} == known, (
        "run `make components ARGS=--replace`, or raise the version"
    )


def test_components_loaded_from_their_files_make_a_pipeline_that_compiles(tmp_path):
    preprocess = components.load_component_from_file(str(find_component("preprocess_ner")))
    finetune = components.load_component_from_file(str(find_component("finetune_ner")))
    inference = components.load_component_from_file(str(find_component("inference_ner")))

    @dsl.pipeline(name="from-files")
    def pipeline(train_file: str):
        prepared = preprocess(train_file=train_file, token_key="tokens", tag_key="tags")
        tuned = finetune(dataset_path=prepared.outputs["output_dir"], learning_rate=1e-3)
        inference(model_path=tuned.outputs["output_dir"], test_file=prepared.outputs["output_dir"])

    compiler.Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))
    compiled = yaml.safe_load((tmp_path / "pipeline.yaml").read_text(encoding="utf-8"))
    assert set(compiled["root"]["dag"]["tasks"]) == {"preprocess-ner", "finetune-ner", "inference-ner"}


def test_every_parameter_is_an_input_with_its_default():
    inputs = inputs_of("finetune", "classification_multi_label")
    defaults = {name: inputs[name].default for name in inputs}
    assert defaults | {
        "apply_lora": False, "merge_lora_weights": True, "lora_alpha": 128, "lora_r": 8, "num_train_epochs": 3,
        "per_device_train_batch_size": 32, "learning_rate": 5e-5, "precision": 16, "seed": 42, "max_steps": -1,
        "primary_metric": "accuracy", "save_total_limit": -1, "apply_ort": False, "deepspeed_stage": 2,
        "shm_size_finetune": "5g", "optim": "adamw_torch", "deepspeed": "",
    } == defaults  # fmt: skip
    loaded = task_component("finetune", "regression")
    assert loaded.component_spec.inputs["learning_rate"].default == 2e-5


def test_a_file_that_was_changed_is_not_the_published_one(tmp_path):
    publish(tmp_path)
    path = find_component("deploy_ner", folder=tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + "#\n", encoding="utf-8")
    with pytest.raises(StorageError, match="not the file that was published"):
        find_component("deploy_ner", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("preprocess_clasification_multi_label", None, "Did you mean preprocess_classification_multi_label"),
        ("preprocess_ner", "9.9.9", "has no version 9.9.9"),
    ],
)
def test_an_unknown_component_is_named_with_what_there_is(name, version, said):
    with pytest.raises(ConfigError, match=said):
        find_component(name, version)


def test_a_published_version_is_not_replaced_by_accident(tmp_path, monkeypatch):
    publish(tmp_path)
    monkeypatch.setenv("PIPELINE_IMAGE", "registry.example/other@sha256:" + "0" * 64)
    with pytest.raises(ConfigError, match="is published with other content"):
        publish(tmp_path)
    publish(tmp_path, replace=True)
    text = find_component("preprocess_ner", folder=tmp_path).read_text(encoding="utf-8")
    assert "registry.example/other@sha256:" in text


def test_components_and_images_have_one_name_and_version():
    assert environment() == {"name": PIPELINE, "version": image_setting("TAG")}
    index = json.loads((CATALOGUE / "index.json").read_text(encoding="utf-8"))
    assert index["environment"] == environment()
    assert all((Path(CATALOGUE) / each["file"]).is_file() for each in index["components"])
