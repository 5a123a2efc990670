"""Converted models are kept by what they were made from, complete or not at all."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from llm_endpoint.engines.openvino.cache import fingerprint, make_partial, publish, read_entry
from llm_endpoint.engines.openvino.core import plan_kv_cache
from llm_endpoint.errors import ModelError


def write_model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "README.md").write_text("a card")
    return folder


def write_manifest(folder: Path, sha256: str, size: int = 7) -> None:
    files = {"model.safetensors": {"size": size, "sha256": sha256}}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def write_conversion(partial: Path) -> Path:
    (partial / "openvino_model.xml").write_text("<net/>")
    (partial / "openvino_model.bin").write_bytes(b"1234")
    return partial


def test_fingerprint_changes_with_weights_precision_and_base_and_not_with_the_card(tmp_path: Path):
    folder = write_model(tmp_path / "model")
    first = fingerprint(folder, None, "fp32", 256)
    (folder / "README.md").write_text("another card")
    assert fingerprint(folder, None, "fp32", 256) == first
    base = write_model(tmp_path / "base", b"base")
    others = {fingerprint(folder, None, "int8", 256), fingerprint(folder, base, "fp32", 256)}
    write_model(folder, b"changed")
    others.add(fingerprint(folder, None, "fp32", 256))
    assert len(others | {first}) == 4


def test_checksums_of_an_older_manifest_are_not_believed(tmp_path: Path):
    folder = write_model(tmp_path / "model")
    write_manifest(folder, "a" * 64)
    believed = fingerprint(folder, None, "fp32", 256)
    write_manifest(folder, "b" * 64)
    assert fingerprint(folder, None, "fp32", 256) != believed  # taken from the manifest, no file was read
    later = (folder / "manifest.json").stat().st_mtime + 10
    os.utime(folder / "model.safetensors", (later, later))
    hashed = fingerprint(folder, None, "fp32", 256)
    write_manifest(folder, "c" * 64)
    os.utime(folder / "model.safetensors", (later, later))
    assert fingerprint(folder, None, "fp32", 256) == hashed


def test_checksum_of_a_file_with_another_size_is_not_believed(tmp_path: Path):
    folder = write_model(tmp_path / "model")
    plain = fingerprint(folder, None, "fp32", 256)
    write_manifest(folder, "a" * 64, size=8)
    assert fingerprint(folder, None, "fp32", 256) == plain


def test_published_conversion_is_found_again(tmp_path: Path):
    cache = tmp_path / "cache"
    folder = publish(write_conversion(make_partial(cache)), cache, "name", {"token_bytes": 8})
    found = read_entry(cache, "name")
    assert found is not None
    assert found[0] == folder == cache / "name"
    assert found[1]["token_bytes"] == 8
    assert [path.name for path in cache.iterdir()] == ["name"]


@pytest.mark.parametrize("damage", ["truncated", "no record", "record is not JSON", "record is a list"])
def test_broken_conversion_is_removed(tmp_path: Path, damage: str):
    folder = publish(write_conversion(make_partial(tmp_path)), tmp_path, "name", {"token_bytes": 8})
    if damage == "truncated":
        (folder / "openvino_model.bin").write_bytes(b"12")
    elif damage == "no record":
        (folder / "conversion.json").unlink()
    else:
        (folder / "conversion.json").write_text("{" if damage == "record is not JSON" else "[]")
    assert read_entry(tmp_path, "name") is None
    assert list(tmp_path.iterdir()) == []


def test_second_of_two_conversions_gives_way(tmp_path: Path):
    first, second = (write_conversion(make_partial(tmp_path)) for _ in range(2))
    publish(first, tmp_path, "name", {"token_bytes": 8})
    assert publish(second, tmp_path, "name", {"token_bytes": 8}) == tmp_path / "name"
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_cache_that_cannot_be_written_is_replaced_by_a_temporary_folder(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "cache"
    partial = make_partial(cache)
    assert publish(write_conversion(partial), cache, "name", {"token_bytes": 8}) == partial
    assert tmp_path not in partial.parents


def test_abandoned_conversions_are_cleared_away(tmp_path: Path):
    old, new = make_partial(tmp_path), make_partial(tmp_path)
    os.utime(old, (1, 1))
    make_partial(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_small_model_takes_what_its_requests_can_fill_twice():
    room = plan_kv_cache(token_bytes=1024, kv_cache_gb=1.0, max_running=4, context_length=256)
    assert (room.blocks, room.context_length) == (2 * 4 * 9, 256)


def test_large_model_takes_the_budget():
    room = plan_kv_cache(token_bytes=2**20, kv_cache_gb=1.0, max_running=16, context_length=256)
    assert (room.blocks, room.context_length) == (32, 256)


def test_context_is_cut_to_what_the_budget_holds():
    room = plan_kv_cache(token_bytes=2**20, kv_cache_gb=0.25, max_running=16, context_length=4096)
    assert (room.blocks, room.context_length) == (8, 7 * 32)


def test_budget_below_one_block_is_refused():
    with pytest.raises(ModelError, match="KV_CACHE_GB=0.001 does not hold 64 tokens"):
        plan_kv_cache(token_bytes=2**20, kv_cache_gb=0.001, max_running=1, context_length=256)


def test_large_files_of_the_hubs_cache_are_known_by_their_names(tmp_path: Path):
    blobs, folder = tmp_path / "blobs", write_model(tmp_path / "snapshots" / "1")
    blobs.mkdir()
    before = fingerprint(folder, None, "fp32", 256)
    (folder / "model.safetensors").unlink()
    digest = hashlib.sha256(b"weights").hexdigest()
    (folder / "model.safetensors").symlink_to(blobs / digest)
    (blobs / digest).write_bytes(b"not read")
    assert fingerprint(folder, None, "fp32", 256) == before
