"""What changes an endpoint of a cluster: promotion, failed deployments, instances, deletion.

test_endpoint_cluster.py says what the stand-ins are and what is real.
"""

import re
import threading
import time
from types import SimpleNamespace

import pytest
from support.callers import Callers
from support.cluster_trial import MODEL, NAME, NAMESPACE, ClusterTrial, cluster_trial

from components.core.deployment.cluster_endpoints.changes import change_routes
from components.core.deployment.cluster_endpoints.promoting import ClusterHost
from components.core.deployment.cluster_endpoints.record import read_record
from components.core.deployment.kubernetes_api import Cluster, ClusterError
from components.core.errors import ConfigError

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    with cluster_trial(tmp_path_factory.mktemp("cluster")) as made:
        made.create()
        for name in ("demo", "candidate"):
            made.run("deploy", NAME, "--name", name, "--model", MODEL)
        yield made


@pytest.fixture(autouse=True)
def usual(request):
    """Every test begins with all of the traffic at demo, both pods at full speed and no fault."""
    if "trial" in request.fixturenames:
        trial = request.getfixturevalue("trial")
        for pod in trial.pods.values():
            pod.delay, pod.status = 0.0, 200
        trial.controllers.fault = "none"
        trial.run("traffic", NAME, "demo=100")


def verdict(trial: ClusterTrial, status: str):
    return trial.write(
        "evaluation.json",
        {"verdict": {"status": status, "outcome": "better", "headline": f"{status.upper()}: why", "reasons": ["why"]}},
    )


def promote(trial: ClusterTrial, *more: object, status: str = "passed", code: int = 0, latency: int = 20000) -> str:
    words = ["promote", NAME, "candidate", "--max-latency-ms", latency, "--min-requests", 5]
    words += ["--evaluation", verdict(trial, status), "--probe-file", trial.write("request.json", {"a": 1})]
    return trial.run(*words, *more, code=code)


def traffic(trial: ClusterTrial) -> dict[str, int]:
    return read_record(connected(trial), NAMESPACE, NAME).traffic


def connected(trial: ClusterTrial) -> Cluster:
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(trial.variables["KUBECONFIG"], client_configuration=configuration)
    return Cluster(client.ApiClient(configuration))


def callers_of(trial) -> Callers:
    return Callers(lambda client: trial.ask(client=client), 2)


def test_an_equal_candidate_is_promoted_step_by_step_with_no_failed_request(trial):
    with callers_of(trial) as callers:
        words = promote(trial)
    assert re.findall(r"^candidate gets (\d+) %", words, re.M) == ["10", "50", "100"]
    assert words.splitlines()[-1] == (
        "PROMOTED: quality and latency held at every step. Traffic of ultra: candidate 100 %"
    )
    assert set(callers.statuses) == {200}
    assert "promoted by" not in trial.run("status")


def test_a_slow_or_a_failing_or_a_worse_candidate_is_rolled_back_by_itself_with_no_failed_request(trial):
    trial.run("traffic", NAME, "demo=90", "candidate=10")
    trial.pods["candidate"].delay = 0.2
    with callers_of(trial) as callers:
        words = promote(trial, code=3, latency=100)
    assert re.search(
        r"^ROLLED BACK: p95 \d+ ms of 5 requests is above the objective of 100 ms\. .*demo 100 %", words, re.M
    )
    assert set(callers.statuses) == {200}
    trial.pods["candidate"].delay, trial.pods["candidate"].status = 0.0, 500
    words = promote(trial, code=3)
    assert "ROLLED BACK: it failed on a probe: the endpoint ultra answered 500" in words
    words = promote(trial, code=3, status="refused")
    assert "ROLLED BACK: the paired comparison does not hold: REFUSED: why. Traffic of ultra: demo 100 %" in words
    assert "gets" not in words


