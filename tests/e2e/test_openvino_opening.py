"""A model is opened from the cache, converted first where it has to be, and runs in a process of its own."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from llm_endpoint.engines.openvino.export import NotConvertible
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.errors import GenerationError, ModelError
from support.openvino_engine import CONTEXT, NO_STOP, answer, load_here, open_core, some_prompts
from support.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), positions=CONTEXT)


@pytest.fixture(scope="module")
def cache(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one conversion, made by the process that a server would start."""
    folder = tmp_path_factory.mktemp("cache")
    open_core(model, folder).close()
    return folder


def test_first_start_converts_and_the_next_imports_no_torch(model: Path, cache: Path):
    script = (
        "import sys; from pathlib import Path\n"
        "from llm_endpoint.engines.openvino.opening import open_openvino_core\n"
        "from llm_endpoint.engines.seam import Sampling\n"
        f"core = open_openvino_core(Path({str(model)!r}), base_folder=None, cache=Path({str(cache)!r}), "
        f"precision='fp32', threads=1, max_running=8, kv_cache_gb=0.1, context_length={CONTEXT})\n"
        "core.add(1, [5, 6, 7], Sampling(max_new_tokens=1), frozenset())\n"
        "assert len(core.step()[0].token_ids) == 1\n"
        "core.close()\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(list(cache.iterdir())) == 1


def test_process_answers_as_the_core_in_it(model: Path, cache: Path):
    prompts = some_prompts(6, seed=9)
    entry = next(cache.iterdir())
    core = load_here(entry, json.loads((entry / "conversion.json").read_text()))
    outside = open_core(model, cache)
    assert (outside.name, outside.precision, outside.context_length, outside.max_running) == (
        "openvino",
        "fp32",
        256,
        8,
    )
    sampling = Sampling(max_new_tokens=20)
    assert answer(outside, prompts, sampling, frozenset({3})) == answer(core, prompts, sampling, frozenset({3}))
    outside.add(50, [1, 2], sampling, NO_STOP)
    outside.cancel(50)
    assert outside.step() == []
    outside.close()
    with pytest.raises(GenerationError, match="the engine is closed"):
        outside.step()


def test_killed_process_is_an_error_that_says_so(model: Path, cache: Path):
    core = open_core(model, cache)
    core.add(1, [5, 6], Sampling(), NO_STOP)
    os.kill(core._process.pid, signal.SIGKILL)
    with pytest.raises(GenerationError, match=r"process ended \(killed: probably out of memory\)"):
        core.step()
    core.cancel(1)
    core.close()


@pytest.mark.parametrize("damage", ["weights cut short", "graph of the same size is not XML"])
def test_broken_cache_entry_is_made_again(model: Path, cache: Path, tmp_path: Path, damage: str):
    copy = tmp_path / "cache"
    shutil.copytree(cache, copy)
    entry = next(copy.iterdir())
    if damage == "weights cut short":
        (entry / "openvino_model.bin").write_bytes(b"short")
    else:
        graph = entry / "openvino_model.xml"
        graph.write_bytes(b"x" * graph.stat().st_size)
    core = open_core(model, copy)
    core.add(1, [5, 6], Sampling(max_new_tokens=1), NO_STOP)
    assert core.step()[0].finish_reason == "length"
    core.close()
    assert (next(copy.iterdir()) / "openvino_model.bin").stat().st_size > 5


def test_two_servers_that_start_at_once_share_one_conversion(model: Path, tmp_path: Path):
    with ThreadPoolExecutor(2) as pool:
        cores = list(pool.map(lambda _: open_core(model, tmp_path), range(2)))
    sampling = Sampling(max_new_tokens=5)
    assert answer(cores[0], [[5, 6]], sampling) == answer(cores[1], [[5, 6]], sampling)
    for core in cores:
        core.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_cache_that_cannot_be_written_still_serves(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.INFO):
        core = open_core(model, tmp_path / "file" / "cache")
    assert answer(core, [[5, 6]], Sampling(max_new_tokens=5))[1] == ["length"]
    core.close()
    assert "Converting the model for OpenVINO (once; about 7 s)" in caplog.text


def test_refusal_is_remembered(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = write_tiny_llama(tmp_path / "model", positions=CONTEXT)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0,
                                 "original_max_position_embeddings": 64}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    for _ in range(2):
        with pytest.raises(
            NotConvertible, match=r"cannot serve model: its rotary embedding \(dynamic\) changes beyond 64"
        ):
            open_core(folder, tmp_path / "cache")
        caplog.set_level(logging.INFO)
    assert "Converting" not in caplog.text  # the second time


def test_folder_without_a_model_is_one_clear_error(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot load the model in .*Publish the model folder again"):
        open_core(tmp_path, tmp_path / "cache")


def test_weights_cut_short_are_one_clear_error(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot load the model in model: .*Publish the model folder again"):
        open_core(folder, tmp_path / "cache")
    assert "Traceback" not in capfd.readouterr().err


def test_room_that_is_too_small_says_so_and_leaves_the_cache_as_it_is(model: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    with pytest.raises(ModelError, match="KV_CACHE_GB=1e-09 does not hold") as first:
        open_core(model, cache, kv_cache_gb=1e-9)
    assert not isinstance(first.value, NotConvertible)
    open_core(model, cache).close()
    converted = sorted(path.name for path in cache.iterdir())
    with pytest.raises(ModelError, match="KV_CACHE_GB=1e-09 does not hold"):
        open_core(model, cache, kv_cache_gb=1e-9)
    assert sorted(path.name for path in cache.iterdir()) == converted
    open_core(model, cache).close()
