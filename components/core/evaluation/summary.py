"""The evaluation in a few lines: a table for the terminal, and Markdown for the pipeline's page."""

from collections.abc import Callable, Mapping, Sequence

from components.core.evaluation.results import (
    METRIC_LABELS,
    PROBE_LABELS,
    SLICE_LABELS,
    Evaluation,
    ModelName,
    Score,
    Slice,
    show,
    show_signed,
)


def print_summary(evaluation: Evaluation) -> str:
    """Scores with their intervals, differences and the verdict as lines for a terminal."""
    header = ["", "metric", *evaluation.models, *(f"tuned - {other}" for other in evaluation.everything.differences)]
    lines = align([header, *_table(evaluation)])
    share = f"{100 * evaluation.confidence:g} %"
    return "\n".join(
        [
            f"Evaluation of {evaluation.rows} test rows; points of 100 with the {share} interval",
            *lines,
            *forgetting_lines(evaluation),
            *(f"note: {note}" for note in evaluation.notes),
            *(f"warning: {warning}" for warning in evaluation.verdict.warnings),
            evaluation.verdict.headline,
            *(f"  also: {reason}" for reason in evaluation.verdict.reasons[1:]),
        ]
    )


def summarize_markdown(evaluation: Evaluation) -> str:
    """The same for a Markdown page."""
    verdict = evaluation.verdict
    header = ["Rows", "Metric", *(name.capitalize() for name in evaluation.models)]
    header += [f"Tuned - {other}" for other in evaluation.everything.differences]
    lines = [
        f"## {'✅' if verdict.passed else '⛔'} {verdict.headline}",
        "",
        f"{evaluation.rows} test rows from {evaluation.contexts} contexts; points of 100, in brackets the "
        f"{100 * evaluation.confidence:g} % interval. Differences are paired: same rows, both models.",
        "",
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(cells)} |" for cells in _table(evaluation)),
        "",
        *(f"- {line}" for line in forgetting_lines(evaluation)),
        *(f"- {reason}" for reason in verdict.reasons[1:]),
        *(f"- Warning: {warning}" for warning in verdict.warnings),
        *(f"- Note: {note}" for note in evaluation.notes),
        f"- Dataset `{evaluation.dataset_fingerprint}`, tuned weights "
        f"`{evaluation.models['tuned'].weights_sha256[:12]}`.",
    ]
    return "\n".join(lines) + "\n"


def forgetting_lines(evaluation: Evaluation) -> list[str]:
    """Loss on the probe of base and tuned model, a line for each kind of row."""
    found = evaluation.forgetting
    return [
        f"Forgetting: loss on {PROBE_LABELS[kind].lower()} ({each.rows}) {show('loss', each.base.value)} -> "
        f"{show('loss', each.tuned.value)} nats per token, {_cell('loss', each.increase, show_signed)}"
        for kind, each in (found.kinds.items() if found else ())
    ]


def _table(evaluation: Evaluation) -> list[list[str]]:
    return score_cells(evaluation.slices, evaluation.metrics, list(evaluation.models))


def align(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of a terminal, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def score_cells(slices: Mapping[str, Slice], metrics: Sequence[str], models: Sequence[ModelName]) -> list[list[str]]:
    """Rows of cells: label, metric, a score for each model, a difference for each model that tuned is compared with."""
    lines = []
    for name, part in slices.items():
        for number, metric in enumerate(metrics):
            label = f"{SLICE_LABELS.get(name, name)} ({part.rows})" if number == 0 else ""
            scores = [_cell(metric, part.scores[model][metric], show) for model in models]
            gaps = [_cell(metric, gap[metric], show_signed) for gap in part.differences.values()]
            lines.append([label, METRIC_LABELS.get(metric, metric), *scores, *gaps])
    return lines


def _cell(metric: str, score: Score, text: Callable[[str, float], str]) -> str:
    return f"{text(metric, score.value)} ({text(metric, score.low)} to {text(metric, score.high)})"
