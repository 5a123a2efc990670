"""Int8 weights: how the gate decides, what it writes, and what the endpoint makes of it."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from llm_endpoint.errors import ModelError
from llm_endpoint.served.quantization import check_int8_passed
from support.run_output import write_run

from components.core.errors import DataError, StorageError
from components.core.evaluation.quantization import Int8Judgement, judge_int8, write_int8_verdict
from components.core.evaluation.results import ALL_ROWS
from components.core.recipe import EvaluationConfig, TaskConfig
from components.core.registry.manifest import verify_checksums, write_manifest
from components.core.registry.model_folder import read_model_folder, write_model_folder
from components.core.tasks import get_task

QUICK = EvaluationConfig(bootstrap_samples=300)
TASK = get_task(TaskConfig())


def make_rows(count: int) -> list[dict]:
    return [
        {
            "id": str(number),
            "context": f"Ship {number} was built by Ada{number}.",
            "question": f"Who built ship {number}?",
            "answers": {"text": [f"Ada{number}"], "answer_start": [0]}
            if number % 4
            else {"text": [], "answer_start": []},
        }
        for number in range(count)
    ]


def right(rows: list[dict]) -> list[str]:
    return [row["answers"]["text"][0] if row["answers"]["text"] else "" for row in rows]


def judge(count: int = 200, wrong: int = 0, tolerance: float = 0.02) -> Int8Judgement:
    """Fp32 answers all rows right, int8 all but some."""
    rows = make_rows(count)
    changed = set(np.random.default_rng(0).permutation(count)[:wrong])
    int8 = ["wrong" if number in changed else answer for number, answer in enumerate(right(rows))]
    return judge_int8(TASK, rows, right(rows), int8, QUICK, tolerance)


def write(folder: Path, judgement: Int8Judgement, content: str = "a" * 64) -> Path:
    return write_int8_verdict(folder, content, judgement, QUICK, 0.02, "f" * 64, "2026.4.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def content_of(folder: Path) -> str:
    return write_manifest(folder, ["model.safetensors"]).content_sha256


def test_the_same_answers_pass_even_where_no_loss_is_allowed():
    found = judge(tolerance=0.0)
    assert (found.passed, found.answers_changed, found.gap.value) == (True, 0, 0.0)
    assert found.headline == (
        "PASSED: F1 with int8 weights is not more than 0.0 points below fp32 "
        "(difference 0.0 points, 95 % interval 0.0 to 0.0)"
    )


def test_one_worse_answer_of_many_is_within_the_tolerance():
    found = judge(count=400, wrong=1)
    assert (found.passed, found.answers_changed) == (True, 1)
    assert found.gap.value == pytest.approx(-1 / 400)


def test_a_loss_that_the_interval_does_not_rule_out_is_refused():
    found = judge(wrong=3)  # 1.5 points on average, but perhaps more than 2
    assert -0.02 < found.gap.value < 0
    assert not found.passed
    assert found.headline.startswith("REFUSED: F1 with int8 weights may be more than 2.0 points below fp32")
    assert judge(wrong=3, tolerance=0.1).passed


def test_answers_that_got_better_pass():
    rows = make_rows(100)
    fp32 = ["wrong", *right(rows)[1:]]
    found = judge_int8(TASK, rows, fp32, right(rows), QUICK, 0.0)
    assert found.gap.value == pytest.approx(0.01)
    assert found.answers_changed == 1
    assert not found.passed  # one row is no proof that nothing is lost, where no loss at all is allowed
    assert judge_int8(TASK, rows, fp32, right(rows), QUICK, 0.01).passed


def test_scores_are_shown_with_and_without_an_answer():
    found = judge(wrong=20)
    assert set(found.slices) == {ALL_ROWS, "has_answer", "no_answer"}
    assert found.slices[ALL_ROWS].scores["base"]["f1"].value == 1.0
    assert found.slices[ALL_ROWS].scores["tuned"]["f1"].value == pytest.approx(0.9)


def test_few_rows_are_no_ground_for_a_verdict():
    with pytest.raises(DataError, match="29 test rows are too few to judge int8. Give at least 30"):
        judge(count=29)


def test_a_pass_for_these_weights_lets_int8_be_served(folder):
    written = write(folder, judge(), content_of(folder))
    check_int8_passed(folder)
    record = json.loads(written.read_text(encoding="utf-8"))
    assert record["int8"]["rows"] == 200
    assert record["int8"]["f1_difference_low"] == 0.0
    assert record["int8"]["openvino"] == "2026.4.1"
    assert not list(folder.glob("*.partial"))


def test_no_verdict_is_no_int8(folder):
    content_of(folder)
    with pytest.raises(ModelError, match=r"nobody has judged int8 .* Run `python -m llm-pipelines.gate-int8 --model"):
        check_int8_passed(folder)


def test_a_model_that_was_not_published_here_is_no_int8(folder):
    write(folder, judge())
    with pytest.raises(ModelError, match=r"has no manifest.json.*Unset WEIGHTS"):
        check_int8_passed(folder)


def test_a_verdict_of_other_weights_is_no_int8(folder):
    write(folder, judge(), content_of(folder))
    (folder / "model.safetensors").write_bytes(b"others!")
    content_of(folder)
    with pytest.raises(ModelError, match="is of other weights than those beside it.*or unset WEIGHTS"):
        check_int8_passed(folder)


def test_a_refusal_is_no_int8_and_says_why(folder):
    write(folder, judge(wrong=30), content_of(folder))
    with pytest.raises(
        ModelError, match=r"int8 did not pass for this model. REFUSED: F1 .*-15.0 points.*Unset WEIGHTS"
    ):
        check_int8_passed(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 1, "int8": "passed"}', '{"format": 1, "int8": {"status": "passed"}}']
)
def test_a_file_that_is_no_verdict_is_no_int8(folder, text):
    content_of(folder)
    (folder / "quantization.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="quantization.json is no verdict on int8"):
        check_int8_passed(folder)


def test_a_verdict_in_a_newer_format_is_no_int8(folder):
    written = write(folder, judge(), content_of(folder))
    written.write_text(written.read_text(encoding="utf-8").replace('"format": 1', '"format": 2'), encoding="utf-8")
    with pytest.raises(ModelError, match="has the format 2; this endpoint reads 1"):
        check_int8_passed(folder)


def test_a_manifest_without_a_hash_matches_no_verdict(folder):
    write(folder, judge(), "")
    (folder / "manifest.json").write_text('{"content_sha256": ""}', encoding="utf-8")
    with pytest.raises(ModelError, match="is of other weights"):
        check_int8_passed(folder)


def test_another_version_of_the_engine_is_a_warning(folder, caplog):
    write_int8_verdict(folder, content_of(folder), judge(), QUICK, 0.02, "f" * 64, "2020.1")
    with caplog.at_level(logging.WARNING):
        check_int8_passed(folder)
    assert "int8 was judged with OpenVINO 2020.1" in caplog.text


def test_a_verdict_that_cannot_be_written_is_told(folder):
    (folder / "quantization.json").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*quantization.json.*copy the folder"):
        write(folder, judge())


def test_a_verdict_does_not_break_the_model_folder_and_is_not_published_again(tmp_path):
    run = write_run(tmp_path)
    out = tmp_path / "out"
    write_model_folder(*run.inputs(), out)
    before = (out / "manifest.json").read_bytes()
    verdict = write(out, judge(), verify_checksums(out).content_sha256)
    assert verify_checksums(out) == read_model_folder(out).manifest
    check_int8_passed(out)
    shutil.copy(verdict, run.model_dir)
    write_model_folder(*run.inputs(), tmp_path / "again")
    assert not (tmp_path / "again" / verdict.name).exists()
    assert (tmp_path / "again" / "manifest.json").read_bytes() == before
