"""Why pods are not ready, from pods and events: the status of an InferenceService is the same for every cause."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from components.core.deployment.kubernetes_api import Cluster, Object

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_MISSING = re.compile(
    r'(secret|configmap) "([^"]+)" not found|couldn\'t find key (\S+) in (Secret|ConfigMap) (\S+)', re.I
)


class Trouble(NamedTuple):
    """One cause, and what to do about it."""

    what: str
    remedy: str
    lasting: bool
    """True if waiting alone does not help."""


def diagnose(cluster: Cluster, namespace: str, pods: list[Object], owner: str) -> list[Trouble]:
    """What keeps pods from being ready.

    Args:
        cluster: Where they are.
        namespace: Of the pods.
        pods: Those that should become ready; if there are none, the reason why none could be made is looked for.
        owner: Name that the owner's and its replica sets' names begin with.
    """
    events = cluster.list("Event", namespace)
    if not pods:
        return _not_created(events, owner)
    found = [trouble for pod in pods for trouble in _of_pod(cluster, pod, events)]
    return list(dict.fromkeys(found))


def _not_created(events: list[Object], owner: str) -> list[Trouble]:
    told = [e for e in events if e.get("reason") == "FailedCreate" and _subject(e).startswith(owner)]
    if not told:
        told = [e for e in events if e.get("type") == "Warning" and _subject(e) == owner.removesuffix("-predictor")]
    message = _message(told[-1]) if told else ""
    if "exceeded quota" in message:
        return [Trouble(f"the quota refuses the pod: {message}", "Raise the quota, or ask for less.", True)]
    if "serviceaccount" in message and "not found" in message:
        return [Trouble(message, "Run the deployment again: it makes the ServiceAccount first.", True)]
    if "violates PodSecurity" in message:
        return [Trouble(message, "Relax the namespace's pod-security label, or drop the component.", True)]
    return [Trouble(message, "Look at the controller that makes the pods.", False)] if message else []


def _of_pod(cluster: Cluster, pod: Object, events: list[Object]) -> Iterable[Trouble]:
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    mine = [event for event in events if _subject(event) == name]
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _unscheduled(condition.get("message", "no node fits"))
    mounts = [_message(event) for event in mine if event.get("reason") in ("FailedMount", "FailedAttachVolume")]
    states = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for container in states:
        yield from _of_container(cluster, pod, container, mine)
    if mounts and not any(container.get("state", {}).get("running") for container in states):
        yield _unmounted(mounts[-1])


def _unscheduled(message: str) -> Trouble:
    if "nvidia.com/gpu" in message or "amd.com/gpu" in message:
        remedy = "No node has that many free GPUs: `make doctor` counts them. Free one, or use an overlay without GPU."
    elif "persistentvolumeclaim" in message:
        remedy = "The volume is not there: look at `kubectl get pvc` and the storage class."
    elif "Insufficient" in message:
        remedy = "Free some room on the nodes, add one, or lower the resource requests in your overlay."
    elif "taint" in message or "node affinity" in message or "node selector" in message:
        remedy = "No node carries the label, or all are tainted: set nodeSelector and tolerations in your overlay."
    else:
        remedy = "Look at the nodes: kubectl get nodes."
    return Trouble(f"no node takes the pod: {message}", remedy, False)


def _unmounted(message: str) -> Trouble:
    missing = _missing(message)
    if missing:
        return missing
    return Trouble(f"a volume cannot be mounted: {message}", "Look at the volume claim and its storage class.", False)


def _missing(message: str) -> Trouble | None:
    found = _MISSING.search(message)
    if not found:
        return None
    kind, name, key = (found[4] or found[1]).lower(), found[2] or found[5].split("/")[-1], found[3]
    what = f"the {kind} {name} has no key {key}" if key else f"the {kind} {name} is missing"
    remedy = "`make api-deploy` makes it." if name.startswith("llm-api") else "Create it in the pod's namespace."
    return Trouble(what, remedy, True)


def _of_container(cluster: Cluster, pod: Object, container: Object, events: list[Object]) -> Iterable[Trouble]:
    name, state = container["name"], container.get("state", {})
    waiting, ended = (
        state.get("waiting", {}),
        state.get("terminated") or container.get("lastState", {}).get("terminated"),
    )
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL:
        yield Trouble(
            f"the image {container.get('image')} cannot be pulled: {_first_line(message) or reason}",
            "Is it pushed (`make images push`)? Are REGISTRY and TAG those of the push? A private registry needs "
            "imagePullSecrets on the ServiceAccount.",
            True,
        )
    elif reason in _CONFIG:
        yield _missing(message) or Trouble(f"container {name} cannot start: {message}", "Correct the overlay.", True)
    elif ended and ended.get("exitCode") and (waiting or state.get("terminated")):
        yield _crash(cluster, pod, container, ended)
    elif state.get("running") and not container.get("ready"):
        failed = [_message(event) for event in events if event.get("reason") == "Unhealthy"]
        last = _last_words(cluster, pod, name, False)
        told = f"; its log ends with: {last}" if last else ""
        if failed:
            remedy = "A large model needs more time (startupProbe.failureThreshold). `make logs` shows more."
            yield Trouble(f"container {name} runs but is not ready: {_first_line(failed[-1])}{told}", remedy, False)


def _crash(cluster: Cluster, pod: Object, container: Object, ended: Object) -> Trouble:
    name, restarts = container["name"], container.get("restartCount", 0)
    lasting = restarts >= 2
    if ended.get("reason") == "OOMKilled":
        remedy = "Raise resources.limits.memory in your overlay, or serve a smaller model."
        return Trouble(f"container {name} needs more memory than its limit (OOMKilled)", remedy, lasting)
    words = _last_words(cluster, pod, name, "running" not in container.get("state", {}))
    what = (
        f"container {name} ended with exit code {ended['exitCode']} ({restarts} restarts): {words or 'it said nothing'}"
    )
    return Trouble(what, "`make logs` shows more.", lasting)


def _last_words(cluster: Cluster, pod: Object, container: str, ended: bool) -> str:
    """The container's own error line if it printed one, else its last line."""
    metadata = pod["metadata"]
    for previous in (ended, False) if ended else (False,):
        text = cluster.logs(metadata["name"], metadata["namespace"], container, 50, previous)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        told = [line for line in lines if "error: " in line.lower()]
        if lines:
            return (told or lines)[-1][:400]
    return ""


def _subject(event: Object) -> str:
    return str(event.get("involvedObject", {}).get("name", ""))


def _message(event: Object) -> str:
    return str(event.get("message", "")).strip()


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:400]
