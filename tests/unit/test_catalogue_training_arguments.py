"""Parameters of the catalogue as transformers and DeepSpeed take them."""

import json
import subprocess
import sys

import pytest

from components.core.catalogue import FINETUNE, check_parameters, read_parameters
from components.core.catalogue.training_arguments import build_arguments, deepspeed_configuration, resolve_precision
from components.core.errors import ConfigError
from components.core.recipe.deepspeed import default_configuration, read_configuration
from components.core.training import hardware as machine
from components.core.training.hardware import Hardware

CPU = Hardware("cpu", "fp32", "padded", "sdpa")


def tuned(task="ner", **values):
    return read_parameters(FINETUNE[task], values)


def test_every_parameter_reaches_the_trainer_under_its_present_name(tmp_path):
    given = {
        "num_train_epochs": 2.0, "max_steps": 7, "per_device_train_batch_size": 3, "per_device_eval_batch_size": 5,
        "auto_find_batch_size": True, "optim": "adafactor", "learning_rate": 3e-4, "warmup_steps": 4,
        "weight_decay": 0.1, "adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6,
        "gradient_accumulation_steps": 2, "eval_accumulation_steps": 6, "lr_scheduler_type": "cosine", "seed": 9,
        "dataloader_num_workers": 1, "max_grad_norm": 0.5, "eval_steps": 3, "logging_strategy": "epoch",
        "logging_steps": 8, "metric_for_best_model": "f1", "save_total_limit": 2,
    }  # fmt: skip
    parameters = tuned(**given, evaluation_strategy="steps", enable_full_determinism=True)
    arguments = build_arguments(parameters, CPU, tmp_path, steps_per_epoch=10)
    assert {name: getattr(arguments, name) for name in given} == given
    assert (arguments.eval_strategy, arguments.save_strategy, arguments.save_steps) == ("steps", "steps", 3)
    assert (arguments.full_determinism, arguments.use_cpu) == (True, True)
    assert (arguments.load_best_model_at_end, arguments.greater_is_better) == (True, True)


def test_the_defaults_evaluate_and_save_each_epoch_without_limits(tmp_path):
    arguments = build_arguments(tuned(), CPU, tmp_path, steps_per_epoch=10)
    assert (arguments.eval_strategy, arguments.save_strategy) == ("epoch", "epoch")
    assert (arguments.save_total_limit, arguments.eval_accumulation_steps, arguments.max_steps) == (None, None, -1)
    assert (arguments.metric_for_best_model, arguments.greater_is_better) == ("loss", False)
    assert (arguments.bf16, arguments.fp16, arguments.deepspeed) == (False, False, None)


@pytest.mark.parametrize(
    ("task", "metric", "greater"),
    [("regression", "rmse", False), ("regression", "r2", True), ("classification_single_label", "mcc", True)],
)
def test_the_best_checkpoint_has_the_lowest_error_or_the_highest_score(tmp_path, task, metric, greater):
    arguments = build_arguments(tuned(task, metric_for_best_model=metric), CPU, tmp_path, 10)
    assert arguments.greater_is_better is greater


def test_without_evaluation_there_is_no_best_checkpoint(tmp_path):
    arguments = build_arguments(tuned("chat_completion", evaluation_strategy="disable"), CPU, tmp_path, 10)
    assert (arguments.eval_strategy, arguments.save_strategy) == ("no", "epoch")
    assert not arguments.load_best_model_at_end


@pytest.mark.parametrize(
    ("bits", "has_bf16", "precision", "noted"),
    [(32, True, "fp32", False), (16, True, "bf16", False), (16, False, "fp32", True), (4, True, "bf16", False)],
)
def test_precision_16_is_bf16_on_a_cpu_that_has_it_and_else_fp32_with_a_note(
    monkeypatch, bits, has_bf16, precision, noted
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: has_bf16)
    found = resolve_precision(bits)
    assert (found.device, found.precision, bool(found.notes)) == ("cpu", precision, noted)
    assert resolve_precision(bits, deepspeed=True).precision == "fp32"


@pytest.mark.parametrize("stage", [2, 3])
def test_the_default_configuration_passes_the_check_of_a_users_own(tmp_path, stage):
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(default_configuration(stage)))
    found = read_configuration(str(path))
    assert found["zero_optimization"]["stage"] == stage
    assert found["train_micro_batch_size_per_gpu"] == "auto"
    assert "optimizer" not in found
    assert "scheduler" not in found


def test_a_configuration_is_used_only_with_apply_deepspeed(tmp_path):
    path = tmp_path / "ds.json"
    path.write_text('{"zero_optimization": {"stage": 1}}')
    assert deepspeed_configuration(tuned(deepspeed=str(path))) is None
    assert deepspeed_configuration(tuned(deepspeed=str(path), apply_deepspeed=True)) == {
        "zero_optimization": {"stage": 1}
    }
    assert deepspeed_configuration(tuned(deepspeed_stage=3, apply_deepspeed=True)) == default_configuration(3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"zero_optimization": {"stage": "2"}}', 'zero_optimization.stage is "2", not an integer. Write "zero_opt'),
        ('{"zero_optimization": {"stage": true}}', "zero_optimization.stage is true, not an integer"),
        ("{}", "zero_optimization.stage is null, not an integer"),
        ("[]", "zero_optimization.stage is null, not an integer"),
        ("{stage: 2", "is not valid JSON"),
        (
            '{"zero_optimization": {"stage": 3}}',
            "ZeRO-3 with stage3_gather_16bit_weights_on_model_save=null saves a part of the weights only. Set",
        ),
        (
            '{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": "auto"}}',
            'ZeRO-3 with stage3_gather_16bit_weights_on_model_save="auto" saves a part',
        ),
    ],
)
def test_a_deepspeed_file_that_cannot_work_is_refused(tmp_path, text, message):
    path = tmp_path / "ds.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_parameters(tuned(apply_deepspeed=True, deepspeed=str(path)))
    assert str(caught.value).startswith(f"deepspeed={path}: {message}")
    check_parameters(tuned(deepspeed=str(path)))


def test_a_missing_deepspeed_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.json: cannot be read \(No such file or directory\)"):
        check_parameters(tuned(apply_deepspeed=True, deepspeed=str(tmp_path / "nowhere.json")))


def test_checking_parameters_and_naming_metrics_imports_no_heavy_library():
    code = (
        "import sys, components.core.catalogue, components.core.metrics, components.core.catalogue.training_arguments\n"
        "print(sorted({'torch', 'transformers', 'sklearn', 'scipy', 'seqeval'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
