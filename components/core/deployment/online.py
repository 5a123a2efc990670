"""A published model behind an endpoint of its own: on the cluster, or as a process of this machine."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.core.deployment.deploying import try_documents
from components.core.deployment.endpoint_documents import (
    NAME_ANNOTATION,
    check_endpoint,
    endpoint_documents,
    endpoint_name,
)
from components.core.deployment.kubernetes_api import Cluster, ClusterError, connect
from components.core.deployment.local_servers import (
    end_recorded,
    endpoint_environment,
    recorded_port,
    start_api,
    write_record,
)
from components.core.deployment.model_access import check_usable
from components.core.deployment.model_size import model_bytes
from components.core.deployment.rendering import stamp_settings
from components.core.deployment.rollout import Patience, wait_until_ready
from components.core.deployment.secrets import API_SECRET, API_VARIABLES, HUB_VARIABLES, KEYS_SECRET, keep_api_keys
from components.core.errors import ConfigError
from components.core.image_names import API, image_name
from components.core.registry import Published, access_of_source
from components.core.registry.access import check_access
from components.core.settings import HUB_SECRET, Settings

Where = Literal["auto", "cluster", "local"]
FIRST_PORT = 8090
"""Of endpoints on this machine; 8080 is that of `make serve`."""
_REMOTE = ("hf://", "pvc://")


@dataclass(frozen=True)
class Endpoint:
    """A model that answers; plain values, so that it travels between steps as JSON."""

    address: str
    """Where it is asked: inside the cluster, or on this machine."""
    name: str
    """Of the InferenceService, or of the process."""
    where: Literal["cluster", "local"]


def deploy_model(
    model: Published | Path | str,
    name: str,
    settings: Settings,
    where: Where = "auto",
    cluster: Cluster | None = None,
    patience: Patience | None = None,
    port: int = FIRST_PORT,
    say: Callable[[str], None] = print,
) -> Endpoint:
    """Bring a model behind an endpoint of its own and wait until it answers; called again, it changes what has changed.

    Args:
        model: What `publish` returned, a model folder, `hf://user/repo@sha`, or `pvc://claim/path` on the cluster.
        name: Registered name; the endpoint's own is made from it, and it stands in the KServe and OpenAI paths.
        settings: The namespace, addresses and folders.
        where: `auto` takes the cluster in a pod or where KUBECONFIG is set, this machine otherwise; a folder outside of
            a pod is always served here. A ~/.kube/config alone does not count: it may be any cluster.
        cluster: The cluster, where the caller has it open.
        patience: How long to wait for it.
        port: On this machine; the next free one if it is taken. An endpoint that is replaced keeps its own.
        say: Gets the lines of progress.

    Raises:
        ConfigError: If the name is taken, or the model lies where the endpoint cannot read it.
        RegistryError: If the model is restricted to another namespace.
        PlatformError: If the cluster refuses, or the endpoint does not become ready; with its own last words.
    """
    source = model.uri if isinstance(model, Published) else str(model)
    _check_usable(source, settings)
    if _on_cluster(source, where, cluster):
        return _to_cluster(source, name, settings, cluster or connect(), patience or Patience(), say)
    return _to_process(source, name, settings, port, say)


def _check_usable(source: str, settings: Settings) -> None:
    if not source.startswith("pvc://"):
        check_usable(source, settings, settings.namespace)
    if source.startswith("hf://"):
        # a commit on the Hub cannot be changed: a later restriction stands in the registry alone
        check_access(access_of_source(source, settings), f"the model {source}", settings.namespace)


def _on_cluster(source: str, where: Where, cluster: Cluster | None) -> bool:
    if where != "auto":
        return where == "cluster"
    in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    return in_pod or (source.startswith(_REMOTE) and (cluster is not None or bool(os.environ.get("KUBECONFIG"))))


def _to_cluster(
    source: str, name: str, settings: Settings, cluster: Cluster, patience: Patience, say: Callable[[str], None]
) -> Endpoint:
    namespace = settings.namespace
    hub = {key: value for key, value in settings.pod_environment().items() if key == "HF_ENDPOINT"}
    size = model_bytes(source, settings) if source.startswith("hf://") else None
    # the endpoint's own secret, which may hold a token that only reads; else that of the run
    own_secret = _version(cluster, API_SECRET, namespace)
    token = (API_SECRET, API_VARIABLES["HF_TOKEN"]) if own_secret else (HUB_SECRET, HUB_VARIABLES["HF_TOKEN"])
    documents = endpoint_documents(source, name, namespace, image_name(API), hub, token, size)
    findings = check_endpoint(documents)
    if findings:
        raise ConfigError("the endpoint breaks rules of ours:\n" + "\n".join(f"  {finding}" for finding in findings))
    own_name = endpoint_name(name)
    _check_free(cluster, own_name, name, namespace)
    say(f"Deploying {source} as {own_name} to namespace {namespace} on {cluster.address}")
    try_documents(cluster, documents)
    say(f"  Secret {KEYS_SECRET}: {keep_api_keys(cluster, namespace)}")
    stamp_settings(documents, [source, own_secret, _version(cluster, KEYS_SECRET, namespace)])
    for document in documents:
        say(f"  {document['kind']} {document['metadata']['name']}: {cluster.apply(document)}")
    wait_until_ready(cluster, documents, patience, say)
    return Endpoint(f"http://{own_name}-predictor.{namespace}.svc.cluster.local", own_name, "cluster")


def _check_free(cluster: Cluster, own_name: str, registered: str, namespace: str) -> None:
    live = cluster.get("InferenceService", own_name, namespace)
    if live is None:
        return
    holder = live["metadata"].get("annotations", {}).get(NAME_ANNOTATION)
    if holder != registered:
        whose = f"the model {holder}" if holder else "something that was not deployed from here"
        raise ConfigError(
            f"the InferenceService {own_name} in namespace {namespace} serves {whose}. Choose another name for "
            f"{registered}, or remove it: kubectl delete inferenceservice {own_name} -n {namespace}"
        )


def _version(cluster: Cluster, secret: str, namespace: str) -> str:
    """So that pods are replaced when a secret that they read has changed; never its values."""
    try:
        found = cluster.get("Secret", secret, namespace)
    except ClusterError as error:
        if error.status != 403:
            raise
        return ""
    return str(found["metadata"].get("resourceVersion", "")) if found else ""


def _to_process(source: str, name: str, settings: Settings, port: int, say: Callable[[str], None]) -> Endpoint:
    if source.startswith("pvc://"):
        raise ConfigError(f"{source} is a volume of a cluster, and no cluster is configured. Set KUBECONFIG.")
    if not source.startswith("hf://") and Path(source).is_absolute() and not Path(source).is_dir():
        raise ConfigError(f"there is no model folder {source}. Name the folder that was published.")
    home, own_name = settings.whetstone_home.resolve(), endpoint_name(name)
    folder = home / "serving" / "endpoints"
    record = folder / f"{own_name}.json"
    port = recorded_port(record) or port
    end_recorded(record)
    served = str(Path(source).resolve()) if Path(source).is_dir() else source
    environment = endpoint_environment(served, home, name=name, namespace=settings.namespace)
    say(f"Starting the endpoint {own_name} on this machine")
    server = start_api(environment, folder, port, own_name)
    write_record(record, [server])
    say(f"  {own_name} answers at {server.address}; `make stop` ends it, its log is {folder / f'{own_name}.log'}")
    return Endpoint(server.address, own_name, "local")
