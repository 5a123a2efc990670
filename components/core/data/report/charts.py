"""Small bar charts as inline SVG."""

from html import escape

from components.core.data.report.dataset_report import LengthSummary, ScoreSummary

_WIDTH, _HEIGHT, _FOOT = 340, 130, 18


def bars(values: dict[str, int]) -> str:
    """One horizontal bar per name."""
    most = max([*values.values(), 1])
    lines = []
    for number, (name, value) in enumerate(values.items()):
        y = 22 * number
        width = max(1.0, 400 * value / most)
        lines.append(
            f'<text x="0" y="{y + 13}">{escape(name)}</text>'
            f'<rect x="80" y="{y + 2}" width="{width:.1f}" height="15" rx="2"/>'
            f'<text x="{86 + width:.1f}" y="{y + 13}">{value:,}</text>'
        )
    return f'<svg role="img" aria-label="rows by split" width="580" height="{22 * len(values)}">{"".join(lines)}</svg>'


def histogram(summary: LengthSummary | ScoreSummary, title: str) -> str:
    """Rows by length, or by score."""
    form = ",.0f" if isinstance(summary, LengthSummary) else ".3g"
    most = max([*summary.counts, 1])
    step = _WIDTH / max(1, len(summary.counts))
    rects = []
    for number, count in enumerate(summary.counts):
        height = _HEIGHT * count / most
        low, high = summary.edges[number], summary.edges[number + 1]
        rects.append(
            f'<rect x="{number * step:.1f}" y="{_HEIGHT - height:.1f}" '
            f'width="{max(1.0, step - 1):.1f}" height="{height:.1f}">'
            f"<title>{low:{form}} to {high:{form}}: {count:,} rows</title></rect>"
        )
    ends = (
        f'<text x="0" y="{_HEIGHT + 14}">{summary.edges[0]:{form}}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{summary.edges[-1]:{form}}</text>'
    )
    axis = f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>'
    size = f'width="{_WIDTH}" height="{_HEIGHT + _FOOT}"'
    svg = f'<svg role="img" aria-label="{escape(title)}" {size}>{"".join(rects)}{axis}{ends}</svg>'
    return f"<figure>{svg}<figcaption>{escape(title)} (highest bar: {most:,} rows)</figcaption></figure>"
