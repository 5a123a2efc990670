"""Two processes train as one: real torchrun, real DistributedDataParallel over gloo, a tiny model."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.tiny_training import write_base_model, write_tokens
from support.trained_together import ROOT, curve, largest_difference, take_notes

from components.core.errors import TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune
from components.core.training.distributed import launch

pytestmark = pytest.mark.e2e

STEP = """
import sys
from pathlib import Path
from components.core.errors import user_errors
from components.core.progress import log_to_stdout
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import load_settings
from components.core.training import finetune

work, steps = Path(sys.argv[1]), int(sys.argv[2])
log_to_stdout()
with user_errors():
    result = finetune(
        TaskConfig(), ModelConfig(model_id=str(work / "base")),
        TrainingConfig(learning_rate=1e-2, tokens_per_batch=256, max_steps=steps, save_steps=4, eval_steps=4),
        LoraConfig(), work / "tokens", work / "model", load_settings(),
    )
    print("resumed from", result.resumed_from_step, "with", result.world_size)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("data") / "tokens")


@pytest.fixture
def train(tmp_path, base, tokens):
    """Fine-tune with so many processes into a folder of the test."""

    def run(output, processes, tokens_dir=tokens, **training):
        config = {"method": "full", "learning_rate": 1e-2, "tokens_per_batch": 256, "num_train_epochs": 2, **training}
        settings = Settings(whetstone_home=tmp_path / f"home-{output}", training_processes=processes)
        return finetune(
            TaskConfig(), ModelConfig(model_id=str(base)), TrainingConfig.model_validate(config), LoraConfig(),
            tokens_dir, tmp_path / output, settings,
        )  # fmt: skip

    return run


@pytest.fixture
def probed(tmp_path, monkeypatch):
    """Let the workers write down what they do; gives back their notes, by rank."""
    return take_notes(monkeypatch, tmp_path, launch, "_WORKER", "support.training_probe")


def training_key(folder):
    return json.loads((folder / "training_info.json").read_text())["training_key"]


def test_two_processes_take_the_steps_of_one(tmp_path, train, probed):
    options = {"logging_steps": 1, "gradient_accumulation_steps": 2}
    alone = train("alone", 1, **options)
    together = train("together", 2, **options)
    assert (alone.world_size, together.world_size) == (1, 2)
    assert alone.steps == together.steps
    assert largest_difference(tmp_path / "alone", tmp_path / "together") < 1e-5
    assert curve(tmp_path / "together", "loss") == pytest.approx(curve(tmp_path / "alone", "loss"), abs=1e-5)
    assert curve(tmp_path / "together", "validation_loss") == pytest.approx(
        curve(tmp_path / "alone", "validation_loss"), abs=1e-5
    )
    assert training_key(tmp_path / "alone") == training_key(tmp_path / "together")

    notes = probed()
    assert [(note["rank"], note["world_size"]) for note in notes] == [(0, 2), (1, 2)]
    assert [note["wrapper"] for note in notes] == ["torch.nn.parallel.distributed.DistributedDataParallel"] * 2
    assert len(notes[0]["gradients"]) == together.steps
    assert notes[0]["gradients"] == notes[1]["gradients"]
    assert len(set(notes[0]["gradients"])) == together.steps
    # the whole model is one bucket: its gradients were exchanged once per step
    assert [note["syncs"] for note in notes] == [together.steps] * 2
    assert notes[0]["saved"][-2:] == ["checkpoint-5", "together"]
    assert notes[1]["saved"] == []


def test_adapters_over_recomputed_activations_take_the_same_steps_too(tmp_path, train):
    options = {"method": "lora", "gradient_checkpointing": "on"}
    train("alone", 1, **options)
    train("together", 2, **options)
    assert largest_difference(tmp_path / "alone", tmp_path / "together") < 1e-5


def test_each_row_is_seen_once_per_epoch_by_one_of_the_processes(train, probed):
    train("model", 2, num_train_epochs=1, eval_steps=1000)
    notes = probed()
    # the first pieces that are laid out are those of the validation rows
    assert sorted(row for note in notes for row in note["rows"][0]) == list(range(8))
    batches = [note["rows"][1:] for note in notes]
    assert sorted(row for share in batches for batch in share for row in batch) == list(range(48))
    assert len(batches[0]) == len(batches[1])
    assert all(batch for share in batches for batch in share)


