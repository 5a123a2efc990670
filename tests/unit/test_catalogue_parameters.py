"""The parameters of the task catalogue: their names, defaults and choices are a contract, written out here by hand."""

from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from components.core.catalogue import FINETUNE, PREPROCESS, InferenceParameters, check_parameters, read_parameters
from components.core.catalogue.amounts import evaluation_steps, kubernetes_quantity, training_steps, unlimited
from components.core.catalogue.checking import check_registered_model_name
from components.core.catalogue.reference import REFERENCE, reference
from components.core.errors import ConfigError
from components.core.metrics.classification import CLASSIFICATION_METRICS
from components.core.metrics.entities import ENTITY_METRICS
from components.core.metrics.multi_label import MULTI_LABEL_METRICS
from components.core.metrics.regression import REGRESSION_METRICS

TASKS = ["classification_single_label", "classification_multi_label", "regression", "ner"]
LABEL_METRICS = ["loss", "f1_macro", "mcc", "accuracy", "precision_macro", "recall_macro"]

DEFAULTS = {
    "apply_lora": False, "merge_lora_weights": True, "lora_alpha": 128, "lora_r": 8, "lora_dropout": 0.0,
    "num_train_epochs": 1, "max_steps": -1, "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1,
    "auto_find_batch_size": False, "optim": "adamw_torch", "learning_rate": 2e-5, "warmup_steps": 0,
    "weight_decay": 0.0, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
    "gradient_accumulation_steps": 1, "eval_accumulation_steps": -1, "lr_scheduler_type": "linear", "precision": 32,
    "seed": 42, "enable_full_determinism": False, "dataloader_num_workers": 0, "ignore_mismatched_sizes": True,
    "max_grad_norm": 1.0, "evaluation_strategy": "epoch", "evaluation_steps_interval": 0.0, "eval_steps": 500,
    "logging_strategy": "steps", "logging_steps": 10, "metric_for_best_model": "loss",
    "resume_from_checkpoint": False, "save_total_limit": -1, "apply_early_stopping": False,
    "early_stopping_patience": 1, "early_stopping_threshold": 0.0, "apply_deepspeed": False, "deepspeed": None,
    "deepspeed_stage": 2, "apply_ort": False, "ort_quantization": "none", "num_nodes_finetune": 1,
    "number_of_gpu_to_use_finetuning": 1, "shm_size_finetune": "5g", "registered_model_name": None,
}  # fmt: skip
OVERRIDES = {
    "classification_multi_label": {
        "per_device_train_batch_size": 32, "per_device_eval_batch_size": 32, "num_train_epochs": 3,
        "learning_rate": 5e-5, "precision": 16, "primary_metric": "accuracy",
    },
    "chat_completion": {"ignore_mismatched_sizes": False},
}  # fmt: skip
CHOICES = {
    "ort_quantization": ["none", "int8"],
    "optim": ["adamw_torch", "adafactor"],
    "lr_scheduler_type": [
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    ],
    "precision": [32, 16, 8, 4],
    "evaluation_strategy": ["epoch", "steps"],
    "deepspeed_stage": [2, 3],
}  # fmt: skip
BEST_METRICS = {
    "classification_single_label": LABEL_METRICS,
    "classification_multi_label": LABEL_METRICS,
    "regression": ["loss", "mae", "rmse", "r2", "pearson", "spearman"],
    "ner": ["loss", "f1", "accuracy", "precision", "recall"],
    "chat_completion": ["loss", "f1", "exact"],
}
PREPROCESS_DEFAULTS = {"batch_size": 1000, "pad_to_max_length": False, "max_seq_length": -1}
KEYS = {
    "classification_single_label": {"sentence1_key": "t", "sentence2_key": "p", "label_key": "l"},
    "classification_multi_label": {"sentence1_key": "t", "sentence2_key": "p", "label_column_name": "l"},
    "regression": {"sentence1_key": "t", "sentence2_key": "p", "label_key": "l"},
    "ner": {"token_key": "t", "tag_key": "l"},
}
COLUMNS = {
    "classification_single_label": {"text": "t", "text_pair": "p", "label": "l"},
    "classification_multi_label": {"text": "t", "text_pair": "p", "labels": "l"},
    "regression": {"text": "t", "text_pair": "p", "score": "l"},
    "ner": {"tokens": "t", "ner_tags": "l"},
}


def tuned(task="ner", **values):
    return read_parameters(FINETUNE[task], values)


def test_the_catalogue_has_its_tasks():
    assert list(PREPROCESS) == TASKS
    assert list(FINETUNE) == [*TASKS, "chat_completion"]


@pytest.mark.parametrize("task", FINETUNE)
def test_finetune_has_exactly_these_names_and_defaults(task):
    assert tuned(task).model_dump() == DEFAULTS | OVERRIDES.get(task, {})


