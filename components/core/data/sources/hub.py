"""A dataset on the Hugging Face Hub, streamed at one commit."""

import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any

import httpx

from components.core.data.formats import Parsed
from components.core.data.formats.class_names import class_names, name_classes, remark_names
from components.core.data.sources.source import SPLITS, NumberedRow, Source
from components.core.errors import DataError, PlatformError, StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0


def resolve_commit(data: DataConfig, settings: Settings) -> tuple[str, str]:
    """Commit and licence of a Hub dataset.

    Raises:
        StorageError: If the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    api = HfApi(endpoint=settings.hf_endpoint, token=_token(settings))
    try:
        info = api.dataset_info(data.dataset_id, revision=data.revision, timeout=TIMEOUT_SECONDS)
    except HFValidationError as error:
        raise StorageError(
            f"{data.dataset_id!r} is neither a local file or folder, nor an address, nor a dataset id "
            "(user/name). Check data.dataset_id."
        ) from error
    except Exception as error:
        raise explain(error, data, settings) from error
    licenses = getattr(info.card_data, "license", None) or ""
    return info.sha or "", ", ".join(map(str, licenses)) if isinstance(licenses, list) else str(licenses)


def open_streams(data: DataConfig, settings: Settings) -> tuple[str, str, Any]:
    """Commit, licence and splits of a Hub dataset by their own names; rows are read as they arrive.

    Raises:
        StorageError: If the Hub refuses, cannot be reached, or the repository holds no rows.
        DataError: If the dataset has several subsets and none is named.
    """
    import datasets

    commit, license_name = resolve_commit(data, settings)
    try:
        builder = datasets.load_dataset_builder(
            data.dataset_id, name=data.subset, revision=commit, token=_token(settings)
        )
        if builder.hash != commit:
            # the library falls back to whatever commit its cache holds when the Hub goes away
            raise ConnectionError("the Hub went away after the commit was resolved")
        return commit, license_name, builder.as_streaming_dataset()
    except Exception as error:
        raise explain(error, data, settings) from error


def open_hub(data: DataConfig, settings: Settings, wanted: Collection[str]) -> Source:
    """The splits of a Hub dataset; rows are read as they arrive, so that memory stays bounded.

    Raises:
        StorageError: If the Hub refuses, cannot be reached, or the repository holds no rows.
        DataError: If there is no train split, or the dataset has several subsets and none is named.
    """
    commit, license_name, streams = open_streams(data, settings)
    names = {"train": data.train_split, "validation": data.validation_split, "test": data.test_split}
    if names["train"] not in streams:
        raise DataError(
            f"{data.dataset_id} has no split {names['train']!r}; it has {', '.join(map(str, streams))}. Set "
            "data.train_split."
        )

    def reader(name: str) -> Callable[[], Iterator[NumberedRow]]:
        return lambda: _rows(streams[name], f"{data.dataset_id}/{name}", wanted, data, settings)

    found = [split for split in SPLITS if names[split] in streams]
    logger.info("Reading %s at commit %s", data.dataset_id, commit)
    return Source(
        data.dataset_id,
        {split: reader(names[split]) for split in found},
        revision=commit,
        license=license_name,
        files={split: [f"{data.dataset_id}/{names[split]}"] for split in found},
    )


def _rows(
    stream: Any, name: str, wanted: Collection[str], data: DataConfig, settings: Settings
) -> Iterator[NumberedRow]:
    columns = [column for column in stream.column_names or [] if column in wanted]
    if columns:
        stream = stream.select_columns(columns)
    features = stream.features.to_dict() if stream.features else {}
    names = {column: classes for column, classes in class_names(features).items() if column in columns}
    if names:
        yield name, remark_names(names)
    try:
        for number, value in enumerate(stream, start=1):
            yield name, Parsed(number, name_classes(dict(value), names))
    except PlatformError:
        raise
    except Exception as error:
        raise explain(error, data, settings) from error


def _token(settings: Settings) -> str | None:
    return settings.hf_token.get_secret_value() if settings.hf_token else None


def explain(error: BaseException, data: DataConfig, settings: Settings) -> PlatformError:
    """The error as a user can act on it; the library's own is somewhere down the chain of causes."""
    name = data.dataset_id
    chain = list(_causes(error))
    names = {type(cause).__name__ for cause in chain}
    status = next((code for cause in chain if (code := _status(cause))), 0)
    first_line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
    if "RevisionNotFoundError" in names:
        return StorageError(f"{name} has no revision {data.revision!r} on the Hub. Check data.revision.")
    if "GatedRepoError" in names or "is a gated dataset" in str(error) or status == 403:
        return StorageError(
            f"cannot read {name}: access denied (403). Ask for access on its page, and set HF_TOKEN to a token "
            "that may read it."
        )
    if "RepositoryNotFoundError" in names or status in (401, 404):
        return StorageError(
            f"cannot read {name}: not found on {settings.hf_endpoint}, or private ({status or 404}). Check "
            "data.dataset_id; "
            "for a private dataset set HF_TOKEN to a token that may read it. (No local file or folder has this name.)"
        )
    if status == 429:
        return StorageError(f"cannot read {name}: too many requests (429). Set HF_TOKEN or try again later.")
    if status >= 500:
        return StorageError(f"cannot read {name}: the Hub failed ({status}). Try again later.")
    if "Config name is missing" in str(error) or "BuilderConfig" in str(error):
        return DataError(
            f"{name} has several subsets, or not this one: {' '.join(str(error).split())[:300]} Set data.subset."
        )
    if names & {"EmptyDatasetError", "DataFilesNotFoundError"}:
        return DataError(f"{name} holds no data files that can be read ({first_line}).")
    if any(isinstance(cause, (httpx.TransportError, ConnectionError)) for cause in chain):
        return StorageError(
            f"cannot read {name}: the connection to {settings.hf_endpoint} failed or was cut. Check the network and "
            "HF_ENDPOINT, then run it again."
        )
    return StorageError(f"cannot read {name}: {first_line}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
