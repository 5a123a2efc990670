"""ResourceQuota and LimitRange of the namespace, against the fine-tuning pods."""

from collections.abc import Iterator

from components.core.deployment.doctor.finding import Finding, Subject, dig
from components.core.deployment.gpu_nodes import quantity


def check_quotas(subject: Subject) -> Iterator[Finding]:
    """What the namespace still may ask for."""
    quotas = subject.cluster.list("ResourceQuota", subject.namespace)
    found = [finding for quota in quotas for finding in _quota(subject, quota)]
    ranges = subject.cluster.list("LimitRange", subject.namespace)
    found += [finding for limits in ranges for finding in _limits(subject, limits)]
    yield from found or [Finding("ok", "Quota", "allows the run" if quotas or ranges else "none in this namespace")]


def _needs(subject: Subject) -> dict[str, float]:
    """What the fine-tuning pods ask for, by the names of a quota."""
    gpu, resources = subject.recipe.gpu, subject.recipe.resources
    memory, cpu = quantity(resources.memory) * gpu.num_nodes, quantity(resources.cpu) * gpu.num_nodes
    needs = {"requests.memory": memory, "memory": memory, "limits.memory": memory, "requests.cpu": cpu, "cpu": cpu}
    # a step is a driver pod and its own
    needs |= {"pods": float(gpu.num_nodes + 1), "count/pods": float(gpu.num_nodes + 1)}
    return needs | ({f"requests.{gpu.resource}": float(gpu.count * gpu.num_nodes)} if gpu.count else {})


def _quota(subject: Subject, quota: object) -> Iterator[Finding]:
    name = f"Quota {dig(quota, 'metadata', 'name')}"
    hard = dig(quota, "status", "hard") or dig(quota, "spec", "hard") or {}
    used = dig(quota, "status", "used") or {}
    for key, needed in _needs(subject).items():
        if key not in hard:
            continue
        allowed, taken = quantity(hard[key]), quantity(used.get(key))
        told = f"{key}: {_shown(key, needed)} needed, {hard[key]} allowed, {used.get(key, 0)} in use"
        if needed > allowed:
            yield Finding("error", name, told, f"Ask for less, or have the quota of {subject.namespace} raised.")
        elif needed > allowed - taken:
            yield Finding("warning", name, told, "The run's pods are refused until something else ends.")


def _limits(subject: Subject, limits: object) -> Iterator[Finding]:
    recipe, name = subject.recipe, f"LimitRange {dig(limits, 'metadata', 'name')}"
    asked = {"memory": recipe.resources.memory, "cpu": recipe.resources.cpu}
    asked |= {recipe.gpu.resource: str(recipe.gpu.count)} if recipe.gpu.count else {}
    for limit in dig(limits, "spec", "limits") or []:
        most = dig(limit, "max") or {}
        for key, wanted in asked.items():
            if limit.get("type") in ("Container", "Pod") and key in most and quantity(wanted) > quantity(most[key]):
                told = f"{key}: {wanted} needed, at most {most[key]} for a {limit['type'].lower()}"
                yield Finding("error", name, told, f"Ask for less, or have the limits of {subject.namespace} raised.")


def _shown(key: str, needed: float) -> str:
    return f"{needed / 2**30:.3g}Gi" if "memory" in key else f"{needed:.3g}"