@pytest.mark.parametrize("task", FINETUNE)
def test_finetune_has_exactly_these_choices(task):
    choices = {
        name: list(get_args(field.annotation))
        for name, field in FINETUNE[task].model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    assert choices.pop("logging_strategy") == ["steps", "epoch"]
    choices.pop("primary_metric", None)
    expected = CHOICES | {"metric_for_best_model": BEST_METRICS[task]}
    if task == "chat_completion":
        expected["evaluation_strategy"] = ["epoch", "steps", "disable"]
    assert choices == expected


@pytest.mark.parametrize("task", TASKS)
def test_preprocess_has_these_names_and_defaults_and_maps_its_keys_to_columns(task):
    parameters = read_parameters(PREPROCESS[task], KEYS[task])
    assert parameters.model_dump() == PREPROCESS_DEFAULTS | KEYS[task]
    assert parameters.columns() == COLUMNS[task]


def test_the_second_sentence_is_optional_and_empty_text_means_none():
    parameters = read_parameters(
        PREPROCESS["regression"], {"sentence1_key": "t", "sentence2_key": "", "label_key": "l"}
    )
    assert parameters.columns() == {"text": "t", "score": "l"}


def test_inference_takes_model_file_and_an_optional_deepspeed_configuration():
    parameters = read_parameters(InferenceParameters, {"model_path": "m", "test_file": "t.jsonl"})
    assert parameters.model_dump() == {
        "model_path": "m",
        "test_file": "t.jsonl",
        "deepspeed": None,
        "runtime": "auto",
        "weights": "fp32",
    }


def test_numbers_that_a_pipeline_made_floats_or_text_are_given_back():
    parameters = tuned(precision=16.0, seed=7.0, max_steps="-1", deepspeed_stage="3", lora_r=4.0, apply_lora="true")
    found = [getattr(parameters, name) for name in ("precision", "seed", "max_steps", "deepspeed_stage", "lora_r")]
    assert found == [16, 7, -1, 3, 4]
    assert all(type(value) is int for value in found)
    assert parameters.apply_lora is True


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_R": 4}, "unknown parameter lora_R. Did you mean lora_r?"),
        ({"foo": 4}, "unknown parameter foo. There are apply_lora, "),
        ({"optim": "sgd"}, "optim='sgd': must be 'adamw_torch' or 'adafactor'."),
        ({"precision": 12}, "precision=12: must be 32, 16, 8 or 4."),
        ({"deepspeed_stage": 1}, "deepspeed_stage=1: must be 2 or 3."),
        ({"evaluation_strategy": "disable"}, "evaluation_strategy='disable': must be 'epoch' or 'steps'."),
        ({"metric_for_best_model": "mcc"}, "metric_for_best_model='mcc': must be 'loss', 'f1', "),
        ({"max_steps": 0}, "max_steps=0: must be -1 or at least 1."),
        ({"save_total_limit": -2}, "save_total_limit=-2: must be -1 or at least 1."),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0: must be greater than or equal to 1."),
        ({"seed": 1.5}, "seed=1.5: must be a valid integer, got a number with a fractional part."),
        ({"seed": True}, "seed=True: is true or false; give a whole number."),
        ({"learning_rate": float("nan")}, "learning_rate=nan: must be a finite number."),
        ({"evaluation_steps_interval": 1.5}, "evaluation_steps_interval=1.5: must be less than or equal to 1."),
        ({"shm_size_finetune": "5 GB"}, "shm_size_finetune='5 GB': is not an amount of memory; write it like 5g."),
    ],
)
def test_a_wrong_value_is_refused_by_name_with_what_is_possible(values, message):
    with pytest.raises(ConfigError) as caught:
        tuned(**values)
    assert str(caught.value).startswith(message)


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        tuned(optim="sgd", max_steps=0, foo=1)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token_key": "t"}, "tag_key: is missing. Give tag_key=<Column of the tags"),
        ({"token_key": "t", "tag_key": "t"}, "column t is named by two keys; name another column in one of them."),
        ({"token_key": "t", "tag_key": "l", "max_seq_length": 0}, "max_seq_length=0: must be -1 or at least 1."),
        ({"token_key": "", "tag_key": "l"}, "token_key='': String should have at least 1 character."),
    ],
)
def test_a_wrong_preprocess_value_is_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        read_parameters(PREPROCESS["ner"], values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("ner", {"learning_rate": 0}, "learning_rate=0: must be above 0, else nothing is learned. Set it to 2e-5"),
        ("ner", {"learning_rate": -1e-5}, "learning_rate=-1e-05: must be above 0"),
        (
            "chat_completion",
            {"apply_early_stopping": True, "evaluation_strategy": "disable"},
            "apply_early_stopping=true: needs evaluations, yet evaluation_strategy=disable. Set evaluation_strategy=",
        ),
        (
            "chat_completion",
            {"metric_for_best_model": "f1", "evaluation_strategy": "disable"},
            "metric_for_best_model=f1: is never measured with evaluation_strategy=disable.",
        ),
        (
            "ner",
            {"evaluation_steps_interval": 0.5},
            "evaluation_steps_interval=0.5: has no effect with evaluation_strategy=epoch. Set evaluation_",
        ),
        (
            "ner",
            {"apply_deepspeed": True, "auto_find_batch_size": True},
            "auto_find_batch_size=true: does not work together with apply_deepspeed=true",
        ),
        ("ner", {"registered_model_name": "acme/ner"}, "registered_model_name='acme/ner': must match ^[a-zA-Z0-9-]+$."),
        (
            "ner",
            {"apply_ort": True, "apply_lora": True, "merge_lora_weights": False},
            "apply_ort=true: an adapter alone cannot be exported to ONNX Runtime, only a whole model. Set merge",
        ),
        ("ner", {"ort_quantization": "int8"}, "ort_quantization=int8: has no effect without the export. Set apply_ort"),
        (
            "ner",
            {"precision": 4},
            "precision=4: freezes the weights, so that only an adapter can be trained. Set",
        ),
        (
            "ner",
            {"precision": 8, "apply_lora": True, "number_of_gpu_to_use_finetuning": 0},
            "precision=8: QLoRA runs on CUDA devices only, and number_of_gpu_to_use_finetuning=0. Set precision=16",
        ),
    ],
)
def test_a_combination_that_cannot_train_is_refused(task, values, message):
    with pytest.raises(ConfigError) as caught:
        check_parameters(tuned(task, **values))
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_qlora_is_refused_where_the_training_machine_has_no_cuda():
    parameters = tuned(precision=4, apply_lora=True)
    check_parameters(parameters)
    with pytest.raises(ConfigError, match="precision=4: QLoRA runs on CUDA devices only, and this machine has no CUDA"):
        check_parameters(parameters, cuda=False)


