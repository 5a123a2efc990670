"""A model that is restricted to its namespace: neither listed for nor usable from another one."""

import json
import shutil
from pathlib import Path

import pytest
from llm_endpoint.errors import ModelError
from llm_endpoint.served.folder import read_served_folder
from llm_endpoint.settings import Settings as EndpointSettings
from support.run_output import RunOutput, write_llama, write_run, write_training_facts

from components.core.errors import RegistryError, StorageError
from components.core.recipe import RegistryConfig
from components.core.registry import champion_folder, change_access, lineage, list_models, publish, register
from components.core.registry.champion import fetch_source
from components.core.registry.mlflow_store import open_client
from components.core.settings import Settings

pytestmark = pytest.mark.e2e
NAME = "starter-context-qa"
OURS, THEIRS = "team-a", "team-b"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("migrated")
    open_client(Settings(whetstone_home=home))
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path, migrated) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(migrated, folder / "mlflow.db")
    return folder


def settings_of(namespace: str, home: Path) -> Settings:
    return Settings(whetstone_home=home, kfp_namespace=namespace)


def a_run(folder: Path, home: Path, namespace=OURS, restricted=True, name=None, fill=0.5) -> RunOutput:
    run = write_run(folder, fill=fill, whetstone_home=home, kfp_namespace=namespace)
    run.registry = RegistryConfig(restricted=restricted, name=name)
    return run


def finish(run: RunOutput, folder: Path) -> Path:
    published = publish(*run.inputs(), folder)
    register(published, *run.inputs())
    return Path(published.uri)


def names(namespace: str, home: Path) -> list[str]:
    return [f"{each.name}@{each.version}" for each in list_models(settings_of(namespace, home))]


def test_another_namespace_sees_and_gets_nothing_of_it(home, tmp_path):
    folder = finish(a_run(tmp_path / "a", home), tmp_path / "out")
    finish(a_run(tmp_path / "b", home, restricted=False, name="open"), tmp_path / "out-open")
    ours, theirs = settings_of(OURS, home), settings_of(THEIRS, home)

    assert names(OURS, home) == ["open@1", f"{NAME}@1"]
    assert names(THEIRS, home) == ["open@1"]
    assert champion_folder(NAME, ours) == folder
    assert champion_folder("open", theirs) is not None
    assert lineage(NAME, "1", ours)["access"] == {"restricted": True, "namespace": OURS}
    denied = f"restricted to namespace {OURS} and cannot be used from namespace {THEIRS}"
    with pytest.raises(RegistryError, match=f"the champion of {NAME} is {denied}"):
        champion_folder(NAME, theirs)
    with pytest.raises(RegistryError, match=f"{NAME} version 1 is {denied}"):
        lineage(NAME, "champion", theirs)
    with pytest.raises(RegistryError, match=f"the model is {denied}"):
        fetch_source(f"whetstone:/{NAME}/1", "the model", theirs)
    assert json.loads((folder / "model_info.json").read_text())["access"] == {
        "restricted": True,
        "namespace": OURS,
    }
    tags = open_client(ours).get_model_version(NAME, "1").tags
    assert (tags["whetstone.restricted"], tags["whetstone.namespace"]) == ("true", OURS)


def test_another_namespace_cannot_take_the_name_over(home, tmp_path):
    finish(a_run(tmp_path / "a", home), tmp_path / "out")
    taker = a_run(tmp_path / "b", home, THEIRS, restricted=False, fill=0.25)
    with pytest.raises(RegistryError, match=f"the name {NAME} is restricted to namespace {OURS}"):
        finish(taker, tmp_path / "out2")
    assert names(OURS, home) == [f"{NAME}@1"]


def test_a_name_that_others_use_cannot_be_closed_to_them(home, tmp_path):
    finish(a_run(tmp_path / "a", home, restricted=False), tmp_path / "out")
    closer = a_run(tmp_path / "b", home, THEIRS, fill=0.25)
    with pytest.raises(RegistryError, match=f"belongs to namespace {OURS} and cannot be restricted to {THEIRS}"):
        finish(closer, tmp_path / "out2")


def test_a_later_version_of_a_restricted_name_is_restricted_too_in_its_files_as_well(home, tmp_path):
    finish(a_run(tmp_path / "a", home), tmp_path / "out")
    folder = finish(a_run(tmp_path / "b", home, restricted=False, fill=0.25), tmp_path / "out2")
    assert names(THEIRS, home) == []
    with pytest.raises(ModelError, match="restricted to namespace team-a and is not served in team-b"):
        serve(folder, THEIRS)


