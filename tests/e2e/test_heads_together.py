"""Heads trained by two processes: real torchrun, DistributedDataParallel over gloo, DeepSpeed's engine on a CPU."""

import dataclasses
import shutil

import pytest
from support.tiny_heads import write_preprocessed, write_tiny_bert
from support.trained_together import ROOT, largest_difference, take_notes

from components.core.catalogue import FINETUNE, read_parameters
from components.core.errors import StorageError, TrainingError
from components.core.heads.training import finetune_head, together
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

STEPS = 6


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    # with inputs of one length the order of the rows hangs on the seed alone, not on the size of a batch
    return write_preprocessed(folder / "pre", "single_label", write_tiny_bert(folder / "bert"), pad_to_max_length=True)


@pytest.fixture
def train(tmp_path, preprocessed, monkeypatch):
    """Fine-tune with so many processes into a folder of the test; each sees a share of 16 rows a step."""
    # DeepSpeed compiles for most of a minute, once
    compiled = ROOT / ".pytest_cache" / "torch-extensions"
    monkeypatch.setattr(Settings, "cache", property(lambda self: compiled))

    def run(output, processes, **values):
        parameters = read_parameters(
            FINETUNE["classification_single_label"],
            {
                "learning_rate": 3e-3, "num_train_epochs": 2, "per_device_train_batch_size": 16 // processes,
                "per_device_eval_batch_size": 5,
                # a gradient that is zero but for rounding must not move a weight
                "adam_epsilon": 1e-3, **values,
            },
        )  # fmt: skip
        settings = Settings(whetstone_home=tmp_path / "home", training_processes=processes)
        return finetune_head("single_label", parameters, preprocessed, tmp_path / output, settings)

    return run


@pytest.fixture
def probed(tmp_path, monkeypatch):
    """Let the workers write down what they do; gives back their notes, by rank."""
    probe = dataclasses.replace(together.WORKER, module="support.head_probe")
    return take_notes(monkeypatch, tmp_path, together, "WORKER", probe)


def difference(first, second):
    """Of the weights after the last step."""
    last = f"checkpoints/checkpoint-{STEPS}/model.safetensors"
    return largest_difference(first / last, second / last)


def check_shares(notes, preprocessed):
    """Each step has 8 rows of its own for each process, and both have the same weights after it."""
    from components.core.heads.tokens import TokenTable

    rows = [item["input_ids"] for item in TokenTable(preprocessed / "train.arrow")]
    for epoch in (slice(0, 3), slice(3, 6)):
        seen = [row for note in notes for batch in note["batches"][epoch] for row in batch]
        assert sorted(seen) == sorted(rows)
    assert [[len(batch) for batch in note["batches"]] for note in notes] == [[8] * STEPS] * 2
    assert all(mine != theirs for mine, theirs in zip(notes[0]["batches"], notes[1]["batches"], strict=True))
    assert all(mine != theirs for mine, theirs in zip(notes[0]["losses"], notes[1]["losses"], strict=True))
    assert notes[0]["weights"] == notes[1]["weights"]
    assert len(set(notes[0]["weights"])) == STEPS


def test_two_processes_take_the_steps_of_one(tmp_path, train, probed, preprocessed):
    alone = train("alone", 1)
    result = train("ddp", 2)
    notes = probed()
    assert [note["wrapper"] for note in notes] == ["torch.nn.parallel.distributed.DistributedDataParallel"] * 2
    assert [(note["world_size"], note["seen_by_trainer"]) for note in notes] == [(2, 2)] * 2
    check_shares(notes, preprocessed)
    assert notes[0]["saved"] == ["checkpoint-3", "checkpoint-6", "ddp"]
    assert notes[1]["saved"] == []
    assert (result.world_size, result.distributed, alone.distributed) == (2, "ddp", "none")
    assert difference(tmp_path / "alone", tmp_path / "ddp") < 1e-5
    assert result.validation_loss == pytest.approx(alone.validation_loss, abs=1e-5)
    assert result.validation_metrics == pytest.approx(alone.validation_metrics, abs=1e-5)


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_trains_with_two_processes_and_goes_on_from_its_checkpoint(
    tmp_path, train, probed, preprocessed, stage
):
    options = {"apply_deepspeed": True, "deepspeed_stage": stage, "resume_from_checkpoint": True}
    alone = train("alone", 1)
    # nothing can be written at the end, so that the checkpoints stay
    (tmp_path / "model" / "tokenizer.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot copy the tokenizer"):
        train("model", 2, **options)
    notes = probed()
    assert [note["wrapper"] for note in notes] == ["deepspeed.runtime.engine.DeepSpeedEngine"] * 2
    assert [note["stage"] for note in notes] == [stage] * 2
    assert [note["distributed_type"] for note in notes] == ["DistributedType.DEEPSPEED"] * 2
    assert [(note["world_size"], note["seen_by_trainer"]) for note in notes] == [(2, 2)] * 2
    check_shares(notes, preprocessed)
    assert notes[0]["saved"] == ["checkpoint-3", "checkpoint-6", "model"]
    assert notes[1]["saved"] == []

    (checkpoints,) = (tmp_path / "home" / "checkpoints").iterdir()
    shares = {path.name for path in checkpoints.glob("checkpoint-3/global_step3/*optim_states.pt")}
    assert len(shares) == 2
    (checkpoints / "checkpoint-6" / "complete.json").unlink()
    (tmp_path / "model" / "tokenizer.json").rmdir()
    result = train("model", 2, **options)
    assert result.resumed_from_step == 3
    assert [len(note["weights"]) for note in probed()] == [3, 3]
    assert (result.world_size, result.distributed) == (2, f"deepspeed-zero{stage}")
    assert result.total_parameters == alone.total_parameters
    assert difference(tmp_path / "alone", tmp_path / "model") < 1e-5
    assert result.validation_metrics == pytest.approx(alone.validation_metrics, abs=1e-5)
    kept = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert not kept & {".pt", ".pth", ".bin"}


def test_without_a_compiler_deepspeed_on_a_cpu_is_refused(train, monkeypatch):
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **options: None if name == "g++" else found(name, **options))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        TrainingError, match=r"compiles a part of itself, and a C\+\+ compiler \(g\+\+\) cannot be found"
    ):
        train("model", 2, apply_deepspeed=True)
