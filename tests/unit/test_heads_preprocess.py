"""The preprocess of each task with a tiny encoder: what it writes, what it refuses, what it counts."""

import json
import shutil

import numpy as np
import pytest
from support.question_files import write, written
from support.small_tokenizers import byte_level
from support.task_files import COLOURS, label_row, task_rows, text
from support.tiny_encoder import CATALOGUE_TASKS, preprocess_rows, write_encoder
from support.tiny_training import write_base_model

from components.core.errors import ConfigError, DataError, StorageError
from components.core.heads.folders import PREPROCESS_ARGS_FILE
from components.core.heads.preprocess.args import read_preprocess_args
from components.core.heads.tokens import TokenTable
from components.core.tasks.heads import read_head

TASKS = tuple(CATALOGUE_TASKS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    return write_base_model(tmp_path_factory.mktemp("causal"))


@pytest.fixture
def other(encoder, tmp_path):
    """A copy of the encoder that a test may change."""
    return shutil.copytree(encoder, tmp_path / "other")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("task", TASKS)
def test_the_folder_holds_all_that_fine_tuning_reads(encoder, tmp_path, task):
    report = preprocess_rows(task, None, encoder, tmp_path / "out")
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {
        "train.jsonl", "validation.jsonl", "test.jsonl", "dataset_info.json", "report.json", "report.html",
        "train.arrow", "validation.arrow", "tokens.html", "tokenizer", "pretrained_model", "head.json",
        "preprocess_args.json",
    }  # fmt: skip
    model = {path.name for path in (out / "pretrained_model").iterdir()}
    assert model == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert (out / "tokenizer" / "tokenizer.json").read_bytes() == (encoder / "tokenizer.json").read_bytes()
    args = read_preprocess_args(out)
    assert args == report.args
    assert (args.task, args.catalogue_task) == (task, CATALOGUE_TASKS[task])
    assert args.dataset.fingerprint == json.loads((out / "dataset_info.json").read_text())["fingerprint"]
    assert {split: numbers["rows"] for split, numbers in args.splits.items()} == report.data.rows
    head = read_head(out)
    assert (head.task, head.max_seq_length, head.pad_token_id, head.token_type_ids) == (task, 64, 0, True)
    assert args.label_map == ({label: number for number, label in enumerate(head.labels)} or None)
    table = TokenTable(out / "train.arrow")
    assert (len(table), int(table.lengths.sum())) == (args.splits["train"]["inputs"], args.splits["train"]["tokens"])
    assert report.metrics()["train_tokens"] == args.splits["train"]["tokens"]


def test_the_tokens_are_those_of_transformers(encoder, tmp_path):
    from transformers import AutoTokenizer

    preprocess_rows("single_label", None, encoder, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "tokenizer")
    rows = written(tmp_path / "out", "train")
    expected = tokenizer([row["text"] for row in rows])["input_ids"]
    table, head = TokenTable(tmp_path / "out" / "train.arrow"), read_head(tmp_path / "out")
    assert [table[place]["input_ids"] for place in range(len(table))] == expected
    assert [head.labels[table[place]["labels"]] for place in range(len(table))] == [row["label"] for row in rows]


def test_a_pair_is_encoded_with_token_types(encoder, tmp_path):
    rows = [{"one": text(n), "two": "red", "label": COLOURS[n % 2]} for n in range(40)]
    keys = {"sentence1_key": "one", "sentence2_key": "two"}
    preprocess_rows("single_label", rows, encoder, tmp_path / "out", **keys)
    first = TokenTable(tmp_path / "out" / "train.arrow")[0]
    assert first["token_type_ids"][-2:] == [1, 1]
    assert first["token_type_ids"][0] == 0
    head = read_head(tmp_path / "out")
    assert head.columns == {"text": "one", "text_pair": "two", "label": "label"}
    assert head.pair_joiner is None


def test_a_second_text_under_our_own_name_is_recorded(encoder, tmp_path):
    rows = [row | {"text_pair": "red"} for row in task_rows("single_label")]
    preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    assert read_head(tmp_path / "out").columns["text_pair"] == "text_pair"


def test_a_causal_model_gets_no_token_types_and_joins_pairs_by_a_line_break(causal, tmp_path):
    report = preprocess_rows("ner", None, causal, tmp_path / "out")
    head = read_head(tmp_path / "out")
    assert (head.token_type_ids, head.pair_joiner, head.max_seq_length) == (False, "\n", 128)
    assert report.args.model.revision == "local"


def test_cut_rows_are_counted_and_named(encoder, tmp_path):
    rows = [label_row(n, COLOURS[n % 4]) for n in range(60)]
    for split, part in {"train": rows[:40], "validation": rows[40:50], "test": rows[50:]}.items():
        write(tmp_path / "data" / f"{split}.jsonl", part)
    long = [label_row(100, "red") | {"text": "black " * 1667}, label_row(101, "red") | {"text": "red " * 100}]
    write(tmp_path / "data" / "train.jsonl", [*rows[:40], *long])
    report = preprocess_rows("single_label", tmp_path / "data", encoder, tmp_path / "out")
    assert report.args.splits["train"]["longest"] == 64
    assert report.args.splits["train"]["cut"] == 2
    page = (tmp_path / "out" / "tokens.html").read_text()
    assert "Rows whose end was cut off: 2 rows (train.jsonl:41, train.jsonl:42)" in page
    assert report.metrics()["train_cut"] == 2


def test_a_long_row_of_words_becomes_several_inputs_and_loses_nothing(encoder, tmp_path):
    rows = task_rows("ner")
    for row in rows[:50]:
        row["tokens"], row["ner_tags"] = row["tokens"] * 40, row["ner_tags"] * 40
    report = preprocess_rows("ner", rows, encoder, tmp_path / "out")
    train = report.args.splits["train"]
    assert train["inputs"] > train["rows"]
    assert train["cut"] == 0
    table, head = TokenTable(tmp_path / "out" / "train.arrow"), read_head(tmp_path / "out")
    learned = [head.labels[label] for item in table for label in item["labels"] if label >= 0]
    assert sorted(learned) == sorted(tag for row in written(tmp_path / "out", "train") for tag in row["ner_tags"])


@pytest.mark.parametrize(
    ("wanted", "used", "notes"),
    [(-1, 64, 0), (32, 32, 0), (64, 64, 0), (500, 64, 1)],
)
def test_the_length_is_the_models_maximum_or_what_was_asked_for(encoder, tmp_path, wanted, used, notes):
    report = preprocess_rows("single_label", None, encoder, tmp_path / "out", max_seq_length=wanted)
    assert (report.args.max_seq_length, len(report.args.notes)) == (used, notes)
    if notes:
        assert report.args.notes[0].startswith("max_seq_length=500 is lowered to 64, the most that")
        assert report.args.notes[0] in (tmp_path / "out" / "tokens.html").read_text()


def test_the_tokenizers_own_limit_counts(other, tmp_path):
    change(other / "tokenizer_config.json", model_max_length=48)
    assert preprocess_rows("single_label", None, other, tmp_path / "out").args.max_seq_length == 48


def test_a_model_that_counts_positions_from_behind_the_pad_token_reads_fewer(other, tmp_path):
    change(other / "config.json", model_type="roberta", pad_token_id=1)
    change(other / "tokenizer_config.json", model_max_length=10**30)
    assert preprocess_rows("single_label", None, other, tmp_path / "out").args.max_seq_length == 62


def test_a_model_without_a_stated_maximum_asks_for_one(other, tmp_path):
    change(other / "tokenizer_config.json", model_max_length=10**30)
    values = {"model_type": "xlnet", "vocab_size": 200, "n_layer": 1, "d_model": 32, "n_head": 2}
    (other / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"max_seq_length=-1: neither config nor tokenizer of .* Set max_seq_length"):
        preprocess_rows("single_label", None, other, tmp_path / "out")
    assert preprocess_rows("single_label", None, other, tmp_path / "b", max_seq_length=20).args.max_seq_length == 20


def test_too_few_tokens_for_any_text_are_refused(encoder, tmp_path):
    with pytest.raises(ConfigError, match="max_seq_length=2: leaves no room beside 2 special tokens"):
        preprocess_rows("single_label", None, encoder, tmp_path / "out", max_seq_length=2)
    assert not (tmp_path / "out" / PREPROCESS_ARGS_FILE).exists()


def test_a_model_without_tokenizer_json_gets_one(other, tmp_path):
    (other / "tokenizer.json").unlink()
    (other / "tokenizer_config.json").unlink()
    change(other / "config.json", model_type="bert")
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghij0123456789w",
        *(f"##{n}" for n in range(10)),
    ]
    (other / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    preprocess_rows("single_label", None, other, tmp_path / "out", max_seq_length=64)
    assert (tmp_path / "out" / "tokenizer" / "tokenizer.json").is_file()
    assert TokenTable(tmp_path / "out" / "train.arrow")[0]["input_ids"][0] == 2


@pytest.mark.parametrize(
    ("model_type", "task", "message"),
    [
        ("clip_vision_model", "single_label", "is a clip_vision_model model, .* no sequence classification head"),
        ("openai-gpt", "ner", "is a openai-gpt model, for which transformers has no token classification head"),
        ("own-code", "ner", "cannot read the config of .*: it needs code that comes with it, which is never run"),
        ("house-of-nobody", "ner", "transformers cannot read the config of .*house-of-nobody"),
    ],
)
def test_a_model_that_cannot_carry_the_head_is_refused_before_the_data_are_read(
    other, tmp_path, model_type, task, message
):
    code = {"auto_map": {"AutoConfig": "code.Config"}} if model_type == "own-code" else {}
    change(other / "config.json", model_type=model_type, **code)
    with pytest.raises(ConfigError, match=message):
        preprocess_rows(task, tmp_path / "no-data", other, tmp_path / "out")


def test_a_vocabulary_that_the_model_does_not_have_is_refused(other, tmp_path):
    byte_level().save_pretrained(other)
    with pytest.raises(ConfigError, match=r"gives ids up to 3\d\d, yet the model has \d+ embeddings"):
        preprocess_rows("single_label", None, other, tmp_path / "out")


def test_a_model_without_safetensors_is_refused(other, tmp_path):
    (other / "model.safetensors").unlink()
    with pytest.raises(StorageError, match="has no safetensors weights"):
        preprocess_rows("single_label", None, other, tmp_path / "out")


def test_a_wrong_column_is_explained_by_the_parameters(encoder, tmp_path):
    keys = {"sentence1_key": "text", "sentence2_key": "hypothesis"}
    with pytest.raises(
        DataError, match=r"maps from hypothesis.* Here data\.columns is set by sentence1_key, sentence2_"
    ):
        preprocess_rows("single_label", None, encoder, tmp_path / "out", **keys)


def test_a_failed_run_leaves_nothing_of_an_earlier_one(encoder, tmp_path):
    preprocess_rows("single_label", None, encoder, tmp_path / "out")
    with pytest.raises(DataError, match="one label"):
        preprocess_rows("single_label", [label_row(n) for n in range(40)], encoder, tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"report.json", "report.html"}


def test_the_fingerprint_follows_what_decides_tokens_and_weights(encoder, other, tmp_path):
    def fingerprint(number, model=encoder, rows=None, **changes):
        return preprocess_rows("single_label", rows, model, tmp_path / f"out{number}", **changes).args.fingerprint

    first = fingerprint(1)
    assert first == fingerprint(2, batch_size=7)
    write_encoder(other, seed=1)
    others = {
        fingerprint(3, max_seq_length=32), fingerprint(4, pad_to_max_length=True), fingerprint(5, other),
        fingerprint(6, rows=task_rows("single_label", 61)),
    }  # fmt: skip
    assert len(others | {first}) == 5


def test_the_copied_model_does_not_follow_later_changes_of_its_config(other, tmp_path):
    preprocess_rows("single_label", None, other, tmp_path / "out")
    with (other / "config.json").open("r+") as file:
        file.write("{}")
    assert json.loads((tmp_path / "out" / "pretrained_model" / "config.json").read_text())["model_type"] == "bert"


def test_a_model_of_links_as_the_hubs_cache_has_it_is_copied_whole(encoder, tmp_path):
    cache = tmp_path / "snapshot"
    cache.mkdir()
    for file in encoder.iterdir():
        (cache / file.name).symlink_to(file)
    preprocess_rows("single_label", None, cache, tmp_path / "out")
    weights = tmp_path / "out" / "pretrained_model" / "model.safetensors"
    assert not weights.is_symlink()
    assert weights.read_bytes() == (encoder / "model.safetensors").read_bytes()


def test_regression_targets_are_normalised_and_the_scale_is_stored(encoder, tmp_path):
    preprocess_rows("regression", None, encoder, tmp_path / "out")
    scores = np.array([row["score"] for row in written(tmp_path / "out", "train")])
    head = read_head(tmp_path / "out")
    assert (head.scale.mean, head.scale.std) == pytest.approx((scores.mean(), scores.std()))
    assert (head.scale.minimum, head.scale.maximum) == (scores.min(), scores.max())
    table = TokenTable(tmp_path / "out" / "train.arrow")
    learned = [table[place]["labels"] for place in range(len(table))]
    assert learned == pytest.approx((scores - scores.mean()) / scores.std(), abs=1e-6)


@pytest.mark.parametrize("scores", [(1e308, -1e308), (0.0, 1e-300), (5e-324, 0.0)])
def test_scores_that_cannot_be_normalised_are_refused(encoder, tmp_path, scores):
    rows = [{"text": text(n), "score": scores[n % 2]} for n in range(40)]
    with pytest.raises(DataError, match="cannot be normalised"):
        preprocess_rows("regression", rows, encoder, tmp_path / "out")


def test_text_is_shown_as_text_in_the_page(encoder, tmp_path):
    rows = [label_row(n, COLOURS[n % 4]) | {"text": f"<script>alert({n})</script> {text(n)}"} for n in range(40)]
    preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    assert "<script" not in (tmp_path / "out" / "tokens.html").read_text()


def test_many_rows_in_small_batches_give_the_same_tokens(encoder, tmp_path):
    preprocess_rows("multi_label", None, encoder, tmp_path / "one")
    preprocess_rows("multi_label", None, encoder, tmp_path / "many", batch_size=3)
    one, many = (TokenTable(tmp_path / name / "train.arrow") for name in ("one", "many"))
    assert list(one) == list(many)
    assert one.lengths.tolist() == many.lengths.tolist()
