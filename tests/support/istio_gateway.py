"""Kubeflow's ingress gateway as a real Envoy: a VirtualService's routes, asked for in the gateway's own identity.

The sign-in that stands before Kubeflow's gateway is not played: whoever asks here counts as signed in.
"""

from support.envoy_sidecar import ANY_PORT, cluster, connection_manager, route, tls
from support.istio_to_envoy import Document, Untranslated, known
from support.kubeflow_policies import GATEWAY
from support.spiffe import Authority


def gateway(virtual_service: Document, authority: Authority, sidecar_port: int) -> Document:
    """Listener and cluster for one VirtualService whose one destination listens at a sidecar's port."""
    spec = virtual_service["spec"]
    known(spec, {"gateways", "hosts", "http"}, "VirtualService")
    if spec["gateways"] != ["kubeflow/kubeflow-gateway"] or spec["hosts"] != ["*"]:
        raise Untranslated("only Kubeflow's gateway with every host is played")
    routes = [found for http in spec["http"] for found in http_routes(http)]
    listener = {
        "name": "gateway",
        "address": ANY_PORT,
        "filter_chains": [{"filters": [connection_manager([], routes)]}],
    }
    mutual = tls("Upstream", authority.certificate(*GATEWAY), authority)
    return {"listeners": [listener], "clusters": [cluster("destination", sidecar_port, transport_socket=mutual)]}


def http_routes(http: Document) -> list[Document]:
    """Envoy's routes for one entry: a redirect, or one destination with the matched prefix rewritten."""
    known(http, {"match", "redirect", "rewrite", "route"}, "http")
    found = []
    for match in http["match"]:
        known(match, {"uri"}, "match")
        known(match["uri"], {"exact", "prefix"}, "uri")
        if "redirect" in http:
            known(http["redirect"], {"uri"}, "redirect")
            path = {"path": match["uri"]["exact"]}
            found.append({"match": path, "redirect": {"path_redirect": http["redirect"]["uri"]}})
        else:
            known(http["rewrite"], {"uri"}, "rewrite")
            found.append(route(match["uri"]["prefix"], "destination", prefix_rewrite=http["rewrite"]["uri"]))
    return found
