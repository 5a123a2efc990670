"""Whole runs by a scripted judge of known noise: a function in place of the service LLM, so that truth is known."""

import random
from pathlib import Path
from typing import Any

import pytest
from support.scripted_judge import ScriptedJudge

from components.core.errors import DataError
from components.core.judging import CompareConfig, JudgeConfig, JudgeResult, calibrate, compare_rows, judge
from components.core.judging.calibration import krippendorff_alpha
from components.core.judging.pages import write_page
from components.core.judging.report import compare_page, judge_page
from components.core.settings import Settings

COLUMNS = ("instructions", "target_responses", "candidate_responses", "model_id", "model_sha")
TARGET = "the answer to question {} is the sum of its two numbers and nothing else"


def answers(count: int, seed: int, *, quality: float = 94.0, spread: float = 5.0, shuffled: float = 0.0) -> list[dict]:
    """Rows of a model; its answer says how good it is, and a shuffled one is the answer to another question."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        good = f"q={min(100.0, dice.gauss(quality, spread)):.2f} {number}"
        candidate = f"wrong {number}" if dice.random() < shuffled else good
        texts = (f"question {number}", TARGET.format(number), candidate, "m", "1")
        rows.append(dict(zip(COLUMNS, texts, strict=True)))
    return rows


def truth(_instruction: str, reference: str, candidate: str) -> float:
    if candidate == reference:
        return 99.0
    if candidate.startswith("q="):
        return float(candidate[2:].split()[0])
    return 55.0 if reference.startswith(candidate) else 5.0


def config(**changes: Any) -> JudgeConfig:
    judge_values = {"provider": "openai", "model": "scripted", "base_url": "http://127.0.0.1:1/v1"}
    values = {"lm_response_ds_id": "answers", "bootstrap_samples": 300, "eval_repeat": 1, "sequential": False}
    return JudgeConfig.model_validate({**judge_values, **values, **changes})


def judged(rows: list[dict], home: Path, seed: int = 1, by: Any = None, **changes: Any) -> JudgeResult:
    settings, asked = Settings(whetstone_home=home), by or ScriptedJudge(truth, 4.0, seed)
    return judge(config(resume=False, **changes), settings, rows=rows, by=asked)


def scored(rows: list[dict], seed: int, noise: float = 4.0) -> list[dict]:
    """Judged rows without the way over the disk, for hundreds of seeds."""
    dice = random.Random(seed)

    def score(row: dict) -> list[float]:
        mean = truth(row["instructions"], row["target_responses"], row["candidate_responses"])
        return [min(100.0, max(0.0, dice.gauss(mean, noise)))]

    return [{**row, "similarity_scores": score(row), "precision_scores": score(row)} for row in rows]


COMPARING = CompareConfig(other_ds_id="other", bootstrap_samples=500)


@pytest.mark.e2e
def test_two_equal_models_are_no_difference_in_95_of_100_seeds():
    outcomes = [
        compare_rows(scored(answers(100, 2 * seed), seed), scored(answers(100, 2 * seed + 1), -seed), COMPARING).outcome
        for seed in range(1, 101)
    ]
    assert outcomes.count("no difference") >= 95


@pytest.mark.e2e
def test_a_model_with_30_percent_shuffled_answers_is_always_refused(tmp_path):
    for seed in range(1, 51):
        good = scored(answers(100, 2 * seed), seed)
        bad = scored(answers(100, 2 * seed + 1, shuffled=0.3), -seed)
        assert compare_rows(bad, good, COMPARING).outcome == "worse"
    for seed in range(1, 11):
        result = judged(answers(100, seed, shuffled=0.3, quality=97.0), tmp_path, seed, sequential=True)
        assert result.verdict.word == "not qualified"
        assert not result.qualification


def test_an_equal_model_is_compared_on_the_instructions_that_both_answered():
    first, second = scored(answers(40, 1), 1), scored(answers(60, 2), 2)
    assert compare_rows(first, second, COMPARING).instructions == 40
    with pytest.raises(DataError, match="judged on 9 instructions only"):
        compare_rows(first[:9], second, COMPARING)
    with pytest.raises(DataError, match="local, row 1 is not judged"):
        compare_rows(answers(40, 1), second, COMPARING)


def test_a_good_judge_passes_its_calibration_and_its_verdict_stands(tmp_path):
    settings, rows = Settings(whetstone_home=tmp_path), answers(60, 3, quality=97.0, spread=2.0)
    found = calibrate(config(), settings, rows=rows, by=ScriptedJudge(truth, 3.0, 5))
    assert found.problems(config()) == []
    assert found.similarity["target"] > 95 > 70 > found.similarity["truncated"] > found.similarity["shuffled"]
    assert all(alpha > 0.9 for alpha in found.agreement.values())
    assert found.judgements == 20 * 3 * 6
    result = judged(rows, tmp_path)
    assert result.calibration == found
    assert result.verdict.word == "qualified"


class Biased(ScriptedJudge):
    """Likes whatever it reads last."""

    async def ask_json(self, messages: Any, kind: Any, attempts: int = 10) -> Any:
        reply = await super().ask_json(messages, kind, attempts)
        last = messages[-1][1].index("<<<CANDIDATE") > messages[-1][1].index("<<<REFERENCE")
        for part in (reply.value.similarity_assessment, reply.value.precision_assessment):
            part.score = min(100.0, max(0.0, part.score + (0.0 if last else -12.0)))
        return reply


@pytest.mark.parametrize(
    ("judging", "told"),
    [
        (ScriptedJudge(lambda *_: 95.0, 2.0, 1), "answers to other instructions a similarity of 9"),
        (ScriptedJudge(lambda *_: 50.0, 40.0, 1), "does not agree with itself"),
        (Biased(truth, 2.0, 1), "with the order of the two answers"),
        (ScriptedJudge(lambda i, r, c: 0.8 * truth(i, r, c), 2.0, 1), "the target itself a similarity of 79"),
    ],
)
def test_a_judge_that_fails_its_calibration_decides_nothing(tmp_path, judging, told):
    settings, rows = Settings(whetstone_home=tmp_path), answers(40, 3)
    found = calibrate(config(), settings, rows=rows, by=judging)
    assert any(told in problem for problem in found.problems(config()))
    result = judged(rows, tmp_path, by=judging)
    assert result.verdict.word == "undecided"
    assert result.verdict.reason.startswith("the judge failed its calibration")


def test_agreement_is_krippendorffs_alpha():
    assert krippendorff_alpha([[1, 1], [2, 2], [3, 3]]) == 1.0
    assert krippendorff_alpha([[1, 2], [2, 1], [1, 2], [2, 1]]) < 0
    # observed 4 * 0.5 * 2 / 8 = 0.5, expected variance of 1 2 3 4 5 6 7 8 = 6
    assert krippendorff_alpha([[1, 2], [3, 4], [5, 6], [7, 8]]) == pytest.approx(1 - 0.5 / 6)
    assert krippendorff_alpha([[5, 5], [5, 5]]) == 0.0


def test_the_reports_hold_the_numbers_and_no_foreign_markup(tmp_path):
    rows = answers(40, 1)
    rows[0] |= {"instructions": "<script>alert(1)</script> | [x](http://evil)", "candidate_responses": "wrong 0"}
    result = judged(rows, tmp_path)
    page = write_page(judge_page(result, config()), tmp_path / "one").read_text()
    text = (tmp_path / "one/report.md").read_text()
    for found in (page, text):
        assert "<script" not in found
        assert f"{result.similarity.value:.1f}" in found
        assert "not calibrated" in found
    assert "[x](" not in text
    comparison = compare_rows(scored(answers(40, 1), 1), scored(answers(40, 2), 2), COMPARING)
    page = write_page(compare_page(comparison), tmp_path / "two").read_text()
    for side in comparison.sides:
        assert f"{side.coverage.value:.1f}" in page
    assert f"local against service: {comparison.outcome}" in page
