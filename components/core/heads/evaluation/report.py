"""The report of a model with a head: one HTML page that needs nothing else, with the verdict first."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from components.core.evaluation.charts import draw_axis, draw_bars, draw_curves, draw_interval, plot_bounds
from components.core.evaluation.report import read_training_log, training_curves, training_facts
from components.core.evaluation.results import METRIC_LABELS, REPORT_FILE, ModelName, show, show_signed
from components.core.heads.evaluation.charts import draw_confusion, draw_scatter, mark_entities
from components.core.heads.evaluation.results import HeadEvaluation
from components.core.tasks import HeadTask, Row
from components.core.tasks.heads import Prediction

TEMPLATE = "head_report.html.j2"
_LARGEST_MATRIX = 30
"""Labels up to which a confusion matrix can be read; beyond, the most confused pairs say more."""
_WORST, _BEST = 12, 4
_EXCERPT = 600
_HERE = Path(__file__).parent


def write_head_report(
    evaluation: HeadEvaluation,
    task: HeadTask,
    rows: Sequence[Row],
    predictions: Mapping[ModelName, Sequence[Prediction]],
    model_dir: Path,
    output_dir: Path,
) -> None:
    """Write report.html.

    Args:
        evaluation: All numbers and the verdict.
        task: Scores rows, to choose the examples.
        rows: The test rows.
        predictions: Of each model.
        model_dir: Holds the training log and facts; the page goes without them where they are missing.
        output_dir: Where the page goes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # every text is a stranger's: autoescape turns it into text, whatever it holds
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parents[1] / "evaluation"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tuned = predictions["tuned"]
    scores = [row[task.row_metrics[0]] for row in task.score_rows(rows, tuned)]
    order = sorted(range(len(rows)), key=lambda number: (scores[number], -_sureness(tuned[number])))
    wrong = [number for number in order if scores[number] < 1][:_WORST]
    page = environment.get_template(TEMPLATE).render(
        evaluation=evaluation,
        verdict=evaluation.verdict,
        metric_labels=METRIC_LABELS,
        share=f"{100 * evaluation.confidence:g} %",
        show=show,
        signed=show_signed,
        forest=_forest(evaluation),
        charts=_charts(evaluation, rows, tuned),
        curves=[*training_curves(read_training_log(model_dir)), *_metric_curves(read_training_log(model_dir))],
        training_facts=training_facts(model_dir),
        worst=[_example(rows[number], number, predictions) for number in wrong],
        best=[_example(rows[number], number, predictions) for number in reversed(order[-_BEST:])],
    )
    (output_dir / REPORT_FILE).write_text(page, encoding="utf-8")


def _sureness(prediction: Prediction) -> float:
    return float(prediction.get("score", 0.0))


def _forest(evaluation: HeadEvaluation) -> list[dict[str, Any]]:
    """By the other model the differences in shares; errors in units of their own have another scale."""
    shares = [name for name in evaluation.metrics if name not in ("mae", "rmse")]
    found = []
    for other, gaps in evaluation.everything.differences.items():
        drawn = {name: gaps[name] for name in shares if name in gaps}
        bounds = plot_bounds([bound for gap in drawn.values() for bound in (gap.low, gap.high)])
        lines = [
            {
                "label": METRIC_LABELS[name],
                "gap": gap,
                "name": name,
                "drawing": draw_interval(gap.low, gap.value, gap.high, bounds),
                "decides": name == evaluation.gate_metric,
            }
            for name, gap in drawn.items()
        ]
        found.append({"other": other, "lines": lines, "axis": draw_axis(bounds)})
    return found


def _charts(evaluation: HeadEvaluation, rows: Sequence[Row], tuned: Sequence[Prediction]) -> list[tuple[str, Markup]]:
    """What the task's own numbers look like, with captions."""
    details = evaluation.details
    charts: list[tuple[str, Markup]] = []
    if "confusion" in details:
        labels = details["confusion"]["labels"]
        if len(labels) <= _LARGEST_MATRIX:
            charts.append(("Confusion matrix", draw_confusion(labels, details["confusion"]["matrix"])))
    if details.get("calibration"):
        charts += _calibration(details["calibration"])
    if evaluation.task == "regression":
        pairs = [(float(row["score"]), float(each["value"])) for row, each in zip(rows, tuned, strict=True)]
        charts.append(
            ("Predicted against true", draw_scatter(pairs, "Predicted against true", "true", "predicted", "diagonal"))
        )
        errors = [(found, found - wanted) for wanted, found in pairs]
        charts.append(("Residuals", draw_scatter(errors, "Residuals", "predicted", "predicted - true", "zero")))
    return charts


def _calibration(bins: Sequence[Mapping[str, float]]) -> list[tuple[str, Markup]]:
    points = [(each["confidence"], each["accuracy"]) for each in bins]
    curves = {"this model": points, "perfectly calibrated": [(0.0, 0.0), (1.0, 1.0)]}
    counts = {"rows": [int(each["rows"]) for each in bins]}
    names = [f"{each['high']:.2f}" for each in bins]
    return [
        ("Calibration: how often it is right, by how sure it is", draw_curves(curves, "Calibration", "probability")),
        ("Predictions by probability, upper ends of the bins", draw_bars(counts, names, "Predictions by probability")),
    ]


def _metric_curves(log: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """Validation metrics over the training, all that are shares in one chart."""
    shown = ("accuracy", "f1_macro", "f1_micro", "f1", "r2", "pearson")
    curves = {}
    for name in shown:
        points = [(float(each["step"]), each[name]) for each in log if isinstance(each.get(name), float)]
        if points:
            curves[METRIC_LABELS.get(name, name)] = points
    first = dict(list(curves.items())[:2])  # two colours can be told apart by everybody
    return [("Validation", draw_curves(first, "Validation metrics", "step"))] if first else []


def _example(row: Row, number: int, predictions: Mapping[ModelName, Sequence[Prediction]]) -> dict[str, Any]:
    answers = [(name, _said(row, found[number])) for name, found in predictions.items()]
    if "tokens" in row:
        right = mark_entities(row["tokens"], row["ner_tags"])
        return {"text": "", "number": number + 1, "right": right, "answers": answers}
    text = "\n".join(str(row[name]) for name in ("text", "text_pair") if name in row)
    cut = text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} …"
    taught = next(row[name] for name in ("label", "labels", "score") if name in row)
    return {"text": cut, "number": number + 1, "right": escape(_plain(taught)), "answers": answers}


def _said(row: Row, prediction: Prediction) -> Markup:
    if "tags" in prediction:
        return mark_entities(row["tokens"], prediction["tags"])
    if "value" in prediction:
        return escape(f"{prediction['value']:.4g}")
    if "label" in prediction:
        return escape(f"{prediction['label']} ({100 * prediction['probabilities'][prediction['label']]:.0f} %)")
    return escape(_plain(prediction["labels"]))


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(no label)"
    return value if isinstance(value, str) else json.dumps(value)
