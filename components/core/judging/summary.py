"""What is printed of a verdict."""

from components.core.evaluation.bootstrap import Estimate
from components.core.judging.config import JudgeConfig
from components.core.judging.judging import JudgeResult

_SHOWN_PROBLEMS = 5


def say_result(result: JudgeResult, config: JudgeConfig) -> str:
    """Verdict, scores with intervals, what they rest on, what they cost and where the rows are."""
    verdict, usage = result.verdict, result.usage
    lines = [
        f"Judge          {config.label}",
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
