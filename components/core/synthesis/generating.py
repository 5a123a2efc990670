"""Asks a service LLM for new training rows until enough of them passed every check."""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.core.data.contract.reading import PROGRESS_SECONDS
from components.core.errors import DataError
from components.core.service_llm import (
    Journal,
    ServiceLLM,
    ServiceLLMError,
    ServiceRefused,
    ServiceUnavailable,
    open_service_llm,
)
from components.core.settings import Settings
from components.core.synthesis.asking import Call, Examples, build_messages
from components.core.synthesis.collecting import Collection, Usage
from components.core.synthesis.config import DataGenConfig
from components.core.synthesis.copies import CopyFilter
from components.core.synthesis.held_out import read_test_sets
from components.core.synthesis.places import existing_rows, tool_folder
from components.core.synthesis.report import GenerateResult, write_results
from components.core.synthesis.rows import ChatRow, Comparing, parse_rows
from components.core.synthesis.seeds import Seeds, choose_seeds, failed_rows
from components.core.tables import check_target, read_rows

logger = logging.getLogger(__name__)

_MOST_FAILED_IN_A_ROW = 8
"""Calls without one usable answer after which asking on is a waste."""


def generate(config: DataGenConfig, settings: Settings) -> GenerateResult:
    """Make new rows, write them with their provenance and a report.

    Raises:
        ServiceLLMError: If the service LLM cannot be asked; what came until then is kept, and a repeated run goes on.
        DataError: If a dataset cannot be used, or no row passed.
        StorageError: If something cannot be read or written.
        ConfigError: If there is no API key, or the result's name cannot be.
    """
    check_target(config.synth_ds_id, config.synth_ds_split, settings, push_to_hub=config.push_synth_ds_to_hf_hub)
    llm = open_service_llm(config, settings)
    prepared = _prepare(config, settings)
    folder = tool_folder(config.synth_ds_id, settings)
    file = folder / f"{config.synth_ds_split}-{prepared.digest[:12]}.calls.jsonl"
    with Journal(file, Call, anew=not config.resume) as journal:
        collection = Collection(config, prepared.seeds, prepared.copies)
        for call in journal.entries:
            collection.take(call)
        before = len(journal.entries)
        if before:
            logger.info("Taken from an earlier run: %s", collection.progress())
        asyncio.run(_Asking(config, prepared.seeds, llm, journal, collection).run())
        used = Usage.of(journal.entries, before, config, llm.usage)
        if not collection.kept:
            raise DataError(
                f"no row passed the checks: {collection.say_dropped()}. The answers are in {file}; look at the topic, "
                "the model, and near_duplicate_similarity."
            )
        return write_results(config, settings, collection, used, prepared.notes)


@dataclass(frozen=True)
class _Prepared:
    """What is known before the first call."""

    seeds: Seeds
    copies: CopyFilter
    digest: str
    """Of everything that decides what is asked."""
    notes: list[str]
    """What the report says about the input."""


def _prepare(config: DataGenConfig, settings: Settings) -> _Prepared:
    parsed = list(parse_rows(
        read_rows(config.reference_ds_id, config.reference_ds_split, settings),
        config.reference_ds_id, config.reference_ds_split,
    ))  # fmt: skip
    reference = [row for row in parsed if isinstance(row, ChatRow)]
    if not reference:
        first = next(row for row in parsed if not isinstance(row, ChatRow))
        raise DataError(f"no reference row is a conversation ({first.place}: {first.reason}). Correct the dataset.")
    judged = read_rows(config.failed_ds_id, config.failed_ds_split, settings) if config.failed_ds_id else []
    failed = failed_rows(judged, config) if judged else []
    tests = read_test_sets(config.test_sets, settings)
    old: list[dict[str, Any]] = []
    if config.synth_ds_append:
        on_hub = config.push_synth_ds_to_hf_hub
        old = existing_rows(config.synth_ds_id, config.synth_ds_split, settings, on_hub)
    copies = CopyFilter(config.near_duplicate_similarity, Comparing())
    copies.hold_out([row for rows in tests.values() for row in rows])
    seeds = choose_seeds(reference, failed, config, copies)
    copies.know(reference)
    copies.know([seed.row for seed in seeds.failed if seed.kind == "failed"])
    earlier = parse_rows(old, config.synth_ds_id, config.synth_ds_split)
    copies.know([row for row in earlier if isinstance(row, ChatRow)])
    return _Prepared(
        seeds, copies, _digest(config, seeds, old), _notes(config, parsed, reference, failed, seeds, tests)
    )


