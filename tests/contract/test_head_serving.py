"""The endpoint answers what core reads out of the same model, row by row, for the four tasks with a head."""

import json

import httpx
import numpy as np
import pytest
from llm_endpoint.heads import encoding, head, rows
from support.endpoint_server import EndpointServer
from support.head_folders import write_head_folder
from unit.test_heads_encoding import TOKENIZERS

from components.core.tasks import get_head_task
from components.core.tasks.heads import Head, InputEncoder, gather_outputs, read_head, write_head

TASKS = ("single_label", "multi_label", "regression", "ner")
TEXTS = [
    {"text": "ada kept the light"},
    {"text": "light", "text_pair": "the keepers of the island"},
    {"text": "[SEP] </s> <s> [CLS] [PAD] light", "text_pair": "[SEP]"},
    {"text": "\U0001f600 caf\u00e9 \u200b \u4e2d\u6587 \u200d"},
    {"text": "keepering terns lightser unbelievably-so zxqvw"},
    {"text": "the light of new york " * 9, "text_pair": "kept, ada " * 7},
    {"text": "new york " * 30},
    {"text": "."},
]
WORDS = [
    {"tokens": ["ada", "kept", "the", "light"]},
    {"tokens": ["\u200b", "[SEP]", "</s>", "<s>", "\U0001f600", "terns"]},
    {"tokens": ["new york", "unbelievably-so", "caf\u00e9", "\u4e2d\u6587"]},
    {"tokens": ["ada", "keepers", "of", "tern", "island", "."] * 9},
    {"tokens": ["x" * 70, "light"]},
    {"tokens": ["\u200b"]},
]
SERVED = [
    *(pytest.param((task, "bert", "onnxruntime"), id=f"{task}-onnxruntime") for task in TASKS),
    *(pytest.param((task, "llama", "transformers"), id=f"{task}-pytorch") for task in TASKS),
]


class Serving:
    """A served folder, and what core says of its rows."""

    def __init__(self, folder, task, server):
        self.task, self.server = task, server
        self.rows = WORDS if task == "ner" else TEXTS
        self.head = read_head(folder)
        self.logits, self.expected = read_with_core(folder, self.head, self.rows)

    def post(self, path, body):
        response = httpx.post(f"{self.server.url}{path}", json=body, timeout=60)
        assert response.status_code == 200, response.text
        return response.json()


def read_with_core(folder, head, rows):
    """Outputs of the transformers model by row, and core's predictions."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    task = get_head_task(head.task)
    kind = AutoModelForTokenClassification if head.task == "ner" else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder).eval()
    encoded = task.encode(rows, InputEncoder(folder, head))
    outputs = []
    with torch.inference_mode():
        for piece in encoded.pieces:  # one at a time: no padding that could hide a mistake
            inputs = {"input_ids": torch.tensor([piece.input_ids])}
            if head.token_type_ids:
                inputs["token_type_ids"] = torch.tensor([piece.token_type_ids])
            outputs.append(model(**inputs).logits[0].numpy())
    logits = gather_outputs(encoded, outputs, head)
    predictions = task.read_out(logits, rows, head)
    return logits, [each | {"cut": cut} for each, cut in zip(predictions, encoded.cut, strict=True)]


@pytest.fixture(scope="module", params=SERVED)
def serving(request, tmp_path_factory):
    """One endpoint at a time."""
    task, shape, engine = request.param
    home = tmp_path_factory.mktemp("serving")
    folder = write_head_folder(home / "model", task, shape, onnx=engine == "onnxruntime")
    with EndpointServer(home, folder, ENGINE=engine) as server:
        yield Serving(folder, task, server)


def same(found, expected):
    """Whether a prediction equals another: numbers nearly, all else exactly."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    return found == expected


@pytest.mark.e2e
def test_v1_answers_what_core_reads(serving):
    found = serving.post("/v1/models/llm-api:predict", {"instances": serving.rows})["predictions"]
    assert len(found) == len(serving.expected)
    for row, answer, expected in zip(serving.rows, found, serving.expected, strict=True):
        assert same(answer, expected), (row, answer, expected)
    assert any(each["cut"] for each in found)


