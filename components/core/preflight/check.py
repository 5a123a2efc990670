"""A run's needs in memory and time, told before anything is booked, and held against the cluster's GPUs."""

import math
from dataclasses import dataclass

from components.core.deployment.gpu_compute import check_compute
from components.core.deployment.gpu_nodes import GpuNode, GpuPool, GpusWanted, NoGpus, read_gpu_nodes, suitable_pools
from components.core.deployment.kubernetes_api import Cluster, ClusterError
from components.core.errors import ConfigError, StorageError
from components.core.preflight.amount import run_tokens
from components.core.preflight.model_shape import read_shape
from components.core.preflight.placement import GIB, Needs, needs_of, predict, seconds_per_million_tokens
from components.core.preflight.remedies import describe, find_remedies, gib
from components.core.recipe import CatalogueModel, Recipe
from components.core.settings import Settings
from components.core.training.estimate import ModelShape


@dataclass(frozen=True)
class Report:
    """What the preflight found."""

    lines: list[str]
    problems: list[str]
    """Why the run cannot fit; empty when it can."""


def preflight(
    recipe: Recipe, settings: Settings, cluster: Cluster | None, model: CatalogueModel | None = None
) -> list[str]:
    """Say what a run needs and where it would run.

    Args:
        recipe: All sections.
        settings: Where the base model is found.
        cluster: The cluster that it would run on; without one the estimate is not held against nodes.
        model: The base model, where the catalogue has it; its allow list decides which GPUs it may use.

    Returns:
        Printable lines.

    Raises:
        ConfigError: If the run cannot fit; with all reasons and remedies.
        StorageError: If the base model cannot be looked at.
    """
    report = examine(recipe, settings, cluster, model)
    if report.problems:
        raise ConfigError("\n".join(report.problems))
    return report.lines


def examine(recipe: Recipe, settings: Settings, cluster: Cluster | None, model: CatalogueModel | None = None) -> Report:
    """The same, with problems and lines side by side.

    Raises:
        StorageError: If the base model cannot be looked at.
    """
    nodes, unread = _read_nodes(recipe, cluster)
    used = _examine_compute(recipe, nodes, model)
    try:
        shape = read_shape(recipe.model, settings)
    except StorageError:
        if used.problems:
            return used  # sure without looking at the weights
        raise
    report = judge(shape, recipe, run_tokens(recipe), nodes, unread)
    return Report([*report.lines, *used.lines], list(dict.fromkeys([*used.problems, *report.problems])))


def _examine_compute(recipe: Recipe, nodes: list[GpuNode] | None, model: CatalogueModel | None) -> Report:
    """Which of the GPUs the model may use."""
    if nodes is None or recipe.gpu.count == 0:
        return Report([], [])
    try:
        return Report(list(check_compute(nodes, wanted_gpus(recipe), model).lines), [])
    except NoGpus as error:
        return Report([], [str(error)])


def least_gpu_bytes(recipe: Recipe, settings: Settings) -> int:
    """Memory of each GPU without which a recipe cannot run.

    Raises:
        StorageError: If the base model cannot be looked at.
    """
    return needs_of(read_shape(recipe.model, settings), recipe).least.total


def _read_nodes(recipe: Recipe, cluster: Cluster | None) -> tuple[list[GpuNode] | None, str]:
    if cluster is None:
        return None, "no cluster is configured"
    try:
        nodes = cluster.list("Node")
    except ClusterError as error:
        return None, "you have no right to list nodes" if error.status == 403 else " ".join(str(error).split())
    try:
        return read_gpu_nodes(nodes, cluster.list("Pod"), recipe.gpu.resource), ""
    except ClusterError:
        unread = "you have no right to list pods of all namespaces, so GPUs that are taken count as free"
        return read_gpu_nodes(nodes, [], recipe.gpu.resource), unread


def judge(
    shape: ModelShape, recipe: Recipe, tokens: int | None, nodes: list[GpuNode] | None, unread: str = ""
) -> Report:
    """Hold a model and a recipe against GPU nodes.

    Args:
        shape: The base model.
        recipe: All sections.
        tokens: Of the whole run; None if not known.
        nodes: GPU nodes; None if they could not be read.
        unread: Why not, or what of them could not.
    """
    needs = needs_of(shape, recipe)
    lines = [_model_line(shape, recipe), _memory_line(needs)]
    problems = _host_problems(needs)
    if recipe.gpu.count == 0:
        lines.append("Time    not estimated for a CPU")
    elif nodes is None:
        lines.append(f"GPUs    not held against the nodes: {unread}")
    else:
        try:
            found = suitable_pools(nodes, wanted_gpus(recipe))
            placed, refused = _place(shape, recipe, tokens, found, nodes)
            lines, problems = lines + placed, refused + problems
            lines += [f"Warning {unread}"] if unread else []
        except NoGpus as error:
            problems.insert(0, str(error))
    return Report(lines, problems)


def wanted_gpus(recipe: Recipe) -> GpusWanted:
    """The GPUs that a recipe asks for."""
    return GpusWanted(recipe.gpu.resource, recipe.gpu.product, recipe.gpu.count, recipe.gpu.num_nodes)


