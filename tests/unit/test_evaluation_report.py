import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from components.core.evaluation.charts import draw_bars, draw_curves, draw_interval, plot_bounds
from components.core.evaluation.comparison import compare
from components.core.evaluation.forgetting import compare_losses, read_probe
from components.core.evaluation.gate import judge
from components.core.evaluation.predictions import Answers
from components.core.evaluation.report import choose_examples, read_training_log, write_report
from components.core.evaluation.results import ALL_ROWS, Evaluation, ModelFacts
from components.core.recipe import EvaluationConfig, GateConfig, TaskConfig
from components.core.tasks import get_task

TASK = get_task(TaskConfig())
EVIL = "<script>alert('x')</script> & \"quotes\" {{ 7*7 }}"


def row(number, context="The ship Vega sailed north.", answer="Vega"):
    texts = [answer] if answer else []
    starts = [context.find(answer)] if answer else []
    return {
        "id": str(number),
        "context": context,
        "question": f"Which ship is number {number}?",
        "answers": {"text": texts, "answer_start": starts},
    }


def render(tmp_path, rows, examples=20, gate=None, forgetting=None, limit=None, **predictions):
    predictions = {"base": [""] * len(rows), "tuned": ["Vega"] * len(rows)} | predictions
    answers = {name: Answers(texts, TASK.score_rows(rows, texts)) for name, texts in predictions.items()}
    scores = {name: found.scores for name, found in answers.items()}
    slices = compare(rows, scores, TASK.metric_names, EvaluationConfig(bootstrap_samples=100))
    facts = ModelFacts(source=EVIL, revision="r", weights_sha256="ab" * 32, rows_cut=0, seconds=1.0, cached=False)
    evaluation = Evaluation(
        task="context_qa", metrics=list(TASK.metric_names), gate_metric="f1", confidence=0.95, bootstrap_samples=100,
        seed=42, max_new_tokens=32, rows=len(rows), contexts=1, resampled="rows",
        models=dict.fromkeys(predictions, facts),
        slices=slices, verdict=judge(gate or GateConfig(), slices[ALL_ROWS], frozenset(), 0.95), notes=[],
        forgetting=forgetting,
        dataset_fingerprint="fp", test_fingerprint="cd" * 32, seconds=2.0,
    )  # fmt: skip
    write_report(evaluation, rows, answers, tmp_path, tmp_path, examples, limit)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Collects tags, addresses and text, and checks that what is opened is closed."""

    VOID = ("meta", "circle", "line", "rect", "polyline")

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.open, self.text = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(tmp_path):
    page = render(tmp_path, [row(number) for number in range(12)])
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.addresses == []
    assert "http://" not in page
    assert "https://" not in page
    assert "script" not in parsed.tags
    assert "svg" in parsed.tags


def test_the_verdict_stands_at_the_top(tmp_path):
    page = render(tmp_path, [row(number) for number in range(12)])
    assert page.index("PASSED: F1 of the tuned model is better") < page.index("<h2>Scores</h2>")
    assert '<section class="banner passed">' in page
    refused = render(tmp_path, [row(number) for number in range(12)], tuned=["no"] * 12)
    assert '<section class="banner refused">' in refused
    waved = render(tmp_path, [row(number) for number in range(12)], gate=GateConfig(enabled=False), tuned=["no"] * 12)
    assert '<section class="banner waved">' in waved


def test_hostile_text_stays_text_wherever_it_stands(tmp_path):
    (tmp_path / "training_info.json").write_text(json.dumps({EVIL: EVIL}))
    rows = [row(0, context=f"{EVIL} Vega {EVIL}"), row(1, answer=""), row(2, context=EVIL, answer=EVIL)]
    for each in rows:
        each["id"] = each["question"] = EVIL
    page = render(tmp_path, rows, base=[EVIL] * 3, tuned=[f"Vega{EVIL}"] * 3)
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert "{{ 7*7 }}" in "".join(parsed.text)
    assert page.count("&lt;script&gt;") >= 8


def test_the_gold_answer_is_marked_in_its_context_and_a_long_context_is_cut_around_it(tmp_path):
    long = "word " * 400 + "The ship Vega sailed north. " + "word " * 400
    page = render(tmp_path, [row(0, context=long)])
    assert page.count("<mark>Vega</mark>") == 2
    assert "<summary>Whole context</summary>" in page
    start = page.index("<mark>Vega</mark>")
    assert "…" in page[start - 400 : start]


def test_a_wrong_answer_start_still_marks_the_answer(tmp_path):
    each = row(0)
    each["answers"]["answer_start"] = [999]
    assert "<mark>Vega</mark>" in render(tmp_path, [each])


def test_rows_without_an_answer_say_so(tmp_path):
    page = render(tmp_path, [row(number, answer="") for number in range(4)])
    assert "no answer in the context" in page
    assert "<mark>" not in page


def test_no_examples_leaves_the_sections_out(tmp_path):
    assert "Gained" not in render(tmp_path, [row(number) for number in range(4)], examples=0)


def test_examples_are_the_largest_losses_and_gains_and_no_row_twice():
    def of(*values):
        return Answers([""] * len(values), [{"f1": value} for value in values])

    answers = {"base": of(1, 0, 0.5, 0, 1), "tuned": of(0, 1, 0.5, 0, 1)}
    assert choose_examples(answers, "f1", 4) == ([0, 3], [1, 4])
    assert choose_examples(answers, "f1", 100) == ([0, 3, 2], [1, 4])
    assert choose_examples(answers, "f1", 0) == ([], [])


def test_training_curves_and_facts_are_drawn_from_the_model_folder(tmp_path):
    points = [{"step": step, "loss": 3 - step / 50, "learning_rate": 1e-3} for step in range(0, 100, 10)]
    points.append({"step": 100, "validation_loss": 1.5})
    (tmp_path / "training_log.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points) + '{"step": 11')
    (tmp_path / "training_info.json").write_text(
        '{"trained_parameters": 12345, "base_model_id": "/home/me/models/mine", "nested": {"a": 1}, "resumed": false}'
    )
    assert len(read_training_log(tmp_path)) == 11
    page = render(tmp_path, [row(number) for number in range(4)])
    assert "<h3>Loss</h3>" in page
    assert "validation" in page
    assert "Tokens per second" not in page
    assert "12,345" in page
    assert "nested" not in page
    assert "mine" in page
    assert "/home/me" not in page


def test_a_model_without_a_training_log_says_so(tmp_path):
    assert "holds no training log" in render(tmp_path, [row(0)])


@pytest.mark.parametrize(
    "curves",
    [
        {"a": [(1, 2)]},
        {"a": [(1, 2), (2, 2)]},
        {"a": [(0, 1e-9), (5, 1e-5)], "b": [(3, 0)]},
        {"a": [(1, -3), (9, 1e6)]},
    ],
)
def test_curves_of_any_range_stay_inside_the_plot(curves):
    drawing = draw_curves(curves, "Loss <1>", "step")
    svg = ElementTree.fromstring(str(drawing).partition("<div")[0])
    inner = svg.find("svg")
    for line in inner:
        for x, y in (pair.split(",") for pair in line.attrib["points"].split()):
            assert 0 <= float(x) <= 100
            assert 0 <= float(y) <= 100


def test_an_interval_is_coloured_by_the_side_of_zero_it_lies_on():
    bounds = plot_bounds([-0.1, 0.3])
    assert bounds == (-0.1, 0.3)
    assert 'class="interval good"' in draw_interval(0.1, 0.2, 0.3, bounds)
    assert 'class="interval bad"' in draw_interval(-0.1, -0.05, -0.01, bounds)
    assert 'class="interval even"' in draw_interval(-0.1, 0.0, 0.0, bounds)


def test_the_plot_of_a_zero_interval_still_has_a_width():
    low, high = plot_bounds([0.0, 0.0])
    assert low < 0 < high


def test_bars_of_empty_series_have_no_height():
    assert 'height="0.0"' in draw_bars({"base": [0, 0]}, ["x", "y"], "title")


def test_forgetting_has_a_section_with_every_row_and_those_that_got_worst(tmp_path):
    path = tmp_path / "probe.jsonl"
    path.write_text("".join(json.dumps({"text": f"{EVIL} {number}"}) + "\n" for number in range(12)))
    losses = {"text": [(20.0 + number, 10) for number in range(12)]}, {"text": [(30.0, 10)] * 12}
    found = compare_losses(read_probe(str(path)), *losses, 1000, EvaluationConfig(bootstrap_samples=100))
    page = render(tmp_path, [row(number) for number in range(12)], forgetting=found, limit=0.5)
    seen = Page(page)
    assert seen.open == []
    assert "<script" not in page
    words = " ".join("".join(seen.text).split())
    assert "The gate refuses when the whole 95 % interval of a rise lies above 0.5." in words
    assert "The 8 rows whose loss rose most" in words
    assert "row 1, 10 tokens: 2.000 → 3.000 (+1.000)" in words
    drawing = page[page.index('<svg class="curves probe"') :]
    assert drawing[: drawing.index("</svg>")].count("<circle") == 12
    assert "(gate.max_forgetting=ignore)" in render(tmp_path, [row(1)], forgetting=found)
