"""Charts of models with a head as inline SVG and HTML, beside those of the QA report."""

from collections.abc import Sequence

from markupsafe import Markup, escape

_HEIGHT, _LEFT, _BOTTOM, _TOP = 260, 12.0, 34, 8


def draw_scatter(points: Sequence[tuple[float, float]], title: str, x_label: str, y_label: str, line: str) -> Markup:
    """Points with a reference line.

    Args:
        points: (x, y).
        title: What a screen reader says.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        line: `diagonal` draws y = x on one scale for both axes, `zero` draws y = 0.
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if line == "diagonal":
        x_low = y_low = min(*xs, *ys)
        x_high = y_high = max(*xs, *ys)
    else:
        (x_low, x_high), (y_low, y_high) = (min(xs), max(xs)), (min(0.0, *ys), max(0.0, *ys))
    wide, tall, plot = (x_high - x_low) or 1.0, (y_high - y_low) or 1.0, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[str, str]:
        across = _LEFT + (98 - _LEFT) * (x - x_low) / wide
        return f"{across:.2f}%", f"{_TOP + plot * (1 - (y - y_low) / tall):.1f}"

    ends = ((x_low, x_low), (x_high, x_high)) if line == "diagonal" else ((x_low, 0.0), (x_high, 0.0))
    (x1, y1), (x2, y2) = (place(*end) for end in ends)
    dots = "".join(
        '<circle cx="{}" cy="{}" r="3" fill="var(--series-1)" fill-opacity="0.45"/>'.format(*place(x, y))
        for x, y in points
    )
    marks = (
        f'<text x="{_LEFT}%" y="{_HEIGHT - 16}">{x_low:.3g}</text>'
        f'<text x="98%" y="{_HEIGHT - 16}" text-anchor="end">{escape(x_label)} {x_high:.3g}</text>'
        f'<text x="{_LEFT - 1}%" y="{_TOP + 10}" text-anchor="end">{y_high:.3g}</text>'
        f'<text x="{_LEFT - 1}%" y="{_TOP + plot}" text-anchor="end">{y_low:.3g}</text>'
        f'<text x="{_LEFT}%" y="{_HEIGHT - 1}">vertical: {escape(y_label)}</text>'
    )
    return Markup(
        f'<svg width="100%" height="{_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<line class="grid" x1="{_LEFT}%" x2="98%" y1="{_TOP + plot}" y2="{_TOP + plot}"/>'
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="var(--soft)" stroke-dasharray="4 4"/>'
        f"{dots}{marks}</svg>"
    )


def draw_confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    """A confusion matrix as a table whose cells are the darker the larger their share of the row is."""
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for label, counts in zip(labels, matrix, strict=True):
        total = sum(counts) or 1
        cells = "".join(
            f'<td style="background: rgba(37, 99, 235, {0.75 * count / total:.2f}); text-align: center">'
            f"{count or ''}</td>"
            for count in counts
        )
        rows.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return Markup(f'<div class="scroll"><table><tr><th>right \\ predicted</th>{head}</tr>{"".join(rows)}</table></div>')


def mark_entities(tokens: Sequence[str], tags: Sequence[str]) -> Markup:
    """Words with their entities marked and named."""
    parts: list[str] = []
    for place, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        kind = tag[2:]
        if not kind:
            parts.append(str(escape(token)))
            continue
        ends = place + 1 == len(tags) or tags[place + 1] != f"I-{kind}"
        opening = "<mark>" if tag.startswith("B-") else ""
        parts.append(f"{opening}{escape(token)}{f' <small>{escape(kind)}</small></mark>' if ends else ''}")
    return Markup(" ".join(parts))
