"""The routes of an endpoint: a named deployment first, then the split; and the same read back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.core.deployment.cluster_endpoints.names import (
    GATEWAY,
    inside_host,
    labels,
    mesh_routes,
    path_prefix,
    predictor_host,
    service_name,
)
from components.core.deployment.endpoints.forwarding import DEPLOYMENT_HEADERS
from components.core.deployment.kubernetes_api import Object

API_VERSION = "networking.istio.io/v1"
_SPLIT = "split"
_NAMED = "deployment-"
_RETRIES = {"attempts": 1, "retryOn": "connect-failure,refused-stream"}
"""Only where nothing was sent: Istio's default would also ask a busy pod (503) again."""


@dataclass(frozen=True)
class Routed:
    """A deployment that can be asked."""

    name: str
    request_timeout_ms: int


def virtual_services(
    endpoint: str, namespace: str, deployments: Sequence[Routed], traffic: Mapping[str, int]
) -> list[Object]:
    """The routes behind the gateway and, with another host, those of callers inside the mesh.

    One object cannot be both: a route in the mesh must name its host, and the gateway's takes every one.

    Args:
        endpoint: Name.
        namespace: Of all its objects.
        deployments: Those that are ready.
        traffic: Percent by deployment; 0 is left out.
    """
    prefix = {"uri": {"prefix": path_prefix(endpoint, namespace)}}
    outside = {"gateways": [GATEWAY], "hosts": ["*"]}
    inside = {"gateways": ["mesh"], "hosts": [inside_host(endpoint, namespace)]}
    found = []
    for name, where, match in ((endpoint, outside, prefix), (mesh_routes(endpoint), inside, {})):
        metadata = {"name": name, "namespace": namespace, "labels": labels(endpoint)}
        http = _Routes(endpoint, namespace, match).all_of(deployments, traffic)
        spec = {**where, "http": http}
        found.append({"apiVersion": API_VERSION, "kind": "VirtualService", "metadata": metadata, "spec": spec})
    return found


class _Routes:
    """The entries of one VirtualService, in the order in which Istio tries them.

    Args:
        endpoint: Name.
        namespace: Of its deployments.
        match: Of every entry: the prefix behind the gateway, nothing in the mesh.
    """

    def __init__(self, endpoint: str, namespace: str, match: Object) -> None:
        self._endpoint, self._namespace, self._match = endpoint, namespace, match

    def all_of(self, deployments: Sequence[Routed], traffic: Mapping[str, int]) -> list[Object]:
        names = [each.name for each in deployments]
        timeouts = {each.name: each.request_timeout_ms for each in deployments}
        shares = {name: share for name, share in traffic.items() if share}
        return [
            *([self._two_names(names)] if names else []),
            *(self._named(each) for each in deployments),
            self._unknown(),
            self._split(shares, timeouts) if shares else self._nobody(),
        ]

    def _two_names(self, names: Sequence[str]) -> Object:
        """Both headers, and they differ."""
        pairs = (DEPLOYMENT_HEADERS, DEPLOYMENT_HEADERS[::-1])
        matches = [
            {
                **self._match,
                "headers": {first: {"exact": name}, second: {"regex": ".*"}},
                "withoutHeaders": {second: {"exact": name}},
            }
            for name in names
            for first, second in pairs
        ]
        return _refusal("two-names", matches, 400, f"{' and '.join(DEPLOYMENT_HEADERS)} name different deployments.")

    def _named(self, deployment: Routed) -> Object:
        matches = [{**self._match, "headers": {header: {"exact": deployment.name}}} for header in DEPLOYMENT_HEADERS]
        return {
            "name": f"{_NAMED}{deployment.name}",
            "match": matches,
            **self._passed_on(deployment.request_timeout_ms),
            "route": [self._to(deployment.name)],
        }

    def _unknown(self) -> Object:
        matches = [{**self._match, "headers": {header: {"regex": ".*"}}} for header in DEPLOYMENT_HEADERS]
        # keys are asked for by the pods, so this is told to anybody and names nothing
        return _refusal("unknown", matches, 404, "there is no such deployment here.")

    def _split(self, shares: Mapping[str, int], timeouts: Mapping[str, int]) -> Object:
        # the deployments themselves keep to their own timeouts (REQUEST_TIMEOUT_SECONDS)
        longest = max(timeouts[name] for name in shares)
        route = [{**self._to(name), "weight": share} for name, share in shares.items()]
        return {"name": _SPLIT, **self._matched(), **self._passed_on(longest), "route": route}

    def _nobody(self) -> Object:
        text = "no deployment takes traffic yet: the owner sets it with `traffic`."
        return {**_refusal(_SPLIT, [], 503, text), **self._matched()}

    def _matched(self) -> Object:
        return {"match": [self._match]} if self._match else {}

    def _passed_on(self, timeout_ms: int) -> Object:
        found: Object = {"timeout": f"{timeout_ms}ms", "retries": dict(_RETRIES)}
        if self._match:
            found["rewrite"] = {"uri": "/"}
            # the caller's sign-in at the gateway is not for the pods, which would take it for a key
            found["headers"] = {"request": {"remove": ["authorization", "cookie"]}}
        return found

    def _to(self, deployment: str) -> Object:
        host = predictor_host(service_name(self._endpoint, deployment), self._namespace)
        told = dict.fromkeys(DEPLOYMENT_HEADERS, deployment)
        return {"destination": {"host": host, "port": {"number": 80}}, "headers": {"response": {"set": told}}}


def _refusal(name: str, matches: list[Object], status: int, text: str) -> Object:
    return {
        "name": name,
        **({"match": matches} if matches else {}),
        "directResponse": {"status": status, "body": {"string": json.dumps({"error": text})}},
        "headers": {"response": {"set": {"content-type": "application/json"}}},
    }


def read_routed(service: Object) -> list[Routed]:
    """The deployments that a VirtualService of ours names."""
    entries = [entry for entry in service["spec"].get("http", []) if entry.get("name", "").startswith(_NAMED)]
    return [Routed(e["name"].removeprefix(_NAMED), int(e["timeout"].removesuffix("ms"))) for e in entries]


def read_traffic(service: Object) -> dict[str, int]:
    """The split that a VirtualService of ours has, also where somebody changed its weights by hand."""
    entries: list[Object] = [entry for entry in service["spec"].get("http", []) if entry.get("name") == _SPLIT]
    found = {}
    for route in [route for entry in entries for route in entry.get("route", [])]:
        name = route["headers"]["response"]["set"][DEPLOYMENT_HEADERS[0]]
        found[name] = int(route.get("weight", 100))
    return found
