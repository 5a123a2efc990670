"""What `promote` asks of a candidate: the verdict on its quality, and requests to measure it with."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.core.deployment.endpoints.invoking import read_request
from components.core.deployment.endpoints.keys import KEY_VARIABLE
from components.core.deployment.endpoints.promotion import Quality
from components.core.deployment.endpoints.seam import Endpoints
from components.core.errors import ConfigError, StorageError
from components.core.settings import Settings


def candidate_quality(model: str, evaluation: Path | None, settings: Settings) -> Callable[[], Quality]:
    """A reader of the verdict on a candidate; each call reads the file again.

    Args:
        model: Of the candidate: a folder, or on the Hub.
        evaluation: File or folder of the paired comparison; by default evaluation.json beside the candidate's weights.
        settings: Address and token of the Hub.

    Raises:
        ConfigError: If there is no evaluation beside the weights, and none is named.
    """
    from components.core.deployment.model_access import hub_file
    from components.core.evaluation.results import EVALUATION_FILE

    folder = Path(model)
    found = evaluation or (folder if folder.is_dir() else hub_file(model, EVALUATION_FILE, settings))
    if found is None:
        raise ConfigError(f"there is no evaluation with {model}. Name the comparison: --evaluation FILE")
    weights = _weights_hash(folder)
    return lambda: read_quality(found, weights)


def read_quality(path: Path, weights: str | None = None) -> Quality:
    """The verdict of an evaluation.json of any task.

    Args:
        path: File or folder.
        weights: Hash of the candidate's own weights, where the evaluation must be of them.

    Raises:
        StorageError: If it is missing or holds no verdict.
    """
    from pydantic import ValidationError

    from components.core.evaluation.results import EVALUATION_FILE, Verdict
    from components.core.registry.json_files import read_json

    file = path / EVALUATION_FILE if path.is_dir() else path
    content = read_json(file, "Evaluate the candidate, or name the file: --evaluation FILE")
    try:
        verdict = Verdict.model_validate(content.get("verdict"))
    except ValidationError as error:
        raise StorageError(f"{file} holds no verdict. Evaluate the candidate again.") from error
    judged = _judged_weights(content)
    if weights and judged and judged != weights:
        return Quality(False, f"{file.name} judges other weights than those of the candidate")
    return Quality(verdict.passed, verdict.headline)


def _judged_weights(content: dict[str, Any]) -> str | None:
    models = content.get("models")
    tuned = models.get("tuned") if isinstance(models, dict) else None
    found = tuned.get("weights_sha256") if isinstance(tuned, dict) else None
    return found if isinstance(found, str) else None


def _weights_hash(folder: Path) -> str | None:
    """As an evaluation has it; none for an adapter, whose base counts too, and for what is no folder."""
    from components.core.registry.manifest import hash_file

    if not folder.is_dir() or (folder / "adapter_config.json").is_file():
        return None
    listing = "".join(f"{hash_file(path)}  {path.name}\n" for path in sorted(folder.glob("*.safetensors")))
    return hashlib.sha256(listing.encode()).hexdigest() if listing else None


def prober(place: Endpoints, endpoint: str, candidate: str, file: Path, path: str) -> Callable[[], None]:
    """Sends the request of a file to the candidate, by the way that callers take."""
    import os

    request, _ = read_request(file)
    key = os.environ.get(KEY_VARIABLE) or place.keys(endpoint)["primary"]

    def send() -> None:
        place.invoke(endpoint, request, candidate, path, key)

    return send
