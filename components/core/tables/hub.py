"""One split of a Hub dataset, as parquet."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from components.core.data.sources.hub import open_streams
from components.core.data.sources.hub_files import stream_rows
from components.core.errors import DataError
from components.core.recipe import DataConfig
from components.core.registry.hub_errors import clear_errors, with_retries
from components.core.settings import Settings

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]


def check_hub_target(dataset_id: str, settings: Settings) -> None:
    """Make sure that HF_TOKEN may write to a dataset, or make one there; nothing is created.

    Raises:
        RegistryError: If it may not, or the Hub cannot be reached.
    """
    api = _api(settings)
    with clear_errors(dataset_id, settings, f"check that HF_TOKEN may write to {dataset_id}"):
        with_retries(api.whoami)
        if with_retries(lambda: api.repo_exists(dataset_id, repo_type="dataset")):
            with_retries(lambda: api.auth_check(dataset_id, repo_type="dataset", write=True))


def check_hub_columns(dataset_id: str, split: str, columns: Sequence[str], settings: Settings, append: bool) -> None:
    """Raise DataError if the other splits that are there, or the rows to append to, have other columns."""
    if _exists(dataset_id, settings):
        _there(dataset_id, split, columns, settings, append)


def push_rows(rows: Rows, columns: Sequence[str], dataset_id: str, split: str, settings: Settings, append: bool) -> str:
    """Write a split in one commit; a repository that is not there is made, private.

    Returns:
        Its address.

    Raises:
        DataError: If the columns are not those of the rows, or of the other splits, that are there.
        RegistryError: If the Hub refuses or cannot be reached.
        StorageError: Likewise, while what is there is read.
    """
    exists = _exists(dataset_id, settings)
    before, features = _there(dataset_id, split, columns, settings, append) if exists else ([], None)
    table = _as_table([*before, *rows], columns, features, f"{dataset_id}, split {split}")
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    message = f"{'Append to' if append else 'Write'} {split}: {len(rows)} rows"
    with _quietly(), clear_errors(dataset_id, settings, f"write to {dataset_id}"):
        with_retries(
            lambda: table.push_to_hub(dataset_id, split=split, private=True, token=token, commit_message=message)
        )
    logger.info("Wrote %d rows to %s, split %s (%d were there)", len(rows), dataset_id, split, len(before))
    return f"{settings.hf_endpoint}/datasets/{dataset_id}"


def rows_on_hub(dataset_id: str, split: str, settings: Settings) -> Rows:
    """The rows of a split; none where the repository or the split is not there.

    Raises:
        RegistryError: If the Hub cannot be reached.
        StorageError: If it cannot be read.
    """
    if not _exists(dataset_id, settings):
        return []
    data = DataConfig(dataset_id=dataset_id)
    try:
        _, _, streams = open_streams(data, settings)
    except DataError:
        return []  # a repository without data
    return list(stream_rows(streams[split], data, settings)) if split in streams else []


def _there(dataset_id: str, split: str, columns: Sequence[str], settings: Settings, append: bool) -> tuple[Rows, Any]:
    """The rows to append to, and the types that the columns must have; None where they are free.

    All splits of a Hub dataset have the same columns and types, else no client can read it.
    """
    data = DataConfig(dataset_id=dataset_id)
    try:
        _, _, streams = open_streams(data, settings)
    except DataError:
        return [], None  # a repository without data
    features = None
    for name, stream in streams.items():
        if name == split and not append:
            continue
        found = list(stream.column_names or columns)
        if set(found) != set(columns):
            raise DataError(
                f"{dataset_id} has the columns {', '.join(found)} in split {name}, and the new rows have "
                f"{', '.join(columns)}: all splits of a Hub dataset have the same. Choose another dataset."
            )
        features = features or stream.features
    return list(stream_rows(streams[split], data, settings)) if append and split in streams else [], features


def _as_table(rows: Rows, columns: Sequence[str], features: Any, what: str) -> Any:
    import datasets
    import pyarrow

    typed = datasets.Features({name: features[name] for name in columns}) if features else None
    try:
        return datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in columns}, features=typed)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{what}: a column holds values of several types, or of another one than the rows that are there "
            f"({' '.join(str(error).split())[:200]}). Write one type in each column."
        ) from error


def _exists(dataset_id: str, settings: Settings) -> bool:
    api = _api(settings)
    with clear_errors(dataset_id, settings, f"look at {dataset_id}"):
        return bool(with_retries(lambda: api.repo_exists(dataset_id, repo_type="dataset")))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the client's bars and hints, of which a log would hold a line each."""
    import datasets

    level, bars = datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()


def _api(settings: Settings) -> Any:
    from huggingface_hub import HfApi

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return HfApi(endpoint=settings.hf_endpoint, token=token)
