"""Heads trained in one process: what is kept, what comes out, and how a training stops and goes on."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.tiny_heads import tiny_head, write_preprocessed, write_tiny_bert
from support.tiny_training import write_base_model

from components.core.catalogue import FINETUNE, read_parameters
from components.core.errors import ConfigError, TrainingError
from components.core.heads.training import finetune_head
from components.core.heads.training.job import catalogue_task, read_inputs
from components.core.settings import Settings
from components.core.tasks import get_head_task
from components.core.tasks.heads import read_head

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {
    "learning_rate": 5e-3, "num_train_epochs": 2, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8,
    "lora_alpha": 16, "precision": 32,
}  # fmt: skip
TASKS = ["single_label", "multi_label", "regression", "ner"]
STEP = """
import json, sys
from pathlib import Path
from components.core.catalogue import FINETUNE, read_parameters
from components.core.errors import user_errors
from components.core.heads.training import finetune_head
from components.core.progress import log_to_stdout
from components.core.settings import load_settings

work = Path(sys.argv[1])
log_to_stdout()
with user_errors():
    parameters = read_parameters(FINETUNE["classification_single_label"], json.loads(sys.argv[2]))
    result = finetune_head("single_label", parameters, work / "pre", work / "model", load_settings())
    print("resumed from", result.resumed_from_step)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Preprocess folders by base model and task, made when they are first asked for."""
    work = tmp_path_factory.mktemp("heads")
    bases = {"bert": write_tiny_bert(work / "bert"), "llama": write_base_model(work / "llama")}
    made = {}

    def folder(base, task):
        if (base, task) not in made:
            made[base, task] = write_preprocessed(work / f"{base}-{task}", task, bases[base])
        return made[base, task]

    return folder


@pytest.fixture
def train(tmp_path, folders):
    """Fine-tune a tiny base model into a folder of the test."""

    def run(output="model", task="single_label", base="bert", folder=None, **values):
        parameters = read_parameters(FINETUNE[catalogue_task(task)], GIVEN | values)
        settings = Settings(whetstone_home=tmp_path / "home", training_processes=1)
        return finetune_head(task, parameters, folder or folders(base, task), tmp_path / output, settings)

    return run


def auto_class(task):
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if task == "ner" else AutoModelForSequenceClassification


def outputs_of(model, preprocessed, task):
    """What a model gives for the first validation inputs, one at a time and without padding."""
    import torch

    table = read_inputs(task, preprocessed).validation
    with torch.no_grad():
        return [
            model.eval()(input_ids=torch.tensor([table[place]["input_ids"]])).logits[0].numpy() for place in range(8)
        ]


def equal(first, second, tolerance=1e-5):
    return all(np.allclose(a, b, atol=tolerance) for a, b in zip(first, second, strict=True))


def points(folder):
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def validations(folder):
    return {point["step"]: point for point in points(folder) if "validation_loss" in point}


def weights_hash(folder):
    return json.loads((folder / "training_info.json").read_text())["weights_sha256"]


@pytest.mark.parametrize("base", ["bert", "llama"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_leaves_a_model_folder_that_stands_alone(tmp_path, train, folders, task, base):
    result = train(task=task, base=base, num_train_epochs=8)
    folder = tmp_path / "model"
    config = json.loads((folder / "config.json").read_text())
    head, known = read_head(folder), tiny_head(task, folders(base, task) / "pretrained_model")
    assert config["pad_token_id"] == head.pad_token_id
    assert config.get("problem_type") == get_head_task(task).problem_type
    if head.labels:
        assert list(config["id2label"].values()) == head.labels == known.labels
    assert head.model_copy(update={"thresholds": None}) == known
    assert (head.thresholds is not None) == (task == "multi_label")
    for name in ("tokenizer.json", "preprocess_args.json", "finetune_args.json", "training_info.json"):
        assert (folder / name).is_file(), name
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {f"checkpoint-{6 * n}" for n in range(1, 9)}
    losses = {step: point["validation_loss"] for step, point in validations(folder).items()}
    assert list(losses) == [6 * epoch for epoch in range(1, 9)]
    assert result.best_step == min(losses, key=losses.__getitem__)
    assert result.validation_loss == losses[result.best_step]
    assert base == "llama" or result.validation_loss < losses[6]
    best = validations(folder)[result.best_step]
    assert {name: best.get(name) for name in result.validation_metrics} == pytest.approx(result.validation_metrics)

    loaded = auto_class(task).from_pretrained(folder)
    kept = auto_class(task).from_pretrained(folder / "checkpoints" / f"checkpoint-{result.best_step}")
    preprocessed = folders(base, task)
    assert equal(outputs_of(loaded, preprocessed, task), outputs_of(kept, preprocessed, task))


@pytest.mark.parametrize(("task", "base"), [(task, "bert") for task in TASKS] + [("ner", "llama")])
def test_a_merged_adapter_gives_what_the_adapter_on_its_base_gives(tmp_path, train, folders, task, base):
    import peft

    merged = train("merged", task, base, apply_lora=True)
    alone = train("adapter", task, base, apply_lora=True, merge_lora_weights=False)
    assert (merged.method, merged.trainable_parameters) == ("lora", alone.trainable_parameters)
    assert merged.trainable_parameters < merged.total_parameters / 2
    assert not list((tmp_path / "merged").glob("adapter*"))
    assert not (tmp_path / "adapter" / "config.json").exists()
    assert not (tmp_path / "adapter" / "model.safetensors").exists()

    told = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    widths = {"num_labels": read_head(tmp_path / "adapter").outputs, "pad_token_id": 0}
    on_base = peft.PeftModel.from_pretrained(
        auto_class(task).from_pretrained(told["base_model_name_or_path"], **widths), tmp_path / "adapter"
    )
    whole, preprocessed = auto_class(task).from_pretrained(tmp_path / "merged"), folders(base, task)
    found = outputs_of(on_base, preprocessed, task)
    assert equal(found, outputs_of(whole, preprocessed, task), 1e-4)
    fresh = auto_class(task).from_pretrained(told["base_model_name_or_path"], **widths)
    assert not equal(found, outputs_of(fresh, preprocessed, task), 1e-2)


def test_the_metric_picks_the_checkpoint_and_the_limit_keeps_it_alone(tmp_path, train):
    result = train(metric_for_best_model="f1_macro", num_train_epochs=6, learning_rate=3e-2, save_total_limit=1)
    scores = {step: point["f1_macro"] for step, point in validations(tmp_path / "model").items()}
    assert result.best_step == max(scores, key=scores.__getitem__)
    assert result.best_metric == max(scores.values())
    assert result.validation_metrics["f1_macro"] == pytest.approx(max(scores.values()))
    assert [path.name for path in (tmp_path / "model" / "checkpoints").iterdir()] == [f"checkpoint-{result.best_step}"]


def test_early_stopping_ends_a_training_that_no_longer_gains(tmp_path, train):
    result = train(
        apply_early_stopping=True, early_stopping_threshold=10.0, early_stopping_patience=2, num_train_epochs=9
    )
    assert (result.stopped_early, result.steps) == (True, 18)
    assert list(validations(tmp_path / "model")) == [6, 12, 18]


def test_deterministic_runs_give_the_same_weights_and_another_seed_others(tmp_path, train):
    import torch

    for output, seed in (("first", 7), ("second", 7), ("other", 8)):
        train(output, enable_full_determinism=True, seed=seed, save_total_limit=1)
    assert weights_hash(tmp_path / "first") == weights_hash(tmp_path / "second")
    assert weights_hash(tmp_path / "first") != weights_hash(tmp_path / "other")
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("task", ["multi_label", "single_label"])
def test_accumulated_batches_count_as_one_large_batch(tmp_path, train, folders, task):
    """With a causal model, whose loss would take the number of labels for the number of tokens."""
    folder = write_preprocessed(
        tmp_path / "pre", task, folders("llama", task) / "pretrained_model", pad_to_max_length=True
    )
    train("large", task, folder=folder, per_device_train_batch_size=8)
    train("small", task, folder=folder, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    models = [auto_class(task).from_pretrained(tmp_path / name) for name in ("large", "small")]
    assert equal(*(outputs_of(model, folder, task) for model in models), 1e-4)


def test_long_rows_of_words_are_measured_as_rows(tmp_path, folders, train):
    folder = write_preprocessed(tmp_path / "pre", "ner", folders("bert", "ner") / "pretrained_model", longest=60)
    inputs = read_inputs("ner", folder)
    assert len(inputs.validation) > len(inputs.validation_rows)
    result = train(task="ner", folder=folder, num_train_epochs=8, metric_for_best_model="f1")
    assert result.validation_metrics["f1"] > 0.8


def test_a_head_of_another_shape_begins_afresh_or_is_refused(tmp_path, train):
    base = write_tiny_bert(tmp_path / "seven", labels=7)
    folder = write_preprocessed(tmp_path / "pre", "single_label", base)
    result = train(folder=folder, num_train_epochs=1)
    assert result.notes == ["The base model has no such weights, so they began at random: classifier."]
    with pytest.raises(TrainingError, match=r"head has another shape than 3 outputs \(classifier.bias: 7\)\. Choose"):
        train(folder=folder, ignore_mismatched_sizes=False)


def test_a_loss_that_explodes_is_told_in_one_message(train):
    with pytest.raises(TrainingError, match=r"^the loss is no longer a number at step \d+\. Lower learning_rate"):
        train(learning_rate=1e30, max_grad_norm=1e30)


@pytest.fixture
def little_memory(monkeypatch):
    """More than two rows do not fit, as PyTorch says it on a CPU."""
    from transformers import BertForSequenceClassification

    forward = BertForSequenceClassification.forward

    @functools.wraps(forward)
    def limited(self, input_ids=None, **others):
        if self.training and len(input_ids) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return forward(self, input_ids=input_ids, **others)

    monkeypatch.setattr(BertForSequenceClassification, "forward", limited)


def test_memory_that_runs_out_is_told_with_its_remedies(little_memory, train):
    with pytest.raises(TrainingError, match=r"^memory ran out while training\. Lower per_device_train_batch_size"):
        train()


def test_the_batch_size_is_lowered_until_it_fits(tmp_path, little_memory, train):
    train(auto_find_batch_size=True, num_train_epochs=1)
    effective = json.loads((tmp_path / "model" / "finetune_args.json").read_text())["effective"]
    assert effective["per_device_train_batch_size"] <= 2


def test_a_folder_of_another_task_is_refused(folders, train):
    with pytest.raises(ConfigError, match="was preprocessed for ner, not for single_label"):
        train(folder=folders("bert", "ner"))


def test_several_nodes_are_refused(train):
    with pytest.raises(ConfigError, match="num_nodes_finetune=2: a model with a head trains on one machine"):
        train(num_nodes_finetune=2)


def start(work, **values):
    import torch

    # the order of a sum, and so its last digits, depends on the number of threads
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(
        [sys.executable, "-c", STEP, str(work), json.dumps(GIVEN | values)], cwd=ROOT, text=True,
        env={**os.environ, "WHETSTONE_HOME": str(work / "home"), "PYTHONUNBUFFERED": "1"} | threads,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for_checkpoints(work, process, count):
    while len(list(work.glob("home/checkpoints/*/checkpoint-*/complete.json"))) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.fixture
def work(tmp_path):
    write_preprocessed(tmp_path / "pre", "single_label", write_tiny_bert(tmp_path / "bert"), train=200)
    return tmp_path


def test_a_killed_training_goes_on_to_the_weights_of_one_that_was_not(work, train):
    options = {"num_train_epochs": 8, "evaluation_strategy": "steps", "eval_steps": 5, "save_total_limit": 2}
    process = start(work, **options)
    wait_for_checkpoints(work, process, 2)
    process.kill()
    process.communicate(timeout=60)
    assert not (work / "model" / "training_info.json").exists()
    again = train(folder=work / "pre", **options, resume_from_checkpoint=True)
    assert again.resumed_from_step is not None
    assert again.resumed_from_step < again.steps == 200
    resumed = weights_hash(work / "model")
    whole = train("whole", folder=work / "pre", **options, resume_from_checkpoint=True)
    assert whole.resumed_from_step is None
    assert weights_hash(work / "whole") == resumed
    assert whole.train_loss == pytest.approx(again.train_loss, abs=1e-4)
    assert [point["step"] for point in points(work / "model")] == [point["step"] for point in points(work / "whole")]


def test_sigterm_leaves_a_checkpoint_and_says_how_to_go_on(work):
    process = start(work, num_train_epochs=500)
    wait_for_checkpoints(work, process, 1)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2, output
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    step = int(error.split("after step ")[1].split(";")[0])
    assert error == (
        f"error: stopped by SIGTERM after step {step}; a checkpoint is written. Run again with "
        "resume_from_checkpoint=true to continue."
    )
    assert list(work.glob(f"home/checkpoints/*/checkpoint-{step}/complete.json"))
    assert "Traceback" not in output
