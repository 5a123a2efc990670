"""The endpoint command against a stand-in cluster whose routes are in force in a real Envoy."""

import importlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from support.cluster_pods import Kubelet, Pod
from support.controllers import Controllers
from support.envoy_sidecar import Sidecars
from support.istio_routes import GATEWAY, MESH, Istiod
from support.kube_server import kube_server, write_kubeconfig
from typer.testing import CliRunner

COMMANDS = importlib.import_module("llm-pipelines.endpoint")
NAMESPACE = "kubeflow-user-example-com"
MODEL = "hf://acme/chat@" + "a" * 40
NAME = "ultra"
SIGN_IN = "kubeflow-token-that-pods-must-not-see"
_OURS = ("KFP_", "HF_", "ENDPOINT_", "NAMESPACE", "KUBERNETES_", "MLFLOW_", "REGISTRY", "TAG")


class ClusterTrial:
    """Commands, callers and pods of one endpoint."""

    def __init__(self, folder: Path, state, address: str, envoy: Sidecars, pods: dict[str, Pod]) -> None:
        self.folder, self.state, self.pods, self.ports = folder, state, pods, envoy.ports
        self.controllers = Controllers(state)
        self.url = f"http://127.0.0.1:{envoy.ports[GATEWAY]}/endpoints/{NAMESPACE}/{NAME}"
        kubeconfig = write_kubeconfig(folder / "kubeconfig", address)
        gateway = f"http://127.0.0.1:{envoy.ports[GATEWAY]}/pipeline"
        # a Hub that is not there: sizes and access are unknown, nothing leaves this machine
        self.variables = {
            "KUBECONFIG": str(kubeconfig),
            "KFP_HOST": gateway,
            "KFP_TOKEN": SIGN_IN,
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "WHETSTONE_HOME": str(folder / "home"),
        }
        self.keys: dict[str, str] = {}

    def run(self, *words: object, code: int = 0, **variables: str) -> str:
        """A command in this process; a variable that is empty is not set."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(_OURS)]:
                patch.delenv(name)
            for name, value in {**self.variables, **variables}.items():
                patch.setenv(name, value)
            found = CliRunner().invoke(COMMANDS.app, [str(word) for word in words])
        assert found.exit_code == code, f"{words}: {found.output} {found.exception!r}"
        # what a stand-in's thread says of a caller that has left is on stderr, too
        return found.output if code == 2 else found.stdout

    def create(self) -> str:
        """The endpoint, with its keys remembered."""
        words = self.run("create", NAME)
        self.keys = {line.split()[0].lower(): line.split()[2] for line in words.splitlines() if " key " in line[:15]}
        return words

    def ask(self, key: str | None = None, path: str = "/score", client=httpx, **headers: str) -> httpx.Response:
        given = {"X-API-Key": key or self.keys["primary"], **headers}
        return client.post(self.url + path, content=b"{}", headers=given, timeout=30)

    def mesh_port(self) -> int:
        """Of the sidecar of a caller inside the mesh."""
        return self.ports[MESH]

    def write(self, name: str, content: object) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path


@contextmanager
def cluster_trial(folder: Path, deployments: tuple[str, ...] = ("demo", "candidate")) -> Iterator[ClusterTrial]:
    """A cluster without anything of ours, and servers for deployments that may come."""
    with ExitStack() as stack:
        state, address = stack.enter_context(kube_server())
        kubelet = Kubelet(folder / "keys", state, f"{NAME}-keys")
        pods = {name: stack.enter_context(Pod(name, kubelet)) for name in deployments}
        istiod = Istiod(folder / "istio", state)
        hosts = {f"{NAME}-{name}-predictor.{NAMESPACE}.svc.cluster.local": pod.port for name, pod in pods.items()}
        envoy = stack.enter_context(Sidecars(folder / "envoy", istiod.resources(hosts)))
        yield ClusterTrial(folder, state, address, envoy, pods)