def _digest(config: DataGenConfig, seeds: Seeds, old: Sequence[Any]) -> str:
    """Other settings may change (more samples, other workers) without a new question."""
    asked = (config.label, config.temperature, config.max_tokens, config.topic, config.samples_per_call)
    content = json.dumps([asked, seeds.fingerprint, old], default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _notes(
    config: DataGenConfig,
    parsed: Sequence[Any],
    reference: Sequence[ChatRow],
    failed: Sequence[ChatRow],
    seeds: Seeds,
    tests: Any,
) -> list[str]:
    name = f"{config.reference_ds_id}:{config.reference_ds_split}"
    notes = [f"{len(reference):,} reference rows of {name}."]
    if len(parsed) > len(reference):
        notes.append(f"{len(parsed) - len(reference):,} more break the chat contract and were left out.")
    if len(reference) > len(seeds.reference):
        left = len(reference) - len(seeds.reference)
        notes.append(f"{left:,} of them are no seeds: they stand in a test split, too, or a model wrote them.")
    if config.failed_ds_id:
        shown = sum(seed.kind == "failed" for seed in seeds.failed)
        notes.append(
            f"{len(failed):,} failed rows of {config.failed_ds_id}:{config.failed_ds_split}; {len(failed) - shown:,} "
            f"stand in a test split, in whose place {len(seeds.failed) - shown:,} reference rows like them are used."
        )
    for (dataset, split), rows in tests.items():
        notes.append(f"No new row repeats one of {len(rows):,} test rows of {dataset}:{split}.")
    return notes if tests else [*notes, "No test split was named: nothing keeps the new rows apart from one."]


class _Asking:
    """Calls under way, and when the next one starts."""

    def __init__(
        self, config: DataGenConfig, seeds: Seeds, llm: ServiceLLM, journal: Journal[Call], collection: Collection
    ) -> None:
        self._config, self._seeds, self._llm = config, seeds, llm
        self._journal, self._collection = journal, collection
        self._failed_in_a_row = 0
        self._last_line = time.monotonic()

    async def run(self) -> None:
        """Ask until there is enough or the limit of calls is reached."""
        done_before = {call.call for call in self._journal.entries}
        waiting = iter([call for call in range(self._config.call_limit) if call not in done_before])
        tasks: set[asyncio.Task[Call]] = set()
        async with self._llm:
            try:
                while True:
                    while len(tasks) < self._config.gen_workers and self._wanted(len(tasks)):
                        call = next(waiting, None)
                        if call is None:
                            break
                        tasks.add(asyncio.create_task(self._ask(call)))
                    if not tasks:
                        break
                    done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    self._keep(done)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        logger.info("%s", self._collection.progress())

    def _wanted(self, under_way: int) -> bool:
        """Whether one more call is needed, if those under way bring as much as those before."""
        return self._collection.missing > under_way * self._collection.rows_per_call

    def _keep(self, done: set[asyncio.Task[Call]]) -> None:
        """Keep what came, all of it, before an error ends the run."""
        errors = []
        for task in sorted(done, key=lambda each: each.get_name()):
            error = task.exception()
            if error is not None:
                errors.append(error)
                continue
            call = task.result()
            self._journal.add(call)
            self._collection.take(call)
            self._failed_in_a_row = self._failed_in_a_row + 1 if call.problem else 0
        if errors:
            raise errors[0]
        if self._failed_in_a_row >= _MOST_FAILED_IN_A_ROW:
            raise ServiceLLMError(
                f"{self._failed_in_a_row} calls in a row brought nothing; the last: {self._journal.entries[-1].problem}"
            )
        if time.monotonic() - self._last_line >= PROGRESS_SECONDS:
            self._last_line = time.monotonic()
            logger.info("%s", self._collection.progress())

    async def _ask(self, call: int) -> Call:
        config = self._config
        messages = build_messages(self._seeds.of_call(call), config.topic, config.samples_per_call)
        try:
            reply = await self._llm.ask_json(messages, Examples)
        except (ServiceRefused, ServiceUnavailable) as error:
            kept = len(self._collection.kept)
            raise type(error)(f"{error} {kept:,} rows are kept so far; the same command goes on from there.") from error
        except ServiceLLMError as error:
            return Call(call=call, problem=str(error), tries=0, date=_now())
        return Call(
            call=call, examples=reply.value.examples, tries=reply.calls, input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens, date=_now(),
        )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
