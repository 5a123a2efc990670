"""A round's answers: the test rows of the loop, answered by the base model or by the one that was just trained."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.loop.config import ReferenceConfig
from components.core.loop.reference import hand_over, resolve, work_name
from components.core.loop.rounds import ROWS
from components.core.recipe import ModelConfig
from components.core.registry.base_model import is_on_the_hub, resolve_model
from components.core.registry.names import public_name
from components.core.responses import BatchInferenceConfig, InferResult, infer
from components.core.settings import Settings
from components.core.tasks import read_prompt
from components.core.tasks.prompt import PROMPT_FILE

logger = logging.getLogger(__name__)

_OF_ANOTHER_USE = (PROMPT_FILE, "manifest.json", "model_info.json")


def infer_round(
    number: int,
    reference: ReferenceConfig,
    model: ModelConfig,
    inference: Mapping[str, Any],
    model_dir: Path | None,
    output_dir: Path,
    settings: Settings,
) -> InferResult:
    """Answer the test rows; a step that is tried again goes on where it was.

    Args:
        number: Of the round.
        reference: Names the test rows.
        model: The base model, which answers where nothing is trained yet.
        inference: Keys of BatchInferenceConfig, without those that are the loop's.
        model_dir: The trained model; None for the base model.
        output_dir: Gets the answers.
        settings: Where the work is kept meanwhile.

    Raises:
        PlatformError: As `infer`.
    """
    found = resolve(reference)
    asked = str(model_dir) if model_dir else _base(model, settings)
    name = work_name("answers", number, {**inference, "reference": reference, "model": asked})
    config = BatchInferenceConfig.model_validate(
        {
            **inference,
            "ft_model_id": asked,
            "ft_model_revision": model.revision or "main",
            "test_ds_id": found.dataset_id,
            "test_ds_split": found.test_split,
            "lm_response_ds_id": name,
            "lm_response_ds_split": ROWS,
        }
    )
    result = infer(config, settings)
    hand_over(name, ROWS, output_dir, settings)
    logger.info("Round %d: %d answers by %s", number, result.rows, result.model_id)
    return result


def _base(model: ModelConfig, settings: Settings) -> str:
    """What to name as the base model: one that brings a prompt for questions is asked as a conversation here.

    The folder of such a one is linked without its prompt, so that base and trained model read the same text.
    """
    if is_on_the_hub(model):
        return model.model_id
    folder = resolve_model(model, settings).path.resolve()
    if not (folder / PROMPT_FILE).is_file() or read_prompt(folder).format == "messages":
        return str(folder) if model.model_id != "starter" else model.model_id
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    linked = settings.whetstone_home.resolve() / "loop" / digest / public_name(model.model_id)
    try:
        linked.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.iterdir()):
            place = linked / file.name
            if file.is_file() and file.name not in _OF_ANOTHER_USE and not place.exists():
                place.symlink_to(file)
    except OSError as error:
        raise StorageError(f"cannot write to {linked}: {error.strerror or error}. Check WHETSTONE_HOME.") from error
    return str(linked)