def test_it_can_be_restricted_later_and_opened_again_by_its_owner_only(home, tmp_path):
    folder = finish(a_run(tmp_path / "a", home, restricted=False), tmp_path / "out")
    finish(a_run(tmp_path / "b", home, restricted=False, fill=0.25), tmp_path / "out2")
    ours, theirs = settings_of(OURS, home), settings_of(THEIRS, home)
    with pytest.raises(RegistryError, match=f"belongs to namespace {OURS}; only there it is decided"):
        change_access(NAME, None, True, theirs)

    assert [(each.version, each.in_files) for each in change_access(NAME, "1", True, ours)] == [("1", True)]
    assert names(THEIRS, home) == [f"{NAME}@2"]
    with pytest.raises(RegistryError, match="restricted to namespace team-a"):
        fetch_source(f"whetstone:/{NAME}/1", "the model", theirs)
    with pytest.raises(ModelError, match="restricted to namespace team-a"):
        serve(folder, THEIRS)

    change_access(NAME, None, True, ours)
    assert names(THEIRS, home) == []
    with pytest.raises(RegistryError, match=f"all of {NAME} is restricted, so one version cannot be opened"):
        change_access(NAME, "1", False, ours)
    change_access(NAME, None, False, ours)
    assert names(THEIRS, home) == [f"{NAME}@2", f"{NAME}@1"]
    assert fetch_source(f"whetstone:/{NAME}/1", "the model", theirs) == folder


def test_what_is_not_registered_cannot_be_restricted(home):
    with pytest.raises(RegistryError, match=r"none is not registered. `python -m llm-pipelines.registry list`"):
        change_access("none", None, True, settings_of(OURS, home))


@pytest.mark.parametrize("content", ["{", "[]", '{"access": {"restricted": "perhaps"}}', '{"access": null}'])
def test_a_folder_that_does_not_say_clearly_who_may_use_it_is_used_by_nobody(home, tmp_path, content):
    folder = finish(a_run(tmp_path / "a", home, restricted=False), tmp_path / "out")
    (folder / "model_info.json").write_text(content)
    with pytest.raises(StorageError, match="does not say who may use this model"):
        fetch_source(f"whetstone:/{NAME}/1", "the model", settings_of(OURS, home))


def served_folder(tmp_path: Path, home: Path, restricted: bool) -> Path:
    run = a_run(tmp_path / "run", home, restricted=restricted)
    write_llama(run.model_dir)
    write_training_facts(run.model_dir)
    publish(*run.inputs(), tmp_path / "out")
    return tmp_path / "out"


def serve(folder: Path, namespace: str, **variables) -> None:
    read_served_folder(folder, EndpointSettings(pod_namespace=namespace, **variables))


def test_the_endpoint_serves_a_restricted_model_in_its_own_namespace_only(home, tmp_path):
    folder = served_folder(tmp_path, home, restricted=True)
    serve(folder, OURS)
    with pytest.raises(ModelError, match="is restricted to namespace team-a and is not served in team-b"):
        serve(folder, THEIRS)
    # a mounted token says where the pod is; without a pod the namespace counts for which the commands work
    told = tmp_path / "namespace"
    told.write_text(OURS)
    read_served_folder(folder, EndpointSettings(pod_namespace_file=told, kfp_namespace=THEIRS))
    read_served_folder(folder, EndpointSettings(pod_namespace_file=tmp_path / "none", kfp_namespace=OURS))
    with pytest.raises(ModelError, match="is not served in kubeflow-user-example-com"):
        read_served_folder(folder, EndpointSettings(pod_namespace_file=tmp_path / "none"))


def test_access_json_wins_and_a_broken_one_opens_nothing(home, tmp_path):
    folder = served_folder(tmp_path, home, restricted=True)
    (folder / "access.json").write_text('{"restricted": false, "namespace": "team-a"}')
    serve(folder, THEIRS)
    for broken in ("{", "[]", '{"restricted": "no"}'):
        (folder / "access.json").write_text(broken)
        with pytest.raises(ModelError, match="cannot be read|does not say clearly"):
            serve(folder, OURS)
