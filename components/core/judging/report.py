"""The reports of a judgement and of a comparison."""

from pathlib import Path

from markupsafe import Markup

from components.core.evaluation.charts import draw_bars
from components.core.judging.calibration import Calibration
from components.core.judging.comparison import METRICS, CompareConfig, Comparison, instruction_scores
from components.core.judging.config import JudgeConfig
from components.core.judging.journals import slug
from components.core.judging.judging import JudgeResult
from components.core.judging.pages import Page, Part, cut, draw_distances, show, write_page
from components.core.settings import Settings

_BINS = ("0–25", "26–50", "51–75", "76–89", "90–100")
_EDGES = (25.5, 50.5, 75.5, 89.995)
_EXAMPLES = 10
_TONES = {"qualified": "passed", "not qualified": "refused", "undecided": "waved"}
_OUTCOMES = {"better": "passed", "worse": "refused", "mixed": "waved", "no difference": "passed"}
_COLUMNS = ("instructions", "target_responses", "candidate_responses")


def write_judge_report(result: JudgeResult, config: JudgeConfig, settings: Settings) -> Path:
    """Write the report of a judgement; it is replaced by the next one of the same rows."""
    return write_page(judge_page(result, config), _folder(settings, config.eval_ds_id, config.eval_ds_split))


def write_compare_report(comparison: Comparison, config: CompareConfig, settings: Settings) -> Path:
    """Write the report of a comparison."""
    folder = _folder(settings, config.eval_ds_id, config.eval_ds_split, "against", config.other_ds_id)
    return write_page(compare_page(comparison), folder)


def _folder(settings: Settings, *names: str) -> Path:
    return settings.whetstone_home.resolve() / "evaluations" / slug("-".join(names))


def judge_page(result: JudgeResult, config: JudgeConfig) -> Page:
    """The verdict on one model."""
    verdict = result.verdict
    thresholds = {"similarity": config.avg_similarity_threshold, "precision": config.avg_precision_threshold}
    scores = instruction_scores(result.rows, "the judged rows")
    distances = [(f"{m} − {thresholds[m]:g}", getattr(verdict, m), thresholds[m]) for m in METRICS]
    chart = draw_distances(distances)
    parts = [
        Part("Distance to the thresholds", note=_why(config), chart=chart),
        _distribution({m: [pair[k] for pair in scores.values()] for k, m in enumerate(METRICS)}),
        _examples(result),
    ]
    if result.problems:
        rows = [(str(row), cut(problem)) for row, problem in result.problems.items()]
        parts.append(Part("Rows that could not be judged", ("Row", "Why"), rows))
    if result.calibration is not None:
        parts.append(calibration_part(result.calibration, config))
    usage = result.usage
    return Page(
        title=f"Answers judged by {config.label}",
        tone=_TONES[verdict.word],
        headline=verdict.word.capitalize(),
        reasons=_reasons(result),
        figures=[
            ("Similarity", *show(verdict.similarity)),
            ("Precision", *show(verdict.precision)),
            ("Coverage, %", *show(verdict.coverage)),
            ("Calls", f"{usage.calls:,}", f"{usage.input_tokens + usage.output_tokens:,} tokens"),
            ("Cost, USD", f"{usage.cost:.4f}" if usage.cost else "–", "by the prices in the configuration"),
        ],
        parts=parts,
    )


def _reasons(result: JudgeResult) -> list[str]:
    verdict = result.verdict
    reasons = [
        f"Why: {verdict.reason}.",
        f"qualification (both means reach their thresholds): {str(verdict.qualification).lower()}.",
        f"Rests on {verdict.judgements} judgements of answers to {verdict.instructions} instructions; "
        f"judging everything takes {result.planned}.",
    ]
    if result.problems:
        reasons.append(f"{len(result.problems)} rows could not be judged and are left out; they are named below.")
    if result.calibration is None:
        reasons.append("The judge was not calibrated: how far it can be trusted is not known.")
    return reasons


