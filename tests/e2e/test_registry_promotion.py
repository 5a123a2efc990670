"""Who is champion: `promote` and `rollback`, on MLflow's SQLite file and as a user types them."""

import importlib
import re
import shutil
from pathlib import Path

import pytest
from support.run_output import RunOutput, write_run
from typer.testing import CliRunner

from components.core.errors import RegistryError
from components.core.recipe import RegistryConfig
from components.core.registry import (
    champion_folder,
    find_registered,
    lineage,
    promote,
    publish,
    register,
    rollback,
    served_model,
)
from components.core.registry.mlflow_store import open_client
from components.core.registry.promotion import HISTORY_TAG

pytestmark = pytest.mark.e2e
APP = importlib.import_module("llm-pipelines.registry").app
NAME = "starter-context-qa"


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> tuple[Path, list[RunOutput]]:
    """A registry with three versions, each champion when it came."""
    folder = tmp_path_factory.mktemp("three")
    runs = []
    for number in range(3):
        run = write_run(folder / f"run{number}", fill=0.1 * (number + 1), whetstone_home=folder / "home")
        run.registry = RegistryConfig(description="Answers about bridges.")
        register(publish(*run.inputs(), folder / f"out{number}"), *run.inputs())
        runs.append(run)
    return folder / "home", runs


@pytest.fixture
def home(three, tmp_path) -> Path:
    shutil.copytree(three[0], tmp_path / "home", ignore=shutil.ignore_patterns("mlruns"))
    return tmp_path / "home"


@pytest.fixture
def settings(three, home):
    return three[1][0].settings.model_copy(update={"whetstone_home": home})


def ask(home, *arguments):
    environment = {"WHETSTONE_HOME": str(home), "MLFLOW_TRACKING_URI": "", "KFP_NAMESPACE": ""}
    return CliRunner().invoke(APP, arguments, env=environment)


def test_a_rollback_gives_back_what_was_before_and_again(home, settings):
    assert champion_folder(NAME, settings).name == "3"
    said = ask(home, "rollback", NAME)
    assert said.stdout == f"{NAME} version 2 is champion now; version 3 was it before.\n", said.stderr
    assert champion_folder(NAME, settings).name == "2"
    assert rollback(NAME, settings).version == "1"
    with pytest.raises(RegistryError, match=f"{NAME} has nothing to go back to: version 1 is champion and none was be"):
        rollback(NAME, settings)
    assert champion_folder(NAME, settings).name == "1"


def test_a_promoted_version_is_rolled_back_to_the_one_before_it(home, settings):
    assert ask(home, "promote", f"{NAME}@1").stdout == f"{NAME} version 1 is champion now; version 3 was it before.\n"
    assert champion_folder(NAME, settings).name == "1"
    assert rollback(NAME, settings).version == "3"
    assert rollback(NAME, settings).version == "2"


def test_without_a_version_the_candidate_is_promoted_and_twice_changes_nothing(home, settings):
    promote(NAME, "2", settings)
    assert "version 3 is champion now" in ask(home, "promote", NAME).stdout
    assert ask(home, "promote", NAME).stdout == f"{NAME} version 3 is champion already.\n"
    assert rollback(NAME, settings).version == "2"


def test_a_result_that_is_registered_again_does_not_undo_a_rollback(three, settings, tmp_path):
    rollback(NAME, settings)
    last = three[1][2]
    published = publish(*last.inputs(), tmp_path / "again")
    assert register(published, *last.inputs()[:-1], settings).version == "3"
    assert champion_folder(NAME, settings).name == "2"


def test_a_version_that_was_deleted_since_is_passed_over(settings):
    open_client(settings).delete_model_version(NAME, "2")
    assert rollback(NAME, settings).version == "1"


def test_a_memory_that_was_written_without_the_move_is_passed_over(settings):
    client = open_client(settings)
    client.set_registered_model_tag(NAME, HISTORY_TAG, '["1", "3"]')
    assert rollback(NAME, settings).version == "1"


def test_a_version_without_its_folder_cannot_be_champion(home, settings):
    shutil.rmtree(home / "registry" / NAME / "2")
    for command in (("rollback", NAME), ("promote", f"{NAME}@2")):
        said = ask(home, *command)
        assert said.exit_code == 2
        assert said.stderr.startswith(f"error: {NAME} version 2 cannot be champion: its folder ")
    assert champion_folder(NAME, settings).name == "3"


def test_what_is_not_there_is_told_in_a_line(home):
    for command, message in (
        (("promote", f"{NAME}@9"), f"{NAME} has no version 9: {NAME} has the versions 1, 2, 3"),
        (("promote", "nobody"), "nobody has no version candidate: nobody is not registered"),
        (("rollback", "nobody"), "nobody is not registered. `python -m llm-pipelines.registry list` says what is."),
    ):
        said = ask(home, *command)
        assert (said.exit_code, said.stdout) == (2, "")
        assert said.stderr.startswith(f"error: {message}")
        assert len(said.stderr.splitlines()) == 1


def test_a_version_has_a_description_and_a_label_by_which_it_is_found(home, settings):
    found = lineage(NAME, "2", settings)
    assert re.fullmatch(r"20\d{12}", found["label"])
    assert found["description"] == "Answers about bridges.\n\nPASSED: F1 of the tuned model is better"
    same = [v for v in "321" if lineage(NAME, v, settings)["label"] == found["label"]]
    assert lineage(NAME, found["label"], settings)["version"] == same[0]
    shown = ask(home, "show", f"{NAME}@2").stdout
    assert f"Label         {found['label']}" in shown
    assert "Description   Answers about bridges. PASSED" in shown


def test_a_registered_version_is_found_as_the_base_of_another_training(home, settings):
    champion = find_registered(NAME, settings)
    assert (champion.name, champion.version, champion.revision) == (NAME, "3", None)
    assert Path(champion.model_id) == settings.local_registry / NAME / "3"
    assert find_registered(f"{NAME}@2", settings).version == "2"
    assert find_registered(f"{NAME}@champion", settings) == champion
    assert find_registered("never-seen", settings) is None
    with pytest.raises(RegistryError, match=f"{NAME} has no version 9: {NAME} has the versions 1, 2, 3"):
        find_registered(f"{NAME}@9", settings)
    with pytest.raises(RegistryError, match="is in the local registry .* which a cluster cannot read. Publish it"):
        find_registered(NAME, settings, elsewhere=True)
    empty = settings.model_copy(update={"whetstone_home": home / "none"})
    assert find_registered(NAME, empty) is None
    with pytest.raises(RegistryError, match="is not registered: nothing has been registered here yet"):
        find_registered(f"{NAME}@1", empty)


def test_a_registered_version_is_served_by_its_name(home, settings, tmp_path):
    assert Path(served_model(f"{NAME}@champion", settings)) == settings.local_registry / NAME / "3"
    assert Path(served_model(f"{NAME}@2", settings)) == settings.local_registry / NAME / "2"
    folder = str(tmp_path)
    assert [served_model(each, settings) for each in (NAME, "user/name@main", folder)] == [
        NAME, "user/name@main", folder
    ]  # fmt: skip
    with pytest.raises(RegistryError, match=f"{NAME} has no version 9"):
        served_model(f"{NAME}@9", settings)
    with pytest.raises(RegistryError, match="nothing has been registered here yet"):
        served_model(f"{NAME}@1", settings.model_copy(update={"whetstone_home": home / "none"}))
