"""Small charts as inline SVG; lengths are percentages, so that they fit a phone without shrinking the text."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from components.core.evaluation.results import signed_points

Curve = Sequence[tuple[float, float]]
"""Points (x, y) in the order of x."""

_LEFT, _RIGHT = 14.0, 2.0
"""Margins of the curve chart for its labels, in percent."""
_HEIGHT = 220
_TOP, _BOTTOM = 12, 28


def draw_interval(low: float, value: float, high: float, bounds: tuple[float, float]) -> Markup:
    """A point with its interval and the zero line, for one line of a forest plot.

    Args:
        low: Lower end of the interval.
        value: The point.
        high: Upper end of the interval.
        bounds: Values at the left and right edge, the same for all lines of a plot; 0 lies between them.
    """
    left, middle, right, zero = (_percent(number, bounds) for number in (low, value, high, 0.0))
    tone = "good" if low > 0 else "bad" if high < 0 else "even"
    return Markup(
        f'<svg class="interval {tone}" width="100%" height="26" aria-hidden="true">'
        f'<line class="zero" x1="{zero}%" x2="{zero}%" y1="0" y2="26"/>'
        f'<line class="range" x1="{left}%" x2="{right}%" y1="13" y2="13"/>'
        f'<circle cx="{middle}%" cy="13" r="5"/></svg>'
    )


def _percent(value: float, bounds: tuple[float, float]) -> str:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    return f"{2 + 96 * share:.2f}"


def plot_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Edges that hold all values and zero, with at least two points to either side of zero."""
    return min(-0.02, *values), max(0.02, *values)


def draw_axis(bounds: tuple[float, float]) -> Markup:
    """The scale under a forest plot, in points of 100."""
    ticks = [tick for tick in round_ticks(bounds) if bounds[0] <= tick <= bounds[1]]
    marks = [(_percent(tick, bounds), signed_points(tick).removesuffix(".0")) for tick in ticks]
    labels = (
        f'<line x1="{x}%" x2="{x}%" y1="0" y2="5"/><text x="{x}%" y="18" text-anchor="middle">{text}</text>'
        for x, text in marks
    )
    return Markup(f'<svg class="axis" width="100%" height="22" aria-hidden="true">{"".join(labels)}</svg>')


def draw_curves(curves: Mapping[str, Curve], title: str, x_label: str) -> Markup:
    """Lines over one axis; the curves take the colours `series-0`, `series-1`, ... and get a legend.

    Args:
        curves: Points by name; a curve of a single point is drawn as a dot.
        title: What a screen reader says.
        x_label: Name of the horizontal axis.
    """
    points = [point for curve in curves.values() for point in curve]
    x_low, x_high = _spread([x for x, _ in points])
    y_ticks = round_ticks([y for _, y in points])
    y_low, y_high = y_ticks[0], y_ticks[-1]
    plot = _HEIGHT - _TOP - _BOTTOM
    parts = [f'<svg class="curves" width="100%" height="{_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in y_ticks:
        y = _TOP + plot * (1 - (tick - y_low) / (y_high - y_low))
        parts.append(f'<line class="grid" x1="{_LEFT}%" x2="{100 - _RIGHT}%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 1}%" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    inner = [
        f'<svg x="{_LEFT}%" y="{_TOP}" width="{100 - _LEFT - _RIGHT}%" height="{plot}" '
        'viewBox="0 0 100 100" preserveAspectRatio="none">'
    ]
    dots = []
    for number, curve in enumerate(curves.values()):
        places = [(100 * (x - x_low) / (x_high - x_low), 100 * (1 - (y - y_low) / (y_high - y_low))) for x, y in curve]
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
        inner.append(f'<polyline class="series-{number}" points="{path}"/>')
        if len(places) <= 12:
            dots += [
                f'<circle class="series-{number}" r="3.5" cx="{_LEFT + x * (100 - _LEFT - _RIGHT) / 100:.2f}%" '
                f'cy="{_TOP + y * plot / 100:.1f}"/>'
                for x, y in places
            ]
    parts += [*inner, "</svg>", *dots]
    parts.append(f'<text x="{_LEFT}%" y="{_HEIGHT - 8}">{x_low:g}</text>')
    parts.append(f'<text x="{100 - _RIGHT}%" y="{_HEIGHT - 8}" text-anchor="end">{escape(x_label)} {x_high:g}</text>')
    return Markup("".join([*parts, "</svg>", draw_legend(list(curves))]))


def draw_legend(names: Sequence[str], kind: str = "") -> str:
    """Names of the series beside their colours; nothing for a single one.

    Args:
        names: In the order of the series.
        kind: Further class of the legend.
    """
    if len(names) < 2:
        return ""
    items = (f'<span><i class="series-{number}"></i>{escape(name)}</span>' for number, name in enumerate(names))
    return f'<div class="{f"legend {kind}".strip()}">{"".join(items)}</div>'


def draw_bars(counts: Mapping[str, Sequence[int]], labels: Sequence[str], title: str) -> Markup:
    """Counts of several series side by side, one group of bars for each label."""
    tallest = max((count for series in counts.values() for count in series), default=0) or 1
    slot = 100 / len(labels)
    width = 0.78 * slot / len(counts)
    plot = _HEIGHT - 2 * _BOTTOM
    parts = [f'<svg class="bars" width="100%" height="{_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for place, label in enumerate(labels):
        for number, series in enumerate(counts.values()):
            height = plot * series[place] / tallest
            x, y = place * slot + 0.11 * slot + number * width, _BOTTOM + plot - height
            parts.append(
                f'<rect class="series-{number}" x="{x:.2f}%" y="{y:.1f}" width="{width:.2f}%" height="{height:.1f}"/>'
            )
            if series[place]:
                middle = x + width / 2
                parts.append(f'<text x="{middle:.2f}%" y="{y - 4:.1f}" text-anchor="middle">{series[place]}</text>')
        middle = (place + 0.5) * slot
        parts.append(f'<text x="{middle:.2f}%" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    return Markup("".join([*parts, "</svg>", draw_legend(list(counts))]))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _spread(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_ticks(values: Sequence[float]) -> list[float]:
    """About four round numbers that enclose the values."""
    low, high = _spread(values)
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]
