"""The one way to talk to a cluster: plain objects (dicts) over the official client's connection and credentials."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from components.core.deployment.kinds import Kind, find_kind
from components.core.errors import ConfigError, PlatformError

FIELD_MANAGER = "whetstone"
_TIMEOUT_SECONDS = 30.0
Applied = Literal["created", "configured", "unchanged"]
Object = dict[str, Any]


class ClusterError(PlatformError):
    """The cluster cannot be reached or refuses.

    `status` is the HTTP status, 0 if there was no answer; `reason` the API server's own message.
    """

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Cluster:
    """A connection to one API server."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Address of the API server."""
        return str(self._client.configuration.host)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, or none if there is no such object (or no such kind) in the cluster."""
        return self._found(find_kind(kind).path(namespace, name))

    def get_path(self, path: str) -> Object | None:
        """Whatever the API server answers at a path such as /version; none for 404."""
        return self._found(path)

    def list(self, kind: str, namespace: str | None = None, labels: str = "", fields: str = "") -> list[Object]:
        """Objects of a kind, of all namespaces if none is named; empty if the cluster has no such kind.

        Args:
            kind: Name of the kind.
            namespace: Where to look.
            labels: Label selector, such as `app=llm-ui`.
            fields: Field selector, such as `involvedObject.name=llm-ui`.
        """
        path, items, query = find_kind(kind).path(namespace), [], {"labelSelector": labels, "fieldSelector": fields}
        query = {name: value for name, value in query.items() if value} | {"limit": "500"}
        while True:
            page = self._found(path, query) or {}
            items += page.get("items", [])
            onward = page.get("metadata", {}).get("continue")
            if not onward:
                return items
            query["continue"] = onward

    def apply(self, document: Object) -> Applied:
        """Create an object or bring it up to date (server-side apply; unknown fields are refused)."""
        metadata = document["metadata"]
        kind = find_kind(document["kind"], document["apiVersion"])
        path = kind.path(metadata.get("namespace"), metadata["name"])
        before = self._found(path)
        after = self._patch(path, document, {})
        if before is None:
            return "created"
        versions = [found["metadata"].get("resourceVersion") for found in (before, after)]
        return "unchanged" if versions[0] == versions[1] else "configured"

    def try_apply(self, document: Object) -> None:
        """Let the API server, its webhooks included, judge an object without changing anything."""
        metadata = document["metadata"]
        path = find_kind(document["kind"], document["apiVersion"]).path(metadata.get("namespace"), metadata["name"])
        self._patch(path, document, {"dryRun": "All"})

    def may(self, verb: str, kind: Kind, namespace: str | None = None, subresource: str = "") -> bool:
        """Whether we have a right, by a SelfSubjectAccessReview."""
        attributes = {"verb": verb, "group": kind.group, "resource": kind.plural}
        attributes |= {"namespace": namespace} if namespace else {}
        attributes |= {"subresource": subresource} if subresource else {}
        version = "authorization.k8s.io/v1"
        review = {"apiVersion": version, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        answer = self._call("POST", f"/apis/{version}/selfsubjectaccessreviews", {}, review)
        return bool(answer.get("status", {}).get("allowed"))

    def annotate(self, kind: str, name: str, namespace: str, annotations: dict[str, str]) -> None:
        """Set annotations of an object that is somebody else's, and nothing more of it."""
        path, body = find_kind(kind).path(namespace, name), {"metadata": {"annotations": annotations}}
        query = {"fieldManager": FIELD_MANAGER}
        self._call("PATCH", path, query, body, {"Content-Type": "application/merge-patch+json"})

    def delete(self, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete an object and, in the background, what belongs to it; False if there was none."""
        try:
            self._call("DELETE", find_kind(kind).path(namespace, name), {"propagationPolicy": "Background"})
        except ClusterError as error:
            if error.status != 404:
                raise
            return False
        return True

    def logs(self, pod: str, namespace: str, container: str = "", tail_lines: int = 50, previous: bool = False) -> str:
        """Last lines of a container's log; empty where there is none (yet)."""
        query = {"tailLines": str(tail_lines), "previous": str(previous).lower()}
        query |= {"container": container} if container else {}
        try:
            return self._text("GET", f"{find_kind('Pod').path(namespace, pod)}/log", query)
        except ClusterError as error:
            if error.status not in (400, 404):
                raise
            return ""

    def _patch(self, path: str, document: Object, more: dict[str, str]) -> Object:
        # forced: what a release says holds, also over what somebody else has set by hand
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict", **more}
        return self._call("PATCH", path, query, document, {"Content-Type": "application/apply-patch+yaml"})

    def _found(self, path: str, query: dict[str, str] | None = None) -> Object | None:
        try:
            return self._call("GET", path, query or {})
        except ClusterError as error:
            if error.status != 404:
                raise
            return None

    def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Object | None = None,
        headers: dict[str, str] | None = None,
    ) -> Object:
        text = self._text(method, path, query, body, headers)
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ClusterError(f"{self.address} does not answer like a Kubernetes API server. Check KUBECONFIG.")
        return found

    def _text(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Object | None = None,
        headers: dict[str, str] | None = None,
    ) -> str:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            response, _, _ = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json, */*", **(headers or {})},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=_TIMEOUT_SECONDS,
            )
            return str(response.data.decode("utf-8", errors="replace"))
        except ApiException as error:
            raise _explain(error, method, path) from None
        except (HTTPError, OSError) as error:
            # from None: the client's own errors hold the whole request, secrets included
            raise ClusterError(
                f"cannot reach the cluster at {self.address} ({type(error).__name__}). Check KUBECONFIG, the network "
                "and that the cluster is up."
            ) from None


def connect(context: str | None = None) -> Cluster:
    """Open the cluster that KUBECONFIG names, or the one around this pod.

    Args:
        context: Name of a context in the kubeconfig; none takes its current one.

    Raises:
        ConfigError: If no cluster is configured.
    """
    from kubernetes import client, config

    kubeconfig = os.environ.get("KUBECONFIG") or "~/.kube/config"
    configuration = client.Configuration()
    try:
        if any(Path(file).expanduser().is_file() for file in kubeconfig.split(os.pathsep) if file):
            # named, because the client has looked at the variable when it was imported
            config.load_kube_config(kubeconfig, context, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        wanted = f"the kubeconfig has no usable context {context}" if context else "no cluster is configured"
        raise ConfigError(f"{wanted}. Set KUBECONFIG to a valid file, then try again.") from error
    # one try again: a call that waits for a cluster that is down should say so within seconds
    configuration.retries = 1
    return Cluster(client.ApiClient(configuration))


def _explain(error: Any, method: str, path: str) -> ClusterError:
    """The server's refusal in our words; its own message may quote what was sent, so only its reason is kept."""
    try:
        answer = json.loads(error.body or "{}")
    except ValueError:
        answer = {}
    reason = str(answer.get("message", "")) if isinstance(answer, dict) else ""
    status, what = int(error.status or 0), f"{method} {path}"
    # a refused secret is quoted in the message
    shown = "" if "/secrets" in path else reason
    if status == 401:
        message = "the cluster does not accept your credentials (401). Log in again, or renew the token in KUBECONFIG."
    elif status == 403:
        message = f"the cluster refuses {what} (403): you lack that right. {shown}".rstrip()
    elif status == 404 and "/namespaces/" in path and "namespaces" in reason:
        namespace = path.split("/namespaces/")[1].split("/")[0]
        message = f"namespace {namespace} does not exist. Create it, or set NAMESPACE to yours."
    elif status == 404:
        message = f"the cluster has no {path} (404). Is what serves it installed? `make doctor` tells."
    else:
        message = f"the cluster answered {status} to {what}: {shown or error.reason}"
    return ClusterError(message, status, shown)
