"""The commands of the cluster as a user types them, against a stand-in API server (support.kube_server) with stand-in
controllers (support.controllers); rendering is kubectl's own kustomize over the shipped overlays."""

import base64
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.controllers import MESSAGES, Controllers
from support.kube_server import kube_server, write_kubeconfig
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
APP = importlib.import_module("llm-pipelines.cluster").app
CANARY = "hf_CanaryTokenThatMustNeverShow"
TRACING_CANARY = "lsv2_CanaryKeyThatMustNeverShow"
SECRETS = {
    "HF_TOKEN": CANARY,
    "LANGCHAIN_TRACING_V2": "true",
    "LANGCHAIN_ENDPOINT": "https://api.smith.langchain.com",
    "LANGCHAIN_API_KEY": TRACING_CANARY,
    "LANGCHAIN_PROJECT": "qa",
}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (shutil.which("kubectl") or shutil.which("kustomize")), reason="needs kubectl or kustomize"),
]


class Workplace:
    """A stand-in cluster with controllers, and the commands run against it."""

    def __init__(self, state, kubeconfig):
        self.state, self.kubeconfig = state, kubeconfig
        self.controllers = Controllers(state)
        self.outputs: list[str] = []
        self.argv = []

    def run(self, *arguments, **variables):
        """A command in this process: what it prints, and its exit code."""
        with pytest.MonkeyPatch.context() as patch:
            for name in set(os.environ) - set(self.environment(variables)):
                patch.delenv(name)
            for name, value in self.environment(variables).items():
                patch.setenv(name, value)
            return CliRunner().invoke(APP, arguments)

    def start(self, *arguments, **variables):
        """The same as a process of its own."""
        argv = [sys.executable, "-m", "llm-pipelines.cluster", *arguments]
        self.argv.append(argv)
        found = subprocess.run(
            argv, cwd=ROOT, env=self.environment(variables), capture_output=True, text=True, timeout=120
        )
        self.outputs.append(found.stdout + found.stderr)
        return found

    def environment(self, variables):
        ours = (*SECRETS, "HF_REPO", "MODEL", "NAMESPACE", "KFP_NAMESPACE", "OVERLAY", "REGISTRY", "TAG")
        clean = {n: v for n, v in os.environ.items() if n not in ours and not n.startswith("LANGSMITH")}
        # a Hub that is not there: sizes are unknown, nothing leaves this machine
        return {**clean, "KUBECONFIG": str(self.kubeconfig), "HF_ENDPOINT": "http://127.0.0.1:9", **variables}

    def deploy(self, part="api", *arguments, **variables):
        return self.run(f"{part}-deploy", "--failing-seconds", "0", *arguments, **{**SECRETS, **variables})


@pytest.fixture
def work(tmp_path):
    with kube_server() as (state, address):
        yield Workplace(state, write_kubeconfig(tmp_path / "kubeconfig", address))


def applied(state):
    """Kinds in the order in which they were applied, dry runs apart."""
    return [path.split("/")[-2] for method, path in state.writes() if method == "PATCH"]