def test_a_pod_of_the_candidate_that_begins_again_counts_as_a_failure(trial):
    cluster = connected(trial)
    host = ClusterHost(cluster, NAMESPACE, NAME, "candidate", lambda: None)
    host.begin("candidate")
    host.probe()
    assert host.measured("candidate", 0.0)["recent"] == 1
    assert host.measured("candidate", 0.0)["trouble"] == ""
    (pod,) = [name for name in trial.state.names("Pod") if "candidate" in name]
    before = trial.state.find("Pod", pod)["status"]
    state = {**before["containerStatuses"][0], "restartCount": 1}
    trial.state.set_status("Pod", pod, {**before, "containerStatuses": [state]})
    assert host.measured("candidate", 0.0)["trouble"] == f"its pod {pod} is not ready, or has begun again"
    trial.state.set_status("Pod", pod, before)
    host.end()


def test_who_promotes_keeps_others_out_until_it_was_silent_for_too_long(trial, monkeypatch):
    cluster = connected(trial)
    host = ClusterHost(cluster, NAMESPACE, NAME, "candidate", lambda: None)
    monkeypatch.setattr("components.core.deployment.cluster_endpoints.promoting.holder", lambda: "laptop process 7")
    host.begin("candidate")
    words = trial.run("traffic", NAME, "demo=50", "candidate=50", code=2)
    assert "candidate of ultra is being promoted by laptop process 7" in words
    assert "candidate is being promoted by laptop process 7" in trial.run("status")
    later = time.time() + 3600
    clock = SimpleNamespace(time=lambda: later)
    monkeypatch.setattr("components.core.deployment.cluster_endpoints.record.time", clock)
    note = "a promotion of candidate was killed before its end. Go back: python -m llm-pipelines.endpoint --cluster"
    assert f"{note} traffic ultra demo=100" in trial.run("status")
    assert trial.run("traffic", NAME, "demo=100") == "Traffic of ultra: demo 100 %\n"
    assert "killed" not in trial.run("status")


def test_a_promotion_needs_a_probe_and_a_verdict(trial):
    words = ["promote", NAME, "candidate", "--max-latency-ms", 1000]
    assert "Name the comparison: --evaluation FILE" in trial.run(*words, code=2)
    assert "Name one: --probe-file FILE" in trial.run(*words, "--evaluation", verdict(trial, "passed"), code=2)


def test_changes_at_the_same_time_do_not_overwrite_each_other(trial, monkeypatch):
    cluster, tries = connected(trial), []

    def change(now):
        tries.append(now.version)
        if len(tries) == 1:
            # somebody else is faster
            trial.run("traffic", NAME, "demo=70", "candidate=30")
        return now

    change_routes(cluster, NAMESPACE, NAME, change)
    assert len(tries) == 2
    assert traffic(trial) == {"demo": 70, "candidate": 30}
    trial.state.faults += [("PATCH", "virtualservices/ultra$", 403, "you shall not")]
    with pytest.raises(ClusterError, match="you lack that right"):
        change_routes(cluster, NAMESPACE, NAME, lambda now: now)


@pytest.mark.parametrize("fault", ["image", "crash"])
def test_a_deployment_that_does_not_become_ready_says_why_and_leaves_nothing(trial, fault):
    trial.controllers.fault = fault
    before = set(trial.state.objects)
    words = trial.run("deploy", NAME, "--name", "broken", "--model", MODEL, "--patience", 1, code=2)
    assert {"image": "cannot be pulled", "crash": "error: model acme/none is not on the Hub"}[fault] in words
    assert "What was applied is taken back" in words
    assert {key for key in trial.state.objects if key[0] != "events"} <= before
    assert "broken" not in trial.run("status")


def test_models_that_pods_cannot_read_and_names_that_are_taken_are_refused_before_anything_is_applied(trial, tmp_path):
    writes = len(trial.state.writes())
    words = trial.run("deploy", NAME, "--name", "other", "--model", tmp_path, code=2)
    assert "lies where pods of the cluster cannot read it" in words
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "spec": {"predictor": {}}}
    trial.state.add({**service, "metadata": {"name": f"{NAME}-foreign", "namespace": NAMESPACE}})
    words = trial.run("deploy", NAME, "--name", "foreign", "--model", MODEL, code=2)
    assert "there is an InferenceService ultra-foreign in namespace" in words
    trial.state.add({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NAMESPACE}})
    assert "there is a Service web" in trial.run("create", "web", code=2)
    assert "--port and --keys-once are for this machine" in trial.run("create", "x", "--port", 1, code=2)
    assert len(trial.state.writes()) == writes