def compare_page(comparison: Comparison) -> Page:
    """One model against another, service against local say."""
    first, second = comparison.sides
    gaps = [(f"{metric}: {first.name} − {second.name}", gap, 0.0) for metric, gap in comparison.differences.items()]
    parts = [_both(comparison), _difference(comparison, draw_distances(gaps))]
    for k, metric in enumerate(METRICS):
        parts.append(_distribution({side.name: [pair[k] for pair in side.scores] for side in comparison.sides}, metric))
    return Page(
        title=f"{first.name} against {second.name}",
        tone=_OUTCOMES[comparison.outcome],
        headline=f"{first.name} against {second.name}: {comparison.outcome}",
        reasons=[f"Why: {comparison.reason}.", f"Rests on {comparison.instructions} instructions that both answered."],
        figures=[(f"Coverage of {side.name}, %", *show(side.coverage)) for side in comparison.sides]
        + [(f"{metric} difference", *show(gap)) for metric, gap in comparison.differences.items()],
        parts=parts,
    )


def _both(comparison: Comparison) -> Part:
    rows = []
    for metric in (*METRICS, "coverage"):
        shown = [show(getattr(side, metric)) for side in comparison.sides]
        rows.append((metric.capitalize(), *(f"{value} ({around})" for value, around in shown)))
    header = ("", *(f"{side.name} ({side.model})" for side in comparison.sides))
    note = (
        "Means of the instructions that both were judged on, with 95 % intervals. Coverage: percent of them where both "
    )
    return Part("Scores", header, rows, note + "scores reach their thresholds.")


def _difference(comparison: Comparison, chart: Markup) -> Part:
    share = f"{100 * comparison.confidence:g} %"
    note = f"Paired by instruction; together the intervals hold with {share}. One that crosses the dashed line may be "
    rows = [(metric, *show(gap)) for metric, gap in comparison.differences.items()]
    return Part("Is the difference real?", ("Score", "Difference", "Interval"), rows, note + "chance.", chart)


def calibration_part(found: Calibration, config: JudgeConfig) -> Part:
    """How far the judge can be trusted."""
    problems = found.problems(config)
    names = {"target": "the target itself", "truncated": "its first third", "shuffled": "another instruction's target"}
    rows = [
        (names.get(kind, "the model's answer"), f"{similarity:.1f}", f"{found.precision[kind]:.1f}")
        for kind, similarity in found.similarity.items()
    ]
    alphas = found.agreement
    rows.append(("agreement with itself (alpha)", f"{alphas['similarity']:.2f}", f"{alphas['precision']:.2f}"))
    bias = f"{found.order_bias:+.1f} ({found.order_bias_low:+.1f} to {found.order_bias_high:+.1f})"
    verdict = f"Failed: the judge {'; it '.join(problems)}." if problems else "Passed."
    note = f"{verdict} {found.judgements} judgements on {found.instructions} instructions, {found.date}. "
    note += f"A candidate gains {bias} points by standing after the reference."
    return Part("Calibration of the judge", ("Answer", "Similarity", "Precision"), rows, note)


def _why(config: JudgeConfig) -> str:
    return (
        f"Intervals of {100 * config.confidence:g} % over instructions. Qualified: both lie to the right of the dashed "
        "line. Not qualified: one lies to its left. Where judging stopped early they are wider, since they hold at any "
        "moment of stopping."
    )


def _distribution(scores: dict[str, list[float]], metric: str = "") -> Part:
    counts = {name: [0] * len(_BINS) for name in scores}
    for name, values in scores.items():
        for value in values:
            counts[name][sum(value > edge for edge in _EDGES)] += 1
    heading = f"Instructions by {metric or 'score'}"
    return Part(heading, chart=draw_bars(counts, _BINS, heading))


def _examples(result: JudgeResult) -> Part:
    judged = [row for row in result.rows if row["similarity_scores"]]
    means = [sum(row["similarity_scores"]) / len(row["similarity_scores"]) for row in judged]
    worst = sorted(range(len(judged)), key=lambda number: means[number])[:_EXAMPLES]
    rows = [(f"{means[n]:.0f}", *(cut(judged[n][column]) for column in _COLUMNS)) for n in worst]
    return Part("Lowest similarity", ("Score", "Instruction", "Target", "Candidate"), rows)
