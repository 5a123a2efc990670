"""The report: one HTML page that needs nothing else, with the verdict first and examples to look at."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from components.core.evaluation.charts import Curve, draw_axis, draw_bars, draw_curves, draw_interval, plot_bounds
from components.core.evaluation.forgetting.chart import draw_probe
from components.core.evaluation.predictions import Answers
from components.core.evaluation.results import (
    ALL_ROWS,
    IN_UNITS,
    METRIC_LABELS,
    PROBE_LABELS,
    REPORT_FILE,
    SLICE_LABELS,
    Evaluation,
    ModelName,
    points,
    show,
    show_signed,
)
from components.core.registry.names import without_paths
from components.core.tasks import Row, RowView, view_row

logger = logging.getLogger(__name__)

TRAINING_LOG = "training_log.jsonl"
TRAINING_INFO = "training_info.json"
TEMPLATE = "report.html.j2"

_EXCERPT = 320
"""Characters of context shown on each side of the answer."""
_BINS = ("0", "1–25", "26–50", "51–75", "76–99", "100")


@dataclass(frozen=True)
class Example:
    """One test row as the report shows it."""

    row_id: str
    question: str
    references: list[str]
    excerpt: Markup
    """Context around the marked answer."""
    whole: Markup | None
    """The whole context, where the excerpt is not all of it."""
    answers: list[tuple[str, str, float]]
    """Model, answer, score."""


def write_report(
    evaluation: Evaluation,
    rows: Sequence[Row],
    answers: Mapping[ModelName, Answers],
    model_dir: Path,
    output_dir: Path,
    examples: int,
    forgetting_limit: float | None = None,
) -> None:
    """Write report.html.

    Args:
        evaluation: All numbers and the verdict.
        rows: The test rows.
        answers: What each model said to each row.
        model_dir: Holds the training log and facts; the page goes without them where they are missing.
        output_dir: Where the page goes.
        examples: Rows shown, half of them the worst and half the best.
        forgetting_limit: Rise of the probe's loss from which the gate refuses; None where it does not ask.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Every text is a stranger's: autoescape turns it into text, whatever it holds.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["points"] = points
    # loss is a number of all rows together
    by_row = evaluation.gate_metric if evaluation.gate_metric in answers["tuned"].scores[0] else evaluation.metrics[0]
    worst, best = choose_examples(answers, by_row, examples)
    log = read_training_log(model_dir)
    page = environment.get_template(TEMPLATE).render(
        evaluation=evaluation,
        verdict=evaluation.verdict,
        metric_labels=METRIC_LABELS,
        slice_labels=SLICE_LABELS,
        gate_label=METRIC_LABELS[evaluation.gate_metric],
        row_label=METRIC_LABELS[by_row],
        show_score=show,
        signed=show_signed,
        share=f"{100 * evaluation.confidence:g} %",
        forest=_forest(evaluation),
        movement=_movement(answers, by_row),
        distribution=_distribution(answers, by_row),
        curves=training_curves(log),
        training_facts=training_facts(model_dir),
        probe_labels=PROBE_LABELS,
        forgetting_limit=forgetting_limit,
        probe_chart=draw_probe(evaluation.forgetting, forgetting_limit) if evaluation.forgetting else "",
        worst=[_example(rows, answers, number, by_row) for number in worst],
        best=[_example(rows, answers, number, by_row) for number in best],
    )
    (output_dir / REPORT_FILE).write_text(page, encoding="utf-8")


