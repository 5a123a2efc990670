"""The three Dockerfiles and the names of their images, without building anything."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

from components.core.image_names import API, PIPELINE, UI, image_name

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = [ROOT / folder / "Dockerfile" for folder in ("components", "llm-endpoint", "ui")]
WITH_TORCH = DOCKERFILES[:2]
by_folder = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(path):
    """(instruction, rest) of each line, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line.strip()]


def last_stage(path):
    found = instructions(path)
    return found[max(number for number, (name, _) in enumerate(found) if name == "FROM") :]


def values(found, name):
    return [rest for instruction, rest in found if instruction == name]


@by_folder
def test_hadolint_has_nothing_to_say(path):
    found = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--no-color", path], capture_output=True, text=True
    )
    assert found.stdout + found.stderr == ""
    assert found.returncode == 0


@by_folder
def test_every_stage_starts_from_the_one_base_which_has_a_registry_and_a_tag(path):
    found = instructions(path)
    assert found[0] == ("ARG", "BASE_IMAGE=docker.io/library/python:3.11-slim")
    assert {rest.split()[0] for rest in values(found, "FROM")} == {"${BASE_IMAGE}"}
    assert len(values(found, "FROM")) >= 2


@by_folder
def test_the_last_stage_only_copies_so_no_tool_and_no_mount_of_a_build_leaves_a_trace(path):
    names = {name for name, _ in last_stage(path)}
    assert not names & {"RUN", "ADD", "SHELL", "VOLUME"}
    assert all(rest.startswith("--from=") for rest in values(last_stage(path), "COPY"))


@by_folder
def test_the_process_is_a_numbered_user_without_root_rights(path):
    assert values(last_stage(path), "USER") == ["10001:10001"]
    owned = [rest for rest in values(last_stage(path), "COPY") if "--chown" in rest]
    assert [rest.split()[-1] for rest in owned] == ["/var/lib/whetstone"]


@by_folder
def test_the_entry_point_is_a_list_so_that_signals_arrive(path):
    (entry,) = values(last_stage(path), "ENTRYPOINT")
    assert json.loads(entry)[0] == "python"
    (health,) = values(last_stage(path), "HEALTHCHECK")
    assert health == "NONE" or json.loads(health.split("CMD ")[1])[:2] == ["python", "-c"]


@by_folder
def test_nothing_is_fetched_by_url_and_no_argument_or_variable_is_a_secret(path):
    found = instructions(path)
    assert not values(found, "ADD")
    assert "curl" not in path.read_text()
    assert "wget" not in path.read_text()
    named = " ".join(values(found, "ARG") + values(found, "ENV"))
    assert not re.search(r"token|secret|passw|api_?key|credential", named, re.IGNORECASE)


@by_folder
def test_all_caches_are_below_the_two_writable_folders(path):
    environment = dict(pair.split("=", 1) for pair in " ".join(values(last_stage(path), "ENV")).split())
    folders = {name: value for name, value in environment.items() if re.search("HOME|CACHE|DIR$", name)}
    assert {"HOME", "WHETSTONE_HOME", "XDG_CACHE_HOME"} <= folders.keys()
    assert all(re.match(r"(/tmp|/var/lib/whetstone)(/|$)", value) for value in folders.values())
    assert "PYTHONDONTWRITEBYTECODE" not in environment


@pytest.mark.parametrize("path", WITH_TORCH, ids=lambda path: path.parent.name)
@pytest.mark.parametrize(
    ("variant", "index", "installs"),
    [
        (
            "cpu",
            "https://index.example/cpu",
            ["--no-deps --index-url https://index.example/cpu -r torch.txt", "-r all"],
        ),
        ("cpu", "", ["--no-deps -r torch.txt", "-r all"]),
        ("cuda", "https://i.example", ["-r all"]),
        ("rocm", "", None),
    ],
)
def test_the_variant_decides_where_torch_comes_from(path, variant, index, installs, tmp_path):
    run = next(rest for rest in values(instructions(path), "RUN") if "pip/bin/pip" in rest)
    (tmp_path / "requirements.txt").write_text("tqdm==1\ntorch==2.0\n")
    (tmp_path / "pip" / "bin").mkdir(parents=True)
    torch = tmp_path / "venv/lib/python3.11/site-packages/torch"
    for name in ("include", "test", "lib"):
        (torch / name).mkdir(parents=True)
    pip = tmp_path / "pip" / "bin" / "pip"
    pip.write_text('#!/bin/sh\necho "$@" | sed "s/requirements.txt/all/" >> said\n')
    pip.chmod(0o755)
    script = run.split("id=pip_config ", 1)[1].replace("python3 -m venv", "true").replace("/opt/venv", "venv")
    environment = {"PATH": "/usr/bin:/bin", "VARIANT": variant, "TORCH_CPU_INDEX": index}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    if installs is None:
        assert done.returncode == 1
        assert "VARIANT is cpu or cuda, not 'rocm'" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "said").read_text().splitlines()
    assert said == [f"--python venv/bin/python install {install}" for install in installs]
    assert [path.name for path in torch.iterdir()] == ["lib"]
    if variant == "cpu":
        assert (tmp_path / "torch.txt").read_text() == "torch==2.0\n"


