"""A checkpoint is complete or it is not there."""

import pytest

from components.core.errors import StorageError, TrainingError
from components.core.training.checkpoints import (
    MARKER_FILE,
    checkpoint_key,
    find_checkpoint,
    hash_weights,
    hold_checkpoints,
    keep_newest,
    seal_checkpoint,
)


def write_checkpoint(folder, step, sealed=True):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    (checkpoint / "weights").write_bytes(b"weights of step %d" % step)
    if sealed:
        seal_checkpoint(checkpoint)
    return checkpoint


def test_the_newest_complete_checkpoint_is_found_by_number(tmp_path):
    for step in (9, 10, 100):
        write_checkpoint(tmp_path, step)
    assert find_checkpoint(tmp_path) == (tmp_path / "checkpoint-100", 100)


def test_a_checkpoint_without_its_marker_is_removed_and_the_one_before_taken(tmp_path):
    write_checkpoint(tmp_path, 10)
    unfinished = write_checkpoint(tmp_path, 20, sealed=False)
    assert find_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", 10)
    assert not unfinished.exists()


@pytest.mark.parametrize("damage", ["changed", "missing", "marker"])
def test_a_damaged_checkpoint_is_never_loaded(tmp_path, damage):
    checkpoint = write_checkpoint(tmp_path, 10)
    if damage == "changed":
        (checkpoint / "weights").write_bytes(b"Weights of step 10")
    elif damage == "missing":
        (checkpoint / "weights").unlink()
    else:
        (checkpoint / MARKER_FILE).write_text("{")
    assert find_checkpoint(tmp_path) is None
    assert not checkpoint.exists()


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 10, 15):
        write_checkpoint(tmp_path, step)
    keep_newest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-15"]


def test_the_key_depends_on_every_part():
    key = checkpoint_key({"tokens": "a", "training": {"seed": 1, "learning_rate": 1e-3}})
    assert key == checkpoint_key({"training": {"learning_rate": 1e-3, "seed": 1}, "tokens": "a"})
    assert key != checkpoint_key({"tokens": "b", "training": {"seed": 1, "learning_rate": 1e-3}})
    assert key != checkpoint_key({"tokens": "a", "training": {"seed": 2, "learning_rate": 1e-3}})


def test_the_hash_of_weights_depends_on_their_bytes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"a")
    before = hash_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"b")
    assert hash_weights(tmp_path) != before


def test_two_processes_cannot_be_at_the_same_training(tmp_path):
    with (
        hold_checkpoints(tmp_path / "key"),
        pytest.raises(TrainingError, match="another process is at this same training"),
        hold_checkpoints(tmp_path / "key"),
    ):
        pass
    with hold_checkpoints(tmp_path / "key"):
        assert (tmp_path / "key").is_dir()


def test_a_place_that_cannot_hold_checkpoints_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="cannot write checkpoints .*CHECKPOINT_DIR"),
        hold_checkpoints(tmp_path / "file" / "key"),
    ):
        pass
