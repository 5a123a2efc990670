"""The instance check: may a model be served from the GPUs of this cluster."""

from collections.abc import Sequence

from components.core.deployment.cluster_endpoints.documents import GPU
from components.core.deployment.endpoints.record import DeploymentOptions
from components.core.deployment.gpu_compute import INFERENCE, check_compute
from components.core.deployment.gpu_nodes import GpusWanted, read_gpu_nodes
from components.core.deployment.kubernetes_api import Cluster, ClusterError
from components.core.deployment.model_access import INFO_FILE, hub_file
from components.core.recipe import CatalogueModel, find_model
from components.core.registry.json_files import read_json
from components.core.settings import Settings


def check_instances(
    cluster: Cluster, model: CatalogueModel | None, options: DeploymentOptions
) -> tuple[list[str], list[str]]:
    """Hold the cluster's nodes against `inference_compute_allow_list`.

    Args:
        cluster: Whose nodes.
        model: From the catalogue; None for one that is not there, which is held against what is too small or too old.
        options: GPUs and instances that are asked for.

    Returns:
        Lines for people, and the products that it may land on; none where any will do.

    Raises:
        NoGpus: If no usable node has such GPUs, or none of them is of a type that the model may use.
    """
    if not options.gpus:
        return [f"Instance check: no GPU is asked for (--gpus), so {INFERENCE} is not held against anything"], []
    try:
        nodes = cluster.list("Node")
    except ClusterError as error:
        if error.status != 403:
            raise
        return ["Instance check left out: you have no right to list nodes"], []
    # taken GPUs count as there: the scheduler waits for them, and `doctor` counts what is free
    wanted = GpusWanted(GPU, options.gpu_product, options.gpus, options.instances)
    found = check_compute(read_gpu_nodes(nodes, [], GPU), wanted, model, INFERENCE)
    products = [pool.product for pool in found.pools]
    # where nodes carry no labels an affinity to one would fit nowhere
    return [f"Instance check: {line}" for line in found.lines], products if all(products) else []


def base_in_catalogue(model: str, catalogue: Sequence[CatalogueModel], settings: Settings) -> CatalogueModel | None:
    """The catalogue's entry of a model, or of the base that it was tuned from.

    Args:
        model: `hf://user/repo[@sha]`; of a volume nothing is known here.
        catalogue: All entries.
        settings: Address and token of the Hub.
    """
    if not model.startswith("hf://"):
        return None
    found = find_model(tuple(catalogue), model.removeprefix("hf://").partition("@")[0])
    if found:
        return found
    info = hub_file(model, INFO_FILE, settings)
    base = read_json(info, "Publish the model again.").get("base_model") if info else None
    name = base.get("id") if isinstance(base, dict) else None
    return find_model(tuple(catalogue), name) if isinstance(name, str) else None
