import json

import pytest

from components.core.errors import DataError, StorageError
from components.core.evaluation import print_summary, read_evaluation
from components.core.evaluation.comparison import compare
from components.core.evaluation.gate import judge
from components.core.evaluation.held_out import read_dataset_fingerprint, read_test_rows
from components.core.evaluation.predictions import Answers
from components.core.evaluation.results import ALL_ROWS, Evaluation, ModelFacts
from components.core.evaluation.summary import summarize_markdown
from components.core.recipe import EvaluationConfig, GateConfig, TaskConfig
from components.core.tasks import get_task

QUICK = EvaluationConfig(bootstrap_samples=300)
TASK = get_task(TaskConfig())


def make_rows(count, unanswerable=3):
    """Every third row has no answer (or none does, with 0)."""
    rows = []
    for number in range(count):
        name = f"name{number}"
        gone = unanswerable and number % unanswerable == 0
        answers = {"text": [] if gone else [name], "answer_start": [] if gone else [4]}
        rows.append(
            {
                "id": f"r{number}",
                "context": f"The {name} won.",
                "question": f"Who won race {number}?",
                "answers": answers,
            }
        )
    return rows


def right(rows):
    return [row["answers"]["text"][0] if row["answers"]["text"] else "" for row in rows]


def score(rows, **predictions):
    return {name: TASK.score_rows(rows, texts) for name, texts in predictions.items()}


def evaluation_of(rows, gate=None, **predictions):
    scores = score(rows, **predictions)
    slices = compare(rows, scores, TASK.metric_names, QUICK)
    facts = ModelFacts(source="m", revision="r", weights_sha256="ab" * 32, rows_cut=0, seconds=1.0, cached=False)
    found = Evaluation(
        task="context_qa", metrics=list(TASK.metric_names), gate_metric="f1", confidence=0.95, bootstrap_samples=300,
        seed=42, max_new_tokens=32, rows=len(rows), contexts=len(rows), resampled="rows",
        models=dict.fromkeys(predictions, facts), slices=slices,
        verdict=judge(gate or GateConfig(), slices[ALL_ROWS], frozenset(), 0.95), notes=["a note"],
        dataset_fingerprint="fp", test_fingerprint="cd" * 32, seconds=2.0,
    )  # fmt: skip
    return found, {name: Answers(texts, scores[name]) for name, texts in predictions.items()}


def test_rows_with_and_without_an_answer_are_scored_apart():
    rows = make_rows(60)
    slices = compare(rows, score(rows, base=[""] * 60, tuned=right(rows)), TASK.metric_names, QUICK)
    assert {name: part.rows for name, part in slices.items()} == {"all": 60, "has_answer": 40, "no_answer": 20}
    assert slices["no_answer"].scores["base"]["f1"].value == 1
    assert slices["has_answer"].scores["base"]["f1"].value == 0
    assert slices["all"].scores["base"]["exact_match"].value == pytest.approx(1 / 3)
    assert slices["has_answer"].differences["base"]["f1"].value == 1


def test_a_set_where_all_rows_have_an_answer_is_not_split():
    rows = make_rows(30, unanswerable=0)
    assert list(compare(rows, score(rows, base=right(rows), tuned=right(rows)), TASK.metric_names, QUICK)) == ["all"]


def test_right_answers_to_the_wrong_questions_are_refused():
    rows = make_rows(90)
    answers = right(rows)
    base = [text if number % 2 else "" for number, text in enumerate(answers)]
    found, _ = evaluation_of(rows, base=base, tuned=answers[1:] + answers[:1])
    assert (found.verdict.status, found.verdict.outcome) == ("refused", "worse")


