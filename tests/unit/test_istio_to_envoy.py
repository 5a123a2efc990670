"""The translator behind the tests of the policies: it keeps Istio's order and passes over nothing."""

from typing import Any

import pytest
from support.istio_to_envoy import Untranslated, Workload, mutual_tls_only, rbac_filters, translated
from support.kubeflow_policies import policy

API = Workload("api", "team-a", {"app": "api"})
WANTED = {"matchLabels": {"app": "api"}}


def peer(namespace: str, mode: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "peer", "namespace": namespace}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": {"mtls": {"mode": mode}, **spec}}


def actions(*policies: dict[str, Any]) -> list[str]:
    return [found["typed_config"]["rules"]["action"] for found in rbac_filters(policies, API)]


def test_deny_is_asked_before_allow() -> None:
    deny = policy("no", "team-a", {"action": "DENY", "rules": [{}]})
    assert actions(policy("yes", "team-a", {"rules": [{}]}), deny) == ["DENY", "ALLOW"]


def test_an_allow_without_rules_counts_and_matches_nothing() -> None:
    (only,) = rbac_filters([policy("nothing", "istio-system", {})], API)
    assert only["typed_config"]["rules"] == {"action": "ALLOW", "policies": {}}


@pytest.mark.parametrize(
    ("namespace", "spec"), [("team-b", {}), ("team-a", {"selector": {"matchLabels": {"app": "ui"}}})]
)
def test_policies_of_others_do_not_count(namespace: str, spec: dict[str, Any]) -> None:
    assert actions(policy("other", namespace, spec)) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"unknown": []},
        {"from": [{"sauce": {}}]},
        {"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]},
        {"from": [{"source": {"requestPrincipals": ["*"]}}]},
        {"from": [{"source": {"serviceAccounts": ["llm-ui"]}}]},
        {"from": [{"source": {"namespaces": ["team-*"]}}]},
        {"to": [{"operation": {"hosts": ["x"]}}]},
        {"to": [{"operation": {"ports": ["8080"]}}]},
        {"to": [{"operation": {"paths": ["/a/{*}/b"]}}]},
        {"to": [{"operation": {"paths": ["/a*b"]}}]},
        {"when": [{"key": "source.ip", "values": ["10.0.0.1"]}]},
        {"when": [{"key": "request.headers[a]", "notValues": ["b"]}]},
    ],
)
def test_what_is_not_translated_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(Untranslated, match="not translated"):
        translated(rule)


@pytest.mark.parametrize(
    "spec",
    [{"action": "CUSTOM"}, {"action": "AUDIT"}, {"provider": {}}, {"targetRefs": []}, {"selector": {"matchExpr": []}}],
)
def test_a_policy_that_is_not_translated_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(Untranslated, match="not translated"):
        rbac_filters([policy("odd", "team-a", spec)], API)


def test_the_policy_with_a_selector_decides_about_mutual_tls() -> None:
    root, namespace, pods = peer("istio-system", "STRICT"), peer("team-a", "PERMISSIVE"), peer("team-a", "STRICT")
    assert mutual_tls_only([root], API)
    assert not mutual_tls_only([namespace, root], API)
    assert mutual_tls_only([{**pods, "spec": {**pods["spec"], "selector": WANTED}}, namespace, root], API)
    assert not mutual_tls_only([], API)


def test_ports_with_rules_of_their_own_and_other_modes_are_refused() -> None:
    for odd in (peer("team-a", "STRICT", portLevelMtls={}), peer("team-a", "DISABLE")):
        with pytest.raises(Untranslated, match="not translated"):
            mutual_tls_only([odd], API)
