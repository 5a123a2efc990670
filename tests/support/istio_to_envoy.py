"""What istiod makes of policies, in the subset that our manifests and Kubeflow's use, for a real Envoy.

A workload's inbound listener gets its TLS from the PeerAuthentication and its RBAC filters from the
AuthorizationPolicies, in Istio's order: DENY, then ALLOW. Whatever is not translated raises `Untranslated`: a field
that is passed over would make a test of a policy worthless.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
Rules = dict[str, Any]
Matcher = Callable[[str], Rules]

ROOT_NAMESPACE = "istio-system"


class Untranslated(ValueError):
    """A policy says something that this subset does not know."""


@dataclass(frozen=True)
class Workload:
    """Pods as policies select them.

    Args:
        name: Of the listener.
        namespace: Of the pods.
        labels: Of the pods.
    """

    name: str
    namespace: str
    labels: dict[str, str] = field(default_factory=dict)

    def selected_by(self, policy: Document) -> bool:
        """Whether a policy is for these pods: its namespace is theirs or the root, and its labels are among theirs."""
        if policy["metadata"].get("namespace") not in (self.namespace, ROOT_NAMESPACE):
            return False
        selector = policy["spec"].get("selector", {})
        known(selector, {"matchLabels"}, "selector")
        wanted: dict[str, str] = selector.get("matchLabels", {})
        return wanted.items() <= self.labels.items()


def known(given: Document, fields: set[str], where: str) -> None:
    """Raise Untranslated where there is a field of another name."""
    if unknown := set(given) - fields:
        raise Untranslated(f"{where}: {', '.join(sorted(unknown))} is not translated")


def mutual_tls_only(documents: Iterable[Document], workload: Workload) -> bool:
    """Whether plain text is refused: the policy with a selector wins over the namespace's, that over the root's."""
    found = [doc for doc in documents if doc["kind"] == "PeerAuthentication" and workload.selected_by(doc)]
    for policy in found:
        known(policy["spec"], {"selector", "mtls"}, "PeerAuthentication")
    found.sort(key=lambda doc: ("selector" in doc["spec"], doc["metadata"]["namespace"] != ROOT_NAMESPACE))
    mode = found[-1]["spec"]["mtls"]["mode"] if found else "PERMISSIVE"
    if mode not in ("STRICT", "PERMISSIVE"):
        raise Untranslated(f"mtls: {mode} is not translated")
    return bool(mode == "STRICT")


def rbac_filters(documents: Iterable[Document], workload: Workload) -> list[Document]:
    """Envoy's RBAC filters for a workload, DENY first; none for an action of which there is no policy.

    An ALLOW policy without rules still counts: its filter matches nothing and so refuses everything.
    """
    policies = [doc for doc in documents if doc["kind"] == "AuthorizationPolicy" and workload.selected_by(doc)]
    for policy in policies:
        known(policy["spec"], {"selector", "action", "rules"}, policy["metadata"]["name"])
        if policy["spec"].get("action", "ALLOW") not in ("ALLOW", "DENY"):
            raise Untranslated(f"{policy['metadata']['name']}: action {policy['spec']['action']} is not translated")
    return [found for action in ("DENY", "ALLOW") if (found := rbac_filter(policies, action))]


def rbac_filter(policies: list[Document], action: str) -> Document | None:
    """One filter with all rules of all policies of an action."""
    chosen = [policy for policy in policies if policy["spec"].get("action", "ALLOW") == action]
    if not chosen:
        return None
    rules = {
        f"ns[{policy['metadata']['namespace']}]-policy[{policy['metadata']['name']}]-rule[{number}]": translated(rule)
        for policy in chosen
        for number, rule in enumerate(policy["spec"].get("rules") or [])
    }
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": action, "policies": rules},
        },
    }


def translated(rule: Document) -> Document:
    """One rule: any of its sources and any of its operations and all of its conditions."""
    known(rule, {"from", "to", "when"}, "rule")
    conditions = [condition(when) for when in rule.get("when", [])]
    sources = [entry["source"] for entry in entries(rule, "from", "source")] or [{}]
    operations = [entry["operation"] for entry in entries(rule, "to", "operation")] or [{}]
    return {
        "permissions": [all_of(parts(operation, OPERATION, "operation"), "rules") for operation in operations],
        "principals": [all_of([*parts(source, SOURCE, "source"), *conditions], "ids") for source in sources],
    }


def entries(rule: Document, key: str, inner: str) -> list[Document]:
    """The list under `from` or `to`, each entry with its one known field."""
    for entry in rule.get(key, []):
        known(entry, {inner}, key)
    return list(rule.get(key, []))


def parts(given: Document, matchers: dict[str, Matcher], where: str) -> list[Rules]:
    """The fields of a source or an operation; a field in the `not` form matches when none of its values does."""
    negated = {f"not{name[0].upper()}{name[1:]}": name for name in matchers}
    known(given, set(matchers) | set(negated), where)
    group, negation = ("ids", "not_id") if where == "source" else ("rules", "not_rule")
    found = []
    for name, values in given.items():
        any_value = any_of([matchers[negated.get(name, name)](value) for value in values], group)
        found.append({negation: any_value} if name in negated else any_value)
    return found


def any_of(matchers: list[Rules], group: str) -> Rules:
    """Envoy's `or` of principals (`ids`) or permissions (`rules`)."""
    return {f"or_{group}": {group: matchers}}


def all_of(matchers: list[Rules], group: str) -> Rules:
    """Envoy's `and` of principals (`ids`) or permissions (`rules`); of none: always."""
    return {f"and_{group}": {group: matchers or [{"any": True}]}}


def text(pattern: str, prefix: str = "") -> Rules:
    """Istio's patterns: exact, `*` for anything, `*end`, `start*`; the prefix is put before what is not a suffix."""
    if "{" in pattern or "*" in pattern[1:-1]:
        raise Untranslated(f"the pattern {pattern} is not translated")
    if pattern == "*":
        return {"safe_regex": {"regex": ".+"}}
    if pattern.startswith("*"):
        return {"suffix": pattern[1:]}
    return {"prefix": prefix + pattern[:-1]} if pattern.endswith("*") else {"exact": prefix + pattern}


def of_principal(value: str) -> Rules:
    """A caller by the URI in its certificate."""
    return {"authenticated": {"principal_name": text(value, prefix="spiffe://")}}


def of_namespace(value: str) -> Rules:
    """A caller by the namespace in that URI."""
    if "*" in value:
        raise Untranslated(f"the namespace {value} is not translated")
    return {"authenticated": {"principal_name": {"safe_regex": {"regex": f".*/ns/{value}/.*"}}}}


def of_path(value: str) -> Rules:
    """A path, after normalisation and without its query."""
    return {"url_path": {"path": text(value)}}


def of_header(name: str) -> Matcher:
    """A header by its value."""
    return lambda value: {"header": {"name": name, "string_match": text(value)}}


SOURCE: dict[str, Matcher] = {"principals": of_principal, "namespaces": of_namespace}
OPERATION: dict[str, Matcher] = {"paths": of_path, "methods": of_header(":method")}


def condition(when: Document) -> Rules:
    """A `when`: the caller's namespace or a header."""
    known(when, {"key", "values"}, "when")
    key: str = when["key"]
    if key == "source.namespace":
        matcher: Matcher = of_namespace
    elif key.startswith("request.headers[") and key.endswith("]"):
        matcher = of_header(key.removeprefix("request.headers[")[:-1])
    else:
        raise Untranslated(f"when: {key} is not translated")
    return any_of([matcher(value) for value in when["values"]], "ids")
