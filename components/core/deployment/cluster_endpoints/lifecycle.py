"""An endpoint of a cluster from its keys to the traffic of its deployments."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from components.core.deployment.cluster_endpoints.changes import change_routes, refuse_while_promoting
from components.core.deployment.cluster_endpoints.documents import (
    Served,
    deployment_documents,
    front_documents,
    startup_seconds_of,
)
from components.core.deployment.cluster_endpoints.instances import base_in_catalogue, check_instances
from components.core.deployment.cluster_endpoints.keys import make_keys
from components.core.deployment.cluster_endpoints.names import (
    ENDPOINT_LABEL,
    check_endpoint_name,
    keys_secret,
    selector,
    service_name,
)
from components.core.deployment.cluster_endpoints.record import ClusterRecord, read_record
from components.core.deployment.cluster_endpoints.removal import take_out
from components.core.deployment.cluster_endpoints.routes import Routed, virtual_services
from components.core.deployment.deploying import try_documents
from components.core.deployment.endpoint_documents import check_endpoint
from components.core.deployment.endpoints.keys import Which
from components.core.deployment.endpoints.promotion import Say
from components.core.deployment.endpoints.record import DeploymentOptions
from components.core.deployment.endpoints.traffic import check_traffic
from components.core.deployment.kubernetes_api import Cluster, ClusterError, Object
from components.core.deployment.model_access import check_usable
from components.core.deployment.model_size import model_bytes
from components.core.deployment.rendering import stamp_settings
from components.core.deployment.rollout import Patience, wait_until_ready
from components.core.deployment.secrets import API_SECRET, API_VARIABLES, HUB_VARIABLES
from components.core.errors import ConfigError, PlatformError
from components.core.image_names import API, image_name
from components.core.recipe import CatalogueModel
from components.core.registry import access_of_source
from components.core.registry.access import check_access
from components.core.settings import HUB_SECRET, Settings

_SCHEDULING_SECONDS = 600.0
"""For a node and the image, before the pod's own start."""
_TAKE_BACK_SECONDS = 60.0
_TAKEN_BACK = "What was applied is taken back: put it right and run the same command again."


def create_endpoint(cluster: Cluster, namespace: str, name: str) -> dict[Which, str]:
    """Make keys, host and routes without a deployment.

    Returns:
        Both keys.

    Raises:
        ConfigError: If there is one of this name, or something else that is called so.
        PlatformError: If the cluster does not take it; then nothing of it is left.
    """
    documents = [
        *front_documents(check_endpoint_name(name), namespace),
        *virtual_services(name, namespace, [], {}),
    ]
    _check_free(cluster, namespace, name, documents)
    try_documents(cluster, documents)
    try:
        keys = make_keys(cluster, namespace, name)
        for document in documents:
            cluster.apply(document)
    except BaseException:
        with contextlib.suppress(PlatformError):
            take_out(cluster, namespace, selector(name), lambda _line: None, _TAKE_BACK_SECONDS)
        raise
    return keys


def _check_free(cluster: Cluster, namespace: str, name: str, documents: Sequence[Object]) -> None:
    wanted = [(document["kind"], document["metadata"]["name"]) for document in documents]
    for kind, called in [("Secret", keys_secret(name)), *wanted]:
        live = cluster.get(kind, called, namespace)
        if live is None:
            continue
        if live["metadata"].get("labels", {}).get(ENDPOINT_LABEL) == name:
            raise ConfigError(
                f"there is an endpoint {name} already in namespace {namespace}. Choose another name, or delete it: "
                f"python -m llm-pipelines.endpoint --cluster delete {name}"
            )
        raise ConfigError(
            f"there is a {kind} {called} in namespace {namespace} that is no part of an endpoint. Choose another name."
        )


