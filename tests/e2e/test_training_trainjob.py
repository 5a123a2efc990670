"""Several nodes: a real TrainJob through the real kubeflow SDK, against a loopback stand-in of the cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.tiny_training import write_tokens
from support.trainer_cluster import script
from support.trainer_server import pod_patch, trainer_server

from components.core.errors import ConfigError, TrainingError
from components.core.recipe import GpuConfig, LoraConfig, ModelConfig, ResourcesConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings, TrainingNodes
from components.core.training import finetune
from components.core.training.distributed import trainjob

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
TRAINING = {"method": "full", "learning_rate": 1e-2, "tokens_per_batch": 256, "num_train_epochs": 2}
STEP = """
import sys
from pathlib import Path
from components.core.errors import user_errors
from components.core.progress import log_to_stdout
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import load_settings
from components.core.training import finetune

work = Path(sys.argv[1])
log_to_stdout()
with user_errors():
    folders = work / "tokens", work / "model"
    finetune(TaskConfig(), ModelConfig(), TrainingConfig(), LoraConfig(), *folders, load_settings())
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with trainer_server(tmp_path) as (state, kubeconfig):
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        monkeypatch.setattr(trainjob, "_POLL_SECONDS", 0.05)
        state.kubeconfig = kubeconfig
        yield state


def nodes(gpus=4, volume="whetstone-checkpoints", **gpu):
    return TrainingNodes(
        image="registry.example/whetstone-pipeline-python:7",
        gpu=GpuConfig(count=gpus, num_nodes=2, product="NVIDIA-L4", **gpu),
        resources=ResourcesConfig(cpu="8", memory="64Gi", checkpoint_volume=volume),
        environment={"HF_ENDPOINT": "https://hub.example"},
    )


@pytest.fixture
def train(tmp_path):
    """Fine-tune on the nodes of the stand-in."""
    write_tokens(tmp_path / "tokens")

    def run(model="starter", output="model", **wanted):
        settings = Settings(
            checkpoint_dir=tmp_path / "volume", training_nodes=nodes(**wanted), git_commit="abc", hf_token="hf_Canary"
        )
        return finetune(
            TaskConfig(), ModelConfig(model_id=model), TrainingConfig.model_validate(TRAINING),
            LoraConfig(), tmp_path / "tokens", tmp_path / output, settings,
        )  # fmt: skip

    return run


def finishing(tmp_path):
    """Nodes that leave a model as the workers do."""

    def run(cluster, name):
        model = tmp_path / "volume" / "jobs" / name / "model"
        model.mkdir(parents=True)
        info = {"resumed_from_step": None, "validation_loss": None, "device": "cuda", "precision": "bf16", "notes": []}
        numbers = ["steps", "train_loss", "tokens_per_second", "peak_memory_bytes", "seconds", "trainable_parameters"]
        info |= dict.fromkeys([*numbers, "total_parameters"], 1) | {"world_size": 8, "distributed": "ddp"}
        (model / "training_info.json").write_text(json.dumps(info))
        script("step 1", "step 2")(cluster, name)

    return run


