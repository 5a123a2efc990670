"""The Hugging Face Hub: may this token write there, and one commit that holds the whole model folder."""

import logging
import re
from pathlib import Path
from typing import Any

from components.core.errors import PlatformError, RegistryError
from components.core.registry.hub_errors import NEW_TOKEN, cause, clear_errors, with_retries
from components.core.registry.manifest import MANIFEST_FILE, Manifest, parse_manifest
from components.core.registry.names import is_hub_id
from components.core.settings import Settings

logger = logging.getLogger(__name__)

WRITE_ROLES = ("write", "contributor", "admin")
_HUB_URI = re.compile(r"^hf://(?P<repo>[^/@]+/[^/@]+)@(?P<revision>[0-9a-f]{5,40})$")


def hub_target(settings: Settings) -> str | None:
    """The Hub repository to publish to, or None when the local registry stands in (no HF_REPO or no HF_TOKEN)."""
    if settings.hf_repo is None or settings.hf_token is None:
        return None
    return settings.hf_repo


def check_write_access(settings: Settings) -> None:
    """Make sure, before hours of training, that the token may write to HF_REPO; nothing is created.

    Raises:
        RegistryError: If the token is unknown, read-only, without write permission on the repository, or if the
            repository belongs to somebody else; or if the Hub cannot be reached.
    """
    repo = hub_target(settings)
    if repo is None:
        if settings.hf_repo is not None:
            logger.warning("HF_REPO is set but HF_TOKEN is not: the model will stay in the local registry")
        return
    api = _api(settings)
    with clear_errors(repo, settings, f"check that HF_TOKEN may write to {repo}"):
        identity = with_retries(api.whoami)
        _check_permissions(identity, repo, settings)
        if with_retries(lambda: api.repo_exists(repo)):
            with_retries(lambda: api.auth_check(repo, write=True))
    logger.info("HF_TOKEN may write to %s", repo)


def _check_permissions(identity: dict[str, Any], repo: str, settings: Settings) -> None:
    owner = repo.split("/")[0]
    remedy = NEW_TOKEN.format(endpoint=settings.hf_endpoint)
    user = identity.get("name")
    org_roles = {org.get("name"): org.get("roleInOrg") for org in identity.get("orgs") or []}
    token = (identity.get("auth") or {}).get("accessToken") or {}
    role = token.get("role")
    if role == "read":
        raise RegistryError(f"HF_TOKEN can read but not write {repo}: {remedy}.")
    if role == "fineGrained" and not _scope_allows(token.get("fineGrained") or {}, repo):
        raise RegistryError(
            f"HF_TOKEN is a fine-grained token without write permission on {repo}: "
            f"give it `Write access to contents` of {owner} or of this repository, or {remedy}."
        )
    if owner != user and owner not in org_roles:
        raise RegistryError(
            f"HF_TOKEN belongs to {user}, who may not write to {repo}, a repository of {owner}: "
            f"set HF_REPO to {user}/{repo.split('/')[1]}, or use a token of a member of {owner}."
        )
    # an organisation that does not tell the role (None) is left to auth_check and to the Hub itself
    if owner != user and org_roles[owner] not in (*WRITE_ROLES, None):
        raise RegistryError(
            f"HF_TOKEN belongs to {user}, who has only the role `{org_roles[owner]}` in {owner} and may not write to "
            f"{repo}: ask an admin of {owner} for the role `write`, or set HF_REPO to {user}/{repo.split('/')[1]}."
        )


def _scope_allows(fine_grained: dict[str, Any], repo: str) -> bool:
    names = (repo, repo.split("/")[0])
    return any(
        scope.get("entity", {}).get("name") in names and "repo.write" in scope.get("permissions", [])
        for scope in fine_grained.get("scoped", [])
    )


