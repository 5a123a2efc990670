import json

import pyarrow as pa
import pytest
from support.small_tokenizers import CHAT_TEMPLATE, byte_level

from components.core.data import tokens as tokens_module
from components.core.data.tokens import read_tokens_info, tokenize_dataset
from components.core.errors import DataError, StorageError
from components.core.recipe import ModelConfig, TaskConfig, TokensConfig
from components.core.settings import Settings
from components.core.tasks import get_task, read_prompt

CONTEXT = "The river Ilmen is 312 km long. It was first crossed in 1281."


def write_rows(path, count, context=CONTEXT):
    rows = [
        {"id": str(n), "context": f"{context} Note {n}.", "question": "How long?", "answers": {"text": ["312 km"]}}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


@pytest.fixture
def place(tmp_path):
    """A dataset, a model folder with tokenizer and config only, and settings with an empty cache."""
    dataset, model = tmp_path / "dataset", tmp_path / "model"
    dataset.mkdir()
    for split, count in (("train", 40), ("validation", 5), ("test", 5)):
        write_rows(dataset / f"{split}.jsonl", count)
    tokenizer = byte_level(CHAT_TEMPLATE)
    tokenizer.save_pretrained(model)
    (model / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 256}))
    return dataset, ModelConfig(model_id=str(model)), Settings(whetstone_home=tmp_path / "home")


def run(place, output, task=None, **tokens):
    dataset, model, settings = place
    return tokenize_dataset(task or TaskConfig(), model, TokensConfig(**tokens), dataset, output, settings)


def read_arrow(path):
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def examples_of(table):
    """The examples of all packs, as tuples of ids and labels."""
    found = []
    for row in table.to_pylist():
        start = 0
        for length in row["seq_lengths"]:
            end = start + length
            found.append((tuple(row["input_ids"][start:end]), tuple(row["labels"][start:end])))
            start = end
        assert start == len(row["input_ids"])
    return found


@pytest.mark.parametrize("packing", [True, False])
def test_the_files_hold_exactly_what_the_task_encodes(place, tmp_path, packing):
    report = run(place, tmp_path / "out", packing=packing)
    table = read_arrow(tmp_path / "out" / "train.arrow")
    task, tokenizer, prompt = get_task(TaskConfig()), byte_level(CHAT_TEMPLATE), read_prompt(tmp_path / "out")
    rows = [json.loads(line) for line in (place[0] / "train.jsonl").read_text().splitlines()]
    rows = [task.parse_row(row)[0] for row in rows]
    encoded = task.encode(rows, tokenizer, prompt, 256, window=True)
    expected = [(tuple(i), tuple(label)) for i, label in zip(encoded.input_ids, encoded.labels, strict=True)]
    assert sorted(examples_of(table)) == sorted(expected)
    assert {str(field.type) for field in table.schema} == {"list<item: int32>"}
    assert table.num_rows == report.splits["train"]["packs"]
    assert table.num_rows == 40 if not packing else table.num_rows < 40


def test_the_info_counts_rows_tokens_and_learned_tokens(place, tmp_path):
    report = run(place, tmp_path / "out")
    examples = examples_of(read_arrow(tmp_path / "out" / "train.arrow"))
    train = report.splits["train"]
    assert train["tokens"] == sum(len(ids) for ids, _ in examples)
    assert train["label_tokens"] == sum(label != -100 for _, labels in examples for label in labels)
    assert (train["rows"], train["kept"], train["dropped"], train["cut"]) == (40, 40, 0, 0)
    assert train["packing_efficiency"] == round(train["tokens"] / (train["packs"] * 256), 4)
    assert report.splits["test"]["rows"] == 5
    assert read_tokens_info(tmp_path / "out") == report
    assert report.metrics()["train_label_tokens"] == train["label_tokens"]


def test_the_info_names_the_dataset_by_its_own_fingerprint(place, tmp_path):
    (place[0] / "dataset_info.json").write_text('{"fingerprint": "abc"}')
    assert run(place, tmp_path / "out").dataset_fingerprint == "abc"


def test_the_limit_is_lowered_to_what_the_model_can_take(place, tmp_path):
    assert run(place, tmp_path / "a", max_seq_length=512).max_seq_length == 256
    assert run(place, tmp_path / "b", max_seq_length=128).max_seq_length == 128


def test_a_tokenizer_without_pad_token_pads_with_the_end_token_and_says_so(place, tmp_path):
    report = run(place, tmp_path / "out")
    assert (report.pad_token_id, report.pad_token_from) == (byte_level().eos_token_id, "eos")


def test_long_rows_are_cut_or_dropped_and_named_in_the_report(place, tmp_path):
    write_rows(place[0] / "train.jsonl", 2)
    with (place[0] / "train.jsonl").open("a") as file:
        file.write(json.dumps({"context": "word " * 400 + CONTEXT, "question": "q?", "answers": ["312 km"]}) + "\n")
    cut = run(place, tmp_path / "cut", on_too_long="window")
    dropped = run(place, tmp_path / "dropped", on_too_long="drop")
    assert (cut.splits["train"]["cut"], cut.splits["train"]["dropped"]) == (1, 0)
    assert (dropped.splits["train"]["cut"], dropped.splits["train"]["dropped"]) == (0, 1)
    assert json.loads((tmp_path / "cut/report.json").read_text())["splits"]["train"]["cut_rows"] == ["train.jsonl:3"]
    assert "train.jsonl:3" in (tmp_path / "dropped/report.html").read_text()


