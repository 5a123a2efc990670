"""All checks in a row; none hides another."""

import json
from collections.abc import Iterator, Sequence

from components.core.deployment.doctor.access import check_namespace, check_node_rights, check_rights, check_server
from components.core.deployment.doctor.finding import Check, Finding, Status, Subject
from components.core.deployment.doctor.gpus import check_gpus
from components.core.deployment.doctor.hub import check_hub
from components.core.deployment.doctor.platform import check_istio, check_optional, check_pipelines, check_trainer
from components.core.deployment.doctor.quotas import check_quotas
from components.core.deployment.doctor.secret_keys import check_pod_default, check_secrets
from components.core.deployment.doctor.serving_mode import check_kserve
from components.core.deployment.doctor.storage import check_storage
from components.core.deployment.kubernetes_api import ClusterError
from components.core.errors import PlatformError

CHECKS: dict[str, Check] = {
    "Namespace": check_namespace,
    "Rights": check_rights,
    "Rights: nodes": check_node_rights,
    "KServe": check_kserve,
    "Istio": check_istio,
    "Kubeflow Pipelines": check_pipelines,
    "Kubeflow Trainer": check_trainer,
    "Optional parts": check_optional,
    "Storage": check_storage,
    "GPUs": check_gpus,
    "Quota": check_quotas,
    "Secrets": check_secrets,
    "PodDefault access-ml-pipeline": check_pod_default,
    "Hub": check_hub,
}
_COLOURS: dict[Status, str] = {"ok": "\033[32m", "warning": "\033[33m", "error": "\033[31m"}
_PLAIN = "\033[0m"


def examine_cluster(subject: Subject) -> Iterator[Finding]:
    """Everything that can be said of a cluster, as it is found.

    Raises:
        ClusterError: If the API server does not answer, or knows nothing of us.
    """
    yield from check_server(subject)
    for title, check in CHECKS.items():
        yield from _guarded(title, check, subject)


def _guarded(title: str, check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        yield from check(subject)
    except ClusterError as error:
        if error.status == 403:
            remedy = "Ask an administrator for the right to read it, or look yourself."
            yield Finding("warning", title, f"cannot be checked: {' '.join(str(error).split())}", remedy)
        else:
            yield Finding("error", title, " ".join(str(error).split()), "Try again.")
    except PlatformError as error:
        yield Finding("error", title, " ".join(str(error).split()), "Do what it says, then try again.")
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        detail = f"the cluster's answer is of a form that is not known here ({type(error).__name__})"
        yield Finding("warning", title, detail, "Is the cluster much older or newer than Kubeflow 26.03?")


def show(finding: Finding, colour: bool) -> str:
    """A finding as one line, or two with its remedy."""
    status = f"{finding.status:<7}"
    if colour:
        status = f"{_COLOURS[finding.status]}{status}{_PLAIN}"
    line = f"{status}  {finding.title:<30}  {finding.detail}"
    return f"{line}\n{'':9}-> {finding.remedy}" if finding.remedy else line


def summarize(findings: Sequence[Finding]) -> str:
    """How many checks ended how."""
    counts = {status: sum(finding.status == status for finding in findings) for status in _COLOURS}
    return f"{counts['ok']} ok, {counts['warning']} warnings, {counts['error']} errors"


def as_json(findings: Sequence[Finding], address: str, namespace: str) -> str:
    """All findings as one JSON document."""
    document = {
        "cluster": address,
        "namespace": namespace,
        "healthy": not any(finding.status == "error" for finding in findings),
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(document, indent=2)