def upload_model(folder: Path, manifest: Manifest, private: bool, settings: Settings) -> tuple[str, str]:
    """Put the files of a complete model folder into the Hub repository, as exactly one commit.

    The commit also removes what an earlier model left there, so that the repository always is one complete folder. A
    repository whose newest commit already holds this content is left alone.

    Returns:
        The commit's sha and its address.

    Raises:
        RegistryError: If the Hub refuses or cannot be reached; nothing of the model is visible then.
    """
    repo = settings.hf_repo or ""
    api = _api(settings)
    with clear_errors(repo, settings, f"upload the model to {repo}"):
        with_retries(lambda: api.create_repo(repo, private=private, exist_ok=True))
        info = with_retries(lambda: api.model_info(repo))
        if private and info.private is False:
            logger.warning("%s is public already and stays public; registry.private only shapes new repositories", repo)
        uploaded = _same_content(api, repo, str(info.sha), manifest)
        if uploaded:
            logger.info("%s already holds this model at %s", repo, info.sha)
            sha = str(info.sha)
        else:
            sha = _commit(api, repo, folder, manifest, info)
    return sha, f"{settings.hf_endpoint}/{repo}/tree/{sha}"


def _commit(api: Any, repo: str, folder: Path, manifest: Manifest, info: Any) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    ours = [*manifest.files, MANIFEST_FILE]
    stale = [s.rfilename for s in info.siblings or [] if s.rfilename not in (*ours, ".gitattributes")]
    head = str(info.sha)

    def send() -> str:
        # made anew for each try: the client marks operations as used
        operations: list[Any] = [CommitOperationAdd(path, folder / path) for path in ours]
        operations += [CommitOperationDelete(path, is_folder=False) for path in stale]
        message = f"Upload {manifest.content_sha256[:12]}"
        try:
            # one commit by create_commit: upload_folder may split its work into several
            commit = api.create_commit(repo, operations, commit_message=message, parent_commit=head)
        except Exception:
            # the answer to a commit may be lost after the commit was made
            now = str(api.model_info(repo).sha)
            if now != head and _same_content(api, repo, now, manifest):
                return now
            raise
        return str(commit.oid)

    return with_retries(send, only="/commit/")  # the client itself retries all other requests of an upload


def _same_content(api: Any, repo: str, revision: str, manifest: Manifest) -> bool:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def read() -> str:
        path = api.hf_hub_download(repo, MANIFEST_FILE, revision=revision)
        return Path(path).read_text(encoding="utf-8")

    try:
        there = parse_manifest(with_retries(read), f"{repo}/{MANIFEST_FILE}")
    except (RemoteEntryNotFoundError, PlatformError):
        return False
    return there.content_sha256 == manifest.content_sha256


def download_model(uri: str, settings: Settings) -> Path:
    """Bring a published model folder from the Hub onto this machine.

    Args:
        uri: `hf://user/repo@sha`.
        settings: Address of the Hub and token.

    Raises:
        RegistryError: If the address is not of that form, or the Hub does not give the files.
    """
    found = _HUB_URI.match(uri)
    if found is None:
        raise RegistryError(f"{uri} is not an address like hf://user/repo@sha. Register the model again.")
    repo, revision = found["repo"], found["revision"]
    with clear_errors(repo, settings, f"download {repo} at {revision[:12]}"):
        folder: str = with_retries(lambda: _api(settings).snapshot_download(repo, revision=revision))
    return Path(folder)


def _api(settings: Settings) -> Any:
    from huggingface_hub import HfApi

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return HfApi(endpoint=settings.hf_endpoint, token=token)


def license_of(model_id: str, revision: str, settings: Settings) -> str:
    """The licence that a base model on the Hub states, or "" when it is not known."""
    from huggingface_hub.errors import HfHubHTTPError

    if not is_hub_id(model_id):
        return ""
    try:
        info = _api(settings).model_info(model_id, revision=revision or None, timeout=10)
    except (HfHubHTTPError, OSError, ValueError) as error:
        logger.warning("The licence of %s could not be read (%s); set registry.license", model_id, cause(error))
        return ""
    stated = (info.card_data or {}).get("license") or next(
        (tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")), ""
    )
    return stated if isinstance(stated, str) else ""
