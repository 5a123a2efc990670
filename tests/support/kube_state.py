"""What a stand-in cluster (kube_server) holds: its objects, what was asked of it, and its faults."""

import copy
import threading
from collections.abc import Callable
from typing import Any

from components.core.deployment.kinds import KINDS

Object = dict[str, Any]


class KubeServer:
    """The state of one stand-in cluster, and what was asked of it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        """By (resource such as `pods` or `inferenceservices.serving.kserve.io`, namespace, name)."""
        self.calls: list[tuple[str, str]] = []
        """Method and path of every request, reviews and reads included."""
        self.bodies: list[str] = []
        """Everything that was sent."""
        self.logs: dict[tuple[str, str], str] = {}
        """Log by (pod, container); container "" is any."""
        self.denied: set[tuple[str, str]] = set()
        """(verb, resource) that the caller has no right to; "*" is every verb."""
        self.not_installed: set[str] = set()
        """Resources that this cluster does not know."""
        self.faults: list[tuple[str, str, int, str]] = []
        """(method, pattern of the path, status, message), each answered once; status 0 cuts the connection."""
        self.token: str | None = None
        """The bearer token that callers must show."""
        self.applied: dict[tuple[str, str, str], Object] = {}
        """What was applied last, by the same keys."""
        self.pod_seconds = 0.0
        """How long a pod takes to end; until then it is there with a deletionTimestamp."""
        self.git_version = "v1.33.4"
        self.on_change: list[Callable[[KubeServer, str, Object], None]] = []
        """Called with (server, "ADDED" | "MODIFIED" | "DELETED", object): what controllers would do."""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.events: list[tuple[str, str, str, Object]] = []
        self._version = 0
        for namespace in ("default", "kube-system", "kubeflow", "kubeflow-user-example-com"):
            self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def add(self, document: Object) -> Object:
        """Put an object in place, as if it had been there before."""
        resource = KINDS[document["kind"]].resource
        metadata = document["metadata"]
        return self.store((resource, metadata.get("namespace", ""), metadata["name"]), copy.deepcopy(document))

    def find(self, kind: str, name: str, namespace: str = "kubeflow-user-example-com") -> Object | None:
        """One object as it is now."""
        known = KINDS[kind]
        return self.objects.get((known.resource, namespace if known.namespaced else "", name))

    def names(self, kind: str) -> list[str]:
        """Names of all objects of a kind."""
        return sorted(key[2] for key in self.objects if key[0] == KINDS[kind].resource)

    def set_status(self, kind: str, name: str, status: Object, namespace: str = "kubeflow-user-example-com") -> None:
        """Change an object's status, as its controller would."""
        key = (KINDS[kind].resource, namespace, name)
        self.store(key, {**self.objects[key], "status": status})

    def writes(self) -> list[tuple[str, str]]:
        """Requests that change something, in order."""
        return [call for call in self.calls if call[0] != "GET" and "accessreviews" not in call[1]]

    def store(self, key: tuple[str, str, str], document: Object) -> Object:
        """Keep an object under a new resourceVersion."""
        with self.lock:
            event = "MODIFIED" if key in self.objects else "ADDED"
            self._version += 1
            metadata = document.setdefault("metadata", {})
            metadata |= {"resourceVersion": str(self._version)}
            metadata.setdefault("uid", f"uid-{self._version}")
            metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            self.objects[key] = document
            self._tell(event, key, document)
        return document

    def remove(self, key: tuple[str, str, str]) -> None:
        """Delete an object and what it owns; one with finalizers stays until `finish` takes them away."""
        with self.lock:
            document = self.objects[key]
            metadata = document["metadata"]
            if metadata.get("finalizers") or (key[0] == "pods" and self.pod_seconds and not metadata.get("ended")):
                if not metadata.get("deletionTimestamp"):
                    metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                    self.store(key, document)
                    if key[0] == "pods":
                        threading.Timer(self.pod_seconds, self._end_pod, [key]).start()
                return
            self.objects.pop(key)
            self.applied.pop(key, None)
            self._tell("DELETED", key, document)
            for other, owned in list(self.objects.items()):
                owners = owned["metadata"].get("ownerReferences", [])
                if any(owner.get("uid") == document["metadata"]["uid"] for owner in owners) and other in self.objects:
                    self.remove(other)

    def finish(self, kind: str, name: str, namespace: str = "kubeflow-user-example-com") -> None:
        """Take an object's finalizers away, as their owner would; it goes if it was deleted."""
        key = (KINDS[kind].resource, namespace, name)
        with self.lock:
            metadata = self.objects[key]["metadata"]
            metadata.pop("finalizers", None)
            if metadata.get("deletionTimestamp"):
                self.remove(key)

    def _end_pod(self, key: tuple[str, str, str]) -> None:
        with self.lock:
            if key in self.objects:
                self.objects[key]["metadata"]["ended"] = True
                self.remove(key)

    def _tell(self, event: str, key: tuple[str, str, str], document: Object) -> None:
        self.events.append((event, key[0], key[1], copy.deepcopy(document)))
        self.changed.notify_all()
        for react in list(self.on_change):
            react(self, event, document)
