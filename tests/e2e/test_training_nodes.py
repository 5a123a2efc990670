"""Two nodes of a TrainJob as real processes: each runs the TrainJob's own command, which starts torchrun.

The TrainJob goes through the real kubeflow SDK to a loopback stand-in of the cluster, which starts the nodes.
"""

import os
import threading
import time
from pathlib import Path

import pytest
from support.tiny_training import write_base_model, write_tokens
from support.trainer_cluster import processes
from support.trainer_server import trainer_server

from components.core.errors import TrainingError
from components.core.recipe import GpuConfig, LoraConfig, ModelConfig, ResourcesConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings, TrainingNodes
from components.core.training import finetune
from components.core.training.distributed import trainjob

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
TRAINING = {"method": "full", "learning_rate": 1e-2, "tokens_per_batch": 256, "num_train_epochs": 2}
RUN = processes({**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, ROOT)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with trainer_server(tmp_path) as (state, kubeconfig):
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        monkeypatch.setattr(trainjob, "_POLL_SECONDS", 0.05)
        yield state


@pytest.fixture
def train(tmp_path):
    """Fine-tune on two nodes without GPUs."""
    write_tokens(tmp_path / "tokens")
    write_base_model(tmp_path / "base")
    nodes = TrainingNodes(image="x", gpu=GpuConfig(count=0, num_nodes=2), resources=ResourcesConfig())

    def run(**training):
        return finetune(
            TaskConfig(), ModelConfig(model_id=str(tmp_path / "base")),
            TrainingConfig.model_validate(TRAINING | training), LoraConfig(), tmp_path / "tokens", tmp_path / "model",
            Settings(checkpoint_dir=tmp_path / "volume", training_nodes=nodes),
        )  # fmt: skip

    return run


def test_two_nodes_train_what_one_process_trains_and_nothing_is_left(tmp_path, cluster, train, capfd):
    """The nodes are real: each runs the TrainJob's own command, which starts torchrun."""
    cluster.behaviour = RUN
    result = train()
    assert result.world_size == 2
    assert cluster.jobs == {}
    assert len(cluster.created) == 1
    assert not (tmp_path / "volume" / "jobs" / cluster.created[0]["metadata"]["name"]).exists()
    output = capfd.readouterr().out
    assert output.count("Training 10 steps over 48 rows (1091 tokens) in fp32 on cpu, 2 processes") == 1
    assert output.count("Fine-tuned in") == 1

    alone = finetune(
        TaskConfig(), ModelConfig(model_id=str(tmp_path / "base")), TrainingConfig.model_validate(TRAINING),
        LoraConfig(), tmp_path / "tokens", tmp_path / "alone",
        Settings(whetstone_home=tmp_path / "home", training_processes=1),
    )  # fmt: skip
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "model"))
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    assert result.steps == alone.steps


def test_nodes_of_a_deleted_trainjob_save_a_checkpoint_and_the_next_try_goes_on(tmp_path, cluster, train):
    ended = []

    def run(cluster, name):
        if len(cluster.created) > 1:
            RUN(cluster, name)
            return
        threading.Thread(target=delete_when_training, args=(name,), daemon=True).start()
        try:
            RUN(cluster, name)
        finally:
            ended.append(name)

    def delete_when_training(name):
        while not list(tmp_path.glob("volume/*/checkpoint-*/complete.json")):
            time.sleep(0.02)
        cluster.remove(name)

    cluster.behaviour = run
    with pytest.raises(TrainingError, match="was deleted. Run again to continue"):
        train(max_steps=400, save_steps=4)
    while not ended:
        time.sleep(0.05)
    steps = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("volume/*/checkpoint-*"))
    result = train(max_steps=400, save_steps=4)
    assert result.resumed_from_step == steps[-1]
    assert result.world_size == 2
    assert result.steps == 400