def _model_line(shape: ModelShape, recipe: Recipe) -> str:
    size = f"{shape.parameters / 1e9:.2f}B" if shape.parameters >= 1e9 else f"{shape.parameters / 1e6:.1f}M"
    return f"Model   {recipe.model.model_id}: {size} weights in {shape.stored}, {shape.sizes.layers} layers"


def _memory_line(needs: Needs) -> str:
    least, where = needs.least, "the pod" if needs.place.device == "cpu" else "each GPU"
    parts = {
        "weights": least.weights + least.half_copies,
        "gradients and optimizer": least.gradients + least.optimizer,
        "activations": least.activations + least.logits,
        "the rest": least.overhead,
    }
    told = ", ".join(f"{name} {gib(size)}" for name, size in parts.items())
    line = f"Memory  at least {gib(least.total)} GiB in {where} ({told})"
    return line if needs.place.device == "cpu" else f"{line}; {gib(needs.host_bytes)} GiB in the pod"


def _host_problems(needs: Needs) -> list[str]:
    if needs.host_bytes <= needs.limit_bytes:
        return []
    return [
        f"the fine-tuning pod needs about {gib(needs.host_bytes)} GiB of memory, resources.memory="
        f"{needs.recipe.resources.memory} would have it killed: set resources.memory="
        f"{math.ceil(needs.host_bytes * 1.1 / GIB)}Gi."
    ]


def _place(
    shape: ModelShape, recipe: Recipe, tokens: int | None, pools: list[GpuPool], nodes: list[GpuNode]
) -> tuple[list[str], list[str]]:
    """Lines about the GPUs that the run may land on, and the problem if it fits on none of them."""
    fitting = [pool for pool in pools if _fits(shape, recipe, pool)]
    if not fitting:
        return [], [_too_small(shape, recipe, pools[0], nodes)]
    lines = [line for pool in fitting for line in _pool_lines(shape, recipe, tokens, pool)]
    small = [pool for pool in pools if pool not in fitting]
    if small:
        lines.append(
            f"Warning it may land on {', '.join(pool.label for pool in small)}, which is too small: "
            f"set gpu.product={fitting[0].product}"
        )
    wanted = wanted_gpus(recipe)
    if not any(pool.places(wanted.per_node, free=True) >= wanted.nodes for pool in fitting):
        lines.append("Warning all of these GPUs are taken: the run will wait until one is free")
    largest = max(node.host_memory for pool in fitting for node in pool.nodes)
    asked = needs_of(shape, recipe).limit_bytes
    if largest and asked > largest:
        return lines, [
            f"resources.memory={recipe.resources.memory} is more than any of these GPU nodes has "
            f"({gib(largest)} GiB). Lower it."
        ]
    return lines, []


def _fits(shape: ModelShape, recipe: Recipe, pool: GpuPool) -> bool:
    return pool.memory is None or needs_of(shape, recipe, pool.bf16).least.total <= pool.memory


def _pool_lines(shape: ModelShape, recipe: Recipe, tokens: int | None, pool: GpuPool) -> list[str]:
    needs = needs_of(shape, recipe, pool.bf16)
    if pool.memory is None:
        return [f"GPUs    {pool.label}: {pool.free} of {pool.count} free; whether it fits cannot be told"]
    fit = predict(needs, pool.memory)
    twice = ", activations computed twice" if fit.checkpointing else ""
    lines = [
        f"GPUs    {pool.label}: fits, {pool.free} of {pool.count} free; passes of {fit.piece_tokens:,} tokens{twice}, "
        f"peak about {gib(fit.peak_bytes)} GiB"
    ]
    unquantized = shape.parameters * (4 if shape.stored == "fp32" else 2)
    if recipe.training.quantized_bits and unquantized > pool.memory:
        lines.append(
            f"Warning the evaluation asks the model unquantized ({gib(unquantized)} GiB), more than {pool.product} "
            "has: layers that do not fit stay in the pod's memory, which is slow; evaluation.max_rows shortens it"
        )
    seconds = seconds_per_million_tokens(needs, pool, fit.checkpointing)
    if seconds is None:
        lines.append(f"Time    not estimated: the speed of {pool.product or 'an unlabelled GPU'} is not known here")
    elif tokens is None:
        lines.append(f"Time    about {_duration(seconds)} for each million tokens on {pool.product}")
    else:
        told = _duration(seconds * tokens / 1e6)
        lines.append(f"Time    about {told} of training for some {tokens / 1e6:,.1f} million tokens on {pool.product}")
    return lines


def _too_small(shape: ModelShape, recipe: Recipe, largest: GpuPool, nodes: list[GpuNode]) -> str:
    memory, needs = largest.memory or 0, needs_of(shape, recipe, largest.bf16)
    whose = f"the chosen GPU, {largest.product}," if recipe.gpu.product else f"your largest GPU, {largest.product},"
    others = suitable_pools(nodes, wanted_gpus(recipe)._replace(product=None)) if recipe.gpu.product else []
    wider = next((pool for pool in others if pool.product and _fits(shape, recipe, pool)), None)
    remedy = describe(find_remedies(shape, recipe, memory, largest.bf16))
    if wider:
        remedy = f"use gpu.product={wider.product}, or {remedy.removeprefix('use ')}"
    return f"{recipe.model.model_id} needs {gib(needs.least.total)} GiB, {whose} has {gib(memory)}: {remedy}."


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
