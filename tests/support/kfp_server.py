"""A loopback HTTP server that stands in for ml-pipeline-ui with the ml-pipeline API (v2beta1) behind it.

It keeps experiments, runs and recurring runs, plays a run's workflow as a script of moments (each look at the run is
one moment further), hands out pod logs and pod states, and checks who calls: bearer tokens, session cookies, the login
page, namespaces, and that an authorization header never comes with a kubeflow-userid header. With `gateway` it answers
below /pipeline only and with the dashboard's page elsewhere, as a Kubeflow gateway does. Of the filters it knows the
one for a name; it does not sort.
"""

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from support.kfp_workflow import WORKFLOW, nodes

PAGE = "<!doctype html><title>Kubeflow</title>"


@dataclass
class KfpServer:
    """What the server knows and whom it lets in; tests change it while it runs."""

    gateway: bool = False
    multi_user: bool = True
    tokens: set[str] | None = None
    """Bearer tokens that are let in; none, together with no cookies, lets everybody in."""
    cookies: set[str] | None = None
    login: str = "redirect"
    """What a caller without credentials gets: a `redirect` to the login page, the `page`, a `forbidding page` (403)."""
    forbidden: set[str] = field(default_factory=set)
    """Namespaces that callers have no rights in."""
    failures: list[int] = field(default_factory=list)
    """Statuses of the next answers, before it works again."""
    lost: str | None = None
    """Requests to paths that end so are carried out, but the connection breaks before the answer."""
    script: list[dict] = field(default_factory=list)
    """Moments of a run: its `state`, and `steps`: node path to the state of that step."""
    logs: dict[str, str] = field(default_factory=dict)
    """Pod name to its log."""
    pods: dict[str, dict] = field(default_factory=dict)
    """Pod name to its status."""
    requests: list[tuple[str, str, dict, bytes]] = field(default_factory=list)
    experiments: dict[str, dict] = field(default_factory=dict)
    runs: dict[str, dict] = field(default_factory=dict)
    schedules: dict[str, dict] = field(default_factory=dict)
    looks: int = 0
    """How often the run was looked at."""
    certificate: str | None = None
    """File with certificate and key: the server then speaks https."""

    def start(self, port: int = 0) -> "KfpServer":
        """Listen on loopback, by default on any free port."""
        handler = type("Bound", (_Handler,), {"server_state": self})
        self._down = False
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening and answering, as a server that is restarted does; what it knows stays."""
        self._down = True
        self._http.shutdown()
        self._http.server_close()

    def restart(self) -> None:
        """Listen again where it did."""
        self.start(self._http.server_port)

    @property
    def host(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self._http.server_port}"

    def bodies(self, method: str, path: str) -> list[dict]:
        """JSON bodies of the requests to paths that end so."""
        return [
            json.loads(body)
            for used, asked, _, body in self.requests
            if used == method and urlsplit(asked).path.endswith(path)
        ]

    def run_answer(self, run_id: str) -> dict:
        """The run at this moment of the script."""
        run = self.runs[run_id]
        if run.get("state") == "CANCELING":
            return {**run, "state": "CANCELED", "run_details": {"task_details": []}}
        if not self.script:
            return {**run, "state": "PENDING"}
        moment = self.script[min(self.looks, len(self.script) - 1)]
        self.looks += 1
        return {**run, "state": moment["state"], "run_details": {"task_details": nodes(moment["steps"])}}


class _Handler(BaseHTTPRequestHandler):
    server_state: KfpServer
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        state = self.server_state
        if state._down:
            # A connection that was kept open ends without an answer.
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        state.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if not self._let_in():
            return
        if state.failures:
            self._json({"error": "not now"}, state.failures.pop(0))
        elif state.gateway and not url.path.startswith("/pipeline/"):
            self._page(200)
        elif query.get("namespace", query.get("podnamespace")) in state.forbidden:
            self._refuse_namespace()
        else:
            self._route(url.path.removeprefix("/pipeline"), query, json.loads(body) if body else {})

    do_GET = do_POST = do_DELETE = _handle

    def _let_in(self) -> bool:
        state = self.server_state
        token, cookie = self.headers.get("authorization"), self.headers.get("cookie")
        if token and self.headers.get("kubeflow-userid"):
            self._text("RBAC: access denied", 403)
        elif state.tokens is None and state.cookies is None:
            return True
        elif token:
            if token.removeprefix("Bearer ") in (state.tokens or ()):
                return True
            # A careless server repeats the token: the client must not.
            self._text(f"Jwt verification fails: {token}", 401)
        elif cookie and cookie in (state.cookies or ()):
            return True
        else:
            self._page({"redirect": 302, "page": 200, "forbidding page": 403}[state.login])
        return False

    def _route(self, path: str, query: dict, body: dict) -> None:
        state = self.server_state
        parts = path.removeprefix("/apis/v2beta1/").split("/")
        if path.startswith("/k8s/pod"):
            self._pod(path, query["podname"])
        elif parts == ["healthz"]:
            self._json({"multi_user": state.multi_user})
        elif "namespace" in query and not state.multi_user:
            self._json({"message": "In single-user mode, a namespace is not allowed.", "code": 3}, 400)
        elif parts[0] == "experiments":
            self._collection(state.experiments, "experiments", "experiment_id", body, query)
        elif parts[0] == "recurringruns":
            self._collection(state.schedules, "recurringRuns", "recurring_run_id", body, query, parts[1:])
        elif parts[0] == "runs" and len(parts) == 1:
            self._collection(state.runs, "runs", "run_id", body, query)
        elif parts[0] == "runs":
            self._run(parts[1])
        else:
            self._text("Not Found", 404)

    def _collection(
        self, kept: dict, plural: str, id_name: str, body: dict, query: dict, rest: list[str] | None = None
    ) -> None:
        if self.command == "POST":
            new_id = f"{plural.rstrip('s').lower()}-{len(kept) + 1}"
            kept[new_id] = {**body, id_name: new_id, "created_at": "2026-03-01T12:00:00Z"}
            self._json(kept[new_id])
        elif self.command == "DELETE":
            kept.pop((rest or [""])[0])
            self._json({})
        else:
            asked = json.loads(query.get("filter", "{}")).get("predicates", [{}])[0].get("stringValue")
            self._json({plural: [item for item in kept.values() if asked in {None, item["display_name"]}]})

    def _run(self, name: str) -> None:
        state = self.server_state
        run_id, _, verb = name.partition(":")
        if run_id not in state.runs:
            self._json({"message": f"Run {run_id} not found.", "code": 5}, 404)
        elif verb == "terminate":
            state.runs[run_id]["state"] = "CANCELING"
            self._json({})
        else:
            self._json(state.run_answer(run_id))

    def _pod(self, path: str, pod: str) -> None:
        state = self.server_state
        if path.endswith("/logs") and pod in state.logs:
            self._text(state.logs[pod])
        elif not path.endswith("/logs") and pod in state.pods:
            self._text(json.dumps({"metadata": {"name": pod}, "status": state.pods[pod]}))
        else:
            self._text(f"Could not get main container logs: Error: pods {pod} not found in {WORKFLOW}", 500)

    def _refuse_namespace(self) -> None:
        reason = "User 'system:serviceaccount:team-a:default-editor' is not authorized"
        self._json({"error": reason, "message": reason, "code": 7}, 403)

    def _page(self, status: int) -> None:
        headers = {"location": "http://127.0.0.1:1/dex/auth?client_id=kubeflow"} if status == 302 else {}
        self._send(PAGE.encode(), status, "text/html; charset=utf-8", headers)

    def _json(self, answer: dict, status: int = 200) -> None:
        self._send(json.dumps(answer).encode(), status, "application/json", {})

    def _text(self, answer: str, status: int = 200) -> None:
        self._send(answer.encode(), status, "text/plain", {})

    def _send(self, body: bytes, status: int, kind: str, headers: dict) -> None:
        if self.server_state.lost and urlsplit(self.path).path.endswith(self.server_state.lost):
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "content-type": kind, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass
