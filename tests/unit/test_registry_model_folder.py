"""The model folder: what it holds, what it refuses, and how it tells that it is not complete."""

import json

import pytest
from support.run_output import DATASET_INFO, write_evaluation, write_run

from components.core.errors import ConfigError, StorageError
from components.core.registry.manifest import verify_checksums
from components.core.registry.model_folder import read_model_folder, write_model_folder


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path)


@pytest.fixture
def folder(run, tmp_path):
    write_model_folder(*run.inputs(), tmp_path / "out")
    return tmp_path / "out"


def test_a_written_folder_is_complete_and_says_where_the_model_came_from(folder):
    model = read_model_folder(folder)
    assert not model.adapter
    assert model.prompt["template"].startswith("Context: {context}")
    assert model.info["task"] == "context_qa"
    assert model.info["base_model"] == {"id": "starter", "revision": "starter", "weights_sha256": "e" * 64}
    assert model.info["dataset"]["fingerprint"] == DATASET_INFO["fingerprint"]
    assert model.info["verdict"]["outcome"] == "better"
    assert model.info["metrics"]["tuned_f1"] == 0.62
    assert model.info["metrics"]["f1_difference_base_low"] == 0.19
    assert model.info["git_commit"] == "0123abc"
    assert model.info["recipe"]["training"]["learning_rate"] == 2e-4
    assert set(model.manifest.files) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    verify_checksums(folder)


def test_whole_numbers_that_a_pipeline_made_floats_are_whole_again(run, tmp_path):
    run.recipe["lora"]["r"] = 16.0
    info = write_model_folder(*run.inputs(), tmp_path / "out")
    assert json.dumps(info["recipe"]["lora"]["r"]) == "16"


def test_no_path_of_the_machine_is_written(run, tmp_path):
    run.recipe["model"]["model_id"] = "/home/somebody/models/starter"
    run.recipe["data"]["dataset_id"] = "/home/somebody/data/questions.jsonl"
    write_model_folder(*run.inputs(), tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        if path.suffix != ".safetensors":
            text = path.read_text(encoding="utf-8")
            assert "/home/somebody" not in text, path.name
            assert str(tmp_path) not in text, path.name


def test_tokenizer_and_prompt_are_copied_byte_for_byte(run, folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "prompt.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (run.model_dir / name).read_bytes()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "prompt.json"]
)
def test_a_training_output_that_lacks_a_file_is_not_published(run, tmp_path, name):
    (run.model_dir / name).unlink()
    with pytest.raises(StorageError, match=f"not a finished training output: it lacks {name}. Run the fine-tuning"):
        write_model_folder(*run.inputs(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "prompt.json", "model_info.json", "README.md", "manifest.json"]
)
def test_a_folder_that_lacks_a_file_says_which(folder, name):
    (folder / name).unlink()
    with pytest.raises(StorageError, match=f"not a complete model folder: it lacks {name}"):
        read_model_folder(folder)


def test_a_missing_shard_is_named(run, tmp_path):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (run.model_dir / "model.safetensors").rename(run.model_dir / "model-00001-of-00002.safetensors")
    (run.model_dir / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(StorageError, match="lacks model-00002-of-00002.safetensors"):
        write_model_folder(*run.inputs(), tmp_path / "out")


def test_an_adapter_is_a_complete_folder_that_names_its_base(run, tmp_path):
    (run.model_dir / "model.safetensors").rename(run.model_dir / "adapter_model.safetensors")
    (run.model_dir / "config.json").unlink()
    config = {"base_model_name_or_path": "/home/somebody/models/model", "r": 8}
    (run.model_dir / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    write_model_folder(*run.inputs(), tmp_path / "out")
    model = read_model_folder(tmp_path / "out")
    assert model.adapter
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "starter"
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "library_name: peft" in card
    assert "AutoPeftModelForCausalLM" in card


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "state.pkl"])
def test_pickled_files_are_refused(run, tmp_path, name):
    (run.model_dir / name).write_bytes(b"\x80\x04.")
    with pytest.raises(StorageError, match=f"holds {name}: such files can run code when they are loaded"):
        write_model_folder(*run.inputs(), tmp_path / "out")


def test_files_that_are_no_part_of_a_model_are_left_out(run, tmp_path):
    (run.model_dir / "modeling_custom.py").write_text("print('hello')", encoding="utf-8")
    (run.model_dir / "checkpoint-10").mkdir()
    write_model_folder(*run.inputs(), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names.isdisjoint({"modeling_custom.py", "checkpoint-10"})


def test_changed_and_missing_files_are_named(folder):
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "README.md").unlink()
    with pytest.raises(StorageError, match=r"missing: README.md; changed: config.json\). Copy the folder again"):
        verify_checksums(folder)


def test_a_flipped_bit_in_the_weights_is_found(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="changed: model.safetensors"):
        verify_checksums(folder)


def test_a_manifest_that_points_outside_its_folder_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["../../etc/passwd"] = {"size": 1, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(StorageError, match="names '../../etc/passwd', which is not a file of this folder"):
        verify_checksums(folder)


def test_a_folder_that_is_being_rewritten_does_not_look_complete(run, folder):
    (run.evaluation_dir / "evaluation.json").write_text("{", encoding="utf-8")
    with pytest.raises(StorageError, match="evaluation.json"):
        write_model_folder(*run.inputs(), folder)
    write_evaluation(run.evaluation_dir)
    (run.model_dir / "training_log.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(StorageError, match="training_log.jsonl, line 1"):
        write_model_folder(*run.inputs(), folder)
    with pytest.raises(StorageError, match="never finished"):
        verify_checksums(folder)


def test_an_evaluation_of_another_dataset_is_refused(run, tmp_path):
    (run.dataset_dir / "dataset_info.json").write_text(json.dumps({"fingerprint": "other"}), encoding="utf-8")
    with pytest.raises(StorageError, match="was measured on dataset c+, but .* is other. Run the evaluation again"):
        write_model_folder(*run.inputs(), tmp_path / "out")


def test_an_evaluation_that_lacks_the_verdict_is_refused(run, tmp_path):
    path = run.evaluation_dir / "evaluation.json"
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    del evaluation["verdict"]
    path.write_text(json.dumps(evaluation), encoding="utf-8")
    with pytest.raises(StorageError, match=r"evaluation.json cannot be used \(verdict: Field required\)"):
        write_model_folder(*run.inputs(), tmp_path / "out")


def test_a_recipe_that_is_not_valid_is_a_config_error(run, tmp_path):
    run.recipe["training"]["learning_rate"] = -1
    with pytest.raises(ConfigError, match="the recipe of this run is not valid"):
        write_model_folder(*run.inputs(), tmp_path / "out")


def test_a_place_that_is_no_folder_is_told(tmp_path):
    with pytest.raises(StorageError, match="is not a folder"):
        read_model_folder(tmp_path / "nowhere")


def test_the_card_shows_base_and_tuned_with_intervals_and_valid_front_matter(folder):
    import yaml

    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| all (1000) | F1 | 40.0 (38.0 to 42.0) | 62.0 (60.0 to 64.0) | +22.0 (+19.0 to +25.0) |" in card
    meta = yaml.safe_load(card.split("---\n")[1])
    assert meta["pipeline_tag"] == "text-generation"
    assert meta["library_name"] == "transformers"
    assert meta["language"] == "en"
    assert meta["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.62
    assert "base_model" not in meta  # the Hub takes ids of its own repositories only