@pytest.mark.parametrize("task", FINETUNE)
def test_the_defaults_of_every_task_pass(task):
    check_parameters(tuned(task), cuda=False)


@pytest.mark.parametrize("name", ["a_b", "a b", "a.b", "", "modèle", "a\n"])
def test_a_model_name_of_anything_but_letters_digits_and_hyphens_is_refused(name):
    with pytest.raises(ConfigError, match="must match"):
        check_registered_model_name(name)


@pytest.mark.parametrize(
    ("values", "steps_per_epoch", "expected"),
    [
        ({"eval_steps": 50}, 200, 50),
        ({"eval_steps": 500}, 200, 200),
        ({"eval_steps": 500, "max_steps": 30}, 200, 30),
        ({"evaluation_steps_interval": 0.29}, 100, 29),
        ({"evaluation_steps_interval": 0.25}, 10, 2),
        ({"evaluation_steps_interval": 0.001}, 10, 1),
        ({"evaluation_steps_interval": 1.0, "eval_steps": 3}, 10, 10),
    ],
)
def test_an_interval_is_a_fraction_of_an_epoch_and_there_is_always_one_evaluation(values, steps_per_epoch, expected):
    assert evaluation_steps(tuned(evaluation_strategy="steps", **values), steps_per_epoch) == expected


def test_minus_one_means_no_limit():
    assert (unlimited(-1), unlimited(3)) == (None, 3)
    assert training_steps(tuned(num_train_epochs=2.5), 10) == 25
    assert training_steps(tuned(max_steps=7), 10) == 7


@pytest.mark.parametrize(("memory", "quantity"), [("5g", "5Gi"), ("512m", "512Mi"), ("5Gi", "5Gi"), ("1024", "1024")])
def test_shared_memory_becomes_a_kubernetes_quantity(memory, quantity):
    assert kubernetes_quantity(tuned(shm_size_finetune=memory).shm_size_finetune) == quantity


def test_the_reference_page_is_current():
    assert Path(REFERENCE).read_text(encoding="utf-8") == reference(), "run make docs"


@pytest.mark.parametrize(
    ("task", "measured"),
    [
        ("classification_single_label", CLASSIFICATION_METRICS),
        ("classification_multi_label", MULTI_LABEL_METRICS),
        ("regression", REGRESSION_METRICS),
        ("ner", ENTITY_METRICS),
    ],
)
def test_every_metric_that_can_pick_the_best_model_is_measured(task, measured):
    assert {"loss", *measured} >= set(BEST_METRICS[task])
