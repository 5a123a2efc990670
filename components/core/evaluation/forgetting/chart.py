"""The probe rows as points: loss of the base to the right, of the tuned model upwards."""

from markupsafe import Markup, escape

from components.core.evaluation.charts import draw_legend, round_ticks
from components.core.evaluation.results import PROBE_LABELS, Forgetting

_LEFT, _RIGHT = 14.0, 3.0
"""Margins for the labels, in percent."""
_HEIGHT, _TOP, _BOTTOM = 320, 12, 44


def draw_probe(found: Forgetting, limit: float | None) -> Markup:
    """A point for each row; above the dashed line the tuned model finds it less probable.

    Args:
        found: What was measured.
        limit: `gate.max_forgetting`, drawn as a second line; None draws none.
    """
    values = [value for _, base, tuned in found.points for value in (base, tuned)]
    ticks = round_ticks([0.0, *values])
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> str:
        return f"{_LEFT + (100 - _LEFT - _RIGHT) * (value - low) / (high - low):.2f}%"

    def y(value: float) -> str:
        return f"{_TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low):.1f}"

    parts = [
        f'<svg class="curves probe" width="100%" height="{_HEIGHT}" role="img" '
        'aria-label="Loss of each probe row, base against tuned model">'
    ]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(low)}" x2="{x(high)}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 1}%" y="{float(y(tick)) + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
        parts.append(f'<text x="{x(tick)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:.3g}</text>')
    parts.append(f'<line class="same" x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}"/>')
    if limit is not None and limit < high - low:
        parts.append(f'<line class="limit" x1="{x(low)}" y1="{y(low + limit)}" x2="{x(high - limit)}" y2="{y(high)}"/>')
    for kind, base, tuned in found.points:
        series = list(found.kinds).index(kind)
        parts.append(f'<circle class="series-{series}" r="4.5" cx="{x(base)}" cy="{y(tuned)}"/>')
    parts.append(f'<text x="{_LEFT}%" y="{_HEIGHT - 6}">loss of the base →</text>')
    parts.append(f'<text x="{_LEFT + 1}%" y="{_TOP + 12}">↑ loss of the tuned model</text>')
    names = [str(escape(PROBE_LABELS[kind])) for kind in found.kinds]
    return Markup("".join([*parts, "</svg>", draw_legend(names, "probe")]))
