"""Kubeflow Trainer as we talk to it, through its own SDK, with errors that say what to do."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError, PlatformError, TrainingError
from components.core.settings import TrainingNodes

if TYPE_CHECKING:
    from kubeflow.trainer import TrainerClient

logger = logging.getLogger(__name__)

_SHARED = "ReadWriteMany"
_GONE_SECONDS = 180
"""How long a TrainJob may take to go: its pods write a checkpoint meanwhile."""


def connect() -> "TrainerClient":
    """A client of the cluster that this process runs in, or that the kubeconfig names.

    Raises:
        ConfigError: If there is no cluster.
    """
    from kubeflow.trainer import KubernetesBackendConfig, TrainerClient
    from kubernetes.config import ConfigException

    # it warns when it may not read the version of the control plane, which nothing here depends on
    logging.getLogger("kubeflow").setLevel(logging.ERROR)
    try:
        return TrainerClient(KubernetesBackendConfig())
    except ConfigException as error:
        raise ConfigError(
            f"gpu.num_nodes above 1 trains on a cluster, and there is none here ({_one_line(error)}). "
            "Submit the run to Kubeflow Pipelines (--host), or set gpu.num_nodes=1."
        ) from error


def check_volume(client: "TrainerClient", nodes: TrainingNodes) -> None:
    """Raise unless all nodes can mount the volume of checkpoints.

    Raises:
        ConfigError: If it does not exist, or belongs to one node at a time.
    """
    from kubernetes.client import ApiException

    name, namespace = nodes.resources.checkpoint_volume, client.backend.namespace
    try:
        claim = client.backend.core_api.read_namespaced_persistent_volume_claim(name, namespace)
    except ApiException as error:
        if error.status == 404:
            raise ConfigError(
                f"there is no PersistentVolumeClaim {name} in {namespace} (resources.checkpoint_volume). "
                f"Create one with accessModes [{_SHARED}]."
            ) from error
        logger.warning("Cannot look at the volume %s (HTTP %s); going on", name, error.status)
        return
    modes = claim.spec.access_modes or []
    if _SHARED not in modes:
        raise ConfigError(
            f"the volume {name} in {namespace} is {', '.join(modes)}: only one node can mount it, and "
            f"gpu.num_nodes={nodes.gpu.num_nodes}. Create a claim with accessModes [{_SHARED}] (NFS, CephFS, EFS, "
            "Filestore, ...; manifests/components/shared-checkpoints) and name it in resources.checkpoint_volume."
        )


@contextmanager
def told(doing: str, client: "TrainerClient", nodes: TrainingNodes) -> Iterator[None]:
    """Turn what the SDK raises into one message with its remedy."""
    try:
        yield
    except (RuntimeError, TimeoutError, ValueError) as error:
        raise explain(doing, error, client, nodes) from error


def explain(doing: str, error: Exception, client: "TrainerClient", nodes: TrainingNodes) -> PlatformError:
    """The SDK wraps the API's answer in an error that only says what was tried; say what the answer was."""
    status, answer = http_status(error), _answer(error)
    namespace, runtime = client.backend.namespace, nodes.gpu.training_runtime
    if status == 404 and "details" not in answer:
        return ConfigError(
            f"cannot {doing}: this cluster does not know TrainJobs. Install Kubeflow Trainer, or set gpu.num_nodes=1."
        )
    if status == 404:
        return ConfigError(
            f"cannot {doing}: there is no training runtime {runtime}, neither in {namespace} nor in the cluster. "
            "Install the runtimes of Kubeflow Trainer, or name another in gpu.training_runtime."
        )
    if status in (401, 403):
        return ConfigError(
            f"cannot {doing} in {namespace}: {answer.get('message', error)}. Give the service account of the run's "
            "pods (default-editor) that right there: kubectl apply -k manifests/pipeline."
        )
    if status is not None:
        reason = " ".join(str(answer.get("message", error)).split())[:300]
        return TrainingError(f"cannot {doing}: the cluster answered HTTP {status}: {reason}")
    return TrainingError(f"cannot {doing}: {_one_line(error.__cause__ or error)}. Run again to continue.")


def remove(client: "TrainerClient", name: str, wait: bool = False) -> bool:
    """Delete a TrainJob and its pods; waits until it is gone if asked to. Gives back whether there was one."""
    try:
        client.delete_job(name)
    except RuntimeError as error:
        if http_status(error) != 404:
            raise
        return False
    deadline = time.monotonic() + _GONE_SECONDS
    while wait and exists(client, name):
        if time.monotonic() > deadline:
            raise TrainingError(
                f"the TrainJob {name} of an earlier try does not go away. See `kubectl describe trainjob {name}`."
            )
        time.sleep(1)
    return True


def exists(client: "TrainerClient", name: str) -> bool:
    """Whether there is a TrainJob of this name, or a pod of one, which may still be writing its checkpoint."""
    try:
        client.get_job(name)
    except RuntimeError as error:
        if http_status(error) == 404:
            backend, label = client.backend, f"jobset.sigs.k8s.io/jobset-name={name}"
            return bool(backend.core_api.list_namespaced_pod(backend.namespace, label_selector=label).items)
        raise
    return True


def http_status(error: BaseException) -> int | None:
    """Status of the API's answer behind an error of the SDK; None where there was no answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(getattr(cause, "status", None), int) and hasattr(cause, "body"):
            return int(cause.status)  # type: ignore[attr-defined]
        cause = cause.__cause__
    return None


def _answer(error: BaseException) -> dict[str, Any]:
    cause: BaseException | None = error
    while cause is not None and not hasattr(cause, "body"):
        cause = cause.__cause__
    try:
        answer = json.loads(getattr(cause, "body", None) or "{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
