"""The secrets with their keys (never their values), and how pods reach Kubeflow Pipelines."""

from collections.abc import Iterator

from components.core.deployment.doctor.finding import Finding, Subject, dig
from components.core.deployment.secrets import API_SECRET, API_VARIABLES, HUB_VARIABLES, KEYS_SECRET
from components.core.settings import HUB_SECRET

_KEYS = {
    HUB_SECRET: (frozenset(HUB_VARIABLES.values()), "export HF_TOKEN and HF_REPO, then: make create-secret"),
    API_SECRET: (frozenset(API_VARIABLES.values()), "export HF_TOKEN and LANGCHAIN_*, then: make api-deploy"),
    KEYS_SECRET: (frozenset({"primary", "secondary"}), "make api-deploy makes it"),
}
"""Secret to its keys, and what makes it."""


def check_secrets(subject: Subject) -> Iterator[Finding]:
    """Whether the secrets are there with all their keys."""
    deployed = subject.cluster.get("InferenceService", "llm-api", subject.namespace) is not None
    for name, (wanted, remedy) in _KEYS.items():
        title, secret = f"Secret {name}", subject.cluster.get("Secret", name, subject.namespace)
        if secret is None:
            # those of the endpoint are made when it is deployed
            missing_now = name == HUB_SECRET or deployed
            yield Finding("error" if missing_now else "warning", title, "is missing", remedy)
            continue
        data = dig(secret, "data") or {}
        # with tracing off, its address, key and project are empty
        present = frozenset(key for key, value in data.items() if value or name == API_SECRET)
        missing = sorted(wanted - present)
        if missing:
            yield Finding("error", title, f"lacks {', '.join(missing)}", remedy)
        else:
            yield Finding("ok", title, f"has {', '.join(sorted(wanted))}")


def check_pod_default(subject: Subject) -> Iterator[Finding]:
    """Whether a pod of this namespace can get a token of Kubeflow Pipelines."""
    title = "PodDefault access-ml-pipeline"
    if subject.cluster.get("PodDefault", "access-ml-pipeline", subject.namespace):
        yield Finding("ok", title, "is there")
    else:
        detail = "is missing: pods of this namespace cannot start pipeline runs"
        yield Finding("warning", title, detail, "kubectl apply -k manifests/pipeline")