@pytest.mark.e2e
def test_v2_answers_what_core_reads(serving):
    if serving.task == "ner":
        found = infer(serving, tokens=[json.dumps(row["tokens"]) for row in serving.rows])
        answers = [
            {"tags": json.loads(tags), "entities": json.loads(entities)}
            for tags, entities in zip(found["tags"], found["entities"], strict=True)
        ]
        assert same(answers, [without_cut(each) for each in serving.expected])
        return
    for pairs in (False, True):
        places = [place for place, row in enumerate(serving.rows) if ("text_pair" in row) is pairs]
        names = ["text", "text_pair"] if pairs else ["text"]
        found = infer(serving, **{name: [serving.rows[place][name] for place in places] for name in names})
        if "labels" in found:
            found["labels"] = [json.loads(labels) for labels in found["labels"]]
        if "probabilities" in found:
            shares = np.reshape(found["probabilities"], (len(places), -1)).tolist()
            found["probabilities"] = [dict(zip(serving.head.labels, row, strict=True)) for row in shares]
        answers = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
        assert same(answers, [without_cut(serving.expected[place]) for place in places])


def infer(serving, **inputs):
    """Outputs of a V2 request by name."""
    tensors = [{"name": name, "datatype": "BYTES", "shape": [len(data)], "data": data} for name, data in inputs.items()]
    answer = serving.post("/v2/models/llm-api/infer", {"inputs": tensors})
    return {output["name"]: output["data"] for output in answer["outputs"]}


def without_cut(prediction):
    return {key: value for key, value in prediction.items() if key != "cut"}


@pytest.mark.e2e
def test_one_label_by_argmax_is_not_what_these_heads_say(serving):
    """KServe's Hugging Face server takes the argmax of the softmax of every sequence classification head.

    Computed here from the same outputs, it stands for that server: for several labels it gives just one, over
    probabilities that sum to 1; for a number it gives class 0, whatever the text.
    """
    if serving.task not in ("multi_label", "regression"):
        pytest.skip("its head has one label for a text or word, for which argmax is right")
    logits = np.stack(serving.logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = powers / powers.sum(axis=1, keepdims=True)
    best = softmax.argmax(axis=1).tolist()
    if serving.task == "regression":
        stock = [{"value": float(place)} for place in best]
    else:
        labels = serving.head.labels
        stock = [
            {"labels": [labels[place]], "probabilities": dict(zip(labels, row, strict=True))}
            for place, row in zip(best, softmax.tolist(), strict=True)
        ]
    expected = [without_cut(each) for each in serving.expected]
    assert not any(map(same, stock, expected))
    if serving.task == "multi_label":
        assert any(len(each["labels"]) != 1 for each in expected)


@pytest.mark.parametrize("length", [7, 40])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_token_ids_are_those_of_core(kind, length, tmp_path):
    tokenizer = TOKENIZERS[kind]()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for task, given in (("single_label", TEXTS), ("ner", WORDS)):
        marks = tokenizer.num_special_tokens_to_add(True) > tokenizer.num_special_tokens_to_add(False)
        ours = Head(
            task=task, labels=["O", "B-LOC"], columns={"text": "a", "text_pair": "b"}, max_seq_length=length,
            pad_token_id=0, token_type_ids=True, pair_joiner=None if marks else "\n",
        )  # fmt: skip
        write_head(ours, tmp_path)
        served = head.read_head(tmp_path)
        wanted = get_head_task(task).encode(given, InputEncoder(tmp_path, ours))
        found = encoding.InputEncoder(tmp_path, served).encode([rows.read_row(row, served, "row") for row in given])
        assert found.cut == wanted.cut
        for one, other in zip(found.pieces, wanted.pieces, strict=True):
            assert list(one.input_ids) == list(other.input_ids)
            assert list(one.token_type_ids) == list(other.token_type_ids)
            assert (list(one.words), one.first_word) == (list(other.words), other.first_word)
