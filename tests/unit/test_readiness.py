"""Readiness: the share of prompts with its interval, from judged rows as evaluation.py writes them."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

readiness = importlib.import_module("llm-pipelines.readiness")


def row(number: int, similar: list[float], precise: list[float] | None = None, **more: Any) -> dict[str, Any]:
    made = {"instructions": f"prompt {number}", "target_responses": "yes", "candidate_responses": "<b>no</b>"}
    scores = {"similarity_scores": similar, "precision_scores": similar if precise is None else precise}
    return made | {"model_id": "small", "model_sha": "a" * 64} | scores | more


def look(folder: Path, rows: list[dict[str, Any]], *more: str):
    file = folder / "eval.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    command = ["--judged", str(file), "--html", str(folder / "page.html"), *more]
    return CliRunner().invoke(readiness.app, command, env={"WHETSTONE_HOME": str(folder)})


def test_the_share_has_its_wilson_interval(tmp_path) -> None:
    rows = [row(number, [95.0]) for number in range(80)] + [row(number, [20.0]) for number in range(80, 100)]
    result = look(tmp_path, rows)
    # Wilson's interval of 80 of 100 by hand
    assert "80 of 100 prompts: 80.0 %, 71.1 to 86.7 % (95 % interval)" in result.output
    assert "not ready" in result.output
    assert result.exit_code == 3


def test_the_whole_interval_decides(tmp_path) -> None:
    rows = [row(number, [95.0]) for number in range(100)]
    assert look(tmp_path, rows, "--at-least", "95").exit_code == 0
    few = look(tmp_path, rows[:20], "--at-least", "95")
    assert few.exit_code == 3
    assert "not known yet" in few.output


def test_answers_to_one_prompt_count_as_one_and_both_scores_matter(tmp_path) -> None:
    rows = [row(1, [100.0, 90.0]), row(1, [92.0, 96.0]), row(2, [100.0], [10.0]), row(3, [], [])]
    result = look(tmp_path, rows)
    assert "1 of 2 prompts" in result.output
    assert "Not judged     1 rows" in result.output
    page = (tmp_path / "page.html").read_text()
    assert "prompt 2" in page
    assert "prompt 1" not in page
    assert "<b>no</b>" not in page


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"instructions": "a"}], "row 1 is not judged"),
        ([row(1, [], [])], "no row of"),
        ([row(1, [1.0]), row(2, [1.0], model_sha="b" * 64)], "answers of 2 models"),
    ],
)
def test_what_is_not_judged_is_one_line_and_exit_2(tmp_path, rows, message) -> None:
    result = look(tmp_path, rows)
    assert result.exit_code == 2
    assert message in result.output
