"""What is printed of a verdict."""

from components.core.evaluation.bootstrap import Estimate
from components.core.judging.calibration import Calibration
from components.core.judging.comparison import Comparison
from components.core.judging.config import JudgeConfig
from components.core.judging.judging import JudgeResult

_SHOWN_PROBLEMS = 5


def say_result(result: JudgeResult, config: JudgeConfig) -> str:
    """Verdict, scores with intervals, what they rest on, what they cost and where the rows are."""
    verdict, usage = result.verdict, result.usage
    lines = [
        f"Judge          {config.label}, {_trust(result.calibration, config)}",
        f"Verdict        {verdict.word} ({verdict.reason})",
        f"qualification  {str(verdict.qualification).lower()}",
        f"Similarity     {show(verdict.similarity)}, threshold {config.avg_similarity_threshold:g}",
        f"Precision      {show(verdict.precision)}, threshold {config.avg_precision_threshold:g}",
        f"Coverage       {show(verdict.coverage)} % of the instructions reach both",
        f"Rests on       {verdict.judgements} judgements of answers to {verdict.instructions} instructions"
        f" (judging everything: {result.planned})",
    ]
    lines += [f"Row {row}: left out, {problem}" for row, problem in list(result.problems.items())[:_SHOWN_PROBLEMS]]
    if len(result.problems) > _SHOWN_PROBLEMS:
        lines.append(f"... {len(result.problems)} rows could not be judged and are left out")
    cost = f", {usage.cost:,.4f} USD" if usage.cost else ""
    spent = f"{usage.calls:,} calls, {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{cost}"
    lines.append(f"Spent          {spent} ({result.made} judgements now, {result.reused} were there)")
    return "\n".join([*lines, f"Rows           {result.where}"])


def show(score: Estimate) -> str:
    """A score with its interval."""
    return f"{score.value:.1f} ({score.low:.1f} to {score.high:.1f})"


def say_calibration(found: Calibration, config: JudgeConfig) -> str:
    """What came of a calibration, line by line."""
    lines = [f"Judge          {found.judge}, {_trust(found, config)}"]
    lines += [f"  it {problem}" for problem in found.problems(config)]
    for kind, similarity in found.similarity.items():
        lines.append(f"{kind:<14} similarity {similarity:.1f}, precision {found.precision[kind]:.1f}")
    alphas = ", ".join(f"{metric} {alpha:.2f}" for metric, alpha in found.agreement.items())
    bias = f"{found.order_bias:+.1f} ({found.order_bias_low:+.1f} to {found.order_bias_high:+.1f})"
    return "\n".join(
        [
            *lines,
            f"Agreement      alpha of {alphas}",
            f"Order          {bias} points",
            f"Rests on       {found.judgements} judgements on {found.instructions} instructions",
        ]
    )


def say_comparison(found: Comparison) -> str:
    """What came of a comparison, line by line."""
    first, second = found.sides
    lines = [f"{first.name} against {second.name}: {found.outcome} ({found.reason})"]
    for side in found.sides:
        scores = f"similarity {show(side.similarity)}, precision {show(side.precision)}"
        lines.append(f"{side.name:<14} {scores}, coverage {show(side.coverage)} %")
    gaps = ", ".join(f"{metric} {show(gap)}" for metric, gap in found.differences.items())
    return "\n".join([*lines, f"Difference     {gaps}", f"Rests on       {found.instructions} instructions"])


def _trust(found: Calibration | None, config: JudgeConfig) -> str:
    if found is None:
        return "not calibrated"
    return "which failed its calibration" if found.problems(config) else "calibrated"