def test_test_prompts_that_would_be_cut_are_counted(place, tmp_path):
    write_rows(place[0] / "test.jsonl", 3, "word " * 400)
    assert run(place, tmp_path / "out").splits["test"]["prompts_cut"] == 3


def test_the_report_shows_user_text_as_text(place, tmp_path):
    write_rows(place[0] / "train.jsonl", 2, "<script>alert(1)</script> " + CONTEXT)
    run(place, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in html
    assert "limit 256" in html
    assert "class=loss" in html


def test_the_same_content_comes_from_the_cache_without_a_tokenizer(place, tmp_path, monkeypatch):
    first = run(place, tmp_path / "first")
    monkeypatch.setattr(tokens_module, "read_tokenizer", lambda folder: pytest.fail("encoded again"))
    assert run(place, tmp_path / "second") == first
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "second").iterdir())
    assert (tmp_path / "first/train.arrow").read_bytes() == (tmp_path / "second/train.arrow").read_bytes()


def test_other_content_is_encoded_anew(place, tmp_path):
    fingerprints = {run(place, tmp_path / "a").fingerprint}
    fingerprints.add(run(place, tmp_path / "b", packing=False).fingerprint)
    fingerprints.add(run(place, tmp_path / "c", task=TaskConfig(no_answer_text="unknown")).fingerprint)
    byte_level(CHAT_TEMPLATE, eos_token="<end>").save_pretrained(place[1].model_id)
    fingerprints.add(run(place, tmp_path / "d").fingerprint)
    write_rows(place[0] / "validation.jsonl", 6)
    fingerprints.add(run(place, tmp_path / "e").fingerprint)
    assert len(fingerprints) == 5


def test_a_damaged_cache_is_not_taken(place, tmp_path):
    report = run(place, tmp_path / "a")
    cached = place[2].cache / "tokens" / report.fingerprint / "train.arrow"
    cached.unlink()
    cached.write_bytes(b"half")
    run(place, tmp_path / "b")
    assert (tmp_path / "b/train.arrow").read_bytes() == (tmp_path / "a/train.arrow").read_bytes()
    assert cached.read_bytes() == (tmp_path / "a/train.arrow").read_bytes()


def test_an_interrupted_run_leaves_nothing_behind(place, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tokens_module, "write_token_report", stop)
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path / "out" / "tokens")
    assert list((tmp_path / "out").iterdir()) == []
    assert not place[2].cache.exists()


def test_an_earlier_output_is_replaced(place, tmp_path):
    run(place, tmp_path / "out", packing=False)
    report = run(place, tmp_path / "out", packing=True)
    assert read_tokens_info(tmp_path / "out") == report
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_cache_that_cannot_be_written_only_warns(place, tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    run((*place[:2], Settings(whetstone_home=blocked)), tmp_path / "out")
    assert "not cached" in caplog.text
    assert (tmp_path / "out/train.arrow").is_file()


def test_a_missing_split_is_named(place, tmp_path):
    (place[0] / "validation.jsonl").unlink()
    with pytest.raises(DataError, match=r"validation\.jsonl is missing"):
        run(place, tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "message"), [("{", "train.jsonl:41 is not JSON"), ("[]", "train.jsonl:41: not"), ("{}", "41: context")]
)
def test_a_broken_line_is_named(place, tmp_path, line, message):
    with (place[0] / "train.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message):
        run(place, tmp_path / "out")


def test_bytes_that_are_not_utf8_are_named(place, tmp_path):
    with (place[0] / "train.jsonl").open("ab") as file:
        file.write(b'{"context": "caf\xe9", "question": "q", "answers": ["a"]}\n')
    with pytest.raises(DataError, match=r"train.jsonl:41: context: .* at character 3"):
        run(place, tmp_path / "out")


def test_no_training_row_that_fits_is_an_error(place, tmp_path):
    with pytest.raises(DataError, match="no row of .* fits into 16 tokens"):
        run(place, tmp_path / "out", max_seq_length=16)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_complete_is_refused(tmp_path):
    with pytest.raises(StorageError, match="no complete tokens"):
        read_tokens_info(tmp_path)


def test_many_chunks_give_the_same_examples(place, tmp_path, monkeypatch):
    run(place, tmp_path / "one")
    monkeypatch.setattr("components.core.data.token_file._CHUNK_ROWS", 7)
    monkeypatch.setattr(tokens_module, "_BATCH_ROWS", 9)
    run(place[:2] + (Settings(whetstone_home=tmp_path / "other"),), tmp_path / "many")
    one, many = (read_arrow(tmp_path / name / "train.arrow") for name in ("one", "many"))
    assert sorted(examples_of(one)) == sorted(examples_of(many))
