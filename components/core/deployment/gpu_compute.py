"""May a model run on the GPUs of a cluster: by its allow list, else by what is known to be too small or too old."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.core.deployment.gpu_nodes import GpuNode, GpuPool, GpusWanted, NoGpus, suitable_pools
from components.core.recipe import CatalogueModel

FINETUNE = "finetune_compute_allow_list"
INFERENCE = "inference_compute_allow_list"
LEAST_CAPABILITY = (7, 5)
"""The CUDA 13 builds of PyTorch have kernels from Turing on."""
LEAST_BYTES = 8 * 2**30
"""CUDA context, a small model and its activations; labels round down."""
TOO_OLD = ("K20", "K40", "K80", "M4", "M10", "M40", "M60", "P4", "P6", "P40", "P100", "V100", "V100S", "TITAN-V")
"""Words of product labels of GPUs before Turing, for nodes whose labels tell no compute capability."""


@dataclass(frozen=True)
class Compute:
    """The GPUs that a model may use."""

    pools: tuple[GpuPool, ...]
    gpus_per_node: int
    """Of the largest node."""
    lines: tuple[str, ...]
    """What was found, printable."""


def check_compute(
    nodes: Sequence[GpuNode], wanted: GpusWanted, model: CatalogueModel | None, tag: str = FINETUNE
) -> Compute:
    """Hold the GPUs of a cluster against a model.

    Args:
        nodes: Nodes with GPUs.
        wanted: What the run or the endpoint asks for.
        model: From the catalogue; None for a model that is not there.
        tag: Name of the allow list.

    Raises:
        NoGpus: If no usable node has such GPUs, or none of them is of a type that the model may use.
    """
    allowed: tuple[str, ...] | None = getattr(model, tag) if model else None
    lines = []
    if allowed is None:
        whose = f"the tags of {model.short_name}" if model else "the model catalogue"
        lines.append(f"{tag} is not in {whose}: GPUs are held against those that are too small or too old")
    found = suitable_pools(nodes, wanted)
    refused = {pool.label: reason for pool in found if (reason := _why_refused(pool, allowed, tag))}
    fitting = tuple(pool for pool in found if pool.label not in refused)
    if not fitting:
        told = "; ".join(f"{label} {reason}" for label, reason in refused.items())
        raise NoGpus(f"no GPU here may be used: {told}", _remedy(model, allowed, tag))
    if refused and wanted.product is None:
        lines.append(
            f"Warning it may land on {', '.join(refused)}, which it may not use: set gpu.product={fitting[0].product}"
        )
    lines += [f"Number of GPU's in compute {pool.product or '(no label)'}: {_per_node(pool)}" for pool in fitting]
    return Compute(fitting, max(_per_node(pool) for pool in fitting), tuple(lines))


def is_allowed(product: str, allowed: Sequence[str]) -> bool:
    """Whether a product label is in a list: the whole label or words of it (`A100`), in any case.

    A slice of a GPU has a slice of its memory, so that only its whole label stands for it.
    """
    name = _words(product)
    if name in map(_words, allowed):
        return True
    return "-MIG-" not in f"{name}-" and any(f"-{_words(each)}-" in f"-{name}-" for each in allowed)


def _why_refused(pool: GpuPool, allowed: Sequence[str] | None, tag: str) -> str:
    """Why a model may not use a GPU; empty if it may, or if nothing tells what it is."""
    if allowed is not None:
        return "" if not pool.product or is_allowed(pool.product, allowed) else f"is not in {tag}"
    capability = next((node.capability for node in pool.nodes if node.capability), "")
    if is_allowed(pool.product, TOO_OLD) or _is_old(capability):
        return f"is too old (compute capability below {'.'.join(map(str, LEAST_CAPABILITY))})"
    if pool.memory is not None and pool.memory < LEAST_BYTES * 0.9:
        return f"is too small (less than {LEAST_BYTES >> 30} GiB)"
    return ""


def _is_old(capability: str) -> bool:
    numbers = [int(part) for part in capability.split(".") if part.isdigit()]
    # a major number alone is believed to be the best of its kind
    return bool(numbers) and tuple(numbers) < LEAST_CAPABILITY[: len(numbers)]


def _remedy(model: CatalogueModel | None, allowed: Sequence[str] | None, tag: str) -> str:
    if allowed is None or model is None:
        return "Add a node with a newer or larger GPU."
    return (
        f"Use one of {', '.join(allowed)}, a smaller model, or add the GPU to {tag} of {model.short_name} where you "
        "know that it fits."
    )


def _per_node(pool: GpuPool) -> int:
    return max(node.count for node in pool.nodes)


def _words(name: str) -> str:
    return name.strip().upper().replace(" ", "-").replace("_", "-")
