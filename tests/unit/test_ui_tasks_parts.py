"""Results of the four tasks as HTML and CSV: what is shown, and that nothing from outside becomes HTML."""

import csv
import io
import json

import pytest

from ui.contract import Entity, Prediction, Scale, Task
from ui.tasks.entities import COLOURS, colours_of, mark_entities, percent
from ui.tasks.examples import EXAMPLES
from ui.tasks.results import SHOWN_BARS, draw_result, number, short
from ui.tasks.rows import csv_file, draw_rows
from ui.tasks.session import LONGEST_HISTORY, MOST_TEXTS, PredictionSession, Request

HOSTILE = '<script>alert("x")</script>'
SINGLE = Task(task="single_label", labels=("a", "b"), max_seq_length=128)
MULTI = Task(task="multi_label", labels=("a", "b"), thresholds=(0.3, 0.8))
REGRESSION = Task(task="regression", scale=Scale(mean=5, minimum=0, maximum=10))
NER = Task(task="ner", labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))


def entity(text: str, start: int, kind: str = "PER") -> Entity:
    return Entity(type=kind, text=text, start=start, end=start + len(text), score=0.9)


@pytest.mark.parametrize(
    ("task", "prediction"),
    [
        (SINGLE, Prediction(label=HOSTILE, score=0.5, probabilities={HOSTILE: 0.5})),
        (MULTI, Prediction(labels=(HOSTILE,), probabilities={HOSTILE: 0.5})),
        (NER, Prediction(entities=(entity(HOSTILE, 0, HOSTILE),))),
        (NER, Prediction()),
    ],
)
def test_nothing_from_outside_becomes_html(task, prediction):
    for drawn in (draw_result(task, HOSTILE, prediction), draw_rows(task, [HOSTILE], [prediction])):
        assert "<script" not in drawn
        assert "&lt;script" in drawn


def test_one_label_is_shown_in_large_with_its_probability_and_the_others_in_order():
    drawn = draw_result(SINGLE, "t", Prediction(label="b", score=0.75, probabilities={"a": 0.25, "b": 0.75}))
    assert '<p class="answer verdict" dir="auto">b</p>' in drawn
    assert "Probability 75.0 %" in drawn
    assert drawn.index("width:75.0%") < drawn.index("width:25.0%")
    assert "details" not in drawn


def test_many_labels_are_folded_behind_the_most_probable_ones():
    shares = {f"label {place}": 1 / (place + 2) for place in range(150)}
    drawn = draw_result(SINGLE, "t", Prediction(label="label 0", score=0.5, probabilities=shares))
    before, folded = drawn.split("<details")
    assert before.count("<li") == SHOWN_BARS
    assert folded.count("<li") == 150 - SHOWN_BARS
    assert f"{150 - SHOWN_BARS} more labels" in folded


def test_a_single_label_more_is_not_folded():
    shares = {str(place): 0.1 for place in range(SHOWN_BARS + 1)}
    assert "<details" not in draw_result(SINGLE, "t", Prediction(label="0", probabilities=shares))


def test_each_of_several_labels_is_held_against_its_own_threshold():
    drawn = draw_result(MULTI, "t", Prediction(labels=("a",), probabilities={"a": 0.4, "b": 0.7}))
    chips = drawn.split('<ul class="chips">')[1].split("</ul>")[0]
    assert ("a</span>" in chips, "b</span>" in chips) == (True, False)
    first, second = drawn.split('<ul class="bars">')[1].split("</ul>")[0].split("</li>")[:2]
    for bar, words in ((first, ("chosen: ", "from 30.0 %", "inset-inline-start:30.0%")),
                       (second, ("from 80.0 %", "inset-inline-start:80.0%"))):  # fmt: skip
        assert all(word in bar for word in words)
    assert "chosen: " not in second


def test_a_text_without_any_label_says_so():
    drawn = draw_result(MULTI, "t", Prediction(probabilities={"a": 0.1, "b": 0.1}))
    assert "No label reaches its threshold." in drawn
    assert "chips" not in drawn


def test_a_number_has_its_place_on_the_scale_of_the_training_targets():
    drawn = draw_result(REGRESSION, "t", Prediction(value=2.5))
    assert '<p class="answer verdict">2.50</p>' in drawn
    assert 'aria-label="2.50 on a scale from 0.00 to 10.00; the mean is 5.00"' in drawn
    assert '<i style="left:25.0%">' in drawn
    assert "trained on" not in drawn


@pytest.mark.parametrize(
    ("value", "words", "place"), [(-3.0, "below the lowest", "0.0"), (12.0, "above the highest", "100.0")]
)
def test_a_number_outside_the_scale_is_shown_as_it_is(value, words, place):
    drawn = draw_result(REGRESSION, "t", Prediction(value=value))
    assert number(value, REGRESSION) in drawn
    assert words in drawn
    assert f'<i style="left:{place}%">' in drawn


@pytest.mark.parametrize(
    ("low", "high", "value", "shown"),
    [(0, 1, 0.12345, "0.123"), (0, 5000, 1234.5, "1,234"), (0, 0.01, 0.00123, "0.00123"), (-4, 4, -1.5, "−1.50"),
     (0, 1, -0.0001, "0.000"), (3, 3, 3.14159, "3.14")],
)  # fmt: skip
def test_a_number_has_the_decimals_that_the_scale_asks_for(low, high, value, shown):
    task = REGRESSION.model_copy(update={"scale": Scale(mean=low, minimum=low, maximum=high)})
    assert number(value, task) == shown
    assert shown in draw_result(task, "t", Prediction(value=value))


