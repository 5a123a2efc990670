"""The endpoint command on a cluster, over real HTTP, with its routes in force in a real Envoy.

Stand-ins: the API server (support.kube_server), KServe, the Deployment controller and the kubelet's status
(support.controllers), istiod (support.istio_routes), pods and the kubelet's mounted Secret (support.cluster_pods).
Real: the command, the Kubernetes client, the routes as they are applied, Envoy, the pods' check of keys. Not played:
the sign-in before Kubeflow's gateway, TLS between pods, admission webhooks.
"""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.cluster_trial import MODEL, NAME, NAMESPACE, SIGN_IN, ClusterTrial, cluster_trial
from support.strict_schemas import problems

pytestmark = pytest.mark.e2e
SCORE = {"input_data": {"input_string": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}}


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    with cluster_trial(tmp_path_factory.mktemp("cluster")) as made:
        made.create()
        made.run("deploy", NAME, "--model", MODEL, "--request-timeout-ms", 1500)
        made.run("deploy", NAME, "--name", "candidate", "--model", MODEL)
        yield made
        made.run("delete", NAME)


@pytest.fixture(autouse=True)
def usual(request):
    """Every test begins with all of the traffic at demo and both pods at full speed."""
    if "trial" in request.fixturenames:
        trial = request.getfixturevalue("trial")
        for pod in trial.pods.values():
            pod.delay, pod.status = 0.0, 200
        split(trial, demo=100)


def split(trial: ClusterTrial, **shares: int) -> None:
    """Set the traffic, and wait until Envoy has read it: as long as nothing else asks, the last split answers."""
    trial.run("traffic", NAME, *(f"{name}={share}" for name, share in shares.items()))
    settle(trial)


def settle(trial: ClusterTrial) -> None:
    """Envoy notices the file of its routes within moments."""
    time.sleep(0.4)


