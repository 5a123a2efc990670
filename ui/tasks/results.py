"""A prediction as HTML, one function for each task. Everything that comes from outside is escaped here."""

import math
from collections.abc import Sequence

from ui.contract import Prediction, Task
from ui.marking import escaped
from ui.tasks.entities import draw_entities, percent

SHOWN_BARS = 8
"""Labels that are shown at once; the others are folded, unless it is only one more."""
FALLBACK_THRESHOLD = 0.5
"""Of an endpoint that names none."""


def draw_result(task: Task, text: str, prediction: Prediction) -> str:
    """The result as a person would look at it."""
    note = cut_note(task) if prediction.cut else ""
    match task.task:
        case "single_label":
            return note + _single_label(prediction)
        case "multi_label":
            return note + _multi_label(task, prediction)
        case "regression":
            return note + _regression(task, prediction)
        case _:
            return note + draw_entities(task, text, prediction)


def short(task: Task, prediction: Prediction) -> str:
    """The result in a few words, without HTML."""
    match task.task:
        case "single_label":
            return prediction.label
        case "multi_label":
            return ", ".join(prediction.labels) or "no label"
        case "regression":
            return "no number" if prediction.value is None else number(prediction.value, task)
        case _:
            count = len(prediction.entities)
            return "no names" if count == 0 else "1 name" if count == 1 else f"{count} names"


def number(value: float, task: Task) -> str:
    """A number with as many decimals as the range of the training targets asks for."""
    spread = task.scale.maximum - task.scale.minimum if task.scale else abs(value)
    decimals = max(0, min(6, 3 - math.ceil(math.log10(spread)))) if spread > 0 and math.isfinite(spread) else 2
    text = f"{value:,.{decimals}f}".replace("-", "−")
    return text.removeprefix("−") if not text.strip("−0.,") else text


def cut_note(task: Task) -> str:
    """Says that a part of the text was not read."""
    limit = f" {task.max_seq_length:,} tokens" if task.max_seq_length else ""
    said = "long for the model, and its end was not read." if not limit else f"long: the model reads{limit} of it."
    return (
        '<div class="notice neutral" role="note" data-kind="cut"><p class="what">The text was cut</p>'
        f"<p>It is too {said}</p></div>"
    )


def _single_label(prediction: Prediction) -> str:
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    bars = [_bar(label, share, chosen=label == prediction.label) for label, share in ranked]
    sure = "" if prediction.score is None else f'<p class="sure">Probability {percent(prediction.score)}</p>'
    return (
        f'<p class="label">Label</p><p class="answer verdict" dir="auto">{escaped(prediction.label)}</p>{sure}'
        f"{_bars('Probability of each label', bars, SHOWN_BARS)}"
    )


def _multi_label(task: Task, prediction: Prediction) -> str:
    thresholds = dict(zip(task.labels, task.thresholds or (), strict=False))
    chips = "".join(
        f'<li><span dir="auto">{escaped(label)}</span> '
        f'<span class="share">{percent(prediction.probabilities.get(label, 0.0))}</span></li>'
        for label in prediction.labels
    )
    none = '<p class="answer absent">No label reaches its threshold.</p>'
    ranked = sorted(prediction.probabilities.items(), key=lambda item: (item[0] not in prediction.labels, -item[1]))
    bars = [
        _bar(label, share, label in prediction.labels, thresholds.get(label, FALLBACK_THRESHOLD))
        for label, share in ranked
    ]
    title = "Labels" if len(prediction.labels) != 1 else "Label"
    found = f'<ul class="chips">{chips}</ul>' if chips else none
    shown = max(SHOWN_BARS, len(prediction.labels))
    key = '<p class="key"><span class="tick" aria-hidden="true"></span> The line on a bar is the label’s threshold.</p>'
    return f'<p class="label">{title}</p>{found}{_bars("Probability of each label", bars, shown)}{key}'


def _bar(label: str, share: float, chosen: bool, threshold: float | None = None) -> str:
    width = 100 * min(1.0, max(0.0, share))
    line = "" if threshold is None else f'<b style="inset-inline-start:{100 * threshold:.1f}%"></b>'
    # A sign and a word besides the colour, for those who do not see the colour or the page.
    sign = '<span class="sign" aria-hidden="true">✓</span><span class="heard">chosen: </span>' if chosen else ""
    least = "" if threshold is None else f'<small class="least">from {percent(threshold)}</small>'
    return (
        f'<li class="{"chosen" if chosen else ""}"><span class="name" dir="auto">{sign}{escaped(label)}</span>'
        f'<span class="bar" aria-hidden="true"><i style="width:{width:.1f}%"></i>{line}</span>'
        f'<span class="share">{percent(share)}{least}</span></li>'
    )


def _bars(title: str, bars: Sequence[str], shown: int) -> str:
    if not bars:
        return ""
    shown = len(bars) if len(bars) == shown + 1 else shown
    first, rest = bars[:shown], bars[shown:]
    folded = (
        f'<details class="more"><summary>{len(rest):,} more labels</summary>'
        f'<ul class="bars">{"".join(rest)}</ul></details>'
        if rest
        else ""
    )
    return f'<p class="label">{title}</p><ul class="bars">{"".join(first)}</ul>{folded}'


def _regression(task: Task, prediction: Prediction) -> str:
    if prediction.value is None:
        return '<p class="answer absent">The endpoint gave no number.</p>'
    shown = number(prediction.value, task)
    head = f'<p class="label">Predicted number</p><p class="answer verdict">{shown}</p>'
    return head + _scale(task, prediction.value, shown)


def _scale(task: Task, value: float, shown: str) -> str:
    scale = task.scale
    if scale is None or not scale.minimum < scale.maximum:
        return ""

    def place(position: float) -> float:
        return 100 * min(1.0, max(0.0, (position - scale.minimum) / (scale.maximum - scale.minimum)))

    low, mean, high = (number(each, task) for each in (scale.minimum, scale.mean, scale.maximum))
    beyond = "below the lowest" if value < scale.minimum else "above the highest" if value > scale.maximum else ""
    outside = f'<p class="sure">This is {beyond} number that the model was trained on.</p>' if beyond else ""
    label = f"{shown} on a scale from {low} to {high}; the mean is {mean}"
    return (
        f'{outside}<div class="scale" role="img" aria-label="{label}"><span class="track">'
        f'<b style="left:{place(scale.mean):.1f}%"></b><i style="left:{place(value):.1f}%"></i></span>'
        f'<span class="ends"><span>{low}</span><span>{high}</span></span></div>'
        f'<p class="key"><span class="tick" aria-hidden="true"></span> From the lowest to the highest number of the '
        f"training data; the line is their mean, {mean}.</p>"
    )
