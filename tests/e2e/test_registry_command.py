"""`python -m llm-pipelines.registry` as a user types it, on MLflow's SQLite file."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.head_output import write_head_run
from typer.testing import CliRunner

from components.core.recipe import RegistryConfig
from components.core.registry import publish_head, register_head
from components.core.registry.mlflow_store import open_client
from components.core.settings import Settings

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
APP = importlib.import_module("llm-pipelines.registry").app
NAME = "starter-ner"


@pytest.fixture(scope="module")
def registered(tmp_path_factory) -> Path:
    """A registry with an open and a restricted model, both of team-a."""
    folder = tmp_path_factory.mktemp("registered")
    home = folder / "home"
    for task, restricted in (("ner", False), ("regression", True)):
        run = write_head_run(folder / task, task, whetstone_home=home, kfp_namespace="team-a")
        run.registry = RegistryConfig(restricted=restricted)
        register_head(publish_head(*run.inputs(), folder / f"out-{task}"), *run.inputs())
    return home


@pytest.fixture
def home(registered, tmp_path) -> Path:
    shutil.copytree(registered, tmp_path / "home", ignore=shutil.ignore_patterns("mlruns"))
    return tmp_path / "home"


def ask(home, *arguments, namespace="team-a"):
    environment = {"WHETSTONE_HOME": str(home), "KFP_NAMESPACE": namespace, "MLFLOW_TRACKING_URI": ""}
    return CliRunner().invoke(APP, arguments, env=environment)


def test_the_list_is_a_table_of_what_the_namespace_may_use(home):
    lines = ask(home, "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "ALIASES", "TASK", "FOR", "SINCE", "VERDICT"]
    assert [line.split()[0] for line in lines[1:]] == [NAME, "starter-regression"]
    assert "candidate, champion" in lines[1]
    assert "team-a only" in lines[2]
    places = {line.index(cell) for line, cell in zip(lines, ("VERSION", "1", "1"), strict=True)}
    assert len(places) == 1, "columns are aligned"
    other = ask(home, "list", namespace="team-b").stdout
    assert NAME in other
    assert "starter-regression" not in other
    assert ask(home, "list", "--namespace", "team-b").stdout == other


def test_a_version_is_shown_with_its_scores_and_its_lineage_with_its_parameters(home):
    shown = ask(home, "show", NAME).stdout
    assert f"Model         {NAME} version 1" in shown
    assert "For           all namespaces" in shown
    assert f"Place         whetstone:/{NAME}/1" in shown
    assert "tuned_accuracy" in shown
    made = ask(home, "lineage", f"{NAME}@1").stdout
    assert "Base model    starter starter" in made
    assert f"Fingerprint   {'c' * 64}" in made
    assert "finetune.learning_rate" in made


def test_another_namespace_is_told_in_one_line_and_nothing_is_shown(home):
    for command in ("show", "lineage", "unrestrict"):
        found = ask(home, command, "starter-regression", namespace="team-b")
        assert found.exit_code == 2
        assert found.stdout == ""
        assert "is restricted to namespace team-a and cannot be used from namespace team-b" in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_a_model_is_restricted_and_opened_again(home):
    assert ask(home, "restrict", NAME).stdout == f"{NAME} version 1 is for namespace team-a only.\n"
    assert ask(home, "list", namespace="team-b").stdout.startswith("Nothing is registered for namespace team-b in ")
    assert ask(home, "unrestrict", NAME).stdout == f"{NAME} version 1 is for all namespaces.\n"
    assert NAME in ask(home, "list", namespace="team-b").stdout


def test_an_empty_registry_and_an_unknown_name_are_told(home, tmp_path):
    assert "Nothing is registered for namespace team-a" in ask(tmp_path / "empty", "list").stdout
    assert not (tmp_path / "empty").exists()
    found = ask(home, "show", f"{NAME}@7")
    assert (found.exit_code, found.stderr.startswith(f"error: {NAME} has no version 7")) == (2, True)


def test_help_needs_no_registry(tmp_path):
    environment = os.environ | {"WHETSTONE_HOME": str(tmp_path / "none")}
    argv = [sys.executable, "-m", "llm-pipelines.registry", "--help"]
    found = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0
    assert "restrict" in found.stdout


def test_the_version_of_an_open_name_that_is_restricted_alone_is_the_only_one_hidden(home):
    assert ask(home, "restrict", f"{NAME}@1").exit_code == 0
    client = open_client(Settings(whetstone_home=home))
    assert client.get_registered_model(NAME).tags["whetstone.restricted"] == "false"
    assert client.get_model_version(NAME, "1").tags["whetstone.restricted"] == "true"
