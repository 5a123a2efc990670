"""A loopback HTTP server that stands in for a Kubernetes API server: it stores objects and answers reviews.

Real in it: paths, verbs, status codes and their messages, server-side apply as far as one field manager needs it (maps
are merged, what was applied before and is no longer goes, a no-op keeps the resourceVersion, another
resourceVersion than the present one is a conflict), finalizers and pods that take their time to end, label
and field selectors, paging, watches, logs, owner references,
namespaces that must exist, kinds that are not installed. Not in it: schemas (`strict_schemas` holds what was applied
against them), admission webhooks, and controllers, unless a test adds one with `on_change`.
"""

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from support.kube_state import KubeServer, Object

from components.core.deployment.kinds import KINDS

_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log|status))?$"
)
_CLUSTER_SCOPED = {kind.plural for kind in KINDS.values() if not kind.namespaced} | {"selfsubjectaccessreviews"}


class Refusal(Exception):
    """Answered as a Kubernetes Status."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


def write_kubeconfig(path: Path, address: str, token: str = "") -> Path:
    """A kubeconfig whose only context is this server."""
    parts = {
        "clusters": {"server": address},
        "users": {"token": token} if token else {},
        "contexts": {"cluster": "c", "user": "c"},
    }
    entries = {kind: [{"name": "c", kind[:-1]: value}] for kind, value in parts.items()}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "c", **entries}))
    return path


@contextmanager
def kube_server() -> Iterator[tuple[KubeServer, str]]:
    """Run a stand-in cluster; gives its state and its address."""
    state = KubeServer()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: KubeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output readable."""

    def _handle(self) -> None:
        state, url = self.state, urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        raw = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        with state.lock:
            state.calls.append((self.command, url.path))
            state.bodies.append(raw)
            fault = next((f for f in state.faults if f[0] == self.command and re.search(f[1], url.path)), None)
            if fault:
                state.faults.remove(fault)
        try:
            if fault and not fault[2]:
                self.close_connection = True
                self.connection.close()
                return
            if fault:
                raise Refusal(fault[2], fault[3])
            if state.token and self.headers.get("authorization") != f"Bearer {state.token}":
                raise Refusal(401, "Unauthorized")
            if query.get("watch") in ("true", "True", "1"):
                self._watch(url.path, query)
                return
            with state.lock:
                status, answer = self._route(url.path, query, yaml.safe_load(raw) if raw else None)
        except Refusal as refusal:
            status = refusal.status
            answer = {"kind": "Status", "status": "Failure", "code": status, "message": refusal.message}
        self._send(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _send(self, status: int, answer: Any) -> None:
        text = isinstance(answer, str)
        payload = answer.encode() if text else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain" if text else "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _route(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"major": "1", "minor": "33", "gitVersion": self.state.git_version}
        key, found = self._key(path)
        if key[0].startswith("selfsubjectaccessreviews"):
            return 201, self._review(body)
        verb = {"GET": "get" if key[2] else "list", "POST": "create", "PUT": "update", "PATCH": "patch"}
        self._authorize(verb.get(self.command, "delete"), key[0])
        if found["sub"] == "log":
            return self._log(key, query)
        if self.command == "GET" and not key[2]:
            return 200, self._list(key, query)
        current = self.state.objects.get(key)
        if self.command in ("POST", "PATCH", "PUT"):
            return self._write(key, body, current, query)
        if current is None:
            raise Refusal(404, f'{key[0]} "{key[2]}" not found')
        if self.command == "DELETE":
            self.state.remove(key)
            return 200, {"kind": "Status", "status": "Success"}
        return 200, current

    def _key(self, path: str) -> tuple[tuple[str, str, str], dict[str, Any]]:
        match = _PATH.fullmatch(path)
        if not match:
            raise Refusal(404, "the server could not find the requested resource")
        found = match.groupdict()
        group = (found["group"] or "/").split("/")[0]
        resource = f"{found['plural']}.{group}" if group else found["plural"]
        if resource in self.state.not_installed:
            raise Refusal(404, "the server could not find the requested resource")
        namespace = found["namespace"] or ""
        if namespace and self.command != "GET" and ("namespaces", "", namespace) not in self.state.objects:
            raise Refusal(404, f'namespaces "{namespace}" not found')
        if not namespace and self.command != "GET" and found["plural"] not in _CLUSTER_SCOPED:
            raise Refusal(405, "the server does not allow this method on the requested resource")
        return (resource, namespace, found["name"] or ""), found

    def _authorize(self, verb: str, resource: str) -> None:
        if {(verb, resource), ("*", resource)} & self.state.denied:
            name, _, group = resource.partition(".")
            raise Refusal(403, f'{name} is forbidden: User "u" cannot {verb} resource "{name}" in API group "{group}"')

    def _review(self, body: Object) -> Object:
        asked = body["spec"]["resourceAttributes"]
        resource = f"{asked['resource']}.{asked['group']}" if asked.get("group") else asked["resource"]
        resource += f"/{asked['subresource']}" if asked.get("subresource") else ""
        allowed = not {(asked["verb"], resource), ("*", resource)} & self.state.denied
        return {**body, "status": {"allowed": allowed}}

    def _log(self, key: tuple[str, str, str], query: dict[str, str]) -> tuple[int, Any]:
        if key not in self.state.objects:
            raise Refusal(404, f'pods "{key[2]}" not found')
        logs = self.state.logs
        text = logs.get((key[2], query.get("container", "")), logs.get((key[2], "")))
        if text is None:
            raise Refusal(400, f'container "{query.get("container", "")}" in pod "{key[2]}" is waiting to start')
        lines = text.splitlines(keepends=True)
        return 200, "".join(lines[-int(query["tailLines"]) :] if "tailLines" in query else lines)

    def _list(self, key: tuple[str, str, str], query: dict[str, str]) -> Object:
        chosen = [
            document
            for other, document in sorted(self.state.objects.items(), key=lambda item: item[0])
            if other[0] == key[0] and key[1] in ("", other[1]) and _selected(document, query)
        ]
        first, size = int(query.get("continue", 0)), int(query.get("limit", 500))
        onward = {"continue": str(first + size)} if first + size < len(chosen) else {}
        metadata = {"resourceVersion": str(len(self.state.events)), **onward}
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": chosen[first : first + size]}

    def _write(
        self, key: tuple[str, str, str], body: Object, current: Object | None, query: dict[str, str]
    ) -> tuple[int, Any]:
        if self.command == "POST":
            name = body["metadata"].get("name") or f"{body['metadata']['generateName']}x{len(self.state.events)}"
            key = (key[0], key[1], name)
            if key in self.state.objects:
                raise Refusal(409, f'{key[0]} "{name}" already exists')
            body["metadata"] |= {"name": name, **({"namespace": key[1]} if key[1] else {})}
            return 201, self.state.store(key, body)
        if query.get("dryRun"):
            return 200, body
        applying = "apply-patch" in self.headers.get("content-type", "")
        if applying and not query.get("fieldManager"):
            raise Refusal(400, "fieldManager is required for apply patch")
        if current is None and not applying:
            raise Refusal(404, f'{key[0]} "{key[2]}" not found')
        if self.command == "PUT":
            new = {**body, "status": current.get("status", {})} if current else body
        else:
            version = body.get("metadata", {}).pop("resourceVersion", None)
            if version and current and version != current["metadata"]["resourceVersion"]:
                raise Refusal(409, "the object has been modified; please apply your changes to the latest version")
            kept = copy.deepcopy(current or {})
            if applying:
                kept = _without(kept, self.state.applied.get(key, {}), body)
                self.state.applied[key] = copy.deepcopy(body)
            new = _merge(kept, body)
        if current is not None and _same(new, current):
            return 200, current
        if current is not None:
            new["metadata"] = {**new["metadata"], "uid": current["metadata"]["uid"]}
        return (200 if current else 201), self.state.store(key, new)

    def _watch(self, path: str, query: dict[str, str]) -> None:
        """Send changes as they come, from the version that a list gave, until the client's timeout."""
        key, _ = self._key(path)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        at = int(query.get("resourceVersion") or 0)
        waited, limit = 0.0, float(query.get("timeoutSeconds", 60))
        while waited < limit:
            with self.state.lock:
                fresh = self.state.events[at:]
                at += len(fresh)
                if not fresh:
                    self.state.changed.wait(0.1)
                    waited += 0.1
            for event, resource, namespace, document in fresh:
                if resource == key[0] and key[1] in ("", namespace) and _selected(document, query):
                    self.wfile.write(json.dumps({"type": event, "object": document}).encode() + b"\n")
            self.wfile.flush()


def _selected(document: Object, query: dict[str, str]) -> bool:
    labels = document["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = term.replace("==", "=").partition("=")
        if labels.get(name) != value:
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = term.replace("==", "=").partition("=")
        found: Any = document
        for part in path.split("."):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        if found != value:
            return False
    return True


def _without(current: Any, before: Any, now: Any) -> Any:
    """What is there, less what was applied before and is not any more."""
    if not (isinstance(current, dict) and isinstance(before, dict) and isinstance(now, dict)):
        return current
    gone = {name for name in before if name not in now}
    return {name: _without(v, before.get(name), now.get(name, {})) for name, v in current.items() if name not in gone}


def _merge(current: Any, new: Any) -> Any:
    if isinstance(current, dict) and isinstance(new, dict):
        return {**current, **{name: _merge(current.get(name), value) for name, value in new.items()}}
    return new


def _same(new: Object, old: Object) -> bool:
    changing = ("resourceVersion", "uid", "creationTimestamp")
    trimmed = [
        {**document, "metadata": {name: v for name, v in document["metadata"].items() if name not in changing}}
        for document in (new, old)
    ]
    return trimmed[0] == trimmed[1]
