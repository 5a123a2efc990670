"""Rules about what surrounds the pods: references, secrets, selectors, policies; each broken once, and once not."""

import base64

import pytest
from support.manifests import document, endpoint, endpoint_container, page

from components.core.deployment.manifest_check import EXTERNAL, check_documents
from components.core.errors import ConfigError


def found(*documents):
    return [(finding.path, finding.what) for finding in check_documents(documents)]


def only(*documents):
    (finding,) = check_documents(documents)
    return finding


def from_secret(name, key="hf_token", **more):
    return {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


def test_a_secret_that_nothing_brings_is_found_even_when_it_is_optional():
    finding = only(endpoint_container(env=[from_secret("llm-api-secrets", optional=True)]))
    assert finding.path == "spec.predictor.containers.0.env.HF_TOKEN"
    assert "Secret llm-api-secrets is neither" in finding.what


def test_a_secret_that_a_command_makes_passes_and_others_can_be_named():
    assert found(endpoint_container(env=[from_secret("llm-api-secret")])) == []
    service = endpoint(imagePullSecrets=[{"name": "registry-login"}])
    assert only(service).path == "spec.predictor.imagePullSecrets.0"
    assert check_documents([service], {**EXTERNAL, "Secret": ["registry-login"]}) == []


def config_map(**data):
    return {"kind": "ConfigMap", "metadata": {"name": "llm-api"}, "data": data}


def from_config_map(**more):
    return {"name": "MODEL", "valueFrom": {"configMapKeyRef": {"name": "llm-api", "key": "model_name", **more}}}


def test_a_config_map_that_is_missing_or_lacks_the_key_is_found():
    service = endpoint_container(env=[from_config_map()])
    assert "ConfigMap llm-api is neither" in only(service).what
    assert "has no key model_name" in only(service, config_map(model="m")).what
    assert found(service, config_map(model_name="m")) == []


@pytest.mark.parametrize(
    "volume",
    [
        {"secret": {"secretName": "gone"}},
        {"configMap": {"name": "gone"}},
        {"persistentVolumeClaim": {"claimName": "gone"}},
        {"projected": {"sources": [{"secret": {"name": "gone"}}]}},
    ],
    ids=lambda volume: next(iter(volume)),
)
def test_a_volume_from_something_that_nothing_brings_is_found(volume):
    assert " gone is neither" in only(endpoint(volumes=[{"name": "v", **volume}])).what


def test_a_volume_claim_among_the_documents_passes():
    service = endpoint(volumes=[{"name": "home", "persistentVolumeClaim": {"claimName": "cache"}}])
    assert found(service, document("PersistentVolumeClaim", "cache")) == []


def test_a_service_account_that_nothing_brings_is_found():
    service = endpoint(serviceAccountName="llm-api")
    assert only(service).path == "spec.predictor.serviceAccountName"
    assert found(service, document("ServiceAccount")) == []


def test_the_subject_of_a_role_binding_is_a_reference_too():
    binding = {"kind": "RoleBinding", "metadata": {"name": "b"}, "subjects": [{"kind": "ServiceAccount", "name": "x"}]}
    assert only(binding).path == "subjects.0.name"
    binding["subjects"][0]["name"] = "default-editor"
    assert found(binding) == []


LITERALS = [
    "hf_" + "a" * 30,
    "lsv2_pt_" + "a" * 30,
    "ls__" + "a" * 30,
    "sk-" + "a" * 30,
    "-----BEGIN RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("value", LITERALS)
def test_a_secret_in_plain_text_is_found_wherever_it_stands_and_never_shown(value):
    for place in (
        endpoint_container(env=[{"name": "SETTING", "value": value}]),
        endpoint_container(args=["--login", value]),
        config_map(note=value),
    ):
        finding = only(place)
        assert finding.what.startswith("it holds ")
        assert value not in str(finding)


@pytest.mark.parametrize("value", LITERALS)
def test_a_secret_document_is_decoded(value):
    encoded = base64.b64encode(value.encode()).decode()
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"token": encoded}}
    finding = only(secret)
    assert finding.path == "data.token"
    assert encoded not in str(finding)


def test_a_value_that_is_a_secret_by_its_name_is_found_and_a_path_is_not():
    assert "by its name" in only(endpoint_container(env=[{"name": "OPENAI_API_KEY", "value": "hunter2"}])).what
    harmless = [{"name": "TOKEN_PATH", "value": "/run/token"}, {"name": "API_KEY", "value": "$(OTHER)"}]
    assert found(endpoint_container(env=harmless)) == []


API = {"matchLabels": {"serving.kserve.io/inferenceservice": "llm-api"}}
NOBODY = {"matchLabels": {"app": "llm-apy"}}
PRINCIPAL = "cluster.local/ns/team/sa/llm-ui"
OTHERS = [{"from": [{"source": {"notPrincipals": [PRINCIPAL]}}]}]


@pytest.mark.parametrize(
    "watcher",
    [
        lambda selector: document("NetworkPolicy", podSelector=selector),
        lambda selector: document("PodDisruptionBudget", maxUnavailable=1, selector=selector),
        lambda selector: document("PodMonitor", selector=selector),
        lambda selector: document("PeerAuthentication", selector=selector),
        lambda selector: document("AuthorizationPolicy", action="DENY", selector=selector, rules=OTHERS),
        lambda selector: document("Service", selector=selector["matchLabels"]),
        lambda selector: document("Sidecar", workloadSelector={"labels": selector["matchLabels"]}),
    ],
    ids=["network", "budget", "monitor", "mtls", "authorization", "service", "sidecar"],
)
def test_a_selector_that_chooses_no_pod_is_found(watcher):
    assert "it selects no pod" in only(endpoint(), watcher(NOBODY)).what
    assert found(endpoint(), watcher(API)) == []


