"""From any supported dataset to three checked JSON Lines files and a report."""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from components.core.data.contract.duplicates import check_ids, check_rows
from components.core.data.contract.labels import check_columns, check_targets
from components.core.data.contract.leakage import find_leaks
from components.core.data.contract.ledger import Ledger
from components.core.data.contract.reading import Progress, SplitReader, check_drift
from components.core.data.label_map import describe_target
from components.core.data.naming import printable
from components.core.data.report import (
    DatasetReport,
    summarize_columns,
    summarize_lengths,
    summarize_targets,
    write_page,
    write_report,
)
from components.core.data.sources import SPLITS, Source, open_source
from components.core.data.splits import Plan, Positions, limit_rows, plan_splits
from components.core.errors import ConfigError, DataError, StorageError
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import Settings
from components.core.tasks import get_task
from components.core.tasks.seam import RowContract

logger = logging.getLogger(__name__)

INFO_FILE = "dataset_info.json"
_SHOWN_ERRORS = 5
_SPOOL_PREFIX = ".spool-"


def prepare_dataset(
    data: DataConfig, task: TaskConfig, output_dir: Path, settings: Settings, source_version: str = ""
) -> DatasetReport:
    """Read a dataset, hold every row against the task's contract, and write what training reads.

    Args:
        data: Which dataset, and what happens to bad rows and leaks.
        task: Row schema.
        output_dir: Gets train.jsonl, validation.jsonl, test.jsonl, dataset_info.json, report.json and report.html.
        settings: Where the Hub is.
        source_version: What `source_version()` said; recorded only.

    Raises:
        DataError: If rows break the contract and `data.on_bad_row` is `stop`, if rows leak and `data.on_leakage` is
            `stop`, or if no usable dataset remains. The report is written first.
        StorageError: If the source cannot be read, or the output not be written.
    """
    started = time.monotonic()
    _check_mapping(data, task)
    preparation = _Preparation(data, get_task(task), source_version)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for name in (*(f"{split}.jsonl" for split in SPLITS), INFO_FILE):
            (output_dir / name).unlink(missing_ok=True)
        for leftover in output_dir.glob(f"{_SPOOL_PREFIX}*"):  # of a run that was killed
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=output_dir, prefix=_SPOOL_PREFIX) as folder, ExitStack() as stack:
            preparation.read(settings, Path(folder), stack)
            preparation.check()
            if not preparation.ledger.blocking:
                preparation.write(output_dir)
            report = preparation.report(output_dir)
        report.seconds = round(time.monotonic() - started, 2)
        write_report(report, output_dir)
        write_page(report, output_dir)
    except OSError as error:
        raise StorageError(f"cannot write to {output_dir}: {error}. Check the disk and its permissions.") from error
    if not report.ok:
        raise DataError(_complaint(report, preparation.ledger, data))
    kept = ", ".join(f"{rows:,} {split}" for split, rows in report.rows.items())
    for line in _remarks(preparation.ledger):
        logger.warning("Warning: %s", line)
    logger.info("Prepared %s rows in %.1f s (warnings: %d)", kept, report.seconds, report.warnings)
    return report


def _check_mapping(data: DataConfig, config: TaskConfig) -> None:
    task = get_task(config)
    known = [*task.columns, *task.optional_columns]
    unknown = sorted(set(data.columns) - set(known))
    if unknown:
        raise ConfigError(
            f"data.columns: {', '.join(map(printable, unknown))} is no column of the task {task.name}; it has "
            f"{', '.join(known)}. "
            "The mapping is {ours: theirs}."
        )


