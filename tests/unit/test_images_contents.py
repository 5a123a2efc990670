"""What `make images-test` finds in the files and layers of an image."""

import json
import os
from pathlib import Path

import pytest

from images.trial.container import Config
from images.trial.contents import blobs_with, file_problems, layer_sizes
from images.trial.pip_access import pip_options

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives files to other users")


@pytest.fixture
def image(tmp_path):
    """A sound image above a base which has a setuid program and a file of its own user."""
    base, root = tmp_path / "base", tmp_path / "root"
    for folder in (base, root):
        (folder / "usr/bin").mkdir(parents=True)
        (folder / "usr/bin/su").touch()
        (folder / "usr/bin/su").chmod(0o4755)
        (folder / "usr/bin/c++filt").touch()
    (root / "app/__pycache__").mkdir(parents=True)
    (root / "app/step.py").touch()
    (root / "app/__pycache__/step.cpython-311.pyc").touch()
    (root / "opt/venv/lib/python3.11/site-packages/gcc").mkdir(parents=True)
    (root / "var/lib/whetstone").mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(root / "var/lib/whetstone", 10001, 10001)
    return root, base


def found(image, variant="cpu"):
    if os.getuid() == 0:
        return file_problems(*image, variant)
    return [problem for problem in file_problems(*image, variant) if not problem.startswith("owner")]


def test_a_sound_image_has_no_problem_and_the_base_keeps_its_own_files(image):
    assert found(image) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("usr/bin/gcc", "compiler or build tool"),
        ("opt/venv/bin/nvcc", "compiler or build tool"),
        ("root/.cache/pip/http", "installer or its cache"),
        ("opt/venv/lib/python3.11/site-packages/pip", "installer or its cache"),
        ("opt/venv/lib/python3.11/site-packages/nvidia", "CUDA libraries"),
        ("app/new.py", "no byte code of"),
    ],
)
def test_what_must_not_be_there_is_named(image, path, problem):
    (image[0] / path).parent.mkdir(parents=True, exist_ok=True)
    (image[0] / path).touch()
    assert f"{problem} /{path}" in found(image)


def test_the_cuda_variant_may_hold_cuda(image):
    (image[0] / "opt/venv/lib/python3.11/site-packages/nvidia").mkdir()
    assert found(image, "cuda") == []


@pytest.mark.parametrize(("mode", "problem"), [(0o4755, "setuid or setgid"), (0o666, "the process may change")])
def test_rights_that_no_file_of_ours_may_have(image, mode, problem):
    (image[0] / "opt/file").touch()
    (image[0] / "opt/file").chmod(mode)
    assert found(image) == [f"{problem} /opt/file"]


@needs_root
@pytest.mark.parametrize(("owner", "problem"), [(1000, "owner 1000:1000 of"), (10001, "the process may change")])
def test_files_of_other_owners(image, owner, problem):
    (image[0] / "opt/file").touch()
    os.chown(image[0] / "opt/file", owner, owner)
    assert found(image) == [f"{problem} /opt/file"]


def test_a_secret_is_found_in_any_blob_and_sizes_are_per_layer(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"layers": [{"size": 30}, {"size": 12}]}))
    (tmp_path / "aa").write_bytes(b"x" * 5_000_000 + b"hf_secret" + b"y")
    (tmp_path / "bb").write_bytes(b"nothing")
    assert blobs_with(tmp_path, "hf_secret") == ["aa"]
    assert blobs_with(tmp_path, "hf_other") == []
    assert layer_sizes(tmp_path) == [30, 12]


def test_a_build_may_use_pip_as_the_machine_does(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    wheels, mirror = tmp_path / "wheels", tmp_path / "mirror"
    wheels.mkdir()
    (mirror / "simple").mkdir(parents=True)
    configuration = tmp_path / "machine.conf"
    configuration.write_text(f"[global]\nindex-url = file://{mirror}/simple\nfind-links = /not/here {wheels}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("PIP_INDEX_URL", f"https://index.example/simple file://{mirror}/simple")
    options = pip_options(tmp_path, "canary")
    written = (tmp_path / "pip.conf").read_text()
    assert options[:2] == ["--secret", f"id=pip_config,src={tmp_path}/pip.conf"]
    assert {f"{path}:{path}:ro" for path in (wheels, mirror)} <= set(options)
    assert not any("/not/here" in option for option in options)
    assert f"index-url = https://index.example/simple file://{mirror}/simple\n" in written
    assert "# canary\n" in written


def test_an_image_says_how_it_is_run():
    inspected = {"User": "10001:10001", "WorkingDir": "/app", "Entrypoint": ["python"], "Env": ["A=b=c"]}
    config = Config.of({"Docker": {"config": inspected | {"Healthcheck": {"Test": ["CMD", "python", "-c", "1"]}}}})
    assert (config.environment, config.health_check) == ({"A": "b=c"}, ["python", "-c", "1"])
    assert Config.of({"Docker": {"config": inspected | {"Healthcheck": {"Test": ["NONE"]}}}}).health_check == []
    assert Path(config.workdir) == Path("/app")
