"""Small whole manifests to break one thing in."""

import copy
import shutil
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"

CONTAINER = {
    "name": "kserve-container",
    "image": "registry.example:5000/team/whetstone-api:0.1.0",
    "ports": [{"name": "http1", "containerPort": 8080}],
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
    "securityContext": {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
}


def endpoint(mode="Standard", **predictor):
    """An InferenceService that breaks no rule; keywords replace fields of its predictor."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "llm-api", "annotations": {"serving.kserve.io/deploymentMode": mode}},
        "spec": {"predictor": {"containers": [copy.deepcopy(CONTAINER)], **predictor}},
    }


def endpoint_container(**fields):
    """The same; keywords replace fields of its container, None takes one away."""
    container = {**copy.deepcopy(CONTAINER), **fields}
    return endpoint(containers=[{key: value for key, value in container.items() if value is not None}])


def page(replicas=1, labels=None):
    """A Deployment that breaks no rule."""
    container = {**copy.deepcopy(CONTAINER), "name": "llm-ui"}
    template = {"metadata": {"labels": labels or {"app": "llm-ui"}}, "spec": {"containers": [container]}}
    return document("Deployment", replicas=replicas, template=template)


def document(kind, name="llm-api", **spec):
    """Any document with a specification."""
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def kustomize(folder):
    """Documents of a kustomization; None where no program can build it."""
    program = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if not shutil.which(program[0]):
        return None
    built = subprocess.run([*program, str(folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return [found for found in yaml.safe_load_all(built.stdout) if found]
