"""What can be changed in a recipe so that it needs less memory, with what each change would need."""

from collections.abc import Callable
from typing import NamedTuple

from components.core.preflight.placement import GIB, needs_of
from components.core.recipe import Recipe
from components.core.training.estimate import ModelShape, longest_row

_SHORTEST = 128
_QLORA = {"training.precision": "4"}
"""8 bits are not offered: they take more memory, and the cost in quality of either is for the gate to judge."""


class Remedy(NamedTuple):
    """A change of the recipe."""

    change: str
    """As it is written on the command line, for example `training.method=lora`."""
    recipe: Recipe
    needs_bytes: int


def _checkpointing(recipe: Recipe, shape: ModelShape) -> list[dict[str, str]]:
    return [{"training.gradient_checkpointing": "on"}] if recipe.training.gradient_checkpointing == "off" else []


def _half_precision(recipe: Recipe, shape: ModelShape) -> list[dict[str, str]]:
    return [{"training.precision": "auto"}] if recipe.training.precision == "32" else []


def _adafactor(recipe: Recipe, shape: ModelShape) -> list[dict[str, str]]:
    return [{"training.optim": "adafactor"}] if recipe.training.optim != "adafactor" else []


def _adapter(recipe: Recipe, shape: ModelShape) -> list[dict[str, str]]:
    lora = {"training.method": "lora"}
    return [lora, lora | _QLORA] if recipe.training.method == "full" else []


def _quantized(recipe: Recipe, shape: ModelShape) -> list[dict[str, str]]:
    return [_QLORA] if recipe.training.method == "lora" and recipe.training.precision != "4" else []


def _shorter_rows(recipe: Recipe, shape: ModelShape) -> list[dict[str, str]]:
    lengths, length = [], longest_row(shape, recipe) // 2
    while length >= max(_SHORTEST, recipe.evaluation.max_new_tokens + 1):
        lengths.append({"tokens.max_seq_length": str(length)})
        length //= 2
    return lengths


_CHANGES: tuple[Callable[[Recipe, ModelShape], list[dict[str, str]]], ...] = (
    _checkpointing,
    _half_precision,
    _adafactor,
    _adapter,
    _quantized,
    _shorter_rows,
)
"""From what costs the user least (time) to what costs most (rows that are cut). Each gives its forms, mildest first."""


def find_remedies(shape: ModelShape, recipe: Recipe, device_bytes: int, bf16: bool) -> list[Remedy]:
    """Changes that make a recipe fit into a device: each alone, else the first few together; empty if nothing does."""
    alone = [fitting for kind in _CHANGES for fitting in _mildest(kind, recipe, shape, device_bytes, bf16)]
    if alone:
        return alone
    together: dict[str, str] = {}
    for kind in _CHANGES:
        for form in kind(recipe, shape):
            tried = _apply(shape, recipe, together | form, bf16)
            if tried.needs_bytes <= device_bytes:
                return [tried]
        together |= next(iter(kind(recipe, shape)[-1:]), {})
    return []


def _mildest(
    kind: Callable[[Recipe, ModelShape], list[dict[str, str]]],
    recipe: Recipe,
    shape: ModelShape,
    device_bytes: int,
    bf16: bool,
) -> list[Remedy]:
    tried = (_apply(shape, recipe, form, bf16) for form in kind(recipe, shape))
    return next(([remedy] for remedy in tried if remedy.needs_bytes <= device_bytes), [])


def _apply(shape: ModelShape, recipe: Recipe, changes: dict[str, str], bf16: bool) -> Remedy:
    tree = recipe.model_dump()
    for key, value in changes.items():
        section, name = key.split(".")
        tree[section][name] = value
    changed = Recipe.model_validate(tree)
    return Remedy(" ".join(f"{k}={v}" for k, v in changes.items()), changed, needs_of(shape, changed, bf16).least.total)


def describe(remedies: list[Remedy]) -> str:
    """Remedies as the end of a sentence."""
    if not remedies:
        return "no setting of the recipe makes it fit: choose a smaller base model or a larger GPU"
    return "use " + " or ".join(f"{remedy.change} (est. {_told(remedy)})" for remedy in remedies)


def _told(remedy: Remedy) -> str:
    return f"{gib(remedy.needs_bytes)} GiB" + (", QLoRA" if remedy.recipe.training.quantized_bits else "")


def gib(size: float) -> str:
    """Bytes in GiB, with no more digits than an estimate has."""
    digits = 2 if size < GIB else 1 if size < 10 * GIB else 0
    return f"{size / GIB:.{digits}f}"
