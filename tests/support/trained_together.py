"""What tests of several processes look at: the workers' notes, and what a training left."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def take_notes(monkeypatch: pytest.MonkeyPatch, folder: Path, holder: object, name: str, worker: object) -> Any:
    """Let a probe be the worker that `holder.name` names; gives back a call for the notes of two processes, by rank."""
    monkeypatch.setattr(holder, name, worker)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    monkeypatch.setenv("PROBE_DIR", str(folder))
    return lambda: [json.loads((folder / f"probe-{rank}.json").read_text()) for rank in range(2)]


def largest_difference(first: Path, second: Path) -> float:
    """Between the weights of two files or model folders."""
    from safetensors.torch import load_file

    a, b = (load_file(path / "model.safetensors" if path.is_dir() else path) for path in (first, second))
    assert set(a) == set(b)
    return max((a[name].float() - b[name].float()).abs().max().item() for name in a)


def curve(folder: Path, name: str) -> list[float]:
    """The points of one curve of a training."""
    points = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    return [point[name] for point in points if name in point]
