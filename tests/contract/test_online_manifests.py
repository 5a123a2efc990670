"""An endpoint that a pipeline deploys, against the shipped manifests, the real schemas, our rules and the rights."""

import pytest
import yaml
from support.manifests import MANIFESTS
from support.strict_schemas import problems

from components.core.deployment.endpoint_documents import (
    LONGEST_NAME,
    TEMPLATE,
    check_endpoint,
    endpoint_documents,
    endpoint_name,
)
from components.core.deployment.kinds import find_kind
from components.core.deployment.rendering import find
from components.core.errors import ConfigError

BASE = ("service-account", "network-policy", "inference-service", "disruption-budget")
HUB, VOLUME = "hf://acme/reviews@0123456789abcdef", "pvc://models/team/reviews/3"
TOKEN = ("huggingface-secret", "token")


def made(model=HUB, name="Acme-Reviews", **more):
    return endpoint_documents(model, name, "team-x", "registry:5000/whetstone-api:1", more, TOKEN, 10**9)


def container(documents):
    return find(documents, "InferenceService")["spec"]["predictor"]["containers"][0]


def test_the_template_is_what_the_manifests_ship():
    shipped = [
        document
        for name in BASE
        for document in yaml.safe_load_all((MANIFESTS / "api" / "base" / f"{name}.yaml").read_text())
    ]
    # when this fails: write these documents into the template, below its comment (yaml.safe_dump_all, sort_keys=False)
    assert list(yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))) == shipped
    listed = yaml.safe_load((MANIFESTS / "api" / "base" / "kustomization.yaml").read_text())["resources"]
    assert {f"{name}.yaml" for name in BASE} == set(listed) - {"config-map.yaml"}


@pytest.mark.parametrize("model", [HUB, VOLUME])
def test_it_holds_against_the_schemas_and_our_rules_and_keeps_to_its_names(model):
    documents = made(model, HF_ENDPOINT="https://hub.example")
    assert [f"{d['kind']}: {problem}" for d in documents for problem in problems(d)] == []
    assert [str(finding) for finding in check_endpoint(documents)] == []
    assert {d["metadata"]["name"] for d in documents} == {"acme-reviews"}
    assert {d["metadata"]["namespace"] for d in documents} == {"team-x"}
    selected = find(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert selected == {"serving.kserve.io/inferenceservice": "acme-reviews"}
    assert find(documents, "InferenceService")["spec"]["predictor"]["serviceAccountName"] == "acme-reviews"
    env = {entry["name"]: entry for entry in container(documents)["env"]}
    assert len(env) == len(container(documents)["env"])
    assert env["SERVED_MODEL_NAME"]["value"] == "Acme-Reviews"
    assert env["HF_ENDPOINT"]["value"] == "https://hub.example"
    assert env["POD_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
    assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {
        "name": "huggingface-secret",
        "key": "token",
        "optional": True,
    }
    assert container(documents)["startupProbe"]["failureThreshold"] > 20


def test_a_model_on_the_hub_is_named_and_one_on_a_volume_is_mounted_for_reading():
    env = {entry["name"]: entry.get("value") for entry in container(made(HUB))["env"]}
    assert env["MODEL"] == "acme/reviews@0123456789abcdef"
    documents = made(VOLUME)
    env = {entry["name"]: entry.get("value") for entry in container(documents)["env"]}
    mount = next(m for m in container(documents)["volumeMounts"] if m["name"] == "model")
    assert mount["mountPath"] == env["MODEL"] == "/mnt/models"
    assert (mount["subPath"], mount["readOnly"]) == ("team/reviews/3", True)
    volume = next(
        v for v in find(documents, "InferenceService")["spec"]["predictor"]["volumes"] if v["name"] == "model"
    )
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


@pytest.mark.parametrize("model", ["/home/somebody/registry/reviews/1", "pvc://models", "pvc://models/../other"])
def test_a_model_that_no_pod_can_read_is_refused(model):
    with pytest.raises(ConfigError, match="lies where pods of the cluster cannot read it. Publish it to the Hub"):
        made(model)


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        ("starter-classification-single-label", "starter-classification-single-label"),
        ("Acme-BERT", "acme-bert"),
        ("2024-model", "m-2024-model"),
        ("-x-", "x"),
    ],
)
def test_a_registered_name_becomes_a_name_that_kubernetes_takes(registered, expected):
    assert endpoint_name(registered) == expected


def test_long_names_are_cut_and_stay_different():
    names = [endpoint_name(f"{'very-long-name-' * 8}{end}") for end in ("a", "b")]
    assert len(set(names)) == 2
    assert all(len(name) <= LONGEST_NAME and not name.endswith("-") for name in names)
    assert len(f"isvc.{names[0]}-predictor") <= 63


def test_the_names_of_other_deployments_are_not_taken():
    with pytest.raises(ConfigError, match="cannot be called llm-api"):
        endpoint_name("LLM-API")


def test_the_pipelines_rights_are_enough_for_everything_that_is_written():
    role, _ = yaml.safe_load_all((MANIFESTS / "pipeline" / "endpoints.yaml").read_text())
    for document in made():
        kind = find_kind(document["kind"], document["apiVersion"])
        rules = [r for r in role["rules"] if kind.group in r["apiGroups"] and kind.plural in r["resources"]]
        # a server-side apply that makes an object needs both
        assert {"get", "create", "patch"} <= {verb for rule in rules for verb in rule["verbs"]}, document["kind"]
    assert not any("delete" in rule["verbs"] or "*" in rule["verbs"] for rule in role["rules"])
