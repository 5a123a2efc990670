"""May a namespace serve a model: asked before anything is deployed, where the model can be looked at."""

from pathlib import Path

from components.core.errors import RegistryError
from components.core.registry.access import Access, check_access, read_access, read_info_access
from components.core.settings import Settings

INFO_FILE = "model_info.json"


def check_usable(model: str, settings: Settings, namespace: str) -> None:
    """Raise if a model says that it is restricted to another namespace; the endpoint asks again when it starts.

    Args:
        model: Folder, or `user/name[@revision]` on the Hub; a model that cannot be looked at from here is let through.
        settings: Address and token of the Hub.
        namespace: Where it is to be served.

    Raises:
        RegistryError: If it is restricted, or does not say so clearly.
    """
    folder = Path(model)
    access = read_access(folder) if folder.is_dir() else _on_the_hub(model, settings)
    check_access(access, f"the model {model}", namespace)


def hub_file(model: str, name: str, settings: Settings) -> Path | None:
    """A small file of a Hub repository; none where it has none, or nobody answers.

    Args:
        model: `user/name[@revision]`, `hf://` before it or not; anything else has no such file.
        name: Of the file.
        settings: Address and token of the Hub.

    Raises:
        RegistryError: If it cannot be kept here.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub_id, _, revision = model.removeprefix("hf://").partition("@")
    if "://" in hub_id or hub_id.count("/") != 1 or hub_id.startswith(("/", ".")):
        return None
    token = settings.hf_token.get_secret_value() if settings.hf_token else False
    api = HfApi(endpoint=settings.hf_endpoint, token=token)
    try:
        # asked first: the download of a file tries for half a minute where there is no Hub
        files = api.model_info(hub_id, revision=revision or None, timeout=10).siblings or []
        if name not in {file.rfilename for file in files}:
            return None
        return Path(api.hf_hub_download(hub_id, name, revision=revision or None))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError):
        return None
    except OSError as error:
        raise RegistryError(f"cannot keep {name} of {hub_id} ({error}). Free some space.") from error


def _on_the_hub(model: str, settings: Settings) -> Access:
    path = hub_file(model, INFO_FILE, settings)
    return read_info_access(path) if path else Access()
