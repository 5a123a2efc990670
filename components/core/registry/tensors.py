"""Shapes and dtypes of a base model's weights, from the headers of its safetensors files; no weight is read."""

import json
import struct
from pathlib import Path
from typing import NamedTuple

from components.core.errors import StorageError
from components.core.recipe import ModelConfig
from components.core.registry.base_model import ResolvedModel, is_on_the_hub
from components.core.registry.hub_errors import cause, with_retries
from components.core.settings import Settings

_LARGEST_HEADER = 100 * 2**20


class Tensor(NamedTuple):
    """What a header says of one tensor."""

    shape: tuple[int, ...]
    dtype: str
    """By safetensors' names: F32, BF16, F16, ..."""


def read_tensors(model: ModelConfig, base: ResolvedModel, settings: Settings) -> dict[str, Tensor]:
    """Name to shape and dtype of every tensor of a base model.

    Args:
        model: Where it is.
        base: What `resolve_config` found.
        settings: Address of the Hub and token.

    Raises:
        StorageError: If there are no safetensors weights or their headers cannot be read.
    """
    if is_on_the_hub(model):
        return _of_hub(model, base.revision, settings)
    files = sorted(path for path in base.path.glob("*.safetensors") if not path.name.startswith("consolidated"))
    if not files:
        raise StorageError(f"{base.path} has no safetensors weights. Name a complete model in model.model_id.")
    return {name: tensor for path in files for name, tensor in _of_file(path).items()}


def _of_file(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LARGEST_HEADER)))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: Tensor(tuple(entry["shape"]), str(entry["dtype"])) for name, entry in entries.items()}
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is not a complete safetensors file. Download the model again.") from error


def _of_hub(model: ModelConfig, revision: str, settings: Settings) -> dict[str, Tensor]:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, NotASafetensorsRepoError, SafetensorsParsingError

    token = settings.hf_token.get_secret_value() if settings.hf_token else False
    api = HfApi(endpoint=settings.hf_endpoint, token=token)
    try:
        found = with_retries(lambda: api.get_safetensors_metadata(model.model_id, revision=revision))
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        raise StorageError(
            f"{model.model_id} has no readable safetensors weights. Choose a model, or a revision of it, with them."
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise StorageError(
            f"cannot read the weights' headers of {model.model_id} from {settings.hf_endpoint} ({cause(error)}). "
            "Check HF_TOKEN and the network."
        ) from error
    return {
        name: Tensor(tuple(tensor.shape), str(tensor.dtype))
        for file in found.files_metadata.values()
        for name, tensor in file.tensors.items()
    }
