"""The evaluation in a few lines of Markdown, for the pipeline's page."""

from components.core.evaluation.results import MODEL_LABELS
from components.core.evaluation.summary import score_cells
from components.core.heads.evaluation.results import HeadEvaluation


def summarize_markdown(evaluation: HeadEvaluation) -> str:
    """Verdict, scores with their intervals, and notes."""
    verdict, models = evaluation.verdict, list(evaluation.models)
    header = ["Rows", "Metric", *(MODEL_LABELS[name].capitalize() for name in models)]
    header += [f"Tuned - {MODEL_LABELS[other]}" for other in evaluation.everything.differences]
    lines = [
        f"## {'✅' if verdict.passed else '⛔'} {verdict.headline}",
        "",
        f"{evaluation.rows} test rows; points of 100, in brackets the {100 * evaluation.confidence:g} % interval. "
        "Differences are paired: same rows, both models.",
        "",
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(cells)} |" for cells in score_cells(evaluation.slices, evaluation.metrics, models)),
        "",
        *(f"- {reason}" for reason in verdict.reasons[1:]),
        *(f"- Warning: {warning}" for warning in verdict.warnings),
        *(f"- Note: {note}" for note in evaluation.notes),
    ]
    return "\n".join(lines) + "\n"