@pytest.mark.parametrize("path", WITH_TORCH, ids=lambda path: path.parent.name)
def test_the_pin_of_torch_is_one_line_of_the_requirements(path):
    assert len(re.findall(r"^torch==", (path.parent / "requirements.txt").read_text(), re.MULTILINE)) == 1


def test_a_build_sees_the_sources_and_nothing_else(tmp_path):
    seen = ["components/core/a.py", "images.env", "llm-endpoint/llm_endpoint/b.py", "ui/.streamlit/config.toml"]
    seen += ["components/requirements.txt", "llm-endpoint/requirements.txt", "ui/requirements.txt"]
    unseen = [".git/config", ".venv/bin/python", ".env", "tests/a.py", "benchmarks/a.py", ".whetstone/mlflow.db"]
    unseen += ["components/.env", "ui/.env.local", "components/__pycache__/a.pyc", "build/a", "images/a.py", "id_rsa"]
    for name in (*seen, *unseen):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    files = {path for path in exclude_paths(tmp_path, patterns, "Dockerfile") if (tmp_path / path).is_file()}
    assert files == set(seen)


@pytest.fixture
def plain(monkeypatch):
    for name in ("REGISTRY", "TAG", "PIPELINE_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_registry_and_tag_come_from_one_file_and_the_environment_wins(plain, tmp_path):
    plain.setattr("components.core.image_names.IMAGES_ENV", tmp_path / "images.env")
    (tmp_path / "images.env").write_text("# a comment\nREGISTRY=ghcr.io/acme/\nTAG=1.2.3\n")
    assert image_name(API) == "ghcr.io/acme/whetstone-api:1.2.3"
    plain.setenv("TAG", "2")
    assert image_name(API, "cuda") == "ghcr.io/acme/whetstone-api:2-cuda"
    (tmp_path / "images.env").write_text("REGISTRY=\nTAG=1.2.3\n")
    assert image_name(UI) == "whetstone-ui:2"
    plain.setenv("TAG", "")
    assert image_name(UI) == "whetstone-ui:1.2.3"


def test_a_step_runs_in_the_image_that_make_images_builds(plain):
    from components._step import step

    def some_step():
        pass

    def image():
        return step(some_step).component_spec.implementation.container.image

    assert image() == image_name(PIPELINE)
    plain.setenv("REGISTRY", "ghcr.io/acme")
    assert image() == image_name(PIPELINE) != "whetstone-pipeline-python:0.1.0"
    plain.setenv("PIPELINE_IMAGE", "other:1")
    assert image() == "other:1"


def test_manifests_and_makefile_name_the_images_of_images_env(plain):
    known = {image_name(repository, variant) for repository in (PIPELINE, API, UI) for variant in ("cpu", "cuda")}
    text = "\n".join(path.read_text() for path in (ROOT / "manifests").rglob("*.yaml"))
    assert set(re.findall(r"image:\s*['\"]?(whetstone-\S+?)['\"]?\s", text)) <= known
    tags = {name.rpartition(":")[2] for name in known}
    assert set(re.findall(r"newTag:\s*['\"]?(\S+?)['\"]?\s", text)) <= tags
    makefile = (ROOT / "Makefile").read_text()
    assert not re.search(r"^(REGISTRY|TAG)\s*[:?]?=\s*\S", makefile, re.MULTILINE)
    assert "whetstone-api:" not in makefile


def test_the_pipeline_image_has_python_in_its_name_which_the_local_runner_asks_for():
    assert "python" in PIPELINE