def deploy(
    cluster: Cluster,
    namespace: str,
    endpoint: str,
    name: str,
    model: str,
    options: DeploymentOptions,
    settings: Settings,
    catalogue: Sequence[CatalogueModel] = (),
    patience: Patience | None = None,
    say: Say = print,
) -> None:
    """Bring a model behind an endpoint and wait until it is ready; it gets no traffic yet.

    Args:
        cluster: Where the endpoint is.
        namespace: Of the endpoint.
        endpoint: Its name.
        name: Of the deployment.
        model: Hub id, `hf://user/repo@sha`, or `pvc://claim/path`.
        options: Timeouts, instances, GPUs.
        settings: The Hub, and the namespace that must be allowed to use the model.
        catalogue: With the GPUs that a model may be served from.
        patience: How long to wait; none for a node, the image, and as long as the model may take to load.
        say: Gets the lines of progress.

    Raises:
        ConfigError: If there is no endpoint, the name is taken, pods cannot read the model, or GPUs may not be used.
        RegistryError: If the model is restricted to another namespace.
        PlatformError: If the cluster refuses, or it does not become ready, with the cause; it is taken back then.
    """
    record = read_record(cluster, namespace, endpoint)
    _check_new(cluster, namespace, record, name)
    source = _source(model)
    if source.startswith("hf://"):
        check_usable(source, settings, namespace)
        check_access(access_of_source(source, settings), f"the model {source}", namespace)
    lines, products = check_instances(cluster, base_in_catalogue(source, catalogue, settings), options)
    for line in lines:
        say(f"  {line}")
    served = _served(cluster, namespace, source, products, options, settings)
    documents = deployment_documents(endpoint, name, namespace, served, options)
    findings = check_endpoint([*front_documents(endpoint, namespace), *documents], [keys_secret(endpoint)])
    if findings:
        raise ConfigError("the deployment breaks rules of ours:\n" + "\n".join(f"  {finding}" for finding in findings))
    try_documents(cluster, documents)
    # not the keys: a rotated one is read from the mounted files, no pod is replaced for it
    stamp_settings(documents, [source])
    try:
        for document in documents:
            say(f"  {document['kind']} {document['metadata']['name']}: {cluster.apply(document)}")
        patience = patience or Patience(total=startup_seconds_of(documents) + _SCHEDULING_SECONDS)
        wait_until_ready(cluster, documents, patience, say, _TAKEN_BACK)
        routed = Routed(name, options.request_timeout_ms)
        change_routes(cluster, namespace, endpoint, lambda now: replace(now, routed=(*now.routed, routed)))
    except BaseException:
        with contextlib.suppress(PlatformError):
            take_out(cluster, namespace, selector(endpoint, name), say, _TAKE_BACK_SECONDS)
        raise


def _check_new(cluster: Cluster, namespace: str, record: ClusterRecord, name: str) -> None:
    own_name = service_name(record.name, name)
    if any(each.name == name for each in record.deployments):
        raise ConfigError(
            f"the endpoint {record.name} has a deployment {name} already. Choose another name, or remove it: "
            f"python -m llm-pipelines.endpoint --cluster delete {record.name} --deployment {name}"
        )
    if cluster.get("InferenceService", own_name, namespace):
        raise ConfigError(
            f"there is an InferenceService {own_name} in namespace {namespace} that is not of {record.name}. Choose "
            "another name for the deployment."
        )


def _source(model: str) -> str:
    if model.startswith(("hf://", "pvc://")):
        return model
    if Path(model).exists() or model.startswith((".", "/")) or model.count("/") != 1:
        raise ConfigError(
            f"the model {model} lies where pods of the cluster cannot read it. Publish it to the Hub (HF_REPO and "
            "HF_TOKEN) and name it as user/repo@commit, or name its folder on a volume: pvc://<claim>/<path>."
        )
    return f"hf://{model}"


def _served(
    cluster: Cluster,
    namespace: str,
    source: str,
    products: Sequence[str],
    options: DeploymentOptions,
    settings: Settings,
) -> Served:
    hub = {key: value for key, value in settings.pod_environment().items() if key == "HF_ENDPOINT"}
    try:
        own_secret = cluster.get("Secret", API_SECRET, namespace)
    except ClusterError as error:
        if error.status != 403:
            raise
        own_secret = None
    # the endpoint's own secret, which may hold a token that only reads; else that of the run
    token = (API_SECRET, API_VARIABLES["HF_TOKEN"]) if own_secret else (HUB_SECRET, HUB_VARIABLES["HF_TOKEN"])
    size = model_bytes(source, settings) if source.startswith("hf://") else None
    image = image_name(API, "cuda" if options.gpus else "cpu")
    return Served(source, image, hub, token, size, products)


def set_traffic(cluster: Cluster, namespace: str, endpoint: str, shares: Mapping[str, int]) -> dict[str, int]:
    """Split the traffic; the gateway takes it within moments.

    Raises:
        ConfigError: If a name is not there or not ready, the shares do not sum to 100, or somebody else promotes.
    """

    def change(now: ClusterRecord) -> ClusterRecord:
        refuse_while_promoting(now)
        check_traffic(shares, [each.name for each in now.deployments])
        ready = {each.name for each in now.routed}
        waiting = [name for name, share in shares.items() if share and name not in ready]
        if waiting:
            raise ConfigError(f"{', '.join(waiting)} is still starting. Wait until `status` says that it is ready.")
        # what is set by hand also settles what a killed promotion has left
        promotion = now.promotion if now.promotion and now.promotion.goes_on else None
        return replace(now, traffic={name: share for name, share in shares.items() if share}, promotion=promotion)

    return change_routes(cluster, namespace, endpoint, change).traffic