def test_secrets_come_before_policies_before_what_they_are_for_and_the_address_is_printed(work):
    found = work.deploy()
    assert found.exit_code == 0, found.stderr
    kinds = applied(work.state)
    # the first half are dry runs
    final = kinds[len(kinds) // 2 - 1 :]
    order = [final.index(kind) for kind in ("secrets", "authorizationpolicies", "networkpolicies", "inferenceservices")]
    assert order == sorted(order), final
    assert "http://llm-api-predictor.kubeflow-user-example-com.svc.cluster.local" in found.stdout
    secret = work.state.find("Secret", "llm-api-secret")["data"]
    expected = {name.lower() if name != "HF_TOKEN" else "hf_token": value for name, value in SECRETS.items()}
    assert {key: base64.b64decode(value).decode() for key, value in secret.items()} == expected
    keys = work.state.find("Secret", "llm-api-keys")["data"]
    assert set(keys) == {"primary", "secondary"}
    assert len(base64.b64decode(keys["primary"])) >= 32


def test_a_second_run_changes_nothing(work):
    work.deploy()
    before = {key: document["metadata"]["resourceVersion"] for key, document in work.state.objects.items()}
    found = work.deploy()
    assert found.exit_code == 0, found.stderr
    after = {key: document["metadata"]["resourceVersion"] for key, document in work.state.objects.items()}
    assert after == before
    assert "created" not in found.stdout
    assert "configured" not in found.stdout


def test_no_planted_secret_is_in_an_output_an_argument_or_a_file(work):
    deploy = ("--failing-seconds", "0")
    work.start("api-deploy", *deploy, **SECRETS)
    work.start("ui-deploy", *deploy)
    work.start("status")
    work.start("logs")
    work.state.faults.append(("PATCH", "/secrets/llm-api-secret", 422, f"invalid: {CANARY} {TRACING_CANARY}"))
    refused = work.start("api-deploy", *deploy, **SECRETS | {"HF_TOKEN": CANARY + "2"})
    assert refused.returncode == 2
    work.start("api-destroy")
    sent = [body for body in work.state.bodies if '"Secret"' in body and '"primary"' in body]
    generated = [yaml.safe_load(body)["data"]["primary"] for body in sent]
    planted = [CANARY, TRACING_CANARY, *(base64.b64decode(key).decode() for key in generated)]
    planted += [base64.b64encode(text.encode()).decode() for text in planted]
    files = [path.read_text() for path in (ROOT / "build" / "deploy").rglob("*.yaml")]
    everything = "\n".join([*work.outputs, *files, *(" ".join(argv) for argv in work.argv)])
    assert generated
    assert not [text for text in planted if text in everything]


@pytest.mark.parametrize("missing", list(SECRETS))
def test_a_missing_variable_stops_with_the_exact_message(work, missing):
    found = work.run("api-deploy", **{name: value for name, value in SECRETS.items() if name != missing})
    assert found.exit_code == 1
    assert found.stderr == f"Error: env var {missing} is not set. Please set it and try again.\n"
    assert not work.state.writes()


def test_without_tracing_its_variables_may_be_missing(work):
    found = work.run("api-deploy", HF_TOKEN=CANARY, LANGSMITH_TRACING="false")
    assert found.exit_code == 0, found.stderr
    assert base64.b64decode(work.state.find("Secret", "llm-api-secret")["data"]["langchain_tracing_v2"]) == b"false"


def test_a_secret_that_is_there_is_kept_when_no_variable_is_set(work):
    work.deploy()
    before = work.state.find("Secret", "llm-api-secret")
    found = work.run("api-deploy")
    assert found.exit_code == 0, found.stderr
    assert work.state.find("Secret", "llm-api-secret") == before


def test_a_new_model_replaces_the_pods_and_a_change_by_hand_is_kept(work):
    work.deploy(MODEL="acme/first")
    pods = work.state.names("Pod")
    work.deploy(MODEL="acme/second")
    assert work.state.find("ConfigMap", "llm-api")["data"]["model_name"] == "acme/second"
    assert work.state.names("Pod") != pods
    work.state.find("ConfigMap", "llm-api")["data"]["model_name"] = "acme/by-hand"
    pods = work.state.names("Pod")
    found = work.deploy()
    assert "Model acme/by-hand" in found.stdout
    assert work.state.find("ConfigMap", "llm-api")["data"]["model_name"] == "acme/by-hand"
    assert work.state.names("Pod") != pods


def test_a_new_token_replaces_the_pods(work):
    work.deploy()
    pods = work.state.names("Pod")
    work.deploy(HF_TOKEN="hf_new")
    assert work.state.names("Pod") != pods


def test_registry_tag_and_namespace_reach_every_object(work):
    work.state.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    found = work.deploy("api", NAMESPACE="team-a", REGISTRY="registry.example/acme", TAG="2.0.0")
    assert found.exit_code == 0, found.stderr
    container = work.state.find("InferenceService", "llm-api", "team-a")["spec"]["predictor"]["containers"][0]
    assert container["image"] == "registry.example/acme/whetstone-api:2.0.0"
    assert "kubeflow-user-example-com" not in (ROOT / "build" / "deploy" / "api.yaml").read_text()


@pytest.mark.parametrize(
    ("fault", "told", "advice"),
    [
        ("image", "cannot be pulled", "REGISTRY and TAG"),
        ("crash", "error: model acme/none is not on the Hub.", "make logs"),
        ("oom", "needs more memory than its limit", "resources.limits.memory"),
        ("secret", "the secret llm-api-keys is missing", "make api-deploy"),
        ("quota", "exceeded quota: team", "Raise the quota"),
    ],
)
def test_what_waiting_does_not_cure_is_said_with_its_remedy(work, fault, told, advice):
    work.controllers.fault = fault
    found = work.deploy()
    assert found.exit_code == 2
    assert told in found.stderr
    assert advice in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(("fault", "advice"), [("gpu", "make doctor"), ("probe", "startupProbe")])
def test_what_may_still_come_is_waited_for_and_then_said(work, fault, advice):
    work.controllers.fault = fault
    found = work.run("api-deploy", "--failing-seconds", "0", "--timeout-seconds", "3", **SECRETS)
    assert found.exit_code == 2
    assert "is not ready after" in found.stderr
    assert MESSAGES[fault] in found.stderr
    assert advice in found.stderr


def test_after_a_failure_the_same_command_goes_on(work):
    work.controllers.fault = "image"
    assert work.deploy().exit_code == 2
    work.controllers.cure()
    found = work.deploy()
    assert found.exit_code == 0, found.stderr
    assert "created" not in found.stdout


def test_a_run_that_broke_off_between_two_objects_is_finished_by_the_next(work):
    # after the dry run of all objects: the second request for the InferenceService is the real one
    def break_off(server, event, document):
        if document["kind"] == "ConfigMap" and not server.faults and not work.state.find("InferenceService", "llm-api"):
            server.faults.append(("PATCH", "/inferenceservices/", 503, "etcd leader changed"))

    work.state.on_change.append(break_off)
    broken = work.deploy()
    assert broken.exit_code == 2
    assert "503" in broken.stderr
    assert not work.state.find("InferenceService", "llm-api")
    work.state.on_change.remove(break_off)
    found = work.deploy()
    assert found.exit_code == 0, found.stderr
    assert work.state.find("InferenceService", "llm-api")


@pytest.mark.parametrize("resource", ["inferenceservices.serving.kserve.io", "authorizationpolicies.security.istio.io"])
def test_what_the_cluster_does_not_know_is_said_before_anything_is_changed(work, resource):
    work.state.not_installed.add(resource)
    found = work.deploy()
    assert found.exit_code == 2
    assert "nothing was changed" in found.stderr
    assert "choose another OVERLAY" in found.stderr
    assert not [key for key in work.state.objects if key[0] in ("secrets", "configmaps")]


def test_all_missing_rights_are_told_at_once(work):
    work.state.denied |= {("patch", "inferenceservices.serving.kserve.io"), ("patch", "configmaps")}
    found = work.deploy()
    assert found.exit_code == 2
    assert found.stderr.count("you lack that right") == 2
    assert not work.state.find("Secret", "llm-api-secret")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--namespace", "nowhere"], "namespace nowhere does not exist"),
        (["--overlay", "kubeflo"], "there is no overlay kubeflo for the api. Choose one of: gpu, knative, kubeflow"),
    ],
)
def test_a_wrong_wish_is_one_line(work, arguments, message):
    found = work.deploy("api", *arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert not [call for call in work.state.writes() if "/secrets/" in call[1]]


def test_the_mode_of_a_live_service_is_not_changed(work):
    work.deploy()
    found = work.deploy("api", "--overlay", "knative")
    assert found.exit_code == 2
    assert "runs in mode Standard, and the mode of a live service cannot be changed to Knative" in found.stderr


def test_another_overlay_takes_away_what_it_does_not_have(work):
    work.deploy()
    assert work.state.names("AuthorizationPolicy")
    found = work.deploy("api", "--overlay", "standard")
    assert found.exit_code == 0, found.stderr
    assert not work.state.names("AuthorizationPolicy")
    assert "AuthorizationPolicy llm-api-no-others: deleted" in found.stdout


def test_destroy_takes_everything_of_its_part_and_is_at_peace_with_nothing(work):
    before = set(work.state.objects)
    work.deploy()
    work.deploy("ui")
    assert work.run("ui-destroy").exit_code == 0
    assert work.state.find("InferenceService", "llm-api")
    found = work.run("api-destroy")
    assert found.exit_code == 0, found.stderr
    assert "llm-api is gone." in found.stdout
    assert set(work.state.objects) == before
    again = work.run("api-destroy")
    assert again.exit_code == 0
    assert "There was no llm-api to take out." in again.stdout


def test_a_page_without_the_endpoints_key_says_so(work):
    found = work.deploy("ui")
    assert found.exit_code == 0, found.stderr
    assert "Run `make api-deploy`, then this again" in found.stdout
    assert "kubectl port-forward" in found.stdout


def test_status_shows_what_is_missing_and_then_what_is_wrong(work):
    empty = work.run("status")
    assert empty.exit_code == 0
    assert "InferenceService llm-api: not deployed (make api-deploy)" in empty.stdout
    assert "missing (make create-secret)" in empty.stdout
    work.deploy()
    assert "InferenceService llm-api: ready, mode Standard" in work.run("status").stdout
    work.controllers.fault = "crash"
    work.deploy(MODEL="acme/none")
    wrong = work.run("status").stdout
    assert "error: model acme/none is not on the Hub." in wrong
    assert "model acme/none" in wrong


def test_logs_name_pod_and_container(work):
    assert "There are no pods of llm-api" in work.run("logs").stdout
    work.deploy()
    (pod,) = work.state.names("Pod")
    assert f"== {pod} / kserve-container\nLoading the model" in work.run("logs", "api").stdout


def test_no_cluster_and_a_cluster_that_is_down_are_one_line_each(work, tmp_path):
    work.kubeconfig = tmp_path / "none"
    assert work.deploy().stderr.startswith("error: no cluster is configured")
    work.kubeconfig = write_kubeconfig(tmp_path / "down", "http://127.0.0.1:9")
    assert "error: cannot reach the cluster at http://127.0.0.1:9" in work.deploy().stderr


@pytest.mark.parametrize("folder", [".", "llm-endpoint"])
def test_make_passes_the_variables_on(work, folder, tmp_path):
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", environment) if (Path(sys.prefix) / "pyvenv.cfg").exists() else None
    (environment / ".installed").touch()
    command = ["make", "api-deploy", f"VENV={environment}", "OVERLAY=nosuch"]
    variables = {**os.environ, **SECRETS, "KUBECONFIG": str(work.kubeconfig), "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(command, cwd=ROOT / folder, env=variables, capture_output=True, text=True)
    assert found.returncode != 0
    assert "there is no overlay nosuch for the api" in found.stderr
    assert CANARY not in found.stdout + found.stderr