def test_a_process_without_rows_takes_part_in_every_step(tmp_path, train, probed):
    """Batches of one row: in every step one of the two has nothing to do."""
    tokens = write_tokens(tmp_path / "tokens", train=6, validation=2)
    options = {"tokens_dir": tokens, "per_device_train_batch_size": 1, "tokens_per_batch": 1, "num_train_epochs": 1}
    train("alone", 1, **options)
    together = train("together", 2, **options)
    notes = probed()
    assert together.steps == 6
    assert sum(not batch for note in notes for batch in note["rows"][1:]) == 6
    assert notes[0]["gradients"] == notes[1]["gradients"]
    assert largest_difference(tmp_path / "alone", tmp_path / "together") < 1e-5


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_a_training_goes_on_with_another_number_of_processes(tmp_path, train, first, second):
    train("whole", 1)
    (tmp_path / "model" / "tokenizer.json").mkdir(parents=True)
    with pytest.raises(Exception, match="training is kept"):
        train("model", first)
    (checkpoints,) = (tmp_path / "home-model" / "checkpoints").iterdir()
    newest = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    (newest / "complete.json").unlink()
    (tmp_path / "model" / "tokenizer.json").rmdir()
    result = train("model", second)
    assert result.resumed_from_step is not None
    assert result.resumed_from_step < result.steps
    assert result.world_size == second
    assert largest_difference(tmp_path / "whole", tmp_path / "model") < 1e-5


def test_a_loss_that_explodes_is_told_once_and_no_process_stays(tmp_path, train, capfd):
    with pytest.raises(TrainingError, match=r"^the loss is no longer a number at step \d+\. Lower"):
        train("model", 2, learning_rate=1e30, warmup_steps=0, max_grad_norm=1e30, save_steps=1)
    output = "".join(capfd.readouterr())
    assert "Traceback" not in output
    assert not (tmp_path / "model" / "training_info.json").exists()


def start(work, steps=400, processes=2):
    environment = {
        **os.environ, "TRAINING_PROCESSES": str(processes), "WHETSTONE_HOME": str(work / "home"),
        "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", STEP, str(work), str(steps)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def wait_for_checkpoint(home, process):
    while not list(home.glob("checkpoints/*/checkpoint-*/complete.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def workers_of(process):
    import psutil

    return [child for child in psutil.Process(process.pid).children() if "worker" in " ".join(child.cmdline())]


@pytest.fixture
def work(tmp_path):
    write_base_model(tmp_path / "base")
    write_tokens(tmp_path / "tokens")
    return tmp_path


def test_a_killed_worker_ends_all_with_one_line_and_the_next_run_goes_on(work):
    process = start(work)
    wait_for_checkpoint(work / "home", process)
    workers = workers_of(process)
    assert len(workers) == 2
    workers[1].kill()
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 2, output
    assert [line for line in output.splitlines() if line.startswith("error: ")] == [
        "error: the training process of rank 1 was killed, most often because the machine's memory ran out. Raise "
        "resources.memory or lower training.tokens_per_batch, and run again to continue from the last checkpoint."
    ]
    assert "Traceback" not in output
    assert not any(worker.is_running() for worker in workers)

    again = start(work, processes=1)
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output
    assert "Going on from the checkpoint of step" in output
    assert "resumed from None" not in output


@pytest.mark.parametrize("target", ["launcher", "one worker", "terminal"])
def test_sigterm_or_ctrl_c_stops_all_at_one_step_with_a_checkpoint(work, target):
    process = start(work, steps=4000)
    wait_for_checkpoint(work / "home", process)
    if target == "launcher":
        process.send_signal(signal.SIGTERM)
    elif target == "terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        workers_of(process)[1].send_signal(signal.SIGTERM)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 2, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    assert errors[0].startswith("error: stopped by SIGTERM after step ")
    assert "Traceback" not in output
    step = int(errors[0].split("after step ")[1].split(";")[0])
    (checkpoint,) = (work / "home").glob(f"checkpoints/*/checkpoint-{step}")
    assert (checkpoint / "complete.json").is_file()
    assert {path.name for path in checkpoint.glob("rng_state_*")} == {"rng_state_0.pth", "rng_state_1.pth"}


def test_a_launcher_that_is_killed_takes_its_workers_along(work):
    process = start(work, steps=4000)
    wait_for_checkpoint(work / "home", process)
    workers = workers_of(process)
    process.kill()
    process.communicate(timeout=300)
    deadline = time.monotonic() + 120
    while any(worker.is_running() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_token_reaches_the_workers_by_environment_only(tmp_path, monkeypatch, train):
    seen = {}

    def launched(job_file, processes, environment, where):
        seen.update(environment)
        assert "hf_Canary" not in job_file.read_text()
        raise TrainingError("enough seen")

    monkeypatch.setattr(launch, "launch", launched)
    monkeypatch.setenv("HF_TOKEN", "hf_Canary")
    with pytest.raises(TrainingError, match="enough seen"):
        train("model", 2)
    assert seen["HF_TOKEN"] == "hf_Canary"
