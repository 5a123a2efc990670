"""What istiod makes of the VirtualServices of an endpoint, for a real Envoy that takes new routes while it runs.

A stand-in for istiod in the subset that our routes use: it watches a stand-in cluster (kube_server) and writes a file
of routes that Envoy reads anew at each change; one listener is the gateway, one a sidecar of a caller inside the mesh.
Whatever is not translated raises `Untranslated`. The sign-in before the gateway is not played, nor TLS between pods.
"""

import json
import os
from pathlib import Path

from support.envoy_sidecar import ANY_PORT, Document, cluster, connection_manager
from support.istio_to_envoy import Untranslated, known
from support.kube_state import KubeServer

ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
GATEWAY, MESH = "gateway", "mesh"
GATEWAYS = {GATEWAY: "kubeflow/kubeflow-gateway", MESH: "mesh"}
_ACTION = "OVERWRITE_IF_EXISTS_OR_ADD"


class Istiod:
    """Listeners whose routes follow the VirtualServices of a cluster.

    Args:
        folder: For the files of routes.
        state: The cluster.
    """

    def __init__(self, folder: Path, state: KubeServer) -> None:
        self._folder, self._services, self._version = folder, {}, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._write()
        state.on_change.append(self._react)

    def resources(self, upstreams: dict[str, int]) -> Document:
        """For Sidecars: both listeners, and a cluster for each destination's host."""
        clusters = [cluster(host, port) for host, port in upstreams.items()]
        return {"listeners": [self._listener(name) for name in GATEWAYS], "clusters": clusters}

    def _listener(self, name: str) -> Document:
        manager = connection_manager([], [])
        manager["typed_config"].pop("route_config")
        source = {"path_config_source": {"path": str(self._file(name))}, "resource_api_version": "V3"}
        manager["typed_config"]["rds"] = {"route_config_name": name, "config_source": source}
        return {"name": name, "address": ANY_PORT, "filter_chains": [{"filters": [manager]}]}

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _react(self, _state: KubeServer, event: str, document: Document) -> None:
        if document.get("kind") == "VirtualService":
            name = document["metadata"]["name"]
            if event == "DELETED":
                self._services.pop(name, None)
            else:
                self._services[name] = json.loads(json.dumps(document))
            self._write()

    def _write(self) -> None:
        self._version += 1
        for name, gateway in GATEWAYS.items():
            chosen = [each for each in self._services.values() if each["spec"]["gateways"] == [gateway]]
            config = {"@type": ROUTES, "name": name, "virtual_hosts": virtual_hosts(chosen)}
            part = self._file(f".{name}")
            part.write_text(json.dumps({"version_info": str(self._version), "resources": [config]}))
            # Envoy looks again when a file is moved into place
            os.rename(part, self._file(name))


def virtual_hosts(services: list[Document]) -> list[Document]:
    """Envoy's hosts: services with the same host are merged, as istiod does for a gateway."""
    hosts: dict[str, list[Document]] = {}
    for service in services:
        known(service["spec"], {"gateways", "hosts", "http"}, "VirtualService")
        (host,) = service["spec"]["hosts"]
        hosts.setdefault(host, []).extend(route for http in service["spec"]["http"] for route in routes_of(http))
    return [{"name": host, "domains": [host], "routes": routes} for host, routes in hosts.items()]


def routes_of(http: Document) -> list[Document]:
    """Envoy's routes for one entry, one for each of its matches."""
    known(http, {"name", "match", "rewrite", "route", "timeout", "retries", "headers", "directResponse"}, "http")
    headers = http.get("headers", {})
    known(headers, {"request", "response"}, "headers")
    known(headers.get("request", {}), {"remove"}, "headers.request")
    more: Document = {}
    if headers.get("request"):
        more["request_headers_to_remove"] = headers["request"]["remove"]
    if headers.get("response"):
        more["response_headers_to_add"] = added(headers["response"])
    matches = [matched(match) for match in http.get("match", [])] or [{"prefix": "/"}]
    return [{"match": match, **action(http), **more} for match in matches]


def action(http: Document) -> Document:
    """A fixed answer, or destinations by weight."""
    if "directResponse" in http:
        fixed = http["directResponse"]
        known(fixed, {"status", "body"}, "directResponse")
        known(fixed["body"], {"string"}, "directResponse.body")
        return {"direct_response": {"status": fixed["status"], "body": {"inline_string": fixed["body"]["string"]}}}
    known(http["retries"], {"attempts", "retryOn"}, "retries")
    retries = {"num_retries": http["retries"]["attempts"], "retry_on": http["retries"]["retryOn"]}
    if not http["timeout"].endswith("ms"):
        raise Untranslated(f"timeout {http['timeout']} is not translated")
    route = {"timeout": f"{int(http['timeout'][:-2]) / 1000}s", "retry_policy": retries}
    if "rewrite" in http:
        known(http["rewrite"], {"uri"}, "rewrite")
        route["prefix_rewrite"] = http["rewrite"]["uri"]
    return {"route": {**route, "weighted_clusters": {"clusters": [weighted(entry) for entry in http["route"]]}}}


def weighted(entry: Document) -> Document:
    """One destination."""
    known(entry, {"destination", "weight", "headers"}, "route")
    known(entry["destination"], {"host", "port"}, "destination")
    known(entry["headers"], {"response"}, "headers")
    return {
        "name": entry["destination"]["host"],
        "weight": entry.get("weight", 100),
        "response_headers_to_add": added(entry["headers"]["response"]),
    }


def added(operations: Document) -> list[Document]:
    """Headers that are set, whatever was there."""
    known(operations, {"set"}, "headers")
    return [{"header": {"key": k, "value": v}, "append_action": _ACTION} for k, v in operations["set"].items()]


def matched(match: Document) -> Document:
    """A path, and headers that are there or are not."""
    known(match, {"uri", "headers", "withoutHeaders"}, "match")
    known(match.get("uri", {}), {"prefix"}, "uri")
    found = [{"name": name, "string_match": text(value)} for name, value in match.get("headers", {}).items()]
    without = match.get("withoutHeaders", {})
    found += [{"name": name, "string_match": text(value), "invert_match": True} for name, value in without.items()]
    return {"prefix": match.get("uri", {}).get("prefix", "/"), **({"headers": found} if found else {})}


def text(value: Document) -> Document:
    """Istio's exact or whole regular expression."""
    known(value, {"exact", "regex"}, "headers")
    return {"safe_regex": {"regex": value["regex"]}} if "regex" in value else {"exact": value["exact"]}
