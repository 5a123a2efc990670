"""Makes one dataset of two, or of one and users' feedback: checked, without copies and without test rows."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.core.errors import DataError
from components.core.settings import Settings
from components.core.synthesis.config import DatasetMergeConfig
from components.core.synthesis.copies import CopyFilter
from components.core.synthesis.feedback import check_file, feedback_prompt, parse_feedback
from components.core.synthesis.held_out import parse_test_rows, read_test_sets
from components.core.synthesis.places import existing_rows, tool_folder, write_text
from components.core.synthesis.rows import BadRow, ChatRow, Comparing, parse_rows
from components.core.tables import check_target, read_rows, write_rows
from components.core.tasks import Prompt

logger = logging.getLogger(__name__)

COLUMNS = ("prompt", "prompt_id", "messages", "category", "generator", "seed_prompt", "source")
REASONS = {
    "bad_row": "that break the chat contract",
    "private": "with what looks private",
    "duplicate": "duplicates",
    "same_prompt": "with a prompt that is there already, answered otherwise",
    "too_similar": "near copies",
    "test_overlap": "that repeat a test row",
}
"""Why a row is left out."""


@dataclass(frozen=True)
class Dropped:
    """A row that was left out."""

    place: str
    reason: str
    """A key of REASONS."""
    message: str


@dataclass
class MergeResult:
    """What became of every row."""

    where: str = ""
    rows: int = 0
    """In the training split now."""
    kept: dict[str, int] = field(default_factory=dict)
    """Rows by the dataset that they come from."""
    dropped: list[Dropped] = field(default_factory=list)
    test_rows: int = 0
    """In the test split now; 0 where there is none."""
    report: str = ""
    """File that names every row that was left out."""

    def counts(self) -> dict[str, int]:
        """Rows left out, by reason."""
        reasons = [each.reason for each in self.dropped]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def merge(config: DatasetMergeConfig, settings: Settings) -> MergeResult:
    """Merge and write; of two rows that ask the same, the first dataset's stays.

    Raises:
        DataError: If a dataset cannot be used, or nothing is left.
        StorageError: If one cannot be read or the result not written.
    """
    for split in (config.result_train_split, config.result_test_split):
        check_target(config.result_ds_id, split, settings, push_to_hub=config.push_result_ds_to_hf_hub)
    prompts = []
    if config.feedback_file is not None:
        check_file(config.feedback_file)
        prompts = [feedback_prompt(config.feedback_model, settings)]
    tests = read_test_sets(config.test_sets, settings)
    old_test = _existing(config, config.result_test_split, settings)
    copies = CopyFilter(config.near_duplicate_similarity, Comparing(prompts))
    copies.hold_out([row for rows in tests.values() for row in rows])
    copies.hold_out(parse_test_rows(old_test, config.result_ds_id, config.result_test_split))
    result, taken = MergeResult(), []
    for name, rows in _sources(config, settings, prompts):
        kept = _take(rows, copies, result)
        result.kept[name] = result.kept.get(name, 0) + len(kept)
        taken += kept
        logger.info("%s: %d rows kept", name, len(kept))
    if not taken:
        raise DataError(f"no row is left to write ({say_counts(result.counts())}). Look at datasets and test splits.")
    result.rows = len(taken)
    result.where = _write(config, config.result_train_split, [as_row(row) for row in taken], settings)
    result.test_rows = _write_test(config, settings, tests, old_test)
    result.report = str(_write_report(config, result, settings))
    return result


def as_row(row: ChatRow) -> dict[str, Any]:
    """A row as it is written, with where it comes from."""
    source = row.source or f"{row.place.dataset}:{row.place.split}#{row.place.row}"
    values = (row.prompt, row.prompt_id, row.messages, row.category, row.generator, row.seed_prompt, source)
    return dict(zip(COLUMNS, values, strict=True))


def say_counts(counts: Mapping[str, int]) -> str:
    """Rows left out, in words."""
    return ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in counts.items()) or "nothing left out"


def _sources(
    config: DatasetMergeConfig, settings: Settings, prompts: Sequence[Prompt]
) -> Iterator[tuple[str, Iterable[ChatRow | BadRow]]]:
    if config.result_train_append:
        there = _existing(config, config.result_train_split, settings)
        name = f"{config.result_ds_id}:{config.result_train_split}"
        yield f"{name} (already there)", parse_rows(there, config.result_ds_id, config.result_train_split)
    for dataset, split in ((config.ds1_id, config.ds1_split), (config.ds2_id, config.ds2_split)):
        if dataset is not None:
            yield f"{dataset}:{split}", parse_rows(read_rows(dataset, split, settings), dataset, split)
    if config.feedback_file is not None:
        file = config.feedback_file.expanduser()
        yield file.name, parse_feedback(read_rows(str(file.resolve()), "train", settings), file, prompts[0])


def _take(rows: Iterable[ChatRow | BadRow], copies: CopyFilter, result: MergeResult) -> list[ChatRow]:
    good = []
    for row in rows:
        if isinstance(row, ChatRow):
            good.append(row)
        else:
            result.dropped.append(Dropped(str(row.place), row.kind, row.reason))
    kept = []
    for row, copy in zip(good, copies.judge(good), strict=True):
        if copy is None:
            kept.append(row)
        else:
            result.dropped.append(Dropped(str(row.place), copy.reason, str(copy)))
    return kept


def _existing(config: DatasetMergeConfig, split: str, settings: Settings) -> list[dict[str, Any]]:
    return existing_rows(config.result_ds_id, split, settings, config.push_result_ds_to_hf_hub)


def _write(config: DatasetMergeConfig, split: str, rows: Sequence[Mapping[str, Any]], settings: Settings) -> str:
    push = config.push_result_ds_to_hf_hub
    return write_rows(rows, config.result_ds_id, split, settings, push_to_hub=push, columns=COLUMNS)


def _write_test(
    config: DatasetMergeConfig,
    settings: Settings,
    tests: Mapping[tuple[str, str], Sequence[ChatRow]],
    old: Sequence[Mapping[str, Any]],
) -> int:
    """Rows of the test split; it is written only where there is none, or rows are to be added."""
    if old and not config.result_test_append:
        return len(old)
    wanted = [(config.ds1_id, config.ds1_test_split)]
    if config.result_test_append:
        wanted.append((config.ds2_id or "", config.ds2_test_split))
    split = config.result_test_split
    rows = parse_test_rows(old, config.result_ds_id, split)
    rows += [row for dataset, name in wanted if name for row in tests[dataset, name]]
    unique = {json.dumps([row.prompt_id, row.messages]): row for row in reversed(rows)}
    kept = [as_row(row) for row in reversed(unique.values())]
    if len(kept) > len(old):
        _write(config, split, kept, settings)
    return len(kept)


def _write_report(config: DatasetMergeConfig, result: MergeResult, settings: Settings) -> Path:
    """Every row that was left out, with its number and why."""
    content = {**asdict(result), "counts": result.counts(), "config": config.model_dump(mode="json")}
    file = tool_folder(config.result_ds_id, settings) / "merge.json"
    write_text(file, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return file
