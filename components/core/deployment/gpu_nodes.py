"""The GPUs of a cluster: what they are, how many there are, and how many nobody uses."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from components.core.errors import ConfigError

PRODUCT_LABEL = "nvidia.com/gpu.product"
_MAJOR_LABEL = "nvidia.com/gpu.compute.major"
_MINOR_LABEL = "nvidia.com/gpu.compute.minor"
_UNITS = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
Object = Mapping[str, Any]


@dataclass(frozen=True)
class GpuNode:
    """One node with GPUs."""

    name: str
    product: str
    """Its label; empty where GPU feature discovery does not run."""
    memory: int | None
    """Bytes of each GPU; None where no label tells."""
    count: int
    """GPUs that pods may ask for."""
    used: int
    """GPUs that running and starting pods have asked for."""
    host_memory: int
    """Bytes that pods may ask for."""
    bf16: bool
    """Whether its GPUs multiply bf16; true where no label tells."""
    capability: str = ""
    """Compute capability, such as 8.0, or only its major number; empty where no label tells."""
    closed: str = ""
    """Why no pod of ours can go there; empty when one can."""

    @property
    def free(self) -> int:
        """GPUs that nobody uses."""
        return max(0, self.count - self.used)


@dataclass(frozen=True)
class GpuPool:
    """All usable nodes with the same GPU."""

    product: str
    memory: int | None
    bf16: bool
    nodes: tuple[GpuNode, ...]

    @property
    def label(self) -> str:
        """How it is called in messages."""
        size = f" ({self.memory / 2**30:.0f} GiB)" if self.memory else " (memory unknown)"
        return (self.product or "unlabelled GPU") + size

    @property
    def count(self) -> int:
        """GPUs of the pool."""
        return sum(node.count for node in self.nodes)

    @property
    def free(self) -> int:
        """GPUs that nobody uses."""
        return sum(node.free for node in self.nodes)

    def places(self, per_node: int, free: bool) -> int:
        """Nodes on which so many GPUs are there, or are free; a large node may count more than once."""
        return sum((node.free if free else node.count) // per_node for node in self.nodes)


def quantity(text: Any) -> float:
    """A Kubernetes quantity as a number; 0 for what is none."""
    value = str(text or "0")
    unit = next((unit for unit in ("Ki", "Mi", "Gi", "Ti", "Pi", *"numkMGTP") if value.endswith(unit)), "")
    try:
        return float(value.removesuffix(unit)) * _UNITS.get(unit, 1)
    except ValueError:
        return 0.0


def read_gpu_nodes(nodes: Iterable[Object], pods: Iterable[Object], resource: str) -> list[GpuNode]:
    """Nodes that offer an extended resource, with what is free on them.

    Args:
        nodes: Node objects.
        pods: Pod objects of all namespaces; without them everything counts as free.
        resource: Such as `nvidia.com/gpu`.
    """
    used: dict[str, int] = defaultdict(int)
    for pod in pods:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            used[(pod.get("spec") or {}).get("nodeName") or ""] += requested(pod, resource)
    read = [_read_node(node, used, resource) for node in nodes]
    return [node for node in read if node.count]


def requested(pod: Object, resource: str) -> int:
    """How much of a resource a pod asks for: its containers together, or its largest init container if that is more."""
    spec = pod.get("spec") or {}

    def asked(containers: Any) -> list[int]:
        found = [(container.get("resources") or {}) for container in containers or []]
        # a limit alone is also the request
        return [int(quantity(((r.get("requests") or {}) | (r.get("limits") or {})).get(resource))) for r in found]

    return max([sum(asked(spec.get("containers"))), *asked(spec.get("initContainers"))])


def _read_node(node: Object, used: Mapping[str, int], resource: str) -> GpuNode:
    metadata, status = node.get("metadata") or {}, node.get("status") or {}
    labels, allocatable = metadata.get("labels") or {}, status.get("allocatable") or {}
    name = str(metadata.get("name", ""))
    mebibytes = quantity(labels.get(f"{resource}.memory"))
    return GpuNode(
        name=name,
        product=str(labels.get(PRODUCT_LABEL, "")),
        memory=int(mebibytes * 2**20) or None,
        count=int(quantity(allocatable.get(resource))),
        used=used.get(name, 0),
        host_memory=int(quantity(allocatable.get("memory"))),
        capability=".".join(str(labels[label]) for label in (_MAJOR_LABEL, _MINOR_LABEL) if labels.get(label)),
        bf16=int(quantity(labels.get(_MAJOR_LABEL)) or 8) >= 8,
        closed=_why_closed(node, resource),
    )


def _why_closed(node: Object, resource: str) -> str:
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return "cordoned"
    conditions = (node.get("status") or {}).get("conditions") or []
    if any(condition.get("type") == "Ready" and condition.get("status") != "True" for condition in conditions):
        return "NotReady"
    for taint in spec.get("taints") or []:
        # the pods of a run tolerate the taint that keeps others off the GPUs, and no other
        if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") != resource:
            return f"tainted {taint.get('key')}"
    return ""


def gpu_pools(nodes: Iterable[GpuNode]) -> list[GpuPool]:
    """Usable nodes by GPU, the most memory first."""
    pools: dict[tuple[str, int | None, bool], list[GpuNode]] = defaultdict(list)
    for node in nodes:
        if not node.closed:
            pools[node.product, node.memory, node.bf16].append(node)
    found = [GpuPool(product, memory, bf16, tuple(members)) for (product, memory, bf16), members in pools.items()]
    return sorted(found, key=lambda pool: -(pool.memory or 0))


class GpusWanted(NamedTuple):
    """What a run asks for."""

    resource: str
    product: str | None
    per_node: int
    nodes: int = 1


class NoGpus(ConfigError):
    """The cluster cannot ever run it. `detail` says why, `remedy` what to do."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"{detail}. {remedy}")
        self.detail, self.remedy = detail, remedy


def suitable_pools(nodes: Sequence[GpuNode], wanted: GpusWanted) -> list[GpuPool]:
    """Pools with the GPUs that a run asks for, taken or not, the most memory first.

    Raises:
        NoGpus: If there are none, none of that product, or too few on one node or altogether.
    """
    pools = gpu_pools(nodes)
    if not pools:
        closed = "; ".join(f"{node.name} is {node.closed}" for node in nodes)
        raise NoGpus(
            f"no usable node offers {wanted.resource}" + (f" ({closed})" if closed else ""),
            "Open those nodes again, or set gpu.count=0 for a CPU run."
            if closed
            else "Install the GPU operator or device plugin, add a GPU node, or set gpu.count=0 for a CPU run.",
        )
    there = ", ".join(sorted({pool.product or "(no label)" for pool in pools}))
    chosen = [pool for pool in pools if wanted.product in (None, pool.product)]
    if not chosen:
        raise NoGpus(
            f"no usable node has the GPU {wanted.product}; there are: {there}",
            "Set gpu.product to one of these, or leave it out to take any.",
        )
    fitting = [pool for pool in chosen if pool.places(wanted.per_node, free=False) >= wanted.nodes]
    if not fitting:
        most = max(node.count for pool in chosen for node in pool.nodes)
        raise NoGpus(
            f"{wanted.nodes} x {wanted.per_node} GPUs are asked for; there are {sum(pool.count for pool in chosen)}, "
            f"at most {most} on one node",
            f"Lower gpu.count to {most} or less." if most < wanted.per_node else "Ask for fewer nodes.",
        )
    return fitting
