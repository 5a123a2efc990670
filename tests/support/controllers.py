"""What KServe, the Deployment controller and the kubelet would do in a stand-in cluster (kube_server), as far as the
commands look at it: Deployments, pods, their statuses and events. Each fault is one that a real cluster shows in the
same fields; every one of them gives the InferenceService the same status, as a real KServe does.
"""

import copy
import itertools
from typing import Any, Literal

from support.kube_state import KubeServer, Object

Fault = Literal["none", "image", "gpu", "crash", "oom", "probe", "secret", "quota", "slow"]
MESSAGES = {
    "gpu": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    "image": 'Back-off pulling image "whetstone-api:0.1.0": not found',
    "secret": 'secret "llm-api-keys" not found',
    "probe": 'Startup probe failed: Get "http://10.1.2.3:8080/readyz": connection refused',
    "quota": 'pods "llm-api-predictor-x" is forbidden: exceeded quota: team, requested: limits.memory=6Gi',
}


class Controllers:
    """Reacts to every change of an InferenceService or Deployment; `fault` may be changed between two changes."""

    def __init__(self, cluster: KubeServer, fault: Fault = "none") -> None:
        self.cluster, self.fault = cluster, fault
        self._seen: dict[str, str] = {}
        self._generations = itertools.count(1)
        cluster.on_change.append(self._react)

    def _react(self, cluster: KubeServer, event: str, document: Object) -> None:
        kind, metadata = document.get("kind"), document["metadata"]
        if event == "DELETED":
            self._seen.pop(f"{kind}/{metadata['name']}", None)
        elif kind in ("InferenceService", "Deployment"):
            spec = str(document["spec"])
            if self._seen.get(f"{kind}/{metadata['name']}") != spec:
                self._seen[f"{kind}/{metadata['name']}"] = spec
                metadata["generation"] = next(self._generations)
                (self._serve if kind == "InferenceService" else self._roll_out)(document)

    def cure(self) -> None:
        """The fault is gone: what failed goes on."""
        self.fault = "none"
        self._seen.clear()
        for (resource, _, _), document in list(self.cluster.objects.items()):
            if resource.startswith("inferenceservices"):
                self._react(self.cluster, "MODIFIED", document)

    def _serve(self, service: Object) -> None:
        """KServe: a Deployment behind the service, and Ready as that is."""
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        labels = {"serving.kserve.io/inferenceservice": metadata["name"], "app": f"isvc.{metadata['name']}-predictor"}
        template = {
            "metadata": {
                "annotations": predictor.get("annotations", {}),
                "labels": {**predictor.get("labels", {}), **labels},
            },
            "spec": {"containers": predictor.get("containers", [{"name": "kserve-container", "image": "runtime"}])},
        }
        self.cluster.add(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {**_owned(service), "name": f"{metadata['name']}-predictor"},
                "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
            }
        )
        ready = self.fault == "none"
        conditions = [{"type": kind, "status": str(ready)} for kind in ("PredictorReady", "IngressReady", "Ready")]
        status = {"conditions": conditions, "url": f"http://{metadata['name']}.example.com"}
        self.cluster.set_status("InferenceService", metadata["name"], status, metadata["namespace"])

    def _roll_out(self, deployment: Object) -> None:
        """The Deployment controller and the kubelet: one pod of the new template instead of the old one."""
        metadata, template = deployment["metadata"], deployment["spec"]["template"]
        for key, pod in list(self.cluster.objects.items()):
            if key[0] == "pods" and pod["metadata"]["name"].startswith(metadata["name"] + "-"):
                self.cluster.remove(key)
        ready = self.fault == "none"
        if self.fault != "quota":
            self._start_pod(deployment, template)
        else:
            self._tell(f"{metadata['name']}-5d9", "FailedCreate", MESSAGES["quota"], metadata["namespace"])
        status = {
            "observedGeneration": metadata["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": int(ready),
        }
        self.cluster.set_status("Deployment", metadata["name"], status, metadata["namespace"])

    def _start_pod(self, deployment: Object, template: Object) -> None:
        namespace = deployment["metadata"]["namespace"]
        name = f"{deployment['metadata']['name']}-{deployment['metadata']['generation']}"
        container = template["spec"]["containers"][0]
        pod = copy.deepcopy(template) | {"apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {**_owned(deployment), **copy.deepcopy(template["metadata"]), "name": name}
        pod["status"] = self._pod_status(container, name)
        self.cluster.add(pod)
        if self.fault == "probe":
            self._tell(name, "Unhealthy", MESSAGES["probe"], namespace)

    def _pod_status(self, container: Object, name: str) -> Object:
        state: Object = {"name": container["name"], "image": container["image"], "ready": False, "restartCount": 0}
        running: Object = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        if self.fault == "gpu":
            unscheduled = {"type": "PodScheduled", "status": "False", "message": MESSAGES["gpu"]}
            return {"phase": "Pending", "conditions": [unscheduled]}
        if self.fault in ("image", "secret"):
            reason = {"image": "ImagePullBackOff", "secret": "CreateContainerConfigError"}[self.fault]
            state["state"] = {"waiting": {"reason": reason, "message": MESSAGES[self.fault]}}
            return {"phase": "Pending", "containerStatuses": [state]}
        if self.fault in ("crash", "oom"):
            ended = {"exitCode": 2} if self.fault == "crash" else {"exitCode": 137, "reason": "OOMKilled"}
            waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
            state |= {"state": waiting, "lastState": {"terminated": ended}, "restartCount": 4}
            self.cluster.logs[(name, container["name"])] = "starting\nerror: model acme/none is not on the Hub.\n"
            return {"phase": "Running", "containerStatuses": [state]}
        state |= {"state": running, "ready": self.fault == "none"}
        self.cluster.logs[(name, container["name"])] = "Loading the model\n"
        return {"phase": "Running", "containerStatuses": [state]}

    def _tell(self, subject: str, reason: str, message: str, namespace: str) -> None:
        self.cluster.add(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{subject}.{reason}".lower(), "namespace": namespace},
                "involvedObject": {"name": subject},
                "type": "Warning",
                "reason": reason,
                "message": message,
            }
        )


def _owned(owner: Object) -> dict[str, Any]:
    metadata = owner["metadata"]
    reference = {"kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {"namespace": metadata["namespace"], "ownerReferences": [reference]}
