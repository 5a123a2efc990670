"""How large a model's weights are, before anything is downloaded."""

from pathlib import Path

from components.core.settings import Settings


def model_bytes(model: str, settings: Settings) -> int | None:
    """Bytes of the safetensors files of a folder or a Hub id; none if they cannot be asked for.

    Args:
        model: Folder, or `user/name[@revision]` on the Hub.
        settings: Address and token of the Hub.
    """
    folder = Path(model)
    if folder.is_dir():
        return sum(path.stat().st_size for path in folder.glob("*.safetensors")) or None
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    hub_id, _, revision = model.removeprefix("hf://").partition("@")
    token = settings.hf_token.get_secret_value() if settings.hf_token else False
    try:
        info = HfApi(endpoint=settings.hf_endpoint, token=token).model_info(
            hub_id, revision=revision or None, files_metadata=True, timeout=10
        )
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError):
        return None
    sizes = [file.size or 0 for file in info.siblings or [] if file.rfilename.endswith(".safetensors")]
    return sum(sizes) or None