def test_the_trainjob_asks_for_what_the_recipe_says_and_holds_no_secret(tmp_path, cluster, train):
    cluster.behaviour = finishing(tmp_path)
    assert train().world_size == 8
    (job,) = cluster.created
    name = job["metadata"]["name"]
    assert job["spec"]["runtimeRef"] == {"kind": "ClusterTrainingRuntime", "name": "torch-distributed"}
    trainer = job["spec"]["trainer"]
    assert trainer["image"] == "registry.example/whetstone-pipeline-python:7"
    assert trainer["numNodes"] == 2
    wanted = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"}
    assert trainer["resourcesPerNode"] == {"limits": wanted, "requests": wanted}
    folder = tmp_path / "volume" / "jobs" / name
    assert trainer["command"] == [
        "python", "-m", "components.core.training.distributed.launch", str(folder / "job.json"),
    ]  # fmt: skip
    assert {entry["name"]: entry["value"] for entry in trainer["env"]} == {
        "CHECKPOINT_DIR": str(tmp_path / "volume"), "GIT_COMMIT": "abc", "HF_ENDPOINT": "https://hub.example",
    }  # fmt: skip
    template = pod_patch(job)
    assert template["metadata"]["labels"] == {"sidecar.istio.io/inject": "false"}
    assert template["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert template["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert volumes["checkpoints"]["persistentVolumeClaim"] == {"claimName": "whetstone-checkpoints"}
    assert volumes["dshm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "5Gi"}
    assert volumes["huggingface"]["secret"]["secretName"] == "huggingface-secret"
    mounts = {mount["name"]: mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
    assert mounts == {
        "checkpoints": str(tmp_path / "volume"), "huggingface": "/etc/huggingface", "dshm": "/dev/shm",
    }  # fmt: skip
    assert "hf_Canary" not in json.dumps(job)
    assert cluster.jobs == {}


def test_without_gpus_the_nodes_are_ordinary_ones(tmp_path, cluster, train):
    cluster.behaviour = finishing(tmp_path)
    train(gpus=0)
    (job,) = cluster.created
    assert set(job["spec"]["trainer"]["resourcesPerNode"]["limits"]) == {"cpu", "memory"}
    assert not {"nodeSelector", "tolerations"} & set(pod_patch(job)["spec"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["step 1", "error: the loss is no number."], r"failed: the loss is no number\.$"),
        (["step 1", "something broke"], r"failed: step 1\nsomething broke"),
        ([], "its pods left no log"),
    ],
)
def test_a_failed_trainjob_is_told_with_its_last_words_and_removed(cluster, train, capfd, lines, message):
    cluster.behaviour = script(*lines, condition="Failed")
    with pytest.raises(TrainingError, match=message):
        train()
    assert cluster.jobs == {}
    assert capfd.readouterr().out.splitlines() == lines


def test_the_error_that_a_worker_left_goes_before_the_log(tmp_path, cluster, train):
    def run(cluster, name):
        error = {"kind": "StorageError", "message": "the disk of node 1 is full"}
        (tmp_path / "volume" / "jobs" / name / "error-0001.json").write_text(json.dumps(error))
        script("step 1", condition="Failed")(cluster, name)

    cluster.behaviour = run
    with pytest.raises(Exception, match="^the disk of node 1 is full$") as caught:
        train()
    assert type(caught.value).__name__ == "StorageError"


def test_the_log_of_the_first_node_is_passed_on_line_by_line_and_once(tmp_path, cluster, train, monkeypatch, capfd):
    seen_early = []

    def run(cluster, name):
        first = cluster.start_pods(name, "Pending")[0]
        time.sleep(0.3)
        first.phase = "Running"
        cluster.write(first, "one")
        deadline = time.monotonic() + 30
        while "one" not in (text := capfd.readouterr().out) and time.monotonic() < deadline:
            time.sleep(0.05)
        seen_early.append(text)
        cluster.write(first, "two", "three")
        finishing(tmp_path)(cluster, name)

    cluster.behaviour = run
    train()
    assert seen_early == ["one\n"]
    assert capfd.readouterr().out.splitlines()[:2] == ["two", "three"]


def test_what_an_earlier_try_left_is_replaced(tmp_path, cluster, train):
    def run(cluster, name):
        cluster.refusals = [("DELETE", "trainjobs", 500, "etcd is away")]
        cluster.end(name, "Failed")

    cluster.behaviour = run
    with pytest.raises(TrainingError, match="failed"):
        train()
    (left,) = cluster.jobs
    cluster.refusals = []
    cluster.behaviour = finishing(tmp_path)
    train()
    assert [job["metadata"]["name"] for job in cluster.created] == [left, left]
    assert cluster.jobs == {}


def test_another_training_gets_a_trainjob_of_its_own(tmp_path, cluster, train):
    cluster.behaviour = finishing(tmp_path)
    train()
    train(model="other/model")
    first, second = (job["metadata"]["name"] for job in cluster.created)
    assert first != second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"installed": False}, "this cluster does not know TrainJobs. Install Kubeflow Trainer"),
        ({"runtimes": set()}, "there is no training runtime torch-distributed"),
        (
            {"refusals": [("POST", "trainjobs", 403, 'trainjobs is forbidden: User "x" cannot create')]},
            "cannot create. Give the service account .* that right there: kubectl apply -k manifests/pipeline",
        ),
        ({"refusals": [("POST", "trainjobs", 422, "must not have")]}, "the cluster answered HTTP 422: must not have"),
        ({"claims": {}}, "there is no PersistentVolumeClaim whetstone-checkpoints"),
        ({"claims": {"whetstone-checkpoints": ["ReadWriteOnce"]}}, "is ReadWriteOnce: only one node can mount it"),
    ],
)
def test_what_the_cluster_lacks_is_one_message_with_its_remedy(cluster, train, change, message):
    for name, value in change.items():
        setattr(cluster, name, value)
    with pytest.raises((ConfigError, TrainingError), match=message):
        train()
    assert cluster.jobs == {}


def test_without_a_cluster_several_nodes_are_refused(tmp_path, monkeypatch, train):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(
        ConfigError, match=r"above 1 trains on a cluster, and there is none here .* or set gpu\.num_nodes=1"
    ):
        train()


def test_a_trainjob_that_somebody_deletes_is_told(cluster, train):
    def run(cluster, name):
        cluster.start_pods(name)
        time.sleep(0.3)
        cluster.remove(name)

    cluster.behaviour = run
    with pytest.raises(TrainingError, match="was deleted. Run again to continue"):
        train()


def test_why_the_pods_wait_is_said(tmp_path, cluster, train, monkeypatch, caplog):
    caplog.set_level("INFO", logger="components")
    monkeypatch.setattr(trainjob, "_SECONDS_BETWEEN_REASONS", 0.1)

    def run(cluster, name):
        pods = cluster.start_pods(name, "Pending")
        about = {"kind": "Pod", "name": pods[0].name, "namespace": "x"}
        cluster.events.append({
            "metadata": {"name": "e", "namespace": "x"}, "involvedObject": about, "reason": "FailedScheduling",
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        })  # fmt: skip
        deadline = time.monotonic() + 30
        while "Insufficient" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        finishing(tmp_path)(cluster, name)

    cluster.behaviour = run
    train()
    assert "do not run yet: FailedScheduling, 0/3 nodes are available: 3 Insufficient nvidia.com/gpu." in caplog.text


def test_sigterm_removes_the_trainjob(tmp_path, cluster, train):
    cluster.behaviour = lambda cluster, name: cluster.write(cluster.start_pods(name)[0], "one")
    environment = {
        **os.environ, "KUBECONFIG": str(cluster.kubeconfig), "CHECKPOINT_DIR": str(tmp_path / "volume"),
        "TRAINING_NODES": nodes().model_dump_json(), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", STEP, str(tmp_path)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    while not any(path.endswith("/log") for _, path in cluster.calls):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2, output
    assert "error: stopped by SIGTERM: the TrainJob was deleted" in output
    assert "Traceback" not in output
    assert cluster.jobs == {}