def choose_examples(answers: Mapping[ModelName, Answers], metric: str, count: int) -> tuple[list[int], list[int]]:
    """Rows to look at: where the tuned model lost most against the base or is most wrong, and where it gained."""
    tuned = [scores[metric] for scores in answers["tuned"].scores]
    gaps = [score - scores[metric] for score, scores in zip(tuned, answers["base"].scores, strict=True)]
    wrong = [number for number, score in enumerate(tuned) if score < 1]
    worst = sorted(wrong, key=lambda number: (gaps[number], tuned[number]))[: (count + 1) // 2]
    right = [number for number, score in enumerate(tuned) if score > 0 and number not in set(worst)]
    best = sorted(right, key=lambda number: (-gaps[number], -tuned[number]))[: count // 2]
    return worst, best


def _forest(evaluation: Evaluation) -> dict[str, Any]:
    """Lines of the forest plot by the other model, all shares on one scale, and that scale; others have their own."""
    gaps = [
        (other, name, metric, gap)
        for name, part in evaluation.slices.items()
        for other, differences in part.differences.items()
        for metric, gap in differences.items()
    ]
    scales = {metric: metric if metric in IN_UNITS else "points" for *_, metric, _ in gaps}
    ends: dict[str, list[float]] = {"points": [0.0]}
    for *_, metric, gap in gaps:
        ends.setdefault(scales[metric], []).extend((gap.low, gap.high))
    bounds = {scale: plot_bounds(found) for scale, found in ends.items()}
    lines: dict[str, list[dict[str, Any]]] = {}
    for other, name, metric, gap in gaps:
        lines.setdefault(other, []).append(
            {
                "label": f"{SLICE_LABELS[name]}, {METRIC_LABELS[metric]}",
                "gap": gap,
                "metric": metric,
                "drawing": draw_interval(gap.low, gap.value, gap.high, bounds[scales[metric]]),
                "decides": name == ALL_ROWS and metric == evaluation.gate_metric,
            }
        )
    return {"lines": lines, "axis": draw_axis(bounds["points"])}


def _movement(answers: Mapping[ModelName, Answers], metric: str) -> dict[str, int]:
    pairs = zip(answers["base"].scores, answers["tuned"].scores, strict=True)
    gaps = [tuned[metric] - base[metric] for base, tuned in pairs]
    better, worse = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return {"better": better, "same": len(gaps) - better - worse, "worse": worse}


def _distribution(answers: Mapping[ModelName, Answers], metric: str) -> Markup:
    counts: dict[str, list[int]] = {}
    for name, found in answers.items():
        bins = [0] * len(_BINS)
        for scores in found.scores:
            bins[_bin(scores[metric])] += 1
        counts[name] = bins
    return draw_bars(counts, _BINS, f"Rows by {METRIC_LABELS[metric]} of each model")


def _bin(score: float) -> int:
    if score in (0, 1):
        return 0 if score == 0 else len(_BINS) - 1
    return 1 + min(3, int(score * 4))


def read_training_log(model_dir: Path) -> list[dict[str, Any]]:
    """The points of the training log; empty where there is none. A line cut short by a killed run is left out."""
    path = model_dir / TRAINING_LOG
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            records.append({"step": float(record["step"]), **record})
        except (ValueError, KeyError, TypeError):
            logger.warning("%s, line %d is not a point of the training log; left out", path, number)
    return records


def training_curves(log: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """Charts with their captions."""
    wanted = [
        ("Loss", {"training": "loss", "validation": "validation_loss"}),
        ("Learning rate", {"learning rate": "learning_rate"}),
        ("Tokens per second", {"tokens per second": "tokens_per_second"}),
    ]
    charts = []
    for caption, names in wanted:
        curves = {label: _curve(log, key) for label, key in names.items()}
        curves = {label: curve for label, curve in curves.items() if curve}
        if curves:
            charts.append((caption, draw_curves(curves, caption, "step")))
    return charts


def _curve(log: Sequence[Mapping[str, Any]], key: str) -> Curve:
    return [
        (float(point["step"]), float(point[key]))
        for point in log
        if isinstance(point.get(key), int | float) and abs(point[key]) < float("inf")
    ]


def training_facts(model_dir: Path) -> list[tuple[str, str]]:
    """Single values of training_info.json, in its order; a path of the machine is cut to its last part."""
    path = model_dir / TRAINING_INFO
    try:
        facts = without_paths(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        return [(key.replace("_", " "), _plain(value)) for key, value in facts.items() if _is_plain(value)]
    except (OSError, ValueError, AttributeError) as error:
        logger.warning("%s is not readable (%s); the report goes without it", path, error)
        return []


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _example(rows: Sequence[Row], answers: Mapping[ModelName, Answers], number: int, metric: str) -> Example:
    row, view = rows[number], view_row(rows[number])
    context = view.context
    start, end = _gold_span(view)
    first, last = max(0, start - _EXCERPT), min(len(context), max(end, start) + _EXCERPT)
    # only a little would be hidden: show it all
    first, last = 0 if first < 80 else first, len(context) if len(context) - last < 80 else last
    complete = first == 0 and last == len(context)
    return Example(
        row_id=row["id"],
        question=view.question,
        references=list(dict.fromkeys(view.references)),
        excerpt=_mark(context, first, last, start, end),
        whole=None if complete else _mark(context, 0, len(context), start, end),
        answers=[(name, found.answers[number], found.scores[number][metric]) for name, found in answers.items()],
    )


def _gold_span(view: RowView) -> tuple[int, int]:
    """Where the first reference stands in the context; an empty span at the start where it does not."""
    context = view.context
    for text, start in zip(view.references, view.starts, strict=True):
        place = start if start >= 0 and context.startswith(text, start) else context.find(text)
        if text and place >= 0:
            return place, place + len(text)
    return 0, 0


def _mark(context: str, first: int, last: int, start: int, end: int) -> Markup:
    before = Markup("… ") if first else Markup("")
    after = Markup(" …") if last < len(context) else Markup("")
    marked = Markup("<mark>{}</mark>").format(context[start:end]) if end > start else Markup("")
    return before + escape(context[first:start]) + marked + escape(context[max(end, first) : last]) + after
