"""What `promote` asks of a candidate: the verdict on its quality, and requests to measure it with."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.core.deployment.endpoints.invoking import invoke, read_request
from components.core.deployment.endpoints.keys import KEY_VARIABLE
from components.core.deployment.endpoints.promotion import Quality
from components.core.deployment.endpoints.record import EndpointFolder
from components.core.errors import ConfigError, StorageError
from components.core.settings import Settings


def candidate_quality(
    endpoint: str, candidate: str, evaluation: Path | None, settings: Settings
) -> Callable[[], Quality]:
    """A reader of the verdict on a candidate; each call reads the file again.

    Args:
        endpoint: Name.
        candidate: Deployment.
        evaluation: File or folder of the paired comparison; by default evaluation.json of the candidate's model folder.
        settings: Where the endpoint's record is.

    Raises:
        ConfigError: If there is no such deployment, or its model is no folder and no evaluation is named.
    """
    model = Path(EndpointFolder(settings.whetstone_home, endpoint).read().find(candidate).model)
    if evaluation is None and not model.is_dir():
        raise ConfigError(f"{model} is no folder with an evaluation. Name the comparison: --evaluation FILE")
    weights = _weights_hash(model)
    return lambda: read_quality(evaluation or model, weights)


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


def prober(endpoint: str, candidate: str, file: Path, path: str, settings: Settings) -> Callable[[], None]:
    """Sends the request of a file to the candidate; it counts at the front like any other."""
    import os

    request, _ = read_request(file)
    key = os.environ.get(KEY_VARIABLE)

    def send() -> None:
        invoke(endpoint, request, settings, candidate, path, key)

    return send
