"""Readiness: `python -m llm-pipelines.readiness`: the share of live prompts where the local model is good enough.

Reads what evaluation.py wrote of the shadow's rows (or any judged rows), prints the share with its interval, and writes
a page. Exit codes: 0 the whole interval lies above --at-least, 3 it does not, 2 wrong input.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, DataError, StorageError, user_errors
from components.core.settings import Settings, load_settings

_WORST = 20
_LONGEST = 600


@dataclass(frozen=True)
class JudgedPrompt:
    """One prompt with the means of its judgements."""

    prompt: str
    target: str
    candidate: str
    similarity: float
    precision: float

    def good(self, similarity: float, precision: float) -> bool:
        """Both means reach their thresholds."""
        return self.similarity >= similarity and self.precision >= precision


@dataclass(frozen=True)
class Readiness:
    """The share of prompts where one model is good enough, in percent."""

    model: str
    prompts: list[JudgedPrompt]
    good: int
    value: float
    low: float
    high: float
    unjudged: int
    """Rows without a judgement: they say nothing."""


def main(
    judged: Annotated[str, typer.Option(help="Judged rows: eval_ds_id of evaluation.py, or a file.")] = "evaluation",
    split: Annotated[str, typer.Option(help="Their split.")] = "eval",
    similarity: Annotated[float, typer.Option(min=0, max=100, help="Mean similarity from which it will do.")] = 90.0,
    precision: Annotated[float, typer.Option(min=0, max=100, help="Mean precision from which it will do.")] = 90.0,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the interval.")] = 0.95,
    at_least: Annotated[float, typer.Option(min=0, max=100, help="Percent that readiness takes.")] = 90.0,
    html: Annotated[Path | None, typer.Option(help="The page; WHETSTONE_HOME/readiness.html where not given.")] = None,
) -> None:
    """Say how many live prompts the local model would have answered well enough."""
    with user_errors():
        settings = load_settings()
        found = read_readiness(judged, split, settings, similarity, precision, confidence)
        ready = found.low >= at_least
        lines = say(found, confidence, at_least)
        target = html or settings.whetstone_home / "readiness.html"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(page(found, lines, similarity, precision), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror}. Name another file.") from error
    print("\n".join([*lines, f"Page           {target}"]))
    sys.exit(0 if ready else EXIT_REFUSED)


def read_readiness(
    judged: str, split: str, settings: Settings, similarity: float, precision: float, confidence: float
) -> Readiness:
    """Read judged rows; answers to one prompt count as one.

    Raises:
        DataError: If they are not judged, or of more than one model.
        StorageError: If they cannot be read.
    """
    from components.core.judging.verdict import share
    from components.core.tables import read_rows

    rows = read_rows(judged, split, settings)
    models = sorted({f"{row.get('model_id')} ({str(row.get('model_sha'))[:12]})" for row in rows})
    if len(models) > 1:
        raise DataError(f"{judged} holds answers of {len(models)} models ({models[0]}, {models[1]}, ...). Judge one.")
    prompts, unjudged = group(rows, judged)
    if not prompts:
        raise DataError(f"no row of {judged} has a judgement. Run llm-pipelines/evaluation.py on them first.")
    good = sum(one.good(similarity, precision) for one in prompts)
    found = share(good, len(prompts), confidence)
    return Readiness(models[0], prompts, good, found.value, found.low, found.high, unjudged)


def group(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[list[JudgedPrompt], int]:
    """Prompts with the means of all judgements of their answers, and the number of rows that have none."""
    scores: dict[str, tuple[list[float], list[float]]] = {}
    texts: dict[str, Mapping[str, Any]] = {}
    unjudged = 0
    for number, row in enumerate(rows, start=1):
        try:
            prompt = str(row["instructions"])
            similar, precise = (
                [float(score) for score in row[f"{name}_scores"]] for name in ("similarity", "precision")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}, row {number} is not judged ({type(error).__name__}: {error}). Run "
                "llm-pipelines/evaluation.py on the rows first."
            ) from error
        if not similar or not precise:
            unjudged += 1
            continue
        texts.setdefault(prompt, row)
        both = scores.setdefault(prompt, ([], []))
        both[0].extend(similar)
        both[1].extend(precise)
    prompts = [
        JudgedPrompt(
            prompt,
            str(texts[prompt].get("target_responses", "")),
            str(texts[prompt].get("candidate_responses", "")),
            fmean(similar),
            fmean(precise),
        )
        for prompt, (similar, precise) in scores.items()
    ]
    return prompts, unjudged


def say(found: Readiness, confidence: float, at_least: float) -> list[str]:
    """Readiness in lines."""
    interval = f"{found.low:.1f} to {found.high:.1f} % ({100 * confidence:g} % interval)"
    word = "ready" if found.low >= at_least else "not ready" if found.high < at_least else "not known yet"
    lines = [
        f"Model          {found.model}",
        f"Good enough    {found.good} of {len(found.prompts)} prompts: {found.value:.1f} %, {interval}",
        f"Verdict        {word}: the whole interval must lie above {at_least:g} %",
    ]
    return [*lines, f"Not judged     {found.unjudged} rows"] if found.unjudged else lines


def page(found: Readiness, lines: Sequence[str], similarity: float, precision: float) -> str:
    """The share with its interval, and the prompts where the local model was furthest from good enough."""
    worst = sorted(
        (one for one in found.prompts if not one.good(similarity, precision)),
        key=lambda one: min(one.similarity, one.precision),
    )[:_WORST]
    rows = "".join(
        f"<tr><td>{_cut(one.prompt)}<td>{_cut(one.target)}<td>{_cut(one.candidate)}"
        f"<td>{one.similarity:.0f}<td>{one.precision:.0f}"
        for one in worst
    )
    facts = "".join(f"<li>{escape(line)}" for line in lines)
    bar = (
        f'<line x1="0" y1="20" x2="100" y2="20" stroke="#ccc"/>'
        f'<line x1="{found.low:.2f}" y1="20" x2="{found.high:.2f}" y2="20" stroke="#0a6" stroke-width="6"/>'
        f'<circle cx="{found.value:.2f}" cy="20" r="4" fill="#222"/>'
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Readiness of the local model</title>
<style>body{{font:16px system-ui;max-width:1000px;margin:2em auto}}li{{font-family:monospace;white-space:pre-wrap}}
td,th{{vertical-align:top;text-align:left;padding:.4em;border-bottom:1px solid #ddd}}
svg{{width:100%;height:40px}}</style>
<h1>Readiness of the local model</h1><ul>{facts}</ul>
<svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="share with interval, 0 to 100 %">{bar}</svg>
<h2>Prompts where it fell short</h2>
<table><tr><th>Prompt<th>The service<th>The local model<th>Similarity<th>Precision{rows}</table></html>
"""


def _cut(text: str) -> str:
    return escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.readiness")
