"""How many tokens a run trains on, as far as it can be told before the data is prepared."""

from pathlib import Path

from components.core.recipe import Recipe
from components.core.settings import STARTER_DIR

BYTES_PER_TOKEN = 4
"""Of English text, keys and punctuation of the rows included."""
_TEXT = {".jsonl", ".json", ".csv", ".tsv"}


def run_tokens(recipe: Recipe) -> int | None:
    """Tokens of all steps; from the recipe where it counts steps, else from the size of a local text file.

    Returns:
        None for data whose size is not known here: a Hub dataset, an address, a compressed file.
    """
    training = recipe.training
    if training.max_steps > 0:
        rows = training.per_device_train_batch_size
        batch = rows * recipe.tokens.max_seq_length if rows else training.tokens_per_batch
        return training.max_steps * training.gradient_accumulation_steps * batch
    size = _train_bytes(recipe)
    if size is None:
        return None
    tokens = size / BYTES_PER_TOKEN
    if recipe.data.max_rows:
        tokens = min(tokens, recipe.data.max_rows * recipe.tokens.max_seq_length)
    return round(tokens * training.num_train_epochs)


def _train_bytes(recipe: Recipe) -> int | None:
    data = recipe.data
    path = STARTER_DIR / "data" if data.dataset_id == "starter" else Path(data.dataset_id).expanduser()
    try:
        if path.is_dir():
            files = [file for file in path.glob(f"{data.train_split}*") if file.suffix in _TEXT]
            return sum(file.stat().st_size for file in files) or None
        # a single file is also cut into validation and test
        return round(path.stat().st_size * 0.8) if path.is_file() and path.suffix in _TEXT else None
    except OSError:
        return None
