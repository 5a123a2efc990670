"""The report of a loop: one HTML page that needs nothing else, and the same in a few lines of Markdown."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.core.errors import StorageError
from components.core.evaluation.charts import draw_axis, draw_curves, draw_interval, plot_bounds
from components.core.evaluation.summary import align
from components.core.loop.history import Gain, History, Points, Round

REPORT_FILE = "report.html"
SUMMARY_FILE = "report.md"
TEMPLATE = "loop_report.html.j2"
WORDS = {"continue": "not yet", "passed": "passed", "plateau": "plateau", "budget": "budget used up"}
_TONES = {"continue": "waved", "passed": "passed", "plateau": "refused", "budget": "refused"}
_HERE = Path(__file__).parent


def write_loop_report(history: History, confidence: float, folder: Path) -> None:
    """Write report.html and report.md.

    Args:
        history: All rounds so far.
        confidence: Coverage of the gains' intervals.
        folder: Where both go.

    Raises:
        StorageError: If the folder cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent / "evaluation"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
        history=history,
        headline=headline(history),
        tone=_TONES[history.decision],
        share=f"{100 * confidence:g} %",
        charts=score_curves(history),
        gains=_forest(history),
        table=table(history),
        spent=history.spent,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT_FILE).write_text(page, encoding="utf-8")
        (folder / SUMMARY_FILE).write_text(summarize_loop(history), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot write the report to {folder}: {error.strerror or error}. Free some space."
        ) from error


def headline(history: History) -> str:
    """The decision in one line: `PLATEAU: the last 2 rounds did not surely gain anything ...`."""
    return f"{WORDS[history.decision].upper()}: {history.reason}"


def summarize_loop(history: History) -> str:
    """The rounds as a Markdown table below the decision."""
    rows = table(history)
    spent = history.spent
    return (
        "\n".join(
            [
                f"## {'✅' if history.decision == 'passed' else '⛔'} {headline(history)}",
                "",
                "Points of 100, in brackets the interval. Every round answers the same test rows; none is trained on.",
                "",
                f"| {' | '.join(rows[0])} |",
                "|" + "---|" * len(rows[0]),
                *(f"| {' | '.join(cells)} |" for cells in rows[1:]),
                "",
                f"- Needed: {_needed(history)}.",
                f"- The service LLM was called {spent.calls:,} times: {spent.input_tokens:,} tokens in, "
                f"{spent.output_tokens:,} out, {spent.usd:.2f} USD.",
                f"- Best: round {history.best.number} with a score of {history.best.score:.1f}.",
            ]
        )
        + "\n"
    )


def print_rounds(history: History) -> str:
    """The rounds as lines of a terminal."""
    spent = history.spent
    lines = align(table(history))
    return "\n".join(
        [
            "Points of 100 by the service LLM's judgement, with intervals",
            *lines,
            f"Needed: {_needed(history)}. Spent: {spent.calls:,} calls, {spent.input_tokens + spent.output_tokens:,} "
            f"tokens, {spent.usd:.2f} USD.",
        ]
    )


def table(history: History) -> list[list[str]]:
    """Header and a row of cells for each round."""
    header = [
        "Round",
        "Model",
        "Similarity",
        "Precision",
        "Good enough",
        "Gain over best",
        "Training rows",
        "Generated",
    ]
    header += ["Calls", "USD"]
    return [header, *(_cells(each) for each in history.rounds)]


def _cells(each: Round) -> list[str]:
    usage = each.judging + each.generating
    gain = each.gain
    return [
        str(each.number),
        each.model,
        _show(each.similarity),
        _show(each.precision),
        _show(each.coverage),
        "" if gain is None else f"{gain.value:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})",
        f"{each.train_rows:,}",
        f"{each.synthetic_rows:,}",
        f"{usage.calls:,}",
        f"{usage.usd:.2f}",
    ]


def _show(points: Points) -> str:
    return f"{points.value:.1f} ({points.low:.1f} to {points.high:.1f})"


def _needed(history: History) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in history.thresholds.items())


def score_curves(history: History) -> list[tuple[str, Markup]]:
    """Score against training rows, and against what the service LLM did up to there: in USD where it has a price."""
    rounds, priced = history.rounds, history.spent.usd > 0
    spent, total = [], 0.0
    for each in rounds:
        usage = each.judging + each.generating
        total += usage.usd if priced else usage.calls
        spent.append(total)
    rows = [float(each.train_rows) for each in rounds]
    cost = "USD" if priced else "calls of the service LLM"
    return [
        ("Score against training rows", _curves(history, rows, "Score against training rows", "training rows")),
        (f"Score against {cost}", _curves(history, spent, f"Score against {cost}", cost)),
    ]


def _curves(history: History, places: list[float], title: str, label: str) -> Markup:
    rounds = history.rounds
    scores = {
        "precision": [each.precision.value for each in rounds],
        "similarity": [each.similarity.value for each in rounds],
        "good enough": [each.coverage.value for each in rounds],
    }
    # places may stand still (a round without new rows); a curve needs them in order
    curves = {
        name: sorted(zip(places, values, strict=True), key=lambda pair: pair[0]) for name, values in scores.items()
    }
    return draw_curves(curves, title, label)


def _forest(history: History) -> dict[str, Any]:
    gains = [(each, each.gain) for each in history.rounds if each.gain is not None]
    ends = [end / 100 for _, gain in gains for end in (gain.low, gain.high)]
    bounds = plot_bounds([0.0, *ends])
    lines = [{"round": each.number, "gain": gain, "drawing": _drawing(gain, bounds)} for each, gain in gains]
    counts = sorted({gain.prompts for _, gain in gains})
    prompts = " to ".join(dict.fromkeys(f"{count:,}" for count in (*counts[:1], *counts[-1:])))
    return {"lines": lines, "axis": draw_axis(bounds) if gains else Markup(""), "prompts": prompts}


def _drawing(gain: Gain, bounds: tuple[float, float]) -> Markup:
    return draw_interval(gain.low / 100, gain.value / 100, gain.high / 100, bounds)