def test_names_are_marked_in_the_text_with_their_type_beside_them():
    text = "Ann <b>met</b>\n👩‍🚀 Bob in Rome."
    at = text.index("Rome")
    found = (entity("Rome", at, "LOC"), entity("Ann", 0))
    drawn = draw_result(NER, text, Prediction(entities=found))
    assert '<mark class="entity t0">Ann<span class="type">PER</span></mark> &lt;b&gt;met' in drawn
    assert '<mark class="entity t1">Rome<span class="type">LOC</span></mark>.' in drawn
    assert drawn.index("PER × 1") < drawn.index("LOC × 1")
    assert f"{at}–{at + 4}" in drawn


def test_marks_that_overlap_or_reach_outside_do_not_repeat_text():
    colours = {"PER": 0}
    drawn = mark_entities("abcdef", (entity("abcd", 0), entity("cdefgh", 2), entity("x", 50)), colours)
    plain = (
        drawn.replace('<span class="type">PER</span>', "")
        .replace('<mark class="entity t0">', "")
        .replace("</mark>", "")
    )
    assert plain == "abcdef"


def test_a_type_keeps_its_colour_and_there_are_colours_for_any_number_of_types():
    many = [entity("x", 0, f"T{place}") for place in range(20)]
    colours = colours_of(NER, [entity("x", 0, "LOC"), *many])
    assert (colours["PER"], colours["LOC"]) == (0, 1)
    assert set(colours.values()) == set(range(COLOURS))


@pytest.mark.parametrize(
    ("share", "shown"), [(1, "100.0 %"), (0.9999, "> 99.9 %"), (0.9994, "99.9 %"), (0.0001, "< 0.1 %"), (0, "0.0 %")]
)
def test_a_probability_is_not_rounded_to_certainty(share, shown):
    assert percent(share) == shown


@pytest.mark.parametrize("task", [SINGLE, MULTI, REGRESSION, NER], ids=lambda task: task.task)
def test_a_cut_text_is_noted_and_a_whole_one_is_not(task):
    prediction = Prediction(label="a", value=1, cut=True)
    assert "The text was cut" in draw_result(task, "t", prediction)
    assert "1 of the texts was cut" in draw_rows(task, ["t", "u"], [prediction, Prediction(value=1)])
    whole = prediction.model_copy(update={"cut": False})
    assert "cut" not in draw_result(task, "t", whole) + draw_rows(task, ["t"], [whole])


@pytest.mark.parametrize(
    ("task", "prediction", "expected"),
    [
        (SINGLE, Prediction(label="a, b", score=0.5, probabilities={"a, b": 0.5, "c": 0.5}),
         {"label": "a, b", "score": "0.5", "probability of a, b": "0.5", "probability of c": "0.5"}),
        (MULTI, Prediction(labels=("é", "b"), probabilities={"é": 0.9, "b": 0.9}),
         {"labels": '["é", "b"]', "probability of é": "0.9", "probability of b": "0.9"}),
        (REGRESSION, Prediction(value=-0.125), {"value": "-0.125"}),
        (NER, Prediction(entities=(entity("Ann", 0),)), {"entities": json.dumps([entity("Ann", 0).model_dump()])}),
    ],
)  # fmt: skip
def test_the_file_holds_every_text_with_all_that_is_known(task, prediction, expected):
    text = 'Ann said "hi",\nand left'
    written = csv_file(task, [text], [prediction])
    assert written.startswith(b"\xef\xbb\xbf")
    (row,) = csv.DictReader(io.StringIO(written.decode("utf-8-sig"), newline=""))
    assert row == {"text": text, **expected, "cut": "false"}


def test_several_texts_are_the_lines_that_are_not_blank():
    session = PredictionSession()
    session.ask(SINGLE, " one\n\n  \r\ntwo ", several=True)
    assert session.running.instances == [{"text": "one"}, {"text": "two"}]
    session.ask(SINGLE, "one\ntwo")
    assert session.running.instances == [{"text": "one\ntwo"}]


def test_a_pair_is_sent_only_to_a_model_of_pairs():
    session = PredictionSession()
    session.ask(SINGLE, "one", pair="left from before")
    assert session.running.instances == [{"text": "one"}]
    session.ask(SINGLE.model_copy(update={"pair": True}), "one", pair="two")
    assert session.running.instances == [{"text": "one", "text_pair": "two"}]


@pytest.mark.parametrize(
    ("pair", "text", "second", "title"),
    [(False, " \n", "", "Text is empty"), (True, "x", "", "Second text is empty"),
     (True, "", "", "Text and Second text are empty")],
)  # fmt: skip
def test_empty_fields_are_named(pair, text, second, title):
    session = PredictionSession()
    session.ask(SINGLE.model_copy(update={"pair": pair}), text, second)
    assert session.running is None
    assert session.problem.title == title


def test_more_texts_than_the_endpoint_takes_are_refused_before_they_are_sent():
    session = PredictionSession()
    session.ask(SINGLE, "x\n" * (MOST_TEXTS + 1), several=True)
    assert session.running is None
    assert "513 texts are too many" in session.problem.title


def test_the_history_is_bounded_and_says_what_came_of_a_text():
    session = PredictionSession()
    for place in range(LONGEST_HISTORY + 5):
        session.ask(SINGLE, str(place))
        session.finish()
    assert [each.written for each in session.requests] == [str(place) for place in range(5, LONGEST_HISTORY + 5)]
    assert Request(SINGLE, "x", ["x"]).outcome == "stopped"
    assert short(MULTI, Prediction()) == "no label"
    assert short(NER, Prediction(entities=(entity("Ann", 0),))) == "1 name"


def test_every_task_has_examples():
    assert set(EXAMPLES) == {"single_label", "multi_label", "regression", "ner"}
