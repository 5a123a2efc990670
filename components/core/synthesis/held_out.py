"""The test splits, which no new row may repeat."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.core.errors import DataError
from components.core.recipe import TaskConfig
from components.core.settings import Settings
from components.core.synthesis.rows import BadRow, ChatRow, Place, parse_row
from components.core.tables import read_rows
from components.core.tasks import Prompt

_SHOWN = 5


def read_test_sets(wanted: Iterable[tuple[str, str]], settings: Settings) -> dict[tuple[str, str], list[ChatRow]]:
    """The rows of every test split, by dataset and split.

    Raises:
        DataError: If a split is not there, or a row of it cannot be compared: the new rows could then repeat it.
        StorageError: If it cannot be read.
    """
    found = {}
    for dataset, split in dict.fromkeys(wanted):
        try:
            raw_rows = read_rows(dataset, split, settings)
        except DataError as error:
            raise DataError(f"the test split cannot be read: {error} Name another, or null for none.") from error
        found[dataset, split] = parse_test_rows(raw_rows, dataset, split)
    return found


def parse_test_rows(raw_rows: Sequence[Mapping[str, Any]], dataset: str, split: str) -> list[ChatRow]:
    """Test rows, conversations or questions on a context.

    Raises:
        DataError: If one is neither; it names the rows.
    """
    rows, bad = [], []
    for number, raw in enumerate(raw_rows, start=1):
        row = parse_row(_conversation(raw), Place(dataset, split, number))
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            rows.append(row)
    if bad:
        shown = "; ".join(f"row {row.place.row}: {row.reason}" for row in bad[:_SHOWN])
        raise DataError(
            f"the test split {dataset}:{split} has {len(bad):,} rows that cannot be compared ({shown}). Correct them, "
            "or name another split."
        )
    return rows


def _conversation(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A question on a context as the conversation that it becomes."""
    if "messages" in raw or not {"context", "question"} <= set(raw):
        return raw
    task = TaskConfig()
    prompt = Prompt(task.prompt_template, True, task.no_answer_text)
    asked = {"role": "user", "content": prompt.render(str(raw["context"]), str(raw["question"]))}
    return {"messages": [asked, {"role": "assistant", "content": str(raw.get("answers"))}]}
