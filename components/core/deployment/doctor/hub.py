"""The Hub: may the token read the base model and write the repository."""

import base64
from collections.abc import Iterator

from pydantic import SecretStr

from components.core.deployment.doctor.finding import Finding, Subject, dig
from components.core.deployment.kubernetes_api import ClusterError
from components.core.errors import PlatformError
from components.core.registry.base_model import STARTER, is_on_the_hub, resolve_config
from components.core.registry.hub import check_write_access
from components.core.settings import HUB_SECRET, Settings

_REACH_SECONDS = 5.0


def check_hub(subject: Subject) -> Iterator[Finding]:
    """What the run's pods will be allowed to do on the Hub."""
    model = subject.recipe.model
    if model.model_id != STARTER and not is_on_the_hub(model):
        remedy = "Name a Hub id: pods cannot see this machine's folders."
        yield Finding("error", "Base model", f"{model.model_id} is a folder on this machine", remedy)
    settings, origin = hub_settings(subject)
    if not is_reachable(settings):
        remedy = "Check the network and HF_ENDPOINT; the cluster itself may well reach it."
        yield Finding("warning", "Hub", f"{settings.hf_endpoint} cannot be reached from here", remedy)
        return
    if is_on_the_hub(model):
        yield _reads(settings, subject)
    yield _writes(settings, origin)


def hub_settings(subject: Subject) -> tuple[Settings, str]:
    """Settings with the token and repository of the environment, else of the cluster's secret, and which it was."""
    settings = subject.settings
    if settings.hf_token is not None:
        return settings, "HF_TOKEN"
    try:
        data = dig(subject.cluster.get("Secret", HUB_SECRET, subject.namespace), "data") or {}
        token, repo = (base64.b64decode(data.get(key, ""), validate=True).decode() for key in ("token", "repo"))
    except (ClusterError, ValueError):
        return settings, ""
    if not token:
        return settings, ""
    update = {"hf_token": SecretStr(token.strip()), "hf_repo": settings.hf_repo or repo.strip() or None}
    return settings.model_copy(update=update), f"the token of {HUB_SECRET}"


def is_reachable(settings: Settings) -> bool:
    """Whether the Hub answers at all."""
    import httpx

    try:
        httpx.head(settings.hf_endpoint, timeout=_REACH_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True


def _reads(settings: Settings, subject: Subject) -> Finding:
    model = subject.recipe.model
    try:
        found = resolve_config(model, settings)
    except PlatformError as error:
        return Finding("error", "Base model", *_split(error))
    return Finding("ok", "Base model", f"{model.model_id} can be read, revision {found.revision[:12]}")


def _writes(settings: Settings, origin: str) -> Finding:
    if not origin or not settings.hf_repo:
        what = "no HF_TOKEN" if not origin else "no HF_REPO"
        return Finding(
            "warning", "Hub repository", f"{what} here or in {HUB_SECRET}: the tuned model would stay in the pod",
            "export HF_TOKEN and HF_REPO, then: make create-secret",
        )  # fmt: skip
    try:
        check_write_access(settings)
    except PlatformError as error:
        return Finding("error", "Hub repository", *_split(error))
    return Finding("ok", "Hub repository", f"{origin} may write to {settings.hf_repo}")


def _split(error: PlatformError) -> tuple[str, str]:
    """What is wrong, and what to do, of a message that says both."""
    text = " ".join(str(error).split())
    for mark in (". ", ": "):
        detail, found, remedy = text.rpartition(mark)
        if found and detail:
            return detail, remedy[:1].upper() + remedy[1:]
    return text, "Look at the message."
