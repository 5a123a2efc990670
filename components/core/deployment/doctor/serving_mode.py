"""KServe, and the mode names that its versions know."""

import json
from collections.abc import Iterator

from components.core.deployment.doctor.finding import Finding, Subject, dig, release
from components.core.deployment.doctor.platform import installed_version, served_versions
from components.core.deployment.kubernetes_api import ClusterError

SERVICE = "llm-api"
_NAMESPACES = ("kubeflow", "kserve")
_ANNOTATION = "serving.kserve.io/deploymentMode"
_OLD_NAMES = {"RawDeployment": "Standard", "Serverless": "Knative"}
_FIRST = (0, 16)
"""The first version that knows Standard and Knative; the ones before refuse them."""


def check_kserve(subject: Subject) -> Iterator[Finding]:
    """Whether KServe is there, and new enough for our mode names."""
    served = served_versions(subject, "InferenceService")
    if served is None:
        yield Finding("error", "KServe", "not installed", "Install KServe 0.16 or newer.")
        return
    version = installed_version(subject, "kserve-controller-manager", *_NAMESPACES)
    known = release(version)
    if known and known < _FIRST:
        yield Finding(
            "error", "KServe", f"{version} refuses deploymentMode {subject.mode} (there it is "
            f"{_old_name(subject.mode)})", "Upgrade to KServe 0.16 or newer.",
        )  # fmt: skip
    elif "v1beta1" not in served:
        detail = f"{version} serves {', '.join(served) or 'no version'} only"
        yield Finding("error", "KServe", detail, "Upgrade to KServe 0.16 or newer.")
    elif known is None:
        detail = f"{version}; serving.kserve.io {', '.join(served)}"
        yield Finding("warning", "KServe", detail, "Make sure that it is 0.16 or newer: others refuse our mode name.")
    else:
        yield Finding("ok", "KServe", f"{version}, serving.kserve.io {', '.join(served)}")
    yield from _check_default_mode(subject, known)
    yield from _check_live_service(subject, known)


def _old_name(mode: str) -> str:
    return next(old for old, new in _OLD_NAMES.items() if new == mode)


def _check_default_mode(subject: Subject, version: tuple[int, int] | None) -> Iterator[Finding]:
    """The mode of services that name none; ours always name theirs."""
    title = "KServe default mode"
    for namespace in _NAMESPACES:
        try:
            config = subject.cluster.get("ConfigMap", "inferenceservice-config", namespace)
        except ClusterError as error:
            if error.status != 403:
                raise
            yield Finding("ok", title, "not readable for you; ours is set on the service itself")
            return
        if config:
            break
    try:
        mode = dig(json.loads(dig(config, "data", "deploy") or "{}"), "defaultDeploymentMode")
    except ValueError:
        mode = None
    if mode in _OLD_NAMES and version == _FIRST:
        yield Finding(
            "warning", title, f"{mode} is a name that 0.16 does not translate: services without a mode of their own "
            "can then be neither changed nor deleted",
            f"Set defaultDeploymentMode to {_OLD_NAMES[mode]} in ConfigMap inferenceservice-config. Ours name theirs.",
        )  # fmt: skip
    else:
        yield Finding("ok", title, f"{mode or 'not stated'}; ours is set on the service itself")


def _check_live_service(subject: Subject, version: tuple[int, int] | None) -> Iterator[Finding]:
    service = subject.cluster.get("InferenceService", SERVICE, subject.namespace)
    if service is None:
        return
    title, destroy = f"InferenceService {SERVICE}", "Delete it first: make api-destroy."
    mode = str(
        dig(service, "status", "deploymentMode") or dig(service, "metadata", "annotations", _ANNOTATION) or "not stated"
    )
    if mode in _OLD_NAMES and version == _FIRST:
        detail = f"has the old mode name {mode}, with which KServe 0.16 blocks changes and deletion"
        yield Finding("error", title, detail, "Upgrade KServe to 0.17 or newer, then deploy again.")
    elif _OLD_NAMES.get(mode, mode) not in (subject.mode, "not stated"):
        detail = f"runs in mode {mode}, {subject.mode} is wanted, and the mode of a live service cannot be changed"
        yield Finding("error", title, detail, destroy)
    else:
        yield Finding("ok", title, f"is there, mode {mode}")
