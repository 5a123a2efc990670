"""Real training of a tiny model, from token files to a folder that transformers loads."""

import json
import logging
import re

import pytest
from support.tiny_training import random_rows, write_base_model, write_rows, write_tokens

from components.core.errors import StorageError, TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("data") / "tokens")


@pytest.fixture
def train(tmp_path, base, tokens):
    """Fine-tune into a folder of the test."""

    def run(output="model", tokens_dir=tokens, base_dir=base, lora=None, **training):
        options = {"learning_rate": 1e-2, "tokens_per_batch": 256, "num_train_epochs": 2, **training}
        settings = Settings(whetstone_home=tmp_path / "home")
        model = ModelConfig(model_id=str(base_dir))
        lora_config = LoraConfig.model_validate(lora or {})
        config = TrainingConfig.model_validate(options)
        return finetune(TaskConfig(), model, config, lora_config, tokens_dir, tmp_path / output, settings)

    return run


def weights_of(folder):
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return dict(model.named_parameters())


def largest_difference(first, second):
    return max((first[name].float() - second[name].float()).abs().max().item() for name in first)


@pytest.mark.parametrize(("method", "fall"), [("full", 0.3), ("lora", 0.05)])
def test_the_loss_falls_and_the_folder_loads_with_its_tokenizer_and_prompt(tmp_path, train, base, tokens, method, fall):
    from transformers import AutoTokenizer

    result = train(method=method, num_train_epochs=20)
    points = [json.loads(line) for line in (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()]
    losses = [point["loss"] for point in points if "loss" in point]
    assert losses[-1] < losses[0] - fall
    assert losses[-1] < result.train_loss < losses[0]
    assert result.validation_loss == points[-1]["validation_loss"]
    assert result.steps == points[-1]["step"] == 100
    assert points[-1]["epoch"] == 20.0
    assert set(points[0]) == {
        "step", "epoch", "loss", "grad_norm", "learning_rate", "tokens_per_second", "peak_memory_bytes",
    }  # fmt: skip
    assert largest_difference(weights_of(tmp_path / "model"), weights_of(base)) > 1e-3
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("w0 w1")["input_ids"] == [3, 4]
    assert tokenizer.chat_template
    prompts = [json.loads((folder / "prompt.json").read_text()) for folder in (tmp_path / "model", tokens)]
    assert prompts[0] == prompts[1]
    assert (tmp_path / "model" / "config.json").read_bytes() == (base / "config.json").read_bytes()


def test_the_record_of_a_run_says_what_was_trained(tmp_path, train, base):
    result = train(method="lora")
    info = json.loads((tmp_path / "model" / "training_info.json").read_text())
    assert info["base_model_id"] == str(base)
    assert info["base_model_revision"] == "local"
    assert info["tokens_fingerprint"] == "tiny-48-8"
    assert info["train_loss"] == result.train_loss
    assert info["config"]["training"]["learning_rate"] == 1e-2
    assert 0 < info["trainable_parameters"] < info["total_parameters"]
    assert not any(file.suffix in {".bin", ".pt", ".pth"} for file in (tmp_path / "model").rglob("*"))


def test_a_finished_run_leaves_no_checkpoints(tmp_path, train):
    train()
    assert not list((tmp_path / "home" / "checkpoints").iterdir())


def test_two_runs_of_one_seed_give_the_same_weights_and_another_seed_does_not(tmp_path, train):
    for output, seed in (("first", 1), ("second", 1), ("third", 2)):
        train(output, seed=seed, lora={"dropout": 0.1})
    first, second, third = (weights_of(tmp_path / name) for name in ("first", "second", "third"))
    assert largest_difference(first, second) == 0
    assert largest_difference(first, third) > 1e-5


def test_a_batch_in_two_halves_trains_like_the_whole_batch(tmp_path, train):
    train("whole", method="full", per_device_train_batch_size=12)
    train("halves", method="full", per_device_train_batch_size=6, gradient_accumulation_steps=2)
    assert largest_difference(weights_of(tmp_path / "whole"), weights_of(tmp_path / "halves")) < 1e-4


def test_recomputed_activations_train_like_kept_ones(tmp_path, train):
    train("kept", gradient_checkpointing="off")
    train("recomputed", gradient_checkpointing="on")
    assert largest_difference(weights_of(tmp_path / "kept"), weights_of(tmp_path / "recomputed")) < 1e-5


def test_an_adapter_gives_the_outputs_of_the_merged_model(tmp_path, train, base):
    import torch
    from transformers import AutoModelForCausalLM

    train("merged")
    train("adapter", lora={"merge_lora_weights": False})
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == str(base)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    outputs = [
        AutoModelForCausalLM.from_pretrained(tmp_path / name)(torch.tensor([[3, 4, 5, 6]])).logits
        for name in ("merged", "adapter")
    ]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)