def node(name: str, product: str) -> dict:
    labels = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.compute.major": "8"}
    allocatable = {"nvidia.com/gpu": "2", "memory": "256Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": allocatable},
    }


def test_the_instance_check_holds_the_nodes_against_the_models_allow_list(trial):
    model = "hf://microsoft/Phi-3-mini-4k-instruct"
    words = ["deploy", NAME, "--name", "gpu", "--model", model, "--gpus", 1]
    trial.state.add(node("old", "Tesla-V100-SXM2-16GB-X"))
    assert "V100-SXM2-16GB-X (80 GiB) is not in inference_compute_allow_list" in trial.run(*words, code=2)
    trial.state.add(node("new", "NVIDIA-A100-SXM4-80GB"))
    assert "Number of GPU's in compute NVIDIA-A100-SXM4-80GB: 2" in trial.run(*words)
    predictor = trial.state.find("InferenceService", f"{NAME}-gpu")["spec"]["predictor"]
    terms = predictor["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["NVIDIA-A100-SXM4-80GB"]
    assert predictor["containers"][0]["image"].endswith("-cuda")
    gone = trial.run("delete", NAME, "--deployment", "gpu")
    assert gone.splitlines()[-1] == "Removed gpu from ultra: its InferenceService, pods and routes are gone."
    assert f"{NAME}-gpu" not in trial.state.names("InferenceService")


def test_delete_waits_for_pods_and_finalizers_and_leaves_nothing(tmp_path):
    with cluster_trial(tmp_path, ("demo",)) as trial:
        trial.create()
        trial.run("deploy", NAME, "--model", MODEL)
        kept = set(trial.state.objects) - {k for k in trial.state.objects if NAME in k[2]}
        trial.state.pod_seconds = 1.0
        key = ("inferenceservices.serving.kserve.io", NAMESPACE, f"{NAME}-demo")
        trial.state.objects[key]["metadata"]["finalizers"] = ["inferenceservice.finalizers"]
        words = trial.run("delete", NAME, "--patience", 1, code=2)
        assert f"still there after 1 s: InferenceService {NAME}-demo (held by finalizer inferenceservice.final" in words
        assert "Then run the same command again" in words
        # the routes are gone already, the keys not yet: what guards pods goes after them
        assert trial.state.names("VirtualService") == []
        assert f"{NAME}-keys" in trial.state.names("Secret")
        threading.Timer(1.0, trial.state.finish, ["InferenceService", f"{NAME}-demo"]).start()
        words = trial.run("delete", NAME)
        assert "waiting for 1 pods to end" in words
        assert words.splitlines()[-1] == f"Deleted {NAME}: no InferenceService, pod, route or key of it is left."
        assert set(trial.state.objects) == kept
        assert trial.run("status") == f"There is no endpoint in namespace {NAMESPACE}.\n"
        assert "there is no endpoint ultra" in trial.run("delete", NAME, code=2)


def test_an_endpoint_that_cannot_be_made_leaves_nothing(tmp_path):
    with cluster_trial(tmp_path, ()) as trial:
        before = set(trial.state.objects)
        trial.state.not_installed.add("virtualservices.networking.istio.io")
        words = trial.run("create", NAME, code=2)
        assert "the cluster does not know networking.istio.io/v1: install it" in words
        assert set(trial.state.objects) == before
        trial.state.not_installed.clear()

        def refuse(state, _event, document):
            # the dry run has passed, and the keys are made
            if document.get("kind") == "Secret":
                state.denied.add(("patch", "services"))

        trial.state.on_change.append(refuse)
        assert "you lack that right" in trial.run("create", NAME, code=2)
        assert set(trial.state.objects) == before


def test_a_candidate_alone_cannot_be_promoted(trial):
    with pytest.raises(ConfigError, match="demo has all of the traffic"):
        ClusterHost(connected(trial), NAMESPACE, NAME, "demo", lambda: None).begin("demo")
