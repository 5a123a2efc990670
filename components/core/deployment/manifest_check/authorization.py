"""Authorization policies that are valid and do not protect."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding, label_of
from components.core.deployment.manifest_check.workloads import Workload, workloads

_PRINCIPAL = re.compile(r"[a-z0-9.-]+/ns/[a-z0-9-]+/sa/[a-z0-9.-]+")
_OURS = re.compile(r".+/ns/(?P<namespace>[^/]+)/sa/llm-(api|ui)")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def check_authorization(documents: Sequence[Document]) -> Iterator[Finding]:
    """Identities in the right form, and an ALLOW that narrows has a DENY beside it."""
    policies = [document for document in documents if document.get("kind") == "AuthorizationPolicy"]
    made = workloads(documents)
    for policy in policies:
        yield from _check_identities(policy)
        if _action(policy) == "ALLOW":
            yield from _check_narrows(policy, policies, made)


def _action(policy: Document) -> str:
    return str((policy.get("spec") or {}).get("action", "ALLOW"))


def _sources(policy: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, rule in enumerate((policy.get("spec") or {}).get("rules") or []):
        for position, entry in enumerate((rule or {}).get("from") or []):
            yield f"spec.rules.{number}.from.{position}.source", entry.get("source") or {}


def _check_identities(policy: Document) -> Iterator[Finding]:
    for path, source in _sources(policy):
        for field in ("principals", "notPrincipals"):
            for value in source.get(field) or []:
                if "*" not in value and not _PRINCIPAL.fullmatch(value):
                    what = f"{value} matches no identity"
                    remedy = "Write cluster.local/ns/NAMESPACE/sa/SERVICE_ACCOUNT, without spiffe://."
                    yield Finding(label_of(policy), f"{path}.{field}", what, remedy)
                yield from _check_followed(policy, f"{path}.{field}", value)
        for field in ("namespaces", "notNamespaces"):
            for value in source.get(field) or []:
                if "*" not in value and not _NAMESPACE.fullmatch(value):
                    what = f"{value} is no namespace"
                    yield Finding(label_of(policy), f"{path}.{field}", what, "Write its bare name.")


def _check_followed(policy: Document, path: str, principal: str) -> Iterator[Finding]:
    """A principal of our own accounts lies in the policy's namespace: else `namespace:` was set without the rest."""
    ours, namespace = _OURS.fullmatch(principal), policy["metadata"].get("namespace")
    if ours and namespace and ours["namespace"] != namespace:
        what = f"{principal} is not in namespace {namespace}, so it names nobody here"
        remedy = "List `transformers: [.../manifests/<part>/namespace]` beside `namespace:` in your overlay."
        yield Finding(label_of(policy), path, what, remedy)


def _check_narrows(policy: Document, policies: Sequence[Document], made: Sequence[Workload]) -> Iterator[Finding]:
    for number, rule in enumerate((policy.get("spec") or {}).get("rules") or []):
        if not (rule or {}).keys() & {"from", "to", "when"}:
            what = "an empty rule lets in everybody"
            yield Finding(label_of(policy), f"spec.rules.{number}", what, "Say from whom, or leave the rule out.")
    if not any(True for _ in _sources(policy)):
        return
    selector = (policy.get("spec") or {}).get("selector")
    for workload in made:
        if workload.matches(selector) and not any(_closes(other, workload) for other in policies):
            what = (
                f"it narrows nothing for {workload.label}: ALLOW policies add up, and on Kubeflow the Profile's own "
                "lets in the whole namespace"
            )
            remedy = "Put a DENY with notPrincipals beside it, with the same selector."
            yield Finding(label_of(policy), "spec.action", what, remedy)


def _closes(policy: Document, workload: Workload) -> bool:
    """Whether a policy denies a workload's callers but for those that it names."""
    named = any(field.startswith("not") for _, source in _sources(policy) for field in source)
    return _action(policy) == "DENY" and named and workload.matches((policy.get("spec") or {}).get("selector"))
