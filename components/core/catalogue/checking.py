"""Parameters of a user, checked before anything runs: each problem is named with its value and its remedy."""

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, TypeVar

from pydantic import ValidationError

from components.core.catalogue.finetune import CatalogueFinetune, FinetuneParameters
from components.core.catalogue.values import Parameters
from components.core.errors import ConfigError
from components.core.recipe.deepspeed import read_configuration

P = TypeVar("P", bound=Parameters)
T = TypeVar("T")

_MODEL_NAME = re.compile(r"[a-zA-Z0-9-]+")


def read_parameters(kind: type[P], values: Mapping[str, Any]) -> P:
    """Values by name as checked parameters; those that are not given take their default.

    Raises:
        ConfigError: With all problems at once, one a line: unknown names, wrong types, values outside their enum.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(kind, error))) from error


def check_parameters(parameters: FinetuneParameters, cuda: bool | None = None) -> None:
    """Refuse combinations that cannot train.

    Args:
        parameters: What the user asked for.
        cuda: Whether this machine has a CUDA device; None where the training runs elsewhere, and then its number of
            GPUs is believed.

    Raises:
        ConfigError: With all problems at once, one a line.
    """
    problems = [
        *_of_training(parameters),
        *_of_evaluation(parameters),
        *_of_deepspeed(parameters),
        *_of_precision(parameters, cuda),
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def check_registered_model_name(name: str) -> None:
    """Refuse a name that a registered model cannot have.

    Raises:
        ConfigError: If it holds anything but letters, digits and hyphens.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise ConfigError(
            f"registered_model_name={name!r}: must match ^[a-zA-Z0-9-]+$. Use letters, digits and hyphens only."
        )


def _of_training(parameters: FinetuneParameters) -> Iterator[str]:
    if parameters.learning_rate <= 0:
        yield (
            f"learning_rate={parameters.learning_rate:g}: must be above 0, else nothing is learned. "
            "Set it to 2e-5, for example."
        )
    if isinstance(parameters, CatalogueFinetune) and parameters.num_nodes_finetune > 1:
        yield (
            f"num_nodes_finetune={parameters.num_nodes_finetune}: a model with a head trains on one machine. Set "
            "num_nodes_finetune=1 and raise number_of_gpu_to_use_finetuning."
        )
    if parameters.registered_model_name is not None:
        yield from _caught(check_registered_model_name, parameters.registered_model_name)
    if parameters.apply_ort and parameters.apply_lora and not parameters.merge_lora_weights:
        yield (
            "apply_ort=true: an adapter alone cannot be exported to ONNX Runtime, only a whole model. "
            "Set merge_lora_weights=true, or apply_ort=false."
        )
    if parameters.ort_quantization != "none" and not parameters.apply_ort:
        yield (
            f"ort_quantization={parameters.ort_quantization}: has no effect without the export. Set apply_ort=true, or "
            "ort_quantization=none."
        )


def _of_evaluation(parameters: FinetuneParameters) -> Iterator[str]:
    strategy, interval = parameters.evaluation_strategy, parameters.evaluation_steps_interval
    if parameters.apply_early_stopping and strategy == "disable":
        yield (
            f"apply_early_stopping=true: needs evaluations, yet evaluation_strategy={strategy}. "
            "Set evaluation_strategy=epoch or steps."
        )
    if interval > 0 and strategy != "steps":
        yield (
            f"evaluation_steps_interval={interval:g}: has no effect with evaluation_strategy={strategy}. "
            "Set evaluation_strategy=steps, or the interval to 0."
        )
    if parameters.metric_for_best_model != "loss" and strategy == "disable":
        yield (
            f"metric_for_best_model={parameters.metric_for_best_model}: is never measured with "
            f"evaluation_strategy={strategy}. Set evaluation_strategy=epoch or steps."
        )


def _of_deepspeed(parameters: FinetuneParameters) -> Iterator[str]:
    if not parameters.apply_deepspeed:
        return
    if parameters.auto_find_batch_size:
        yield (
            "auto_find_batch_size=true: does not work together with apply_deepspeed=true, which needs the batch size "
            "before it starts. Set one of them to false."
        )
    if parameters.deepspeed is not None:
        yield from _caught(read_configuration, parameters.deepspeed)


def _of_precision(parameters: FinetuneParameters, cuda: bool | None) -> Iterator[str]:
    bits = parameters.precision
    if bits not in (4, 8):
        return
    if cuda is False or parameters.number_of_gpu_to_use_finetuning == 0:
        where = "this machine has no CUDA device" if cuda is False else "number_of_gpu_to_use_finetuning=0"
        yield f"precision={bits}: QLoRA runs on CUDA devices only, and {where}. Set precision=16 or 32."
    elif cuda and find_spec("bitsandbytes") is None:
        yield f"precision={bits}: needs the package bitsandbytes, which is not installed. Set precision=16 or 32."
    if not parameters.apply_lora:
        yield (
            f"precision={bits}: freezes the weights, so that only an adapter can be trained. "
            "Set apply_lora=true, or precision=16 or 32."
        )


def _caught(check: Callable[[T], object], value: T) -> Iterator[str]:
    try:
        check(value)
    except ConfigError as error:
        yield str(error)


def _explain(kind: type[Parameters], error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            yield f"unknown parameter {name}.{_nearest(kind, name)}"
        elif problem["type"] == "missing":
            yield f"{name}: is missing. Give {name}=<{(kind.model_fields[name].description or '').rstrip('.')}>."
        else:
            message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            yield f"{name}={problem['input']!r}: {message}." if name else f"{message}."


def _nearest(kind: type[Parameters], name: str) -> str:
    near = get_close_matches(name, list(kind.model_fields), n=1)
    return f" Did you mean {near[0]}?" if near else f" There are {', '.join(kind.model_fields)}."
