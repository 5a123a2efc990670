"""Schemas distilled from CustomResourceDefinitions are strict, and hold names only."""

import pytest
import yaml
from support.distil_schemas import distil, distil_folder
from support.strict_schemas import problems

FIELD = {"type": "string", "description": "Long words.", "maxLength": 3}


def test_names_types_and_enumerations_stay_and_texts_and_statuses_go():
    spec = {"type": "object", "required": ["mode"], "properties": {"mode": {**FIELD, "enum": ["A", "B"]}}}
    schema = distil({"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}, {})
    assert schema["properties"]["spec"] == {
        "type": "object",
        "required": ["mode"],
        "properties": {"mode": {"type": "string", "enum": ["A", "B"]}},
        "additionalProperties": False,
    }
    assert "status" not in schema["properties"]


def test_only_a_field_that_preserves_unknown_ones_takes_them():
    properties = {"known": FIELD}
    assert distil({"properties": properties}, {}, level=1)["additionalProperties"] is False
    open_one = {"properties": properties, "x-kubernetes-preserve-unknown-fields": True}
    assert "additionalProperties" not in distil(open_one, {}, level=1)
    assert distil({"x-kubernetes-int-or-string": True}, {}, level=1) == {"type": ["integer", "string"]}


def test_a_definition_is_found_in_a_folder_with_all_its_versions(tmp_path):
    versions = [
        {"name": name, "storage": name == "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {}}}}
        for name in ("v1", "v1beta1")
    ]
    spec = {"group": "kubeflow.org", "names": {"kind": "Profile"}, "versions": versions}
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump({"kind": "CustomResourceDefinition", "spec": spec}))
    assert distil_folder(tmp_path)["Profile"]["apiVersions"] == ["kubeflow.org/v1", "kubeflow.org/v1beta1"]


def policy(**spec):
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p"},
        "spec": spec,
    }


def test_a_custom_resource_with_a_wrong_word_is_refused():
    assert problems(policy(action="DENY", rules=[])) == []
    assert "'REFUSE' is not one of" in problems(policy(action="REFUSE"))[0]
    assert "'action_' was unexpected" in problems(policy(action_="DENY"))[0]


def test_a_kind_without_a_schema_is_not_passed_over():
    with pytest.raises(LookupError, match="no schema of example.org/v1 Thing"):
        problems({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}})
