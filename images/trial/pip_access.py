"""The machine's way to packages, lent to a build: its pip configuration and the local folders that it names."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit


def pip_options(folder: Path, canary: str) -> list[str]:
    """Options of a build that may use pip as this machine does, with nothing of it in a layer.

    Args:
        folder: Gets the configuration as one file.
        canary: Secret that is planted in it.
    """
    settings = _pip_settings()
    lines = [f"{name} = {' '.join(values)}" for name, values in settings.items()]
    file = folder / "pip.conf"
    file.write_text("\n".join(["[global]", f"# {canary}", *lines]) + "\n", encoding="utf-8")
    mounts = sorted({str(path) for name, values in settings.items() for path in _local_paths(name, values)})
    return ["--secret", f"id=pip_config,src={file}"] + [part for path in mounts for part in ("-v", f"{path}:{path}:ro")]


def torch_options() -> list[str]:
    """Leave torch to pip's configuration where its CPU index cannot be reached."""
    try:
        socket.getaddrinfo("download.pytorch.org", 443)
    except OSError:
        if "TORCH_CPU_INDEX" not in os.environ:
            print("torch: its CPU index cannot be reached here; pip's own configuration says where it comes from")
            return ["--build-arg", "TORCH_CPU_INDEX="]
    return []


def _pip_settings() -> dict[str, list[str]]:
    """Values by option; the environment wins over files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.partition("=")[::2] for line in listed]
    found.sort(key=lambda entry: entry[0].startswith(":env:"))
    return {key.rpartition(".")[2]: str(ast.literal_eval(value)).split() for key, value in found}


def _local_paths(option: str, values: list[str]) -> list[Path]:
    paths = [Path(urlsplit(value).path) for value in values if value.startswith(("/", "file://"))]
    # a local index links to files beside it
    paths = [path.parent if "index-url" in option else path for path in paths]
    return [path for path in paths if path.exists()]