def test_a_run_into_the_same_folder_does_not_leave_the_other_kind_of_weights(tmp_path, train):
    train(lora={"merge_lora_weights": False})
    train()
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert "model.safetensors" in names
    assert not names & {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_bf16_base_stays_bf16_on_disk(tmp_path, train, method):
    import torch

    half = write_base_model(tmp_path / "half", dtype="bfloat16")
    result = train(base_dir=half, method=method)
    assert result.precision == "fp32"
    assert {weights.dtype for weights in weights_of(tmp_path / "model").values()} == {torch.bfloat16}


def test_precision_16_says_what_it_came_to(train):
    from components.core.training.hardware import cpu_has_bf16

    result = train(precision="16")
    assert result.precision == ("bf16" if cpu_has_bf16() else "fp32")
    assert any("bf16" in note for note in result.notes) == (not cpu_has_bf16())


def test_without_validation_rows_there_is_no_validation_loss(tmp_path, train):
    result = train(tokens_dir=write_tokens(tmp_path / "tokens", validation=0))
    assert result.validation_loss is None
    assert result.notes == ["There are no validation rows, so no validation loss."]


def test_progress_is_logged_without_any_row_text(caplog, train):
    caplog.set_level(logging.INFO, logger="components")
    train()
    assert "Training 10 steps over 48 rows" in caplog.text
    assert not re.search(r"\bw1\b", caplog.text)


def test_an_early_problem_is_told_before_anything_is_written(tmp_path, train):
    with pytest.raises(StorageError, match=r"prompt\.json is missing"):
        train(tokens_dir=tmp_path / "nowhere")
    assert not (tmp_path / "model").exists()


def test_nothing_to_learn_is_an_error(tmp_path, train):
    tokens = write_tokens(tmp_path / "tokens")
    write_rows(tokens / "train.arrow", [(ids, [-100] * len(ids)) for ids, _ in random_rows(4, seed=0)])
    with pytest.raises(TrainingError, match=r"holds no row with a token to learn\. Check the dataset"):
        train(tokens_dir=tokens)


def test_tokens_of_another_model_are_refused(tmp_path, train):
    tokens = write_tokens(tmp_path / "tokens")
    write_rows(tokens / "train.arrow", [([3, 4, 900], [-100, -100, 900])])
    with pytest.raises(TrainingError, match="the tokens hold id 900, .* knows ids below 64 only"):
        train(tokens_dir=tokens)


def test_rows_longer_than_the_model_are_refused(tmp_path, train):
    tokens = write_tokens(tmp_path / "tokens")
    write_rows(tokens / "train.arrow", [([5] * 200, [-100] * 199 + [5])])
    with pytest.raises(TrainingError, match=r"longest row has 200 tokens, .* takes 128\. Lower tokens\.max_seq_length"):
        train(tokens_dir=tokens)


def test_layers_that_are_not_there_are_named(train):
    with pytest.raises(TrainingError, match=r"lora\.target_modules \['nothing'\] do not fit the model"):
        train(lora={"target_modules": ["nothing"]})


def test_a_loss_that_explodes_stops_with_the_remedy(tmp_path, train):
    with pytest.raises(TrainingError, match=r"no longer a number at step \d+\. Lower training\.learning_rate"):
        train(method="full", learning_rate=1e30, warmup_steps=0, max_grad_norm=1e30, save_steps=1)
    assert not (tmp_path / "model" / "training_info.json").exists()


def test_a_model_that_could_not_be_written_is_written_by_the_next_run_without_training_again(tmp_path, train):
    (tmp_path / "model" / "tokenizer.json").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write the model to .* training is kept"):
        train()
    (tmp_path / "model" / "tokenizer.json").rmdir()
    result = train()
    assert result.resumed_from_step == result.steps == 10
    train("again")
    assert largest_difference(weights_of(tmp_path / "model"), weights_of(tmp_path / "again")) == 0


def test_an_output_that_cannot_be_written_is_told_first(tmp_path, train):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write .*choose another folder"):
        train("file/model")
