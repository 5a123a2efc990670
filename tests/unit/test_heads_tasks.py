"""What each task makes of a row before and of outputs after the model, and head.json between them."""

import json
import math

import numpy as np
import pytest
from support.tiny_encoder import word_piece

from components.core.errors import ConfigError, StorageError
from components.core.tasks import get_head_task
from components.core.tasks.heads import EncodedInputs, Head, InputEncoder, Piece, gather_outputs, read_head, write_head
from components.core.tasks.heads.encoding import NO_TOKEN
from components.core.tasks.heads.seam import sigmoid, softmax

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
SCALE = {"mean": 3.0, "std": 2.0, "minimum": 0.0, "maximum": 9.0}
SURE = {"green": 0.0, "red": 1.0, "blue": 0.0}
PIECE = Piece(row=0, input_ids=[1, 2], token_type_ids=[0, 0])


def make_head(task, **changes):
    own = {
        "single_label": {"labels": ["green", "red", "blue"]},
        "multi_label": {"labels": ["joy", "love", "fear"]},
        "regression": {"scale": SCALE},
        "ner": {"labels": TAGS},
    }[task]
    values = {"task": task, "columns": {"text": "t"}, "max_seq_length": 16, "pad_token_id": 0, "token_type_ids": True}
    return Head.model_validate(values | own | changes)


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression", "ner"])
def test_head_json_comes_back_as_it_was(tmp_path, task):
    write_head(make_head(task), tmp_path)
    assert read_head(tmp_path) == make_head(task)
    assert make_head(task).outputs == {"single_label": 3, "multi_label": 3, "regression": 1, "ner": 5}[task]


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("single_label", {"labels": []}, "single_label needs labels"),
        ("single_label", {"labels": ["a", "a"]}, "a label stands there twice"),
        ("single_label", {"scale": SCALE}, "single_label has no scale"),
        ("single_label", {"thresholds": [0.5, 0.5, 0.5]}, "thresholds belong to multi_label, one for each label"),
        ("multi_label", {"thresholds": [0.5]}, "thresholds belong to multi_label, one for each label"),
        ("multi_label", {"thresholds": [0.5, 0.5, 1.5]}, r"thresholds\.2: Input should be less than or equal to 1"),
        ("regression", {"scale": None}, "regression needs scale"),
        ("regression", {"labels": ["a"]}, "regression has no labels"),
        ("regression", {"scale": SCALE | {"std": 0.0}}, r"scale\.std: Input should be greater than 0"),
        ("regression", {"scale": {"mean": 1.0}}, r"scale\.std: Field required"),
        ("ner", {"max_seq_length": 0}, "max_seq_length: Input should be greater than or equal to 1"),
        ("ner", {"pad_token_id": -1}, "pad_token_id"),
        ("ner", {"format": 2}, "format: Input should be 1"),
        ("ner", {"task": "context_qa"}, "task: Input should be"),
        ("ner", {"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_head_json_that_cannot_be_right_is_refused(tmp_path, task, changes, message):
    values = make_head(task).model_dump() | changes
    (tmp_path / "head.json").write_text(json.dumps(values))
    with pytest.raises(StorageError, match=rf"head\.json cannot be used \({message}|head\.json .*{message}"):
        read_head(tmp_path)


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe", b"[]"])
def test_a_missing_or_broken_head_json_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "head.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"head\.json (is missing or cannot be read|cannot be used)"):
        read_head(tmp_path)


def test_a_task_without_a_head_is_refused():
    with pytest.raises(
        ConfigError, match="'context_qa' has no classification or regression head. Choose one of: single"
    ):
        get_head_task("context_qa")


@pytest.mark.parametrize(
    ("task", "row", "learned"),
    [
        ("single_label", {"text": "x", "label": "red"}, 1),
        ("multi_label", {"text": "x", "labels": ["fear", "joy"]}, [1.0, 0.0, 1.0]),
        ("multi_label", {"text": "x", "labels": []}, [0.0, 0.0, 0.0]),
        ("regression", {"text": "x", "score": 7.0}, 2.0),
    ],
)
def test_what_the_loss_takes_for_a_text(task, row, learned):
    assert get_head_task(task).learned(row, PIECE, make_head(task)) == learned


def test_a_tag_is_learned_at_its_words_last_token_only(tmp_path):
    word_piece().save(str(tmp_path / "tokenizer.json"))
    head, task = make_head("ner", max_seq_length=8), get_head_task("ner")
    row = {"tokens": ["in", "new", "york", "and", "x1y"], "ner_tags": ["O", "B-LOC", "I-LOC", "O", "B-PER"]}
    encoded = task.encode([row], InputEncoder(tmp_path, head))
    learned = [task.learned(row, piece, head) for piece in encoded.pieces]
    # [CLS] i ##n new york and [SEP], [CLS] x ##1 ##y [SEP]
    assert learned == [[-100, -100, 0, 1, 2, 0, -100], [-100, -100, -100, 3, -100]]


def test_a_word_without_a_token_carries_no_loss():
    piece = Piece(row=0, input_ids=[2, 9, 3], token_type_ids=[0, 0, 0], words=[NO_TOKEN, 1])
    row = {"tokens": ["\u200b", "Lima"], "ner_tags": ["B-LOC", "I-LOC"]}
    assert get_head_task("ner").learned(row, piece, make_head("ner")) == [-100, 2, -100]


def test_one_label_is_read_out_by_softmax():
    task, head = get_head_task("single_label"), make_head("single_label")
    (prediction,) = task.read_out([np.array([1.0, 3.0, 0.0])], [{"text": "x"}], head)
    total = math.e + math.e**3 + 1
    assert prediction["label"] == "red"
    assert prediction["score"] == pytest.approx(math.e**3 / total)
    assert prediction["probabilities"] == pytest.approx(
        {"green": math.e / total, "red": math.e**3 / total, "blue": 1 / total}
    )
    assert task.line(prediction) == "red"
    json.dumps(prediction)


@pytest.mark.parametrize(
    ("thresholds", "labels"),
    [
        (None, ["joy", "love"]),
        ([0.9, 0.4, 0.01], ["love", "fear"]),
        ([1.0, 1.0, 1.0], []),
        ([0.5] * 3, ["joy", "love"]),
    ],
)
def test_all_labels_over_their_thresholds_are_read_out_by_sigmoid(thresholds, labels):
    task, head = get_head_task("multi_label"), make_head("multi_label", thresholds=thresholds)
    (prediction,) = task.read_out([np.array([2.0, 0.0, -3.0])], [{"text": "x"}], head)
    assert prediction["labels"] == labels
    assert prediction["probabilities"] == pytest.approx(
        {"joy": 1 / (1 + math.exp(-2)), "love": 0.5, "fear": 1 / (1 + math.exp(3))}
    )
    assert json.loads(task.line(prediction)) == labels


def test_a_number_is_read_out_in_its_own_unit():
    task, head = get_head_task("regression"), make_head("regression")
    predictions = task.read_out([np.array([2.0]), np.array([-9.0])], [{"text": "x"}] * 2, head)
    assert predictions == [{"value": 7.0}, {"value": -15.0}]
    assert task.line(predictions[0]) == "7.0"
    learned = task.learned({"text": "x", "score": 5.5}, PIECE, head)
    assert task.read_out([np.array([learned])], [{"text": "x"}], head) == [{"value": 5.5}]


def test_a_number_without_a_scale_is_refused():
    with pytest.raises(StorageError, match=r"head\.json of a single_label model has no scale"):
        get_head_task("regression").read_out([np.array([1.0])], [{"text": "x"}], make_head("single_label"))


def test_entities_are_read_out_with_their_places_in_the_text():
    task, head = get_head_task("ner"), make_head("ner")
    row = {"tokens": ["in", "New", "York", "Ada", "said"]}
    wanted = [0, 2, 2, 3, 0]  # an entity that begins with I- is repaired
    outputs = np.full((5, 5), -5.0)
    outputs[range(5), wanted] = 5.0
    (prediction,) = task.read_out([outputs], [row], head)
    assert prediction["tags"] == ["O", "B-LOC", "I-LOC", "B-PER", "O"]
    text, sure = " ".join(row["tokens"]), softmax(outputs).max()
    assert [(each["type"], each["text"], text[each["start"] : each["end"]]) for each in prediction["entities"]] == [
        ("LOC", "New York", "New York"),
        ("PER", "Ada", "Ada"),
    ]
    assert [(each["start_token"], each["end_token"]) for each in prediction["entities"]] == [(1, 3), (3, 4)]
    assert [each["score"] for each in prediction["entities"]] == pytest.approx([sure, sure])
    assert json.loads(task.line(prediction)) == prediction["tags"]


@pytest.mark.parametrize(
    ("task", "row", "prediction", "metric"),
    [
        ("single_label", {"label": "red"}, {"label": "red", "probabilities": SURE}, "accuracy"),
        ("multi_label", {"labels": ["joy"]}, {"labels": ["joy"]}, "f1_micro"),
        ("ner", {"ner_tags": ["B-LOC"]}, {"tags": ["B-LOC"]}, "f1"),
    ],
)  # fmt: skip
def test_a_right_prediction_scores_one(task, row, prediction, metric):
    head_task = get_head_task(task)
    assert head_task.score([row], [prediction], make_head(task)).values[metric] == 1.0
    assert set(head_task.score_rows([row], [prediction])[0]) == set(head_task.row_metrics)


@pytest.mark.parametrize(
    ("task", "raw", "row"),
    [
        ("single_label", {"text": "x", "text_pair": "y"}, {"text": "x", "text_pair": "y"}),
        ("regression", {"text": "x", "score": "no number"}, {"text": "x"}),
        ("ner", {"tokens": ["a", " "]}, {"tokens": ["a", " "]}),
    ],
)
def test_an_input_needs_no_target(task, raw, row):
    found, findings = get_head_task(task).parse_input(raw)
    assert found == row
    assert not findings


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_outputs_of_texts_are_gathered_in_order(task):
    head = make_head(task)
    pieces = [Piece(row=n, input_ids=[1], token_type_ids=[0]) for n in range(2)]
    outputs = [np.full(head.outputs, n, dtype=np.float32) for n in range(2)]
    gathered = gather_outputs(EncodedInputs(pieces, [False, False]), outputs, head)
    assert [row.tolist() for row in gathered] == [[0.0] * head.outputs, [1.0] * head.outputs]
    assert gathered[0].dtype == np.float64


def test_outputs_of_words_are_gathered_from_several_pieces_without_padding():
    head = make_head("ner")
    pieces = [
        Piece(0, [2, 5, 6, 3], [0] * 4, words=[1, NO_TOKEN, 2], first_word=0),
        Piece(0, [2, 7, 3], [0] * 3, words=[1], first_word=3),
        Piece(1, [2, 3], [0] * 2, words=[NO_TOKEN]),
    ]
    outputs = [np.arange(20.0).reshape(4, 5), 100 + np.arange(25.0).reshape(5, 5), np.ones((4, 5))]
    first, second = gather_outputs(EncodedInputs(pieces, [False, False]), outputs, head)
    assert first[0].tolist() == outputs[0][1].tolist()
    assert first[2].tolist() == outputs[0][2].tolist()
    assert first[3].tolist() == outputs[1][1].tolist()
    outside = [0.0, *[-math.inf] * 4]
    assert first[1].tolist() == outside
    assert second.tolist() == [outside]
    assert softmax(second).tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


def test_probabilities_hold_for_outputs_of_any_size():
    big = np.array([[1000.0, -1000.0], [-1e308, 0.0]])
    with np.errstate(all="raise", under="ignore"):
        assert softmax(big).tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert sigmoid(big).tolist() == [[1.0, 0.0], [0.0, 0.5]]
