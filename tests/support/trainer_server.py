"""A loopback HTTP server that stands in for a Kubernetes API server with Kubeflow Trainer behind it.

Real in it: paths, status codes and the form of refusals; TrainJobs are held against the models of the Trainer's API,
field by field, and against the rules of its webhook that concern us; logs that can be followed while they grow. What
the pods of a TrainJob do is the test's choice (trainer_cluster). Not in it: scheduling, images, volumes.
"""

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
from support.trainer_cluster import Pod, TrainerCluster

NAMESPACE = "kubeflow-user-example-com"
_TRAINER = r"/apis/trainer\.kubeflow\.org/v1alpha1"
_RUNTIME = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {"spec": {"replicatedJobs": [{"name": "node", "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"template": {"spec": {"containers": [{"name": "node", "image": "pytorch/pytorch:2.7"}]}}},
        }}]}},
    },
}  # fmt: skip


class Refusal(Exception):
    """Answered as a Kubernetes Status; `known` is an object that is missing, not a path."""

    def __init__(self, status: int, message: str, known: bool = True) -> None:
        self.status = status
        answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
        self.body = json.dumps({**answer, "details": {"name": "x"}}) if known else "404 page not found\n"


@contextmanager
def trainer_server(folder: Path) -> Iterator[tuple[TrainerCluster, Path]]:
    """Run a stand-in; gives its state and a kubeconfig that leads to it."""
    cluster = TrainerCluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": cluster}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parts = {
        "clusters": {"server": f"http://127.0.0.1:{server.server_port}"}, "users": {},
        "contexts": {"cluster": "c", "user": "c", "namespace": NAMESPACE},
    }  # fmt: skip
    entries = {kind: [{"name": "c", kind[:-1]: value}] for kind, value in parts.items()}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "c", **entries}))
    try:
        yield cluster, kubeconfig
    finally:
        for name in list(cluster.jobs):
            cluster.remove(name)
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    cluster: TrainerCluster
    protocol_version = "HTTP/1.1"  # logs are sent in chunks

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output readable."""

    def _handle(self) -> None:
        cluster, url = self.cluster, urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "null")
        cluster.calls.append((self.command, url.path))
        try:
            for method, pattern, status, message in cluster.refusals:
                if method == self.command and re.search(pattern, url.path):
                    raise Refusal(status, message)
            log = re.fullmatch(rf"/api/v1/namespaces/{NAMESPACE}/pods/([\w-]+)/log", url.path)
            if log:
                self._log(log[1], "follow" in parse_qs(url.query))
                return
            with cluster.changed:
                answer, status = json.dumps(_answer(cluster, self.command, url.path, body)), 200
        except Refusal as refusal:
            answer, status = refusal.body, refusal.status
        self.send_response(status)
        self.send_header("content-type", "application/json" if answer.startswith("{") else "text/plain")
        self.send_header("content-length", str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_GET = do_POST = do_DELETE = _handle

    def _log(self, name: str, follow: bool) -> None:
        """Send the log, and go on while the pod runs."""
        pod = self.cluster.pods.get(name)
        if pod is None:
            raise Refusal(404, f'pods "{name}" not found')
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        sent = 0
        while True:
            with self.cluster.changed:
                lines = pod.log[sent:]
                running = pod.phase == "Running"
                if not lines and running and follow:
                    self.cluster.changed.wait(0.2)
                    continue
            sent += len(lines)
            chunk = "".join(f"{line}\n" for line in lines).encode()
            if chunk:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            if not (follow and running):
                self.wfile.write(b"0\r\n\r\n")
                return


def _answer(cluster: TrainerCluster, method: str, path: str, body: Any) -> Any:
    core, trainer = rf"/api/v1/namespaces/{NAMESPACE}", rf"{_TRAINER}/namespaces/{NAMESPACE}"
    if path.startswith("/apis/trainer") and not cluster.installed:
        raise Refusal(404, "", known=False)
    if re.fullmatch(rf"{trainer}/trainjobs", path) and method == "POST":
        return _create(cluster, body)
    found = re.fullmatch(rf"{trainer}/trainjobs/([\w-]+)", path)
    if found:
        if found[1] not in cluster.jobs:
            raise Refusal(404, f'trainjobs.trainer.kubeflow.org "{found[1]}" not found')
        if method == "DELETE":
            cluster.remove(found[1])
            return {"kind": "Status", "status": "Success"}
        return cluster.jobs[found[1]]
    found = re.fullmatch(rf"{_TRAINER}/clustertrainingruntimes/([\w-]+)", path)
    if found and found[1] in cluster.runtimes:
        return _RUNTIME
    found = re.fullmatch(rf"{core}/persistentvolumeclaims/([\w-]+)", path)
    if found and found[1] in cluster.claims:
        modes = cluster.claims[found[1]]
        return {"apiVersion": "v1", "metadata": {"name": found[1]}, "spec": {"accessModes": modes}}
    if re.fullmatch(rf"{core}/pods", path):
        pods = sorted(cluster.pods.values(), key=lambda pod: pod.index)
        return {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [_pod(pod) for pod in pods]}
    if re.fullmatch(rf"{core}/events", path):
        return {"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": cluster.events}
    raise Refusal(404, f"{path} not found")


def _create(cluster: TrainerCluster, body: Any) -> Any:
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    name = body["metadata"]["name"]
    if name in cluster.jobs:
        raise Refusal(409, f'trainjobs.trainer.kubeflow.org "{name}" already exists')
    kept = TrainerV1alpha1TrainJob.from_dict(body).to_dict()
    if kept != body:
        raise Refusal(400, f"strict decoding error: unknown fields in {json.dumps(body)}; known {json.dumps(kept)}")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise Refusal(422, f"{name} is no RFC 1035 label")
    if any(entry["name"].startswith("PET_") for entry in body["spec"]["trainer"].get("env", [])):
        raise Refusal(403, "must not have reserved envs")
    for container in pod_patch(body)["spec"].get("containers", []):
        if container["name"] == "node" and "env" in container:
            raise Refusal(403, "must not have envs for the dataset-initializer, model-initializer, node containers")
    meta = {"namespace": NAMESPACE, "uid": "uid-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    cluster.created.append(body)
    cluster.jobs[name] = {**body, "metadata": {**body["metadata"], **meta}}
    threading.Thread(target=cluster.behaviour, args=(cluster, name), daemon=True).start()
    return cluster.jobs[name]


def pod_patch(job: Any) -> Any:
    """The pod template in the only patch of a TrainJob."""
    (patch,) = job["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == "node"
    return replicated["template"]["spec"]["template"]


def _pod(pod: Pod) -> Any:
    labels = {
        "jobset.sigs.k8s.io/jobset-name": pod.job, "jobset.sigs.k8s.io/replicatedjob-name": "node",
        "batch.kubernetes.io/job-completion-index": str(pod.index),
    }  # fmt: skip
    metadata = {"name": pod.name, "namespace": NAMESPACE, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"containers": [{"name": "node", "image": "x"}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": pod.phase}}
