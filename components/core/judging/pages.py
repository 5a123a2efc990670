"""A report as data: written as one HTML page that needs nothing else, and as Markdown with the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from components.core.errors import StorageError
from components.core.evaluation.bootstrap import Estimate
from components.core.evaluation.charts import draw_axis, draw_interval, plot_bounds

PAGE_FILE = "report.html"
MARKDOWN_FILE = "report.md"
_STYLE_FOLDER = Path(__file__).parents[1] / "evaluation"
_LONGEST_CELL = 300


@dataclass(frozen=True)
class Part:
    """A section: a drawing, a table, or both."""

    heading: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""
    chart: Markup = Markup("")


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    tone: str
    """Class of the banner: passed, refused or waved."""
    headline: str
    reasons: Sequence[str]
    figures: Sequence[tuple[str, str, str]]
    """Label, value, and what stands under it."""
    parts: Sequence[Part]


def write_page(page: Page, folder: Path) -> Path:
    """Write report.html and report.md.

    Raises:
        StorageError: If the folder cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # every text is a stranger's: autoescape turns it into text, whatever it holds
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, _STYLE_FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html.j2").render(page=page)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE_FILE).write_text(html, encoding="utf-8")
        (folder / MARKDOWN_FILE).write_text(_markdown(page), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write the report into {folder}: {error.strerror or error}.") from error
    return folder / PAGE_FILE


def draw_distances(lines: Sequence[tuple[str, Estimate, float]]) -> Markup:
    """Intervals around one zero line: label, score, and the value that the zero line means for it, in points."""
    places = [[(value - zero) / 100 for value in (score.low, score.value, score.high)] for _, score, zero in lines]
    bounds = plot_bounds([value for place in places for value in place])
    drawn = [
        Markup("<p class='soft'>{}</p>{}").format(label, draw_interval(place[0], place[1], place[2], bounds))
        for (label, _, _), place in zip(lines, places, strict=True)
    ]
    return Markup("").join([*drawn, draw_axis(bounds)])


def show(score: Estimate) -> tuple[str, str]:
    """A score, and its interval in words."""
    return f"{score.value:.1f}", f"{score.low:.1f} to {score.high:.1f}"


def cut(text: str) -> str:
    """A text as a cell of a table."""
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST_CELL else words[: _LONGEST_CELL - 1] + "…"


def _markdown(page: Page) -> str:
    lines = [f"# {_plain(page.title)}", "", f"**{_plain(page.headline)}**", ""]
    lines += [f"- {_plain(reason)}" for reason in page.reasons]
    lines += ["", "| | | |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(_plain, figure))} |" for figure in page.figures]
    for part in page.parts:
        lines += ["", f"## {_plain(part.heading)}", ""]
        if part.note:
            lines += [_plain(part.note), ""]
        if part.rows:
            lines += [f"| {' | '.join(map(_plain, part.header))} |", "|" + "---|" * len(part.header)]
            lines += [f"| {' | '.join(map(_plain, row))} |" for row in part.rows]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """A stranger's text inside a table: no cell, no tag, no link of its own."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "|[]`*_":
        escaped = escaped.replace(sign, "\\" + sign)
    return " ".join(escaped.split())
