import html
import re

import pytest

from ui.contract import Span
from ui.marking import AROUND, WHOLE_UP_TO, joined, marked


def spans(*pairs: tuple[int, int]) -> list[Span]:
    return [Span(start=start, end=end) for start, end in pairs]


def marks_in(text: str) -> list[str]:
    return [html.unescape(mark) for mark in re.findall("<mark>(.*?)</mark>", text, re.DOTALL)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(5, 8), (0, 2)], [(0, 2), (5, 8)]),
        ([(0, 5), (3, 8)], [(0, 8)]),
        ([(0, 8), (2, 3)], [(0, 8)]),
        ([(0, 3), (3, 6)], [(0, 6)]),
        ([(4, 4), (7, 5)], []),
        ([(-3, 2), (8, 99), (50, 60)], [(0, 2), (8, 10)]),
    ],
)
def test_spans_are_sorted_joined_and_kept_inside_the_text(given, expected):
    assert joined(spans(*given), 10) == expected


def test_html_in_the_context_stays_text():
    context = '<img src=x onerror="alert(1)"> & <mark>not ours</mark>'
    result = marked(context, spans((0, 4)))
    assert marks_in(result) == ["<img"]
    assert html.unescape(re.sub("</?mark>", "", result)) == context


def test_offsets_count_code_points_beyond_the_first_plane():
    context = "👩‍🚀 𝕏 met Ann in 東京."
    start = context.index("東京")
    assert marks_in(marked(context, spans((start, start + 2)))) == ["東京"]


def test_white_space_and_line_breaks_survive():
    context = "  two spaces\n\n    indented\r\nend"
    assert html.unescape(marked(context, [])) == "  two spaces\n\n    indented\nend"
    assert "\n" not in marked(context, [])


def test_a_context_without_spans_has_no_marks():
    assert marked("plain", []) == "plain"


def test_a_long_context_is_shown_around_its_marks_and_the_rest_counted():
    context = "a" * 20_000 + "FIRST" + "b" * 10_000 + "SECOND" + "c" * 300
    result = marked(context, spans((20_000, 20_005), (30_005, 30_011)))
    assert marks_in(result) == ["FIRST", "SECOND"]
    gaps = [int(n.replace(",", "")) for n in re.findall(r'<span class="gap">([\d,]+) more', result)]
    assert gaps == [20_000 - AROUND, 10_000 - 2 * AROUND]
    shown = re.sub('<span class="gap">.*?</span>|</?mark>', "", result)
    assert len(shown) + sum(gaps) == len(context)


def test_marks_that_are_close_together_share_one_excerpt():
    context = "x" * (WHOLE_UP_TO + 1)
    result = marked(context, spans((3000, 3010), (3010 + AROUND, 3020 + AROUND)))
    assert len(marks_in(result)) == 2
    assert result.count("gap") == 2