class _Preparation:
    """One run of prepare_dataset, in the order of its methods."""

    def __init__(self, data: DataConfig, task: RowContract, source_version: str) -> None:
        self.data = data
        self.task = task
        self.source_version = source_version
        self.ledger = Ledger(forgive_rows=data.on_bad_row == "drop")
        self.source = Source(data.dataset_id, {})
        self.readers: dict[str, SplitReader] = {}
        self.plan = Plan()
        self.dropped: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self.fingerprint = ""

    def read(self, settings: Settings, folder: Path, stack: ExitStack) -> None:
        """Read and spool every row of every split."""
        columns = [self.data.columns.get(name, name) for name in self.task.columns]
        optional = [self.data.columns.get(name, name) for name in self.task.optional_columns]
        self.source = open_source(
            self.data, settings, columns, {*columns, *optional}, folder / "download", self.task.name
        )
        for split, rows in self.source.splits.items():
            reader = SplitReader(split, self.task, self.data, self.ledger, folder / f"{split}.spool")
            stack.callback(reader.spool.release)
            self.readers[split] = reader
            fatal_before = self.ledger.fatal
            reader.read(rows())
            bad = reader.rows_read - len(reader.spool)
            if bad:
                self.dropped["bad row"] = self.dropped.get("bad row", 0) + bad
            if not len(reader.spool) and self.ledger.fatal == fatal_before:
                self._complain_about_no_rows(split, reader.rows_read)
        unseen = set.intersection(*(reader.unseen for reader in self.readers.values()))
        for name in sorted(unseen) if any(reader.columns.rows for reader in self.readers.values()) else ():
            message = f"data.columns maps from {printable(name)}, a column that no row has"
            self.ledger.add("unknown_column", "error", "data.columns", 0, message, fatal=True)

    def check(self) -> None:
        """Look at the rows together: drift, repeats, splits, leaks."""
        columns = {split: reader.columns for split, reader in self.readers.items()}
        check_drift(columns, self.task, self.ledger)
        check_columns(columns, self.source.files, self.task, self.ledger)
        spools = {split: reader.spool for split, reader in self.readers.items()}
        usable: dict[str, Positions] = {}
        for split, spool in spools.items():
            repeated = check_ids(spool, self.ledger)
            check_rows(spool, self.ledger)
            usable[split] = np.flatnonzero(~repeated)
            if repeated.any():
                self.dropped["duplicate id"] = self.dropped.get("duplicate id", 0) + int(repeated.sum())
        if self.ledger.fatal or not all(len(positions) for positions in usable.values()):
            return
        self.plan = plan_splits(spools, usable, self.task, self.data, self.ledger)
        leaking = find_leaks(self.plan, self.task, self.data, self.ledger)
        if self.data.on_leakage == "drop" and len(leaking):
            train, positions = self.plan.parts["train"]
            kept = positions[~np.isin(positions, leaking)]
            self.plan.parts["train"] = (train, kept)
            self.dropped["leakage (train)"] = len(leaking)
            if not len(kept):
                self.ledger.add(
                    "no_rows", "error", "train", 0, "every training row leaks into validation or test", True
                )
        limit_rows(self.plan, self.data)
        if not self.ledger.blocking:  # what the good rows alone lack is no news while others are broken
            check_targets(self.plan, self.task, self.data, self.ledger)

    def write(self, output_dir: Path) -> None:
        """Write the splits, and last `dataset_info.json`, so that its presence means that they are complete."""
        total = hashlib.sha256()
        for split in SPLITS:
            spool, positions = self.plan.parts[split]
            progress = Progress(f"Writing {split}")
            total.update(f"{split}\n".encode())
            with (output_dir / f"{split}.jsonl").open("wb") as file:
                for number, position in enumerate(positions):
                    line = spool.line(int(position))
                    total.update(line)
                    file.write(line)
                    progress.tick(number)
            self.rows[split] = len(positions)
        self.fingerprint = total.hexdigest()
        info = {
            "dataset_id": self.source.dataset_id,
            "revision": self.source.revision,
            "source_version": self.source_version,
            "license": self.source.license,
            "task": self.task.name,
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "splits": self.plan.notes,
            "seed": self.data.seed,
        } | describe_target(self.plan, self.task)
        text = json.dumps(info, ensure_ascii=False, indent=2) + "\n"
        (output_dir / INFO_FILE).write_text(text, encoding="utf-8")

    def report(self, output_dir: Path) -> DatasetReport:
        """What was found and done."""
        return DatasetReport(
            dataset_id=self.source.dataset_id,
            task=self.task.name,
            revision=self.source.revision,
            source_version=self.source_version,
            license=self.source.license,
            fingerprint=self.fingerprint,
            output_dir=str(output_dir),
            ok=bool(self.fingerprint),
            rows=self.rows,
            rows_read={split: reader.rows_read for split, reader in self.readers.items()},
            dropped=self.dropped,
            splits=self.plan.notes,
            files=self.source.files,
            errors=self.ledger.count("error"),
            warnings=self.ledger.count("warning"),
            findings=self.ledger.findings,
            columns=summarize_columns({split: reader.columns for split, reader in self.readers.items()}, self.task),
            lengths=summarize_lengths(self.plan, self.task.optional_columns),
            targets=summarize_targets(self.plan, self.task),
        )

    def _complain_about_no_rows(self, split: str, rows_read: int) -> None:
        files = ", ".join(self.source.files.get(split, [])) or split
        what = f"all {rows_read:,} rows are bad" if rows_read else "there are no rows"
        self.ledger.add("no_rows", "error", files, 0, f"the {split} split is empty: {what}", fatal=True)


def _complaint(report: DatasetReport, ledger: Ledger, data: DataConfig) -> str:
    """One message for all errors: how many, the first few, where the rest stands, what to do."""
    shown = ledger.first_blocking(_SHOWN_ERRORS)
    more = ledger.blocking - len(shown)
    listed = "; ".join(map(str, shown)) + (f"; and {more:,} more like these" if more else "")
    count = f"{ledger.blocking:,} error{'s' if ledger.blocking > 1 else ''}"
    remedy = (
        "Fix the data"
        if ledger.fatal or data.on_bad_row == "drop"
        else "Fix the rows, or leave them out with data.on_bad_row=drop"
    )
    return f"dataset {printable(report.dataset_id)} has {count}: {listed}. {remedy}. Report: {report.page}"


def _remarks(ledger: Ledger) -> list[str]:
    """One line for each kind of finding that does not stop the run: the first of them, and how many are like it."""
    kinds = [kind for kind in ledger.findings if kind.examples and not kind.blocking][:_SHOWN_ERRORS]
    return [f"{kind.examples[0]}" + (f" (and {kind.count - 1:,} more)" if kind.count > 1 else "") for kind in kinds]
