"""A text with the names in it marked by type, a legend, and a table. Everything from outside is escaped here."""

from collections.abc import Sequence

from ui.contract import Entity, Prediction, Task
from ui.marking import escaped

COLOURS = 8
"""Kinds of marks in style.css; more types than that share them, and always bear their type's name as well."""


def draw_entities(task: Task, text: str, prediction: Prediction) -> str:
    """Text, legend and table."""
    if not prediction.entities:
        return (
            '<p class="label">Names</p><p class="answer absent">The model finds no names in the text.</p>'
            f"{_framed(escaped(text))}"
        )
    colours = colours_of(task, prediction.entities)
    marked = mark_entities(text, prediction.entities, colours)
    return (
        f'<p class="label">Names in the text</p>{_framed(marked)}{_legend(prediction.entities, colours)}'
        f"{_table(prediction.entities, colours)}"
    )


def percent(share: float) -> str:
    """A probability, never rounded to certainty."""
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def colours_of(task: Task, entities: Sequence[Entity]) -> dict[str, int]:
    """A colour for each type, the same for every text that this model reads."""
    known = [tag.partition("-")[2] for tag in task.labels if tag.startswith("B-")]
    types = dict.fromkeys([*known, *sorted({entity.type for entity in entities})])
    return {name: place % COLOURS for place, name in enumerate(types)}


def mark_entities(text: str, entities: Sequence[Entity], colours: dict[str, int]) -> str:
    """The text as escaped HTML with each name in a `mark`, its type written beside it."""
    pieces: list[str] = []
    position = 0
    for entity in sorted(entities, key=lambda each: each.start):
        start, end = max(position, entity.start), min(len(text), entity.end)
        if start >= end:
            continue
        pieces.append(escaped(text[position:start]))
        pieces.append(
            f'<mark class="entity t{colours[entity.type]}">{escaped(text[start:end])}'
            f'<span class="type">{escaped(entity.type)}</span></mark>'
        )
        position = end
    return "".join([*pieces, escaped(text[position:])])


def _framed(marked: str) -> str:
    # Focusable, so that a long text can be scrolled by keyboard.
    return f'<div class="context" tabindex="0" role="region" aria-label="The text">{marked}</div>'


def _legend(entities: Sequence[Entity], colours: dict[str, int]) -> str:
    counts: dict[str, int] = {}
    for entity in entities:
        counts[entity.type] = counts.get(entity.type, 0) + 1
    items = "".join(
        f'<li><span class="swatch t{colours[name]}" aria-hidden="true"></span>{escaped(name)} × {counts[name]}</li>'
        for name in sorted(counts, key=lambda name: colours[name])
    )
    return f'<ul class="legend" aria-label="Types of names">{items}</ul>'


def _table(entities: Sequence[Entity], colours: dict[str, int]) -> str:
    rows = "".join(
        f'<tr><th scope="row" dir="auto">{escaped(entity.text)}</th>'
        f'<td class="kind"><span class="swatch t{colours[entity.type]}" aria-hidden="true"></span>'
        f"{escaped(entity.type)}</td>"
        f'<td class="figure">{percent(entity.score)}</td><td class="figure">{entity.start}–{entity.end}</td></tr>'
        for entity in sorted(entities, key=lambda each: each.start)
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Name", "Type"))
    heads += "".join(f'<th scope="col" class="figure">{name}</th>' for name in ("Probability", "Characters"))
    return (
        '<div class="rows" tabindex="0" role="region" aria-label="Table of the names"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