def test_the_summary_shows_scores_slices_and_the_verdict():
    rows = make_rows(60)
    found, _ = evaluation_of(rows, base=[""] * 60, tuned=right(rows), champion=[""] * 60)
    text = print_summary(found)
    lines = [line.split("  ") for line in text.splitlines()]
    assert any("All rows (60)" in line and "F1" in line for line in lines)
    assert "100.0 (100.0 to 100.0)" in text
    assert "33.3 (" in text
    assert "HasAns (40)" in text
    assert "NoAns (20)" in text
    assert "tuned - champion" in text
    assert "note: a note" in text
    assert found.verdict.headline in text.splitlines()


def test_the_markdown_summary_is_a_table_of_equal_columns():
    rows = make_rows(60)
    found, _ = evaluation_of(rows, base=[""] * 60, tuned=right(rows))
    table = [line for line in summarize_markdown(found).splitlines() if line.startswith("|")]
    assert len(table) == 8
    assert len({line.count("|") for line in table}) == 1


def test_the_flat_metrics_are_numbers_with_telling_names():
    rows = make_rows(60)
    found, _ = evaluation_of(rows, base=[""] * 60, tuned=right(rows))
    flat = found.flat_metrics()
    assert flat["tuned_f1"] == 1
    assert flat["base_exact_match_has_answer"] == 0
    assert flat["f1_difference_base_low"] == pytest.approx(found.everything.differences["base"]["f1"].low)
    assert flat["passed"] == 1
    assert all(isinstance(value, float) for value in flat.values())


def test_an_evaluation_survives_its_file(tmp_path):
    found, _ = evaluation_of(make_rows(12), base=[""] * 12, tuned=[""] * 12)
    (tmp_path / "evaluation.json").write_text(found.model_dump_json())
    assert read_evaluation(tmp_path) == found


def test_a_missing_evaluation_says_what_to_do(tmp_path):
    with pytest.raises(StorageError, match=r"evaluation.json is missing .* Run the evaluation again"):
        read_evaluation(tmp_path)


def write_rows(folder, lines):
    (folder / "test.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_test_rows_are_read_in_order_also_with_unusual_line_characters(tmp_path):
    rows = make_rows(4)
    rows[1]["context"] += " one\u2028paragraph\x85 more"
    write_rows(tmp_path, [json.dumps(row, ensure_ascii=False) for row in rows])
    assert read_test_rows(tmp_path, None, seed=1) == rows


def test_a_sample_of_the_test_rows_depends_on_the_seed_only_and_keeps_their_order(tmp_path):
    write_rows(tmp_path, map(json.dumps, make_rows(50)))
    first, again, other = (read_test_rows(tmp_path, 10, seed=seed) for seed in (1, 1, 2))
    numbers = [int(row["id"][1:]) for row in first]
    assert first == again != other
    assert numbers == sorted(numbers)
    assert len(numbers) == 10


def test_no_test_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*test\.jsonl.* Run the step that fetches the dataset again"):
        read_test_rows(tmp_path, None, seed=1)


def test_an_empty_test_split_is_a_data_error_with_a_remedy(tmp_path):
    write_rows(tmp_path, ["", "  "])
    with pytest.raises(DataError, match=r"test\.jsonl holds no row.*data\.test_split"):
        read_test_rows(tmp_path, None, seed=1)


@pytest.mark.parametrize(
    "line",
    ['{"id": 1', '{"id": "a"}', "[1]", '{"context": "c", "question": 5, "answers": {"text": [], "answer_start": []}}'],
)
def test_a_row_that_is_not_canonical_is_named_by_its_number(tmp_path, line):
    write_rows(tmp_path, [json.dumps(make_rows(1)[0]), line])
    with pytest.raises(DataError, match=r"test\.jsonl, row 2: not a canonical row"):
        read_test_rows(tmp_path, None, seed=1)


def test_the_dataset_fingerprint_is_taken_from_its_description(tmp_path):
    assert read_dataset_fingerprint(tmp_path) == "unknown"
    (tmp_path / "dataset_info.json").write_text('{"fingerprint": "abc"}')
    assert read_dataset_fingerprint(tmp_path) == "abc"
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="not readable"):
        read_dataset_fingerprint(tmp_path)
