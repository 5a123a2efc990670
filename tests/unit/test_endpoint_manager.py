"""Keys, records, request files, measures and verdicts of the endpoints of this machine."""

import importlib
import json
import os
import stat

import pytest

from components.core.deployment.endpoints.invoking import read_request
from components.core.deployment.endpoints.keys import (
    make_internal_key,
    make_keys,
    matching_key,
    read_hashes,
    rotate_key,
    shown_keys,
)
from components.core.deployment.endpoints.lifecycle import delete_endpoint, deploy
from components.core.deployment.endpoints.measures import Measures, percentile
from components.core.deployment.endpoints.processes import family, is_running
from components.core.deployment.endpoints.record import EndpointFolder, EndpointRecord, default_name
from components.core.deployment.local_servers import Server
from components.core.errors import ConfigError, DataError, StorageError
from components.core.evaluation import candidates
from components.core.settings import Settings

VERDICTS = importlib.import_module("llm-pipelines.verdicts")


def test_the_keys_are_two_and_their_hashes_tell_them_apart(tmp_path):
    keys = make_keys(tmp_path, kept=True)
    hashes = read_hashes(tmp_path)
    assert {name: matching_key(key, hashes) for name, key in keys.items()} == {
        "primary": "primary",
        "secondary": "secondary",
    }
    assert matching_key("another", hashes) is None
    assert matching_key("", hashes) is None
    assert shown_keys(tmp_path) == keys


def test_a_rotated_key_replaces_the_old_one_and_leaves_the_other(tmp_path):
    old = make_keys(tmp_path, kept=True)
    new = rotate_key(tmp_path, "primary")
    hashes = read_hashes(tmp_path)
    assert matching_key(new, hashes) == "primary"
    assert matching_key(old["primary"], hashes) is None
    assert matching_key(old["secondary"], hashes) == "secondary"
    assert shown_keys(tmp_path) == {"primary": new, "secondary": old["secondary"]}


def test_keys_that_are_told_once_are_nowhere_on_disk(tmp_path):
    keys = make_keys(tmp_path, kept=False)
    keys["primary"] = rotate_key(tmp_path, "primary")
    on_disk = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert not [key for key in keys.values() if key in on_disk]
    with pytest.raises(ConfigError, match="were shown once and are not kept on disk. Set ENDPOINT_KEY, or make a new"):
        shown_keys(tmp_path)


def test_keys_and_records_are_for_their_owner_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        folder = EndpointFolder(tmp_path, "demo-end")
        folder.make()
        make_keys(folder.path, kept=True)
        make_internal_key(folder.path)
        folder.write(EndpointRecord(name="demo-end", created="2026-01-01T00:00:00Z"))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder.path, *folder.path.rglob("*")]}
    assert not {path: oct(mode) for path, mode in modes.items() if mode & 0o077}


def test_the_default_name_is_the_tutorials_with_the_time():
    name = default_name()
    assert name.startswith("ultrachat-completion-20")
    assert name.removeprefix("ultrachat-completion-").isdigit()


@pytest.mark.parametrize("name", ["", "../up", "Demo", "a/b", "-a", "a-", "a" * 49, "a b"])
def test_a_name_that_is_none_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="cannot be the name of an endpoint. Use lower case letters"):
        EndpointFolder(tmp_path, name)


def test_an_endpoint_that_is_not_there_is_told_with_those_that_are(tmp_path):
    EndpointFolder(tmp_path, "here").make()
    with pytest.raises(ConfigError, match=r"there is no endpoint gone on this machine \(there are: here\)"):
        delete_endpoint("gone", Settings(whetstone_home=tmp_path))
    with pytest.raises(ConfigError, match="there is an endpoint here already"):
        EndpointFolder(tmp_path, "here").make()


def test_what_a_killed_creation_left_can_be_deleted(tmp_path):
    folder = EndpointFolder(tmp_path, "half")
    folder.make()
    with pytest.raises(StorageError, match="endpoint.json is missing or damaged"):
        folder.read()
    delete_endpoint("half", Settings(whetstone_home=tmp_path), lambda _line: None)
    assert not folder.path.exists()


