"""The GPUs that a recipe asks for."""

from collections.abc import Iterator

from components.core.deployment.doctor.finding import Finding, Subject
from components.core.deployment.doctor.hub import hub_settings, is_reachable
from components.core.deployment.gpu_nodes import GpuPool, GpusWanted, NoGpus, read_gpu_nodes, suitable_pools
from components.core.deployment.kubernetes_api import ClusterError
from components.core.errors import StorageError
from components.core.registry.base_model import is_on_the_hub

_GIB = 2**30


def check_gpus(subject: Subject) -> Iterator[Finding]:
    """GPU nodes by type, memory and free count, against what the recipe asks for."""
    gpu, title = subject.recipe.gpu, "GPUs"
    if gpu.count == 0:
        yield Finding("ok", title, "gpu.count=0: none are needed")
        return
    counted = True
    try:
        pods = subject.cluster.list("Pod")
    except ClusterError as error:
        if error.status != 403:
            raise
        pods, counted = [], False
    nodes = read_gpu_nodes(subject.cluster.list("Node"), pods, gpu.resource)
    closed = [f"{node.name} ({node.count} x {node.product or 'GPU'}) is {node.closed}" for node in nodes if node.closed]
    if closed:
        yield Finding("warning", "GPU nodes left out", "; ".join(closed), "They count again once they take pods.")
    wanted = GpusWanted(gpu.resource, gpu.product, gpu.count, gpu.num_nodes)
    try:
        pools = suitable_pools(nodes, wanted)
    except NoGpus as error:
        yield Finding("error", title, error.detail, error.remedy)
        return
    for pool in pools:
        free = f"{pool.free} of {pool.count} free" if counted else f"{pool.count}, how many are free cannot be seen"
        yield Finding("ok", title, f"{pool.label} on {len(pool.nodes)} nodes: {free}")
    yield from _memory(subject, pools)
    if counted and not any(pool.places(wanted.per_node, free=True) >= wanted.nodes for pool in pools):
        detail = f"{wanted.nodes} x {wanted.per_node} are asked for and not free now: a run will wait"
        yield Finding("warning", "GPUs free", detail, "Wait, or ask for fewer GPUs.")


def _needed_bytes(subject: Subject) -> int | None:
    """The estimate, where the base model can be looked at; that it cannot is told by the check of the Hub."""
    settings, _ = hub_settings(subject)
    if subject.gpu_bytes is None or (is_on_the_hub(subject.recipe.model) and not is_reachable(settings)):
        return None
    try:
        return subject.gpu_bytes(subject.recipe, settings)
    except StorageError:
        return None


def _memory(subject: Subject, pools: list[GpuPool]) -> Iterator[Finding]:
    known, title = [pool for pool in pools if pool.memory], "GPU memory"
    needed = _needed_bytes(subject) if known else None
    if needed is None:
        return
    largest = known[0].memory or 0
    told = f"the recipe needs at least {needed / _GIB:.1f} GiB"
    if needed > largest:
        remedy = "`make preflight` says which changes of the recipe make it fit."
        yield Finding("error", title, f"{told}, the largest of these has {largest / _GIB:.0f}", remedy)
    elif any(needed > (pool.memory or 0) for pool in known):
        small = ", ".join(pool.label for pool in known if needed > (pool.memory or 0))
        remedy = f"Set gpu.product={known[0].product}."
        yield Finding("warning", title, f"{told}: a run that lands on {small} will fail", remedy)
    else:
        yield Finding("ok", title, told)
