"""The preprocess of a task: raw rows checked and split, tokenized for a base model, with a copy of that model."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.core.catalogue import PreprocessParameters
from components.core.catalogue.task_names import CORE_TASKS
from components.core.data import DatasetReport, prepare_dataset
from components.core.data.contract.reading import Progress
from components.core.data.prepare import INFO_FILE
from components.core.errors import DataError, StorageError
from components.core.heads.folders import PREPROCESS_ARGS_FILE, PRETRAINED_FOLDER, TOKENIZER_FOLDER
from components.core.heads.preprocess.args import DatasetFacts, ModelFacts, PreprocessArgs, write_preprocess_args
from components.core.heads.preprocess.base import (
    Base,
    check_base,
    choose_length,
    copy_model,
    copy_tokenizer,
    open_base,
)
from components.core.heads.preprocess.page import PAGE_FILE, write_page
from components.core.heads.tokens import TokenCounts, count_tokens, write_tokens
from components.core.recipe import DataConfig, ModelConfig, TaskConfig
from components.core.registry.facts import read_json
from components.core.registry.manifest import hash_file
from components.core.registry.names import public_name
from components.core.settings import Settings
from components.core.tasks import HeadTask, Row, get_head_task
from components.core.tasks.heads import HEAD_FILE, Head, InputEncoder, Scale, write_head
from components.core.training.checkpoints import hash_weights

logger = logging.getLogger(__name__)

TRAINED_SPLITS = ("train", "validation")
_FORMAT = 1
"""Raise it when the same inputs give other tokens than before."""
_PAIR = "text_pair"


@dataclass(frozen=True)
class PreprocessReport:
    """What a preprocess found and wrote."""

    data: DatasetReport
    args: PreprocessArgs
    page: Path
    """The page about the tokens; the data's is `data.page`."""
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The numbers by flat names (`train_tokens`), for a metrics view."""
        flat = {
            f"{split}_{name}": float(value)
            for split, numbers in self.args.splits.items()
            for name, value in numbers.items()
        }
        return self.data.metrics() | flat | {"max_seq_length": float(self.args.max_seq_length)}


def preprocess(
    task: str,
    parameters: PreprocessParameters,
    data: DataConfig,
    model: ModelConfig,
    output_dir: Path,
    settings: Settings,
    source_version: str = "",
) -> PreprocessReport:
    """Prepare a dataset and a base model for fine-tuning.

    Args:
        task: The core's name of it, or the catalogue's.
        parameters: Of preprocess_<task>.
        data: Which rows; its columns are named by the parameters.
        model: The base model.
        output_dir: Gets what components/core/heads/folders.py lists; `preprocess_args.json` last, so that its presence
            means that the folder is complete.
        settings: Where the Hub is.
        source_version: What `source_version()` said; recorded only.

    Raises:
        DataError: If rows break the task's contract, or no usable dataset remains; the data's report is written first.
        ConfigError: If the model cannot carry the task's head, or the parameters do not fit it.
        StorageError: If the data or the model cannot be read, or the output not be written.
    """
    started = time.monotonic()
    head_task = get_head_task(CORE_TASKS.get(task, task))
    _clear(output_dir)
    check_base(model, head_task.head_kind, settings)
    report = _prepare(head_task, parameters, data, output_dir, settings, source_version)
    base = open_base(model, head_task.head_kind, settings)
    length, note = choose_length(parameters.max_seq_length, base)
    columns = parameters.columns()
    if _PAIR in report.lengths.get("train", {}):  # also a column that has our name, and that no key names
        columns = {_PAIR: data.columns.get(_PAIR, _PAIR)} | columns
    head = _make_head(head_task, columns, length, base, read_json(output_dir / INFO_FILE, "Run the step again."))
    tokenizer_dir = copy_tokenizer(base, output_dir)
    encoder = InputEncoder(tokenizer_dir, head)
    counts = _tokenize(head_task, head, encoder, parameters.batch_size, output_dir)
    notes = [note] if note else []
    try:
        write_page(output_dir, counts, head, model.model_id, notes, base.tokenizer)
    except OSError as error:
        raise StorageError(f"cannot write {output_dir / PAGE_FILE}: {error.strerror or error}.") from error
    write_head(head, output_dir)
    args = _args(head_task, parameters, head, report, base, counts, notes, copy_model(base, tokenizer_dir, output_dir))
    write_preprocess_args(args, output_dir)
    _log(counts, head, notes)
    return PreprocessReport(report, args, output_dir / PAGE_FILE, round(time.monotonic() - started, 2))


def _clear(output_dir: Path) -> None:
    """Remove what an earlier run left, so that nothing of it is taken for this one's."""
    files = (PREPROCESS_ARGS_FILE, HEAD_FILE, PAGE_FILE, *(f"{split}.arrow" for split in TRAINED_SPLITS))
    try:
        for name in files:
            (output_dir / name).unlink(missing_ok=True)
        for name in (TOKENIZER_FOLDER, PRETRAINED_FOLDER):
            if (output_dir / name).is_dir():
                shutil.rmtree(output_dir / name)
    except OSError as error:
        raise StorageError(
            f"cannot write to {output_dir}: {error.strerror or error}. Check its permissions."
        ) from error


