"""A training that is killed, stopped or out of disk goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.tiny_training import write_base_model, write_tokens

from components.core.errors import StorageError
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune
from components.core.training.checkpoints import seal_checkpoint

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import logging, resource, sys
from pathlib import Path
from components.core.errors import user_errors
from components.core.progress import log_to_stdout
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune

work, output, home, steps, largest_file = Path(sys.argv[1]), *sys.argv[2:]
log_to_stdout()
if int(largest_file):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), int(largest_file)))
with user_errors():
    result = finetune(
        TaskConfig(), ModelConfig(model_id=str(work / "base")),
        TrainingConfig(learning_rate=1e-2, tokens_per_batch=256, max_steps=int(steps), save_steps=4, eval_steps=4),
        LoraConfig(dropout=0.1), work / "tokens", work / output, Settings(whetstone_home=work / home),
    )
    print("resumed from", result.resumed_from_step)
"""


@pytest.fixture
def start(tmp_path):
    write_base_model(tmp_path / "base")
    write_tokens(tmp_path / "tokens")

    def run(output, home, steps=80, largest_file=0):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), output, home, str(steps), str(largest_file)],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return run


def wait_for_checkpoint(home, process):
    """Wait until a checkpoint is complete; the process is still at work then."""
    while not list(home.glob("checkpoints/*/checkpoint-*/complete.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def finish(process):
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def difference(first, second):
    from safetensors.torch import load_file

    a, b = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path, start, how):
    finish(start("whole", "home-whole"))
    stopped = start("model", "home")
    wait_for_checkpoint(tmp_path / "home", stopped)
    stopped.send_signal(how)
    output = stopped.communicate(timeout=300)[0]
    assert not (tmp_path / "model" / "training_info.json").exists()
    if how == signal.SIGTERM:
        assert stopped.returncode == 2
        assert "error: stopped by SIGTERM after step" in output
        assert "run again to continue" in output
    else:
        assert stopped.returncode == -signal.SIGKILL

    again = finish(start("model", "home"))
    assert "Going on from the checkpoint of step" in again
    assert "resumed from None" not in again
    assert difference(tmp_path / "whole", tmp_path / "model") < 1e-6
    logs = [
        [json.loads(line) for line in (tmp_path / name / "training_log.jsonl").read_text().splitlines()]
        for name in ("whole", "model")
    ]
    curves = [{point["step"]: point["validation_loss"] for point in log if "validation_loss" in point} for log in logs]
    assert {step: curves[0][step] for step in curves[1]} == pytest.approx(curves[1])
    assert max(curves[1]) == 80
    assert not list((tmp_path / "home" / "checkpoints").iterdir())


def test_a_full_disk_names_the_remedy_and_the_next_run_goes_on(tmp_path, start):
    # the adapter's optimizer state is the largest file of a checkpoint, about 140 kB
    full = start("model", "home", largest_file=100_000)
    output = full.communicate(timeout=300)[0]
    assert full.returncode == 2, output
    assert "error: cannot write the checkpoint of step 4" in output
    assert "CHECKPOINT_DIR" in output
    assert "Traceback" not in output
    assert "resumed from None" in finish(start("model", "home"))


def test_a_stop_before_the_last_validation_is_made_up_for_by_the_next_run(tmp_path):
    base, tokens = write_base_model(tmp_path / "base"), write_tokens(tmp_path / "tokens")
    config = TrainingConfig(max_steps=4, tokens_per_batch=256, logging_steps=1)

    def run(output, home):
        model, settings = ModelConfig(model_id=str(base)), Settings(whetstone_home=home)
        return finetune(TaskConfig(), model, config, LoraConfig(), tokens, tmp_path / output, settings)

    whole = run("whole", tmp_path / "home-whole")
    # a folder where a file has to go: the model cannot be written, so the checkpoint of the last step stays
    (tmp_path / "model" / "tokenizer.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="training is kept"):
        run("model", tmp_path / "home")
    (tmp_path / "model" / "tokenizer.json").rmdir()
    (checkpoint,) = (tmp_path / "home").glob("checkpoints/*/checkpoint-4")
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    state["log_history"] = [p for p in state["log_history"] if p["step"] < 4 or "validation_loss" not in p]
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    seal_checkpoint(checkpoint)

    again = run("model", tmp_path / "home")
    assert again.resumed_from_step == 4
    assert again.validation_loss == pytest.approx(whole.validation_loss)
    assert "validation_loss" in (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()[-1]
