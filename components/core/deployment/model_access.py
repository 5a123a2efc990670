"""May a namespace serve a model: asked before anything is deployed, where the model can be looked at."""

from pathlib import Path

from components.core.errors import RegistryError
from components.core.registry.access import Access, check_access, read_access, read_info_access
from components.core.settings import Settings

_INFO_FILE = "model_info.json"


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


def _on_the_hub(model: str, settings: Settings) -> Access:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub_id, _, revision = model.removeprefix("hf://").partition("@")
    if "://" in hub_id or hub_id.count("/") != 1 or hub_id.startswith(("/", ".")):
        return Access()
    token = settings.hf_token.get_secret_value() if settings.hf_token else False
    api = HfApi(endpoint=settings.hf_endpoint, token=token)
    try:
        # asked first: the download of a file tries for half a minute where there is no Hub
        files = api.model_info(hub_id, revision=revision or None, timeout=10).siblings or []
        if _INFO_FILE not in {file.rfilename for file in files}:
            return Access()
        path = api.hf_hub_download(hub_id, _INFO_FILE, revision=revision or None)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError):
        return Access()
    except OSError as error:
        raise RegistryError(f"cannot keep {_INFO_FILE} of {hub_id} ({error}). Free some space.") from error
    return read_info_access(Path(path))