def test_a_model_that_is_no_model_starts_no_process(tmp_path):
    settings = Settings(whetstone_home=tmp_path)
    folder = EndpointFolder(tmp_path, "end")
    folder.make()
    folder.write(EndpointRecord(name="end", created="2026-01-01T00:00:00Z"))
    with pytest.raises(ConfigError, match="there is no model folder /nowhere"):
        deploy("end", "demo", "/nowhere", settings)
    with pytest.raises(ConfigError, match="is a volume of a cluster"):
        deploy("end", "demo", "pvc://a/b", settings)
    with pytest.raises(ConfigError, match="cannot be called front"):
        deploy("end", "front", str(tmp_path), settings)


def test_a_process_id_that_belongs_to_somebody_else_by_now_is_not_ours():
    other = Server("demo", os.getpid(), 12345.0, 1)
    assert not is_running(other)
    assert family(other) == []


@pytest.mark.parametrize(
    ("content", "sent", "truth"),
    [
        ({"question": "Who?", "ground_truth": "Ada"}, {"question": "Who?"}, "Ada"),
        ({"x": 1, "ground_truth": {"label": "spam"}}, {"x": 1}, '{"label": "spam"}'),
        ({"messages": [{"role": "user", "content": "Hi"}]}, None, None),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}, None, "Hello"),
        (
            {"input_data": {"input_string": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}},
            None,
            "b",
        ),
        ({"input_data": {"input_string": "text"}}, None, None),
    ],
)
def test_the_expected_answer_of_a_request_file(tmp_path, content, sent, truth):
    file = tmp_path / "request.json"
    file.write_text(json.dumps(content))
    assert read_request(file) == (content if sent is None else sent, truth)


@pytest.mark.parametrize(
    ("text", "message"), [("[1]", "holds no JSON object"), ("{", "is not JSON"), (None, "cannot be read")]
)
def test_a_request_file_that_is_none_is_told(tmp_path, text, message):
    file = tmp_path / "request.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_request(file)


def test_percentiles_are_values_that_were_measured():
    assert percentile([], 95) is None
    assert percentile([7.0], 95) == 7.0
    assert percentile([float(n) for n in range(1, 101)], 95) == 95.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0


def test_measures_count_everything_and_time_what_ended_since(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    measures = Measures()
    measures.add("demo", 99.0, 500)
    clock[0] = 200.0
    measures.add("demo", 199.5, 200)
    measures.add("demo", 199.0, 200, cut=True)
    (found,) = measures.report(150.0)["deployments"].values()
    assert found["requests"] == 3
    assert found["statuses"] == {"200": 2, "500": 1}
    assert (found["recent"], found["recent_failed"]) == (2, 1)
    assert (found["p50_ms"], found["p95_ms"]) == (500.0, 1000.0)


def write_verdict(path, status, **models):
    verdict = {"status": status, "outcome": "better", "headline": f"{status.upper()}: why", "reasons": ["why"]}
    path.write_text(json.dumps({"verdict": verdict, "models": models}))


def test_quality_is_the_verdict_of_the_evaluation(tmp_path):
    write_verdict(tmp_path / "evaluation.json", "passed")
    assert VERDICTS.read_quality(tmp_path).holds
    write_verdict(tmp_path / "evaluation.json", "refused")
    found = VERDICTS.read_quality(tmp_path / "evaluation.json")
    assert (found.holds, found.headline) == (False, "REFUSED: why")


def test_a_verdict_on_other_weights_does_not_count(tmp_path):
    write_verdict(tmp_path / "evaluation.json", "passed", tuned={"weights_sha256": "a"})
    assert VERDICTS.read_quality(tmp_path, "a").holds
    found = VERDICTS.read_quality(tmp_path, "b")
    assert (found.holds, found.headline) == (False, "evaluation.json judges other weights than those of the candidate")


def test_without_a_verdict_there_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="Evaluate the candidate, or name the file: --evaluation FILE"):
        VERDICTS.read_quality(tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(StorageError, match="holds no verdict"):
        VERDICTS.read_quality(tmp_path)


def test_the_weights_are_hashed_as_the_evaluation_hashes_them(tmp_path):
    for name in ("model-00002.safetensors", "model-00001.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    judged = candidates.make_candidate("tuned", "x", "", tmp_path, None, None)
    assert VERDICTS._weights_hash(tmp_path) == judged.weights_sha256
    (tmp_path / "adapter_config.json").write_text("{}")
    assert VERDICTS._weights_hash(tmp_path) is None
