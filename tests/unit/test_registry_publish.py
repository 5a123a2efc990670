"""Publishing to the local registry that stands in for the Hub."""

import shutil

import pytest
from support.run_output import write_run

from components.core.errors import StorageError
from components.core.registry import Published, publish
from components.core.registry.manifest import verify_checksums


def versions(run) -> list[str]:
    return sorted(path.name for path in (run.settings.local_registry / "starter-context-qa").iterdir())


def test_a_model_becomes_a_numbered_version_that_is_whole(tmp_path):
    run = write_run(tmp_path)
    published = publish(*run.inputs(), tmp_path / "out")
    place = run.settings.local_registry / "starter-context-qa" / "1"
    manifest = verify_checksums(place)
    hashes = (manifest.content_sha256, f"model.safetensors {manifest.files['model.safetensors'].sha256}")
    assert published == Published(str(place), "1", "starter-context-qa", "1", place.as_uri(), *hashes)
    assert versions(run) == ["1"]


def test_the_same_content_makes_no_new_version(tmp_path):
    run = write_run(tmp_path)
    first = publish(*run.inputs(), tmp_path / "out")
    assert publish(*run.inputs(), tmp_path / "elsewhere") == first
    assert versions(run) == ["1"]


def test_other_content_makes_the_next_version_also_after_nine(tmp_path):
    run = write_run(tmp_path / "a")
    publish(*run.inputs(), tmp_path / "out")
    shelf = run.settings.local_registry / "starter-context-qa"
    (shelf / "1").rename(shelf / "10")
    other = write_run(tmp_path / "b", fill=0.25, whetstone_home=run.settings.whetstone_home)
    assert publish(*other.inputs(), tmp_path / "out2").version == "11"


def test_a_version_without_its_manifest_is_left_alone(tmp_path, caplog):
    run = write_run(tmp_path)
    broken = run.settings.local_registry / "starter-context-qa" / "4"
    broken.mkdir(parents=True)
    assert publish(*run.inputs(), tmp_path / "out").version == "5"
    assert "is not a complete model folder; it is left alone" in caplog.text


def test_a_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    run = write_run(tmp_path)
    copy = shutil.copyfile

    def full(source, target):
        if ".partial" in str(target) and source.name == "tokenizer.json":
            raise OSError(28, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="cannot write to the local registry .*: No space left on device. Free some"):
        publish(*run.inputs(), tmp_path / "out")
    assert versions(run) == []
