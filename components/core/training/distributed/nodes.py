"""The machines of a training that needs more than one, and their TrainJob."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.settings import HUB_SECRET, TrainingNodes

if TYPE_CHECKING:
    from kubeflow.trainer import CustomTrainerContainer
    from kubeflow.trainer.options.kubernetes import RuntimePatch

_CONTAINER = "node"
"""Name of container and replicated job in the runtimes of Kubeflow Trainer."""
TOKEN_FILE = Path("/etc/huggingface/token")
"""Where the nodes find the Hub token, if there is one: the webhook of Trainer refuses patched variables."""


def build_container(nodes: TrainingNodes, environment: dict[str, str]) -> "CustomTrainerContainer":
    """Image, size and variables of each node."""
    from kubeflow.trainer import CustomTrainerContainer

    size = {"cpu": nodes.resources.cpu, "memory": nodes.resources.memory}
    if nodes.gpu.count:
        size[nodes.gpu.resource] = str(nodes.gpu.count)
    return CustomTrainerContainer(
        image=nodes.image, num_nodes=nodes.gpu.num_nodes, resources_per_node=size,
        env={**nodes.environment, **environment},
    )  # fmt: skip


def build_patch(nodes: TrainingNodes, shared: Path) -> "RuntimePatch":
    """What the runtime's pods need besides: the volume, /dev/shm, the Hub token, their GPUs' nodes, and no sidecar.

    `shared` is where the volume is mounted: in the same place as here, so that paths mean the same everywhere.
    """
    from kubeflow.trainer.options import kubernetes as options

    token = {"secretName": HUB_SECRET, "optional": True, "items": [{"key": "token", "path": TOKEN_FILE.name}]}
    volumes = [
        {"name": "checkpoints", "persistentVolumeClaim": {"claimName": nodes.resources.checkpoint_volume}},
        {"name": "huggingface", "secret": token},
        {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": nodes.gpu.shm_size}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "checkpoints", "mountPath": str(shared)},
        {"name": "huggingface", "mountPath": str(TOKEN_FILE.parent), "readOnly": True},
        {"name": "dshm", "mountPath": "/dev/shm"},
    ]
    gpus, product = nodes.gpu.count > 0, nodes.gpu.product
    pod = options.PodSpecPatch(
        volumes=volumes,
        containers=[
            options.ContainerPatch(
                name=_CONTAINER,
                volume_mounts=mounts,
                security_context={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            )
        ],
        # most volumes belong to root until a pod names the group that may write
        security_context={
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        node_selector={"nvidia.com/gpu.product": product} if gpus and product else None,
        tolerations=[{"key": nodes.gpu.resource, "operator": "Exists", "effect": "NoSchedule"}] if gpus else None,
    )
    # behind a sidecar the nodes cannot reach each other, and the pod never ends
    template = options.PodTemplatePatch(metadata={"labels": {"sidecar.istio.io/inject": "false"}}, spec=pod)
    job = options.JobTemplatePatch(spec=options.JobSpecPatch(template=template))
    spec = options.JobSetSpecPatch(replicated_jobs=[options.ReplicatedJobPatch(name=_CONTAINER, template=job)])
    return options.RuntimePatch(
        training_runtime_spec=options.TrainingRuntimeSpecPatch(template=options.JobSetTemplatePatch(spec=spec))
    )