def test_an_empty_selector_means_all_pods():
    assert found(endpoint(), document("NetworkPolicy", podSelector={})) == []


def test_expressions_of_a_selector_are_understood():
    wanted = {"key": "app", "operator": "In", "values": ["llm-ui"]}
    assert found(page(), document("NetworkPolicy", podSelector={"matchExpressions": [wanted]})) == []
    assert only(page(), document("NetworkPolicy", podSelector={"matchExpressions": [{**wanted, "operator": "NotIn"}]}))


def test_the_label_app_of_kserve_exists_in_standard_mode_only():
    service = document("Service", selector={"app": "isvc.llm-api-predictor"})
    assert found(endpoint("Standard"), service) == []
    assert "it selects no pod" in only(endpoint("Knative"), service).what


def test_a_service_to_a_port_that_its_pods_do_not_have_is_found():
    def service(target):
        return document("Service", selector={"app": "llm-ui"}, ports=[{"port": 80, "targetPort": target}])

    assert only(page(), service(8501)).path == "spec.ports.0.targetPort"
    assert found(page(), service(8080)) == []
    assert found(page(), service("http1")) == []


@pytest.mark.parametrize("budget", [{"minAvailable": 1}, {"minAvailable": "100%"}, {"maxUnavailable": 0}])
def test_a_budget_that_lets_no_pod_go_is_found(budget):
    wall = document("PodDisruptionBudget", selector=API, **budget)
    assert "could not be drained" in only(endpoint(minReplicas=1), wall).what


@pytest.mark.parametrize("budget", [{"minAvailable": 1}, {"minAvailable": "50%"}, {"maxUnavailable": 1}])
def test_a_budget_that_lets_one_pod_go_passes(budget):
    assert found(endpoint(minReplicas=2), document("PodDisruptionBudget", selector=API, **budget)) == []


def policy(action, name, source, selector=API):
    return document(
        "AuthorizationPolicy", name, action=action, selector=selector, rules=[{"from": [{"source": source}]}]
    )


ALLOW = policy("ALLOW", "callers", {"principals": [PRINCIPAL]})
DENY = policy("DENY", "no-others", {"notPrincipals": [PRINCIPAL]})


def test_an_allow_alone_narrows_nothing_on_kubeflow():
    finding = only(endpoint(), ALLOW)
    assert finding.document == "AuthorizationPolicy/callers"
    assert "narrows nothing for InferenceService/llm-api" in finding.what
    assert found(endpoint(), ALLOW, DENY) == []


def test_a_deny_for_other_pods_or_of_named_callers_does_not_help():
    elsewhere = policy("DENY", "elsewhere", {"notPrincipals": [PRINCIPAL]}, {"matchLabels": {"app": "llm-ui"}})
    named = policy("DENY", "named", {"principals": [PRINCIPAL]})
    assert "narrows nothing" in only(endpoint(), page(), ALLOW, elsewhere).what
    assert "narrows nothing" in only(endpoint(), ALLOW, named).what


def test_a_rule_without_content_lets_in_everybody():
    allow = document("AuthorizationPolicy", selector=API, rules=[{}])
    assert "lets in everybody" in only(endpoint(), allow).what


@pytest.mark.parametrize("principal", ["spiffe://cluster.local/ns/team/sa/llm-ui", "team/llm-ui", "llm-ui"])
def test_a_principal_in_the_wrong_form_is_found(principal):
    wrong = policy("DENY", "no-others", {"notPrincipals": [principal]})
    assert only(endpoint(), wrong).path == "spec.rules.0.from.0.source.notPrincipals"


@pytest.mark.parametrize("principal", [PRINCIPAL, "*", "cluster.local/ns/team/*"])
def test_a_principal_in_the_right_form_passes(principal):
    assert found(endpoint(), policy("DENY", "no-others", {"notPrincipals": [principal]})) == []


def test_a_principal_of_ours_that_has_stayed_in_another_namespace_is_found():
    stayed = policy("DENY", "no-others", {"notPrincipals": ["cluster.local/ns/elsewhere/sa/llm-ui"]})
    stayed["metadata"]["namespace"] = "team"
    other = policy("DENY", "no-others", {"notPrincipals": [PRINCIPAL, "cluster.local/ns/elsewhere/sa/robot"]})
    other["metadata"]["namespace"] = PRINCIPAL.split("/")[2]
    assert "is not in namespace team" in only(endpoint(), stayed).what
    assert found(endpoint(), other) == []


def test_a_namespace_in_the_form_of_a_principal_is_found():
    wrong = policy("DENY", "no-others", {"notNamespaces": ["cluster.local/ns/team"]})
    assert "is no namespace" in only(endpoint(), wrong).what


def test_a_document_without_what_its_kind_needs_is_an_error_with_advice():
    with pytest.raises(ConfigError, match="does not have the shape of its kind.*dry-run=server"):
        check_documents([endpoint_container(env=[{"value": "x", "valueFrom": {"secretKeyRef": {"name": "s"}}}])])