def ask_many(trial: ClusterTrial, number: int, **headers: str) -> Counter[tuple[int, str, str]]:
    """Status, deployment that answered, and the one that the answer's header names."""

    def some(count: int) -> list[tuple[int, str, str]]:
        with httpx.Client() as client:
            answers = [trial.ask(client=client, **headers) for _ in range(count)]
        return [(a.status_code, a.json().get("from", ""), a.headers.get("x-deployment", "")) for a in answers]

    with ThreadPoolExecutor(4) as pool:
        return Counter(answer for part in pool.map(some, [number // 4] * 4) for answer in part)


def test_2000_requests_are_split_within_two_points_by_a_real_envoy(trial):
    split(trial, demo=90, candidate=10)
    answers = ask_many(trial, 2000)
    assert set(answers) == {(200, "demo", "demo"), (200, "candidate", "candidate")}
    # Envoy draws by chance: 2 points are 3 standard deviations of 2,000 draws at 10 %
    assert abs(answers[200, "candidate", "candidate"] / 20 - 10) <= 2


@pytest.mark.parametrize("header", ["x-deployment", "azureml-model-deployment", "Azureml-Model-Deployment"])
def test_naming_a_deployment_overrides_the_split(trial, header):
    answers = [trial.ask(**{header: "candidate"}) for _ in range(5)]
    assert {answer.json()["from"] for answer in answers} == {"candidate"}
    assert {answer.headers["azureml-model-deployment"] for answer in answers} == {"candidate"}


def test_an_unknown_deployment_is_404_and_two_different_ones_are_400(trial):
    answer = trial.ask(**{"x-deployment": "nobody"})
    assert (answer.status_code, answer.json()) == (404, {"error": "there is no such deployment here."})
    assert answer.headers["content-type"] == "application/json"
    for one, other in (("demo", "candidate"), ("demo", "nobody"), ("nobody", "demo")):
        answer = trial.ask(**{"x-deployment": one, "azureml-model-deployment": other})
        assert (answer.status_code, "name different deployments" in answer.text) == (400, True)
    same = trial.ask(**{"x-deployment": "candidate", "azureml-model-deployment": "candidate"})
    assert same.json()["from"] == "candidate"


def test_callers_with_a_sidecar_are_split_alike_by_the_endpoints_own_host(trial):
    split(trial, candidate=100)
    headers = {"Host": f"{NAME}.{NAMESPACE}.svc.cluster.local", "Authorization": f"Bearer {trial.keys['secondary']}"}
    url = f"http://127.0.0.1:{trial.mesh_port()}/score"
    assert httpx.post(url, headers=headers).json() == {"from": "candidate", "path": "/score", "body": ""}
    assert httpx.post(url, headers={**headers, "x-deployment": "demo"}).json()["from"] == "demo"
    assert httpx.post(url, headers={**headers, "Host": "other"}).status_code == 404


def test_the_prefix_and_the_sign_in_of_the_gateway_stay_at_the_gateway(trial):
    answer = trial.ask(path="/openai/v1/chat/completions?a=1", Authorization=f"Bearer {SIGN_IN}", Cookie="session=1")
    assert answer.json()["path"] == "/openai/v1/chat/completions?a=1"
    seen = {name.lower(): value for name, value in trial.pods["demo"].seen[-1].items()}
    assert not {"authorization", "cookie"} & set(seen)


def test_a_deployment_that_takes_too_long_is_cut_at_its_own_timeout(trial):
    trial.pods["demo"].delay = 4
    started = time.monotonic()
    answer = trial.ask(**{"x-deployment": "demo"})
    assert answer.status_code == 504
    assert 1.4 < time.monotonic() - started < 3.9


def test_without_a_key_or_with_a_wrong_one_nobody_comes_in(trial):
    assert httpx.post(trial.url + "/score").status_code == 401
    assert trial.ask(key="wrong").status_code == 401
    assert trial.ask(key=trial.keys["secondary"]).status_code == 200


def test_a_rotated_key_is_taken_without_a_new_pod_and_the_other_one_stays(trial):
    pods = trial.state.names("Pod")
    old = trial.keys["primary"]
    assert trial.ask(key=old).status_code == 200
    words = trial.run("keys", "rotate", NAME, "primary")
    assert re.search(r"^  demo takes it \(\d+ s\)$", words, re.M)
    assert words.splitlines()[-1] == "Every deployment takes the new key, and no longer the old one."
    trial.keys["primary"] = re.search(r"^Primary key +(\S+)$", words, re.M)[1]
    for name in ("demo", "candidate"):
        chosen = {"x-deployment": name}
        assert trial.ask(**chosen).status_code == 200
        assert trial.ask(key=old, **chosen).status_code == 401
        assert trial.ask(key=trial.keys["secondary"], **chosen).status_code == 200
    assert trial.state.names("Pod") == pods
    assert trial.keys["primary"] in trial.run("keys", "show", NAME)
    assert "there is no third key" in trial.run("keys", "rotate", NAME, "third", code=2)


def test_where_the_gateway_is_not_known_rotation_says_how_long_it_takes_and_invoke_what_to_set(trial):
    words = trial.run("keys", "rotate", NAME, "secondary", KFP_HOST="")
    assert words.splitlines()[-1].startswith("The pods take it within 180 s; with KFP_HOST set")
    trial.keys["secondary"] = re.search(r"^Secondary key +(\S+)$", words, re.M)[1]
    request = trial.write("request.json", SCORE)
    words = trial.run("invoke", NAME, "--request-file", request, code=2, KFP_HOST="")
    assert "Set KFP_HOST to the address of Kubeflow" in words


def test_invoke_prints_the_raw_answer_and_the_expected_one(trial):
    request = trial.write("request.json", SCORE)
    deployment, response, truth = trial.run("invoke", NAME, "--request-file", request).splitlines()
    assert deployment.split() == ["Deployment", "demo"]
    assert '"from": "demo"' in response
    assert truth == "Ground truth  Hello"
    words = trial.run("invoke", NAME, "--request-file", request, "--deployment", "candidate")
    assert words.startswith("Deployment    candidate\n")
    words = trial.run("invoke", NAME, "--request-file", request, code=2, ENDPOINT_KEY="wrong")
    assert "answered 401 to /score" in words
    assert "wrong" not in words


def test_traffic_that_cannot_be_is_refused_and_changes_nothing(trial):
    assert "must sum to 100, and 90 + 20 is 110" in trial.run("traffic", NAME, "demo=90", "candidate=20", code=2)
    assert "there is no deployment nobody" in trial.run("traffic", NAME, "demo=90", "nobody=10", code=2)
    assert "has a deployment demo already" in trial.run("deploy", NAME, "--model", MODEL, code=2)
    assert "demo gets 100 % of the traffic" in trial.run("delete", NAME, "--deployment", "demo", code=2)
    assert "there is no endpoint none in namespace" in trial.run("traffic", "none", "demo=100", code=2)
    assert "there is an endpoint ultra already" in trial.run("create", NAME, code=2)
    assert ask_many(trial, 8) == {(200, "demo", "demo"): 8}


def test_status_reads_the_cluster_not_a_record(trial):
    split(trial, demo=90, candidate=10)
    words = trial.run("status")
    assert re.search(rf"^Endpoint +{NAME}, created 2026-01-01 00:00 UTC$", words, re.M)
    assert re.search(rf"^Address +{re.escape(trial.url)}$", words, re.M)
    ready = rf"^demo +ready \(1 instance, InferenceService {NAME}-demo\), 90 %, {re.escape(MODEL)}$"
    assert re.search(ready, words, re.M)
    # somebody deletes the candidate by hand
    key = ("inferenceservices.serving.kserve.io", NAMESPACE, f"{NAME}-candidate")
    kept = trial.state.objects[key]
    trial.state.remove(key)
    words = trial.run("status", NAME)
    assert "candidate gets traffic, and its InferenceService is gone: set the traffic anew" in words
    trial.state.add({**kept, "kind": "InferenceService"})


def test_everything_that_was_applied_is_what_the_schemas_know(trial):
    ours = [d for d in trial.state.objects.values() if "whetstone.dev/endpoint" in d["metadata"].get("labels", {})]
    applied = [d for d in ours if d["kind"] not in ("Deployment", "Pod")]
    kinds = {d["kind"] for d in applied}
    assert {"InferenceService", "VirtualService", "PeerAuthentication", "Secret", "Service"} <= kinds
    for document in applied:
        plain = {name: value for name, value in document.items() if name != "status"}
        assert problems(plain) == [], document["metadata"]["name"]


def test_no_key_is_in_a_request_but_that_of_the_secret_or_in_an_address(trial):
    keys = {*trial.keys.values(), SIGN_IN}
    assert not [path for _, path in trial.state.calls if any(key in path for key in keys)]
    assert not [body for body in trial.state.bodies if any(key in body for key in keys)]
