"""The table in docs/catalogue-parameters.md, made from the types: `python -m components.core.catalogue.reference`."""

from collections.abc import Mapping
from inspect import get_annotations
from pathlib import Path
from typing import TypeVar

from components.core.catalogue.finetune import (
    FINETUNE,
    EvaluationParameters,
    LoraParameters,
    OptimisationParameters,
    ResourceParameters,
    TrainingParameters,
)
from components.core.catalogue.gate import EVALUATE, HeadGate
from components.core.catalogue.inference import InferenceParameters
from components.core.catalogue.preprocess import PREPROCESS, PreprocessParameters
from components.core.catalogue.values import Parameters
from components.core.recipe.reference import table

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "catalogue-parameters.md"

HEAD = """# Parameters of the task catalogue

Made from the types by `make docs`; a test keeps it current. An unknown parameter, a wrong type and a value outside its
list are refused before anything runs. Where -1 is the default, a number from 1 on is the other choice.
"""
GROUPS = (LoraParameters, TrainingParameters, EvaluationParameters, OptimisationParameters, ResourceParameters)
REFUSED = """
## Refused together

- `learning_rate` of 0 or less.
- `apply_early_stopping`, or a `metric_for_best_model` other than loss, with `evaluation_strategy=disable`.
- `evaluation_steps_interval` above 0 without `evaluation_strategy=steps`.
- `num_nodes_finetune` above 1 for the four tasks, which train on one machine.
- `apply_deepspeed` with `auto_find_batch_size`; a DeepSpeed JSON without an integer stage; ZeRO-3 without
  `stage3_gather_16bit_weights_on_model_save: true`.
- `precision` 4 or 8 without a CUDA device, without `apply_lora`, or without the package bitsandbytes.
- `registered_model_name` outside `^[a-zA-Z0-9-]+$`.
- `apply_ort` with `apply_lora` and `merge_lora_weights=false`; `ort_quantization=int8` without `apply_ort`.
"""
P = TypeVar("P", bound=Parameters)


def reference() -> str:
    """The whole page as Markdown."""
    parts = [HEAD, _part("preprocess_<task>", 2, PreprocessParameters)]
    parts += _by_task("preprocess", PREPROCESS, PreprocessParameters)
    parts += [
        "\n## finetune_<task>\n",
        *(_part(group.__name__.removesuffix("Parameters"), 3, group) for group in GROUPS),
    ]
    parts += _by_task("finetune", FINETUNE, *GROUPS)
    parts += [_part("inference_<task>", 2, InferenceParameters), _part("evaluate_<task>", 2, HeadGate)]
    parts += [*_by_task("evaluate", EVALUATE, HeadGate), REFUSED]
    return "".join(parts)


def _part(title: str, depth: int, kind: type[Parameters]) -> str:
    doc = (kind.__doc__ or "").strip().splitlines()[0]
    return f"\n{'#' * depth} {title}\n\n{doc}\n\n{table(kind.model_fields)}"


def _by_task(step: str, kinds: Mapping[str, type[P]], *shared: type[Parameters]) -> list[str]:
    """What each task has beside, or other than, the shared groups."""
    parts = []
    for task, kind in kinds.items():
        own = {name for each in kind.__mro__ if each not in shared for name in get_annotations(each)}
        fields = {name: field for name, field in kind.model_fields.items() if name in own}
        parts.append(f"\n### {step}_{task}\n\nBeside or instead of the above:\n\n{table(fields)}")
    return parts


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
