"""What is registered, for one namespace; and who may use it, changed after it was registered."""

from dataclasses import dataclass
from typing import Any

from components.core.errors import RegistryError
from components.core.registry.access import Access, access_of, check_access
from components.core.registry.champion import find_version
from components.core.registry.mlflow_store import clear_errors, open_client, sqlite_file
from components.core.registry.names import PLACE_TAG, place_of
from components.core.registry.owners import access_of_version, mark_folder, mark_name
from components.core.settings import Settings


@dataclass(frozen=True)
class Listed:
    """One registered version."""

    name: str
    version: str
    aliases: list[str]
    task: str
    headline: str
    """The verdict in a line."""
    uri: str
    created: int
    """Milliseconds since 1970."""
    access: Access


@dataclass(frozen=True)
class Changed:
    """A version whose access was changed."""

    version: str
    uri: str
    in_files: bool
    """The model's files say it, too; on the Hub they cannot be changed."""


def list_models(settings: Settings, name: str | None = None) -> list[Listed]:
    """Every version that this namespace may use, by name, the newest first; restricted ones of others are left out.

    Args:
        settings: Tracking address and the namespace that asks.
        name: One registered model; all when left out.

    Raises:
        RegistryError: If MLflow cannot be asked.
    """
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        return []
    with clear_errors(settings, "list the registered models"):
        client = open_client(settings)
        held = {model.name: access_of(model.tags) for model in _pages(client.search_registered_models)}
        wanted = f"name = '{name}'" if name else ""
        versions = _pages(lambda **page: client.search_model_versions(wanted, **page))
        aliases = {model: _aliases(client, model) for model in {version.name for version in versions}}
    listed = [_listed(v, held.get(v.name, Access()), aliases[v.name].get(str(v.version), [])) for v in versions]
    allowed = [each for each in listed if each.access.allows(settings.namespace)]
    return sorted(allowed, key=lambda each: (each.name, -int(each.version)))


def change_access(name: str, version: str | None, restricted: bool, settings: Settings) -> list[Changed]:
    """Restrict registered versions to this namespace, or lift that.

    Args:
        name: Registered model name.
        version: Number or alias; none changes all versions and those to come.
        restricted: Whether others are kept out.
        settings: Tracking address and the namespace that asks.

    Raises:
        RegistryError: If there is no such model, or it is another namespace's.
    """
    with clear_errors(settings, f"change who may use {name}"):
        client = open_client(settings)
        versions = [find_version(client, name, version)] if version else _versions(client, name)
        held = access_of(client.get_registered_model(name).tags)
        _check_owner(held, f"the name {name}", settings)
        for each in versions:
            _check_owner(access_of_version(client, each), f"{name} version {each.version}", settings)
        if version and held.restricted and not restricted:
            raise RegistryError(f"all of {name} is restricted, so one version cannot be opened. Unrestrict {name}.")
        access = Access(restricted=restricted, namespace=settings.namespace)
        if not version:
            mark_name(client, name, access)
        return [_change(client, each, access, settings) for each in versions]


def access_of_source(source: str, settings: Settings) -> Access:
    """Who may use the model that is registered from a place; one that is not registered here is open.

    Args:
        source: Such as `hf://user/repo@sha`.
        settings: Tracking address.

    Raises:
        RegistryError: If MLflow cannot be asked.
    """
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        return Access()
    with clear_errors(settings, f"look up who may use {source}"):
        client = open_client(settings)
        versions = _pages(lambda **page: client.search_model_versions(f"tags.`{PLACE_TAG}` = '{source}'", **page))
        found = [access_of_version(client, version) for version in versions]
    return next((access for access in found if access.restricted), Access())


def _change(client: Any, version: Any, access: Access, settings: Settings) -> Changed:
    for key, value in access.tags().items():
        client.set_model_version_tag(version.name, str(version.version), key, value)
    return Changed(str(version.version), place_of(version), mark_folder(place_of(version), access, settings))


def _check_owner(access: Access, what: str, settings: Settings) -> None:
    check_access(access, what, settings.namespace)
    if access.namespace not in ("", settings.namespace):
        raise RegistryError(
            f"{what} belongs to namespace {access.namespace}; only there it is decided who may use it "
            f"(you are in {settings.namespace}; KFP_NAMESPACE or --namespace says otherwise)."
        )


def _versions(client: Any, name: str) -> list[Any]:
    found = _pages(lambda **page: client.search_model_versions(f"name = '{name}'", **page))
    if not found:
        raise RegistryError(f"{name} is not registered. `python -m llm-pipelines.registry list` says what is.")
    return found


def _aliases(client: Any, name: str) -> dict[str, list[str]]:
    """Aliases by version; a search leaves them out."""
    found: dict[str, list[str]] = {}
    for alias, version in sorted(client.get_registered_model(name).aliases.items()):
        found.setdefault(str(version), []).append(alias)
    return found


def _pages(search: Any) -> list[Any]:
    found: list[Any] = []
    page = search()
    while True:
        found += page
        if not page.token:
            return found
        page = search(page_token=page.token)


def _listed(version: Any, held: Access, aliases: list[str]) -> Listed:
    tags = version.tags
    return Listed(
        name=version.name,
        version=str(version.version),
        aliases=aliases,
        task=tags.get("task", ""),
        headline=tags.get("headline", ""),
        uri=place_of(version),
        created=int(version.creation_timestamp or 0),
        access=held if held.restricted else access_of(tags),
    )