def _prepare(
    task: HeadTask,
    parameters: PreprocessParameters,
    data: DataConfig,
    output_dir: Path,
    settings: Settings,
    source_version: str,
) -> DatasetReport:
    """The rows, by the columns that the parameters name."""
    named = data.model_copy(update={"columns": data.columns | parameters.columns()})
    config = TaskConfig.model_validate({"name": task.name})
    try:
        return prepare_dataset(named, config, output_dir, settings, source_version)
    except DataError as error:
        if "data.columns" not in str(error):
            raise
        keys = ", ".join(name for name in type(parameters).model_fields if name.endswith(("_key", "_column_name")))
        raise DataError(f"{error} Here data.columns is set by {keys}.") from error


def _make_head(task: HeadTask, columns: Mapping[str, str], length: int, base: Base, info: Mapping[str, Any]) -> Head:
    try:
        scale = Scale.model_validate(info["target"]) if "target" in info else None
    except ValidationError as error:
        raise DataError(
            f"the training scores cannot be normalised ({info['target']}). Give them in another unit."
        ) from error
    return Head.model_validate(
        {
            "task": task.name,
            "labels": info.get("labels", []),
            "scale": scale,
            "columns": dict(columns),
            "max_seq_length": length,
            "pad_token_id": base.pad_token_id,
            "token_type_ids": base.token_type_ids,
            "pair_joiner": base.pair_joiner,
        }
    )


def _tokenize(
    task: HeadTask, head: Head, encoder: InputEncoder, batch_size: int, output_dir: Path
) -> dict[str, TokenCounts]:
    """Token files of what is trained on, and the counts of all splits."""
    counts = {
        split: write_tokens(
            output_dir / f"{split}.arrow", _read_rows(output_dir, split), task, head, encoder, batch_size
        )
        for split in TRAINED_SPLITS
    }
    return counts | {"test": count_tokens(_read_rows(output_dir, "test"), task, encoder, batch_size)}


def _read_rows(folder: Path, split: str) -> Iterator[Row]:
    """Canonical rows of a prepared split."""
    progress = Progress(f"Tokenizing {split}")
    with (folder / f"{split}.jsonl").open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            yield json.loads(line)
            progress.tick(number)


def _args(
    task: HeadTask,
    parameters: PreprocessParameters,
    head: Head,
    report: DatasetReport,
    base: Base,
    counts: Mapping[str, TokenCounts],
    notes: list[str],
    pretrained: Path,
) -> PreprocessArgs:
    weights = hash_weights(pretrained)
    tokenizer = hash_file(pretrained / "tokenizer.json")
    decides = [_FORMAT, report.fingerprint, head.model_dump(), parameters.pad_to_max_length, weights, tokenizer]
    return PreprocessArgs(
        task=task.name,
        catalogue_task=next(name for name, core in CORE_TASKS.items() if core == task.name),
        parameters=parameters.model_dump(),
        columns=head.columns,
        label_map={label: number for number, label in enumerate(head.labels)} or None,
        max_seq_length=head.max_seq_length,
        model=ModelFacts(id=public_name(base.model_id), revision=base.resolved.revision, weights_sha256=weights),
        dataset=DatasetFacts(
            id=public_name(report.dataset_id),
            revision=report.revision,
            fingerprint=report.fingerprint,
            license=report.license,
        ),
        tokenizer_sha256=tokenizer,
        splits={split: each.numbers() for split, each in counts.items()},
        notes=notes,
        fingerprint=hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest(),
    )


def _log(counts: Mapping[str, TokenCounts], head: Head, notes: list[str]) -> None:
    for note in notes:
        logger.warning("%s", note)
    for split, each in counts.items():
        logger.info(
            "%s: %d rows in %d inputs of at most %d tokens, %d tokens (longest %d); %d rows cut",
            split, each.rows, each.inputs, head.max_seq_length, each.tokens, each.longest, each.cut,
        )  # fmt: skip
