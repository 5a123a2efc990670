"""Publishing to the Hub: the real client against the stand-in Hub."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.hub_server import HubServer
from support.run_output import PROMPT, TRAINING_INFO, RunOutput, write_llama, write_run, write_training_facts

from components.core.errors import RegistryError
from components.core.recipe import RegistryConfig, TaskConfig
from components.core.registry import publish
from components.core.registry.hub import check_write_access, download_model
from components.core.registry.model_folder import read_model_folder, verify_checksums

pytestmark = pytest.mark.e2e

REPO = "acme/tuned"


def write_hub_run(folder: Path, hub: HubServer, token: str = "hf_write", repo: str = REPO, **options) -> RunOutput:
    return write_run(folder, hf_token=token, hf_repo=repo, hf_endpoint=hub.url, **options)


def model_files(hub: HubServer) -> set[str]:
    """What a visitor of the repository would see of a model."""
    repo = hub.find("model", REPO)
    return set(repo.files) - {".gitattributes"} if repo else set()


def commits_since_creation(hub: HubServer) -> int:
    return len(hub.repo("model", REPO).commits) - 1


def test_a_published_model_is_one_private_commit_that_loads_and_gives_the_same_logits(hub, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = write_hub_run(tmp_path, hub)
    for file in run.model_dir.iterdir():
        file.unlink()
    write_llama(run.model_dir)
    write_training_facts(run.model_dir)

    published = publish(*run.inputs(), tmp_path / "out")

    repo = hub.repo("model", REPO)
    assert repo.private
    assert commits_since_creation(hub) == 1
    assert published.uri == f"hf://{REPO}@{repo.head.sha}"
    assert published.revision == repo.head.sha
    assert published.name == "starter-context-qa"
    assert b"# starter-context-qa" in repo.files["README.md"]
    ids = torch.tensor([[0, 3, 4, 5]])
    here = AutoModelForCausalLM.from_pretrained(run.model_dir)(ids).logits
    there = AutoModelForCausalLM.from_pretrained(REPO, revision=published.revision, token="hf_write")(ids).logits
    assert torch.equal(here, there)
    assert AutoTokenizer.from_pretrained(REPO, token="hf_write")("bridge opened")["input_ids"] == [8, 10]


@pytest.mark.parametrize("chat", [False, True])
def test_the_code_in_the_model_card_asks_with_the_ids_that_the_model_was_trained_on(hub, tmp_path, chat):
    from transformers import AutoTokenizer

    from components.core.tasks import Prompt, get_task, write_prompt

    run = write_run(tmp_path)
    write_llama(run.model_dir, chat=chat)
    prompt = Prompt(PROMPT["template"], chat, PROMPT["no_answer_text"])
    write_prompt(prompt, run.model_dir)
    publish(*run.inputs(), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0] + 'print(inputs["input_ids"][0].tolist())'

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    row = {"context": "The bridge was opened in 1932.", "question": "When was the bridge opened?"}
    tokenizer = AutoTokenizer.from_pretrained(run.model_dir)
    asked = get_task(TaskConfig()).encode_prompts([row], tokenizer, prompt, 64).input_ids[0]
    assert json.loads(done.stdout.splitlines()[-1]) == asked


def test_a_published_folder_comes_back_complete(hub, tmp_path):
    run = write_hub_run(tmp_path, hub)
    published = publish(*run.inputs(), tmp_path / "out")
    folder = download_model(published.uri, run.settings)
    assert verify_checksums(folder).content_sha256 == published.content_sha256
    assert read_model_folder(folder).info["run_id"] == TRAINING_INFO["run_id"]


def test_publishing_the_same_again_makes_no_commit(hub, tmp_path):
    run = write_hub_run(tmp_path, hub)
    first = publish(*run.inputs(), tmp_path / "out")
    assert publish(*run.inputs(), tmp_path / "again") == first
    assert commits_since_creation(hub) == 1


def test_the_next_model_replaces_the_files_of_the_last_one(hub, tmp_path):
    first = write_hub_run(tmp_path / "first", hub)
    (first.model_dir / "added_tokens.json").write_text("{}", encoding="utf-8")
    publish(*first.inputs(), tmp_path / "out1")
    second = write_hub_run(tmp_path / "second", hub, fill=0.25)
    publish(*second.inputs(), tmp_path / "out2")
    assert commits_since_creation(hub) == 2
    assert model_files(hub) == {path.name for path in (tmp_path / "out2").iterdir()}


def test_a_public_repository_can_be_asked_for(hub, tmp_path):
    run = replace(write_hub_run(tmp_path, hub), registry=RegistryConfig(private=False))
    publish(*run.inputs(), tmp_path / "out")
    assert not hub.repo("model", REPO).private


def test_without_a_token_the_model_stays_in_the_local_registry(hub, tmp_path):
    run = write_run(tmp_path, hf_repo=REPO, hf_endpoint=hub.url)
    check_write_access(run.settings)
    published = publish(*run.inputs(), tmp_path / "out")
    assert published.uri == str(run.settings.local_registry / "starter-context-qa" / "1")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "repo", "message"),
    [
        ("hf_read", REPO, "HF_TOKEN can read but not write acme/tuned: create a token with write permission"),
        ("hf_unknown", REPO, r"the Hub does not know HF_TOKEN \(401\)"),
        ("hf_narrow", REPO, "fine-grained token without write permission on acme/tuned"),
        ("hf_write", "other/tuned", "belongs to acme, who may not write to other/tuned"),
        ("hf_write", "lab/tuned", "has only the role `read` in lab"),
    ],
)
def test_a_token_that_cannot_write_is_told_before_training(hub, tmp_path, token, repo, message):
    hub.tokens["hf_narrow"] = ["acme/something-else"]
    hub.orgs["lab"] = "read"
    run = write_hub_run(tmp_path, hub, token, repo)
    with pytest.raises(RegistryError, match=message) as raised:
        check_write_access(run.settings)
    assert token not in str(raised.value)


@pytest.mark.parametrize(
    ("token", "repo"), [("hf_write", REPO), ("hf_fine", REPO), ("hf_owner", REPO), ("hf_write", "lab/tuned")]
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_token_that_can_write_passes_and_nothing_is_created(hub, tmp_path, token, repo, exists):
    hub.tokens |= {"hf_fine": [REPO], "hf_owner": ["acme"]}
    hub.orgs["lab"] = "write"
    if exists:
        hub.add_repo("model", repo, {}, private=True)
    check_write_access(write_hub_run(tmp_path, hub, token, repo).settings)
    assert (hub.find("model", repo) is not None) is exists
    assert {request.method for request in hub.requests} == {"GET"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the Hub does not know HF_TOKEN"),
        (403, "HF_TOKEN can read but not write acme/tuned"),
        (404, "cannot be found or is hidden from HF_TOKEN"),
        (409, "somebody else changed acme/tuned meanwhile"),
        (412, "somebody else changed acme/tuned meanwhile"),
        (413, "the upload is too large"),
        (500, r"the Hub has a problem \(500\) and still had it after several tries"),
        (503, r"the Hub has a problem \(503\) and still had it after several tries"),
    ],
)
def test_a_commit_that_is_refused_leaves_nothing_and_is_told_in_one_line(hub, tmp_path, status, message):
    run = write_hub_run(tmp_path, hub)
    hub.fail_next(status, times=99, path="/commit/")
    with pytest.raises(RegistryError, match=message) as raised:
        publish(*run.inputs(), tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert model_files(hub) == set()


@pytest.mark.parametrize("path", ["/api/repos/create", "/commit/", "/preupload/"])
def test_a_server_error_that_passes_is_tried_again(hub, tmp_path, path):
    run = write_hub_run(tmp_path, hub)
    hub.fail_next(503, times=1, path=path)
    publish(*run.inputs(), tmp_path / "out")
    assert commits_since_creation(hub) == 1
    assert "manifest.json" in model_files(hub)


@pytest.mark.parametrize("path", ["/commit/", "/upload/"])
def test_a_connection_cut_in_the_middle_of_the_upload_is_tried_again(hub, tmp_path, path):
    run = write_hub_run(tmp_path, hub)
    hub.fail_next(times=1, path=path, mode="cut")
    publish(*run.inputs(), tmp_path / "out")
    assert commits_since_creation(hub) == 1


def test_a_connection_that_is_always_cut_leaves_nothing(hub, tmp_path):
    run = write_hub_run(tmp_path, hub)
    hub.fail_next(times=99, path="/commit/", mode="cut")
    with pytest.raises(RegistryError, match="cannot be reached .* Check the network, the proxy and HF_ENDPOINT"):
        publish(*run.inputs(), tmp_path / "out")
    assert model_files(hub) == set()


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, tmp_path):
    run = write_hub_run(tmp_path, hub)
    hub.fail_next(times=1, path="/commit/", mode="lost_reply")
    published = publish(*run.inputs(), tmp_path / "out")
    assert commits_since_creation(hub) == 1
    assert published.revision == hub.repo("model", REPO).head.sha


def test_a_hub_that_does_not_answer_at_all_is_told_in_one_line(hub, tmp_path):
    run = write_run(tmp_path, hf_token="hf_write", hf_repo=REPO, hf_endpoint="http://127.0.0.1:9")
    with pytest.raises(RegistryError, match=r"http://127.0.0.1:9 cannot be reached \(ConnectError\)"):
        check_write_access(run.settings)
    with pytest.raises(RegistryError, match=r"http://127.0.0.1:9 cannot be reached \(ConnectError\)"):
        publish(*run.inputs(), tmp_path / "out")


def test_the_token_appears_in_no_message_log_or_file(hub, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    run = write_hub_run(tmp_path, hub)
    published = publish(*run.inputs(), tmp_path / "out")
    hub.tokens["hf_write"] = "read"
    with pytest.raises(RegistryError) as refused:
        check_write_access(run.settings)
    written = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert b"hf_write" not in b"".join([*written, *hub.repo("model", REPO).files.values()])
    assert "hf_write" not in f"{published} {run.settings} {refused.value}"
    assert "hf_write" not in caplog.text


def test_a_token_inside_the_recipe_stops_the_upload(hub, tmp_path):
    run = write_hub_run(tmp_path, hub)
    run.recipe["registry"]["description"] = "my token is hf_write"
    with pytest.raises(RegistryError, match="HF_TOKEN stands in model_info.json, so the model is not published"):
        publish(*run.inputs(), tmp_path / "out")
    assert hub.requests == []
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_base_models_licence_and_id_stand_in_the_card(hub, tmp_path):
    import yaml

    sha = hub.add_repo("model", "acme/base", {"README.md": "---\nlicense: mit\n---\n"})
    run = write_hub_run(tmp_path, hub)
    write_training_facts(run.model_dir, base_model_id="acme/base", base_model_revision=sha)
    publish(*run.inputs(), tmp_path / "out")
    meta = yaml.safe_load((tmp_path / "out" / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert meta["base_model"] == "acme/base"
    assert meta["license"] == "mit"
