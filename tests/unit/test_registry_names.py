"""Names of registered models, and what of a name may be shown."""

import pytest

from components.core.recipe import ModelConfig, RegistryConfig, TaskConfig
from components.core.registry.names import public_name, registered_name, registered_source, tuned_name, without_paths


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("starter", "starter-context-qa"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB-SmolLM2-135M-Instruct-context-qa"),
        ("Qwen/Qwen2.5-0.5B_v1", "Qwen-Qwen2-5-0-5B-v1-context-qa"),
        ("/home/somebody/models/mine", "mine-context-qa"),
        ("../models/mine/", "mine-context-qa"),
        ("~/mine", "mine-context-qa"),
        ("C:\\models\\mine", "mine-context-qa"),
    ],
)
def test_a_name_is_derived_from_model_and_task(model_id, name):
    assert registered_name(RegistryConfig(), ModelConfig(model_id=model_id), TaskConfig()) == name


def test_a_configured_name_wins():
    assert registered_name(RegistryConfig(name="My-Model-1"), ModelConfig(), TaskConfig()) == "My-Model-1"


def test_slashes_of_a_configured_name_become_hyphens():
    assert RegistryConfig(name="microsoft/Phi-3-mini/tuned").name == "microsoft-Phi-3-mini-tuned"
    with pytest.raises(ValueError, match="should match pattern"):
        RegistryConfig(name="a b")


@pytest.mark.parametrize(
    ("model_id", "dataset_id", "name"),
    [
        (
            "microsoft/Phi-3-mini-4k-instruct",
            "HuggingFaceH4/ultrachat_200k",
            "Phi-3-mini-4k-instruct-ultrachat-200k",
        ),
        ("starter", "starter", "starter-starter"),
        ("/models/mine/", "/data/deep/chat_train.jsonl.gz", "mine-chat-train"),
        ("Qwen/Qwen2.5-0.5B", "https://data.example/a/turns.parquet?key=secret", "Qwen2-5-0-5B-turns"),
    ],
)
def test_a_name_of_model_and_dataset(model_id, dataset_id, name):
    assert tuned_name(model_id, dataset_id) == name


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("acme/questions", "acme/questions"),
        ("starter", "starter"),
        ("/data/secret-project/train.jsonl", "train.jsonl"),
        ("./train.jsonl", "train.jsonl"),
        ("https://me:password@data.example:8443/a/b.jsonl?key=secret", "https://data.example:8443/a/b.jsonl"),
        ("s3://bucket/a/b.jsonl", "s3://bucket/a/b.jsonl"),
    ],
)
def test_a_shown_name_holds_no_path_and_no_key(identifier, shown):
    assert public_name(identifier) == shown


def test_paths_are_cut_wherever_they_stand_and_other_text_is_kept():
    value = {
        "a": ["/home/me/x", {"b": "/home/me/y/"}],
        "template": "Context: {context}\n/answer/now: {question}",
        "loss": 1.5,
        "token": "/",
        "url": "https://me:pw@host/x",
    }
    assert without_paths(value) == {
        "a": ["x", {"b": "y"}],
        "template": "Context: {context}\n/answer/now: {question}",
        "loss": 1.5,
        "token": "/",
        "url": "https://host/x",
    }


def test_a_local_model_is_registered_under_an_address_without_a_path():
    assert registered_source("/home/me/registry/mine/3", "mine", "3") == "whetstone:/mine/3"
    assert registered_source("hf://acme/tuned@abc", "mine", "abc") == "hf://acme/tuned@abc"
