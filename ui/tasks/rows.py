"""Predictions for several texts: a table for the eye, and a CSV file. Everything from outside is escaped here."""

import csv
import io
import json
from collections.abc import Sequence

from ui.contract import Prediction, Task
from ui.marking import escaped
from ui.tasks.entities import colours_of, mark_entities, percent
from ui.tasks.results import short


def draw_rows(task: Task, texts: Sequence[str], predictions: Sequence[Prediction]) -> str:
    """One row for each text."""
    entities = [entity for each in predictions for entity in each.entities]
    colours = colours_of(task, entities)
    title = {"single_label": "Label", "multi_label": "Labels", "regression": "Number", "ner": "Names"}[task.task]
    # Of names, the text itself shows which; this column says how many.
    figure = ' class="figure"' if task.task in ("regression", "ner") else ""
    heads = f'<th scope="col" class="figure">No.</th><th scope="col">Text</th><th scope="col"{figure}>{title}</th>'
    heads += '<th scope="col" class="figure">Probability</th>' if task.task == "single_label" else ""
    rows = []
    for place, (text, each) in enumerate(zip(texts, predictions, strict=True), start=1):
        shown = mark_entities(text, each.entities, colours) if task.task == "ner" else escaped(text)
        result = str(len(each.entities)) if task.task == "ner" else short(task, each)
        cells = [f'<td dir="auto">{shown}</td>', f'<td dir="auto"{figure}>{escaped(result)}</td>']
        if task.task == "single_label":
            cells.append(f'<td class="figure">{"" if each.score is None else percent(each.score)}</td>')
        cut = ' <small class="least">cut</small>' if each.cut else ""
        rows.append(f'<tr><th scope="row" class="figure">{place}{cut}</th>{"".join(cells)}</tr>')
    note = _cut_note(sum(each.cut for each in predictions))
    return (
        f'<p class="label">{len(texts)} texts</p>{note}<div class="rows tall" tabindex="0" role="region" '
        f'aria-label="Table of the results"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def csv_file(task: Task, texts: Sequence[str], predictions: Sequence[Prediction]) -> bytes:
    """All texts with all that is known about each, for a spreadsheet.

    Lists are JSON, so that a comma in a label does no harm. A mark in front says that it is UTF-8, which
    spreadsheets guess wrongly without it.
    """
    labels = list(predictions[0].probabilities) if predictions else []
    columns = {"single_label": ["label", "score"], "multi_label": ["labels"], "regression": ["value"]}
    head = ["text", *columns.get(task.task, ["entities"]), *(f"probability of {label}" for label in labels), "cut"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    for written, each in zip(texts, predictions, strict=True):
        probabilities = [each.probabilities.get(label, "") for label in labels]
        writer.writerow([written, *_values(task, each), *probabilities, "true" if each.cut else "false"])
    return text.getvalue().encode("utf-8-sig")


def _values(task: Task, each: Prediction) -> list[object]:
    match task.task:
        case "single_label":
            return [each.label, each.score]
        case "multi_label":
            return [json.dumps(each.labels, ensure_ascii=False)]
        case "regression":
            return [each.value]
        case _:
            return [json.dumps([entity.model_dump() for entity in each.entities], ensure_ascii=False)]


def _cut_note(count: int) -> str:
    if not count:
        return ""
    return (
        f'<div class="notice neutral" role="note" data-kind="cut"><p class="what">{count} of the texts '
        f"{'was' if count == 1 else 'were'} cut</p><p>They are longer than the model reads.</p></div>"
    )
