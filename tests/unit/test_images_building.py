"""`make images` and `make push`: the commands they give to a builder, which is a script here that notes them down."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "ab" * 32
RECORDER = f"""#!/bin/sh
echo "$0 $@" >> "$NOTES"
case "$1" in
    info) exit "${{INFO:-0}}" ;;
    build) exit "${{BUILD:-0}}" ;;
    push) [ "$2" = --digestfile ] && printf {DIGEST} > "$3"; exit "${{PUSH:-0}}" ;;
    image) printf "elsewhere/whetstone-ui@sha256:00\\nghcr.io/acme/whetstone-ui@{DIGEST}\\n" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    def run(command, *programs, **environment):
        for program in programs:
            (tmp_path / program).write_text(RECORDER)
            (tmp_path / program).chmod(0o755)
        notes = tmp_path / "notes"
        kept = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NOTES": str(notes), "GIT_COMMIT": "c0ffee", **environment}
        kept = {name: value for name, value in kept.items() if value is not None}
        done = subprocess.run(
            [sys.executable, "-m", f"images.{command}"], cwd=ROOT, env=kept, capture_output=True, text=True
        )
        noted = notes.read_text().replace(f"{tmp_path}/", "").splitlines() if notes.exists() else []
        return done, [line for line in noted if " info" not in line]

    return run


def test_the_chosen_images_are_built_with_version_commit_and_variant(run):
    done, noted = run("build", "podman", BUILDER="podman", IMAGES="api ui", VARIANT="cuda", TAG="7", REGISTRY="r.io/a")
    assert done.returncode == 0, done.stderr
    api, ui = noted
    assert "--build-arg VERSION=7 --build-arg GIT_COMMIT=c0ffee --build-arg VARIANT=cuda --format docker" in api
    assert api.endswith(f"--file {ROOT}/llm-endpoint/Dockerfile --tag r.io/a/whetstone-api:7-cuda {ROOT}")
    assert "VARIANT" not in ui
    assert "--tag r.io/a/whetstone-ui:7 " in ui
    assert done.stdout.splitlines() == ["built r.io/a/whetstone-api:7-cuda", "built r.io/a/whetstone-ui:7"]


def test_base_image_torch_index_and_pip_configuration_are_passed_on_only_when_given(run):
    given = {"BASE_IMAGE": "python@sha256:1", "TORCH_CPU_INDEX": "", "PIP_CONFIG_FILE": "/etc/pip.conf"}
    _, (pipeline, ui) = run("build", "buildah", BUILDER="buildah", IMAGES="pipeline ui", **given)
    for line in (pipeline, ui):
        assert "--build-arg BASE_IMAGE=python@sha256:1" in line
        assert "--secret id=pip_config,src=/etc/pip.conf" in line
    assert "--build-arg TORCH_CPU_INDEX= " in pipeline
    assert "TORCH" not in ui
    _, noted = run("build", "buildah", BUILDER="buildah", IMAGES="pipeline")
    assert not any(name in noted[-1] for name in ("BASE_IMAGE", "TORCH", "secret"))


def test_a_docker_without_its_daemon_is_passed_over(run, tmp_path):
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    done, noted = run("build", "podman", IMAGES="ui")
    assert done.returncode == 0
    assert [line.split()[0] for line in noted] == ["podman"]


def test_a_push_prints_the_digest_of_each_image(run):
    environment = {"REGISTRY": "ghcr.io/acme", "TAG": "7", "IMAGES": "ui"}
    for builder in ("buildah", "docker"):
        done, _ = run("push", builder, BUILDER=builder, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"pushed ghcr.io/acme/whetstone-ui@{DIGEST}  (ghcr.io/acme/whetstone-ui:7)\n"


@pytest.mark.parametrize(
    ("command", "environment", "message"),
    [
        ("push", {"REGISTRY": ""}, "REGISTRY is empty: nowhere to push to."),
        ("push", {"REGISTRY": "r.io/a", "PUSH": "1"}, "log in: podman login r.io"),
        ("build", {"IMAGES": "uii"}, "IMAGES names uii. There are: pipeline, api, ui."),
        ("build", {"VARIANT": "rocm"}, "VARIANT is rocm. It must be cpu or cuda."),
        ("build", {"BUILDER": "kaniko"}, "BUILDER is kaniko. It must be docker, podman or buildah."),
        ("build", {"INFO": "1"}, "podman does not work here. Install one"),
        ("build", {"BUILD": "1"}, "cannot build whetstone-pipeline-python:0.1.0 with podman."),
    ],
)
def test_what_cannot_be_done_ends_with_one_line_and_exit_2(run, command, environment, message):
    done, _ = run(command, "podman", **{"BUILDER": "podman", "TAG": "0.1.0", **environment})
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_no_secret_of_the_environment_reaches_the_command_line(run):
    _, noted = run("build", "podman", BUILDER="podman", HF_TOKEN="hf_canary", LANGCHAIN_API_KEY="hf_canary")
    assert noted
    assert "hf_canary" not in "".join(noted)


def test_the_commit_of_the_checkout_is_the_default(run):
    done, noted = run("build", "podman", BUILDER="podman", IMAGES="ui", GIT_COMMIT=None, HOME=os.environ["HOME"])
    assert done.returncode == 0, done.stderr
    command = ["git", "-C", ROOT, "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
    assert f"GIT_COMMIT={head}" in noted[0]
