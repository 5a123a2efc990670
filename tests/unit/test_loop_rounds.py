"""A round made of what its steps left, and the verdict of judge and gate together."""

import json

import pytest

from components.core.errors import StorageError
from components.core.evaluation.results import Evaluation, read_evaluation
from components.core.loop import LoopConfig, Usage, read_history
from components.core.loop.history import Points
from components.core.loop.qualifying import qualify
from components.core.loop.rounds import (
    GENERATED_FILE,
    JUDGED_FILE,
    Generated,
    Judged,
    close_round,
    prompt_scores,
    write_result,
)


def points(value):
    return Points(value=value, low=value - 1, high=value + 1)


def leave_judged(folder, value, passed=False):
    judged = Judged(
        model="starter@0", judge="openai/scripted", similarity=points(value), precision=points(value),
        coverage=points(value), qualification=passed, thresholds={"similarity": 90, "precision": 90},
        prompts={f"p{number}": value + number % 3 for number in range(20)}, usage=Usage(calls=30, usd=0.1),
    )  # fmt: skip
    write_result(judged, folder / JUDGED_FILE)
    return folder


@pytest.fixture
def rounds(tmp_path):
    """Two rounds: the base model at 20, the first trained one at 95, called good enough."""
    base = close_round(0, LoopConfig(), leave_judged(tmp_path / "j0", 20), None, None, None, tmp_path / "h0")
    write_result(Generated(rows=40, total=40, usage=Usage(calls=8, usd=0.2)), tmp_path / "g1" / GENERATED_FILE)
    (tmp_path / "d1").mkdir()
    (tmp_path / "d1" / "dataset_info.json").write_text(json.dumps({"rows": {"train": 140, "test": 20}}))
    judged = leave_judged(tmp_path / "j1", 95, passed=True)
    first = close_round(1, LoopConfig(), judged, tmp_path / "h0", tmp_path / "g1", tmp_path / "d1", tmp_path / "h1")
    return base, first


def test_a_round_holds_what_was_judged_generated_and_trained_on(rounds, tmp_path):
    base, first = rounds
    assert (base.decision, first.decision) == ("continue", "passed")
    last = first.last
    assert (last.number, last.train_rows, last.synthetic_rows) == (1, 140, 40)
    assert (last.judging.calls, last.generating.calls, first.spent.calls) == (30, 8, 68)
    assert first.spent.usd == pytest.approx(0.4)
    assert last.gain.shown
    assert read_history(tmp_path / "h1") == first
    assert "PASSED" in (tmp_path / "h1" / "report.html").read_text()
    assert first.flat_metrics()["score"] == 95


def test_a_missing_judgement_says_which_file(tmp_path):
    with pytest.raises(StorageError, match=r"judged\.json is missing or broken"):
        close_round(0, LoopConfig(), tmp_path, None, None, None, tmp_path / "out")


def test_a_prompt_counts_once_however_often_it_was_answered_and_judged():
    rows = [
        {"instructions": "a", "similarity_scores": [10, 30], "precision_scores": [20, 40]},
        {"instructions": "a", "similarity_scores": [50], "precision_scores": [50]},
        {"instructions": "b", "similarity_scores": [], "precision_scores": []},
        {"instructions": "c", "similarity_scores": None, "precision_scores": None},
        {"instructions": "d", "similarity_scores": [None, 80], "precision_scores": [70, 60]},
    ]
    assert sorted(prompt_scores(rows).values()) == [pytest.approx(100 / 3), 70]


def evaluation(status, headline):
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    part = {"rows": 20, "scores": {"tuned": {"f1": score}, "base": {"f1": score}}, "differences": {}}
    facts = {"source": "m", "revision": "r", "weights_sha256": "w", "rows_cut": 0, "seconds": 0, "cached": False}
    return Evaluation.model_validate(
        {
            "task": "chat_completion", "metrics": ["f1"], "gate_metric": "f1", "confidence": 0.95, "seed": 1,
            "bootstrap_samples": 100, "max_new_tokens": 8, "rows": 20, "contexts": 20, "resampled": "rows",
            "models": {"base": facts, "tuned": facts}, "slices": {"all": part}, "notes": [], "seconds": 1,
            "verdict": {
                "status": status, "outcome": "better" if status == "passed" else "forgot",
                "headline": headline, "reasons": [headline],
            },
            "dataset_fingerprint": "d", "test_fingerprint": "t",
        }
    )  # fmt: skip


def written(folder, found):
    folder.mkdir()
    (folder / "evaluation.json").write_text(found.model_dump_json())
    (folder / "predictions.jsonl").write_text("{}\n")
    return folder


def test_a_model_that_judge_and_gate_let_pass_may_stand_in(rounds, tmp_path):
    folder = written(tmp_path / "e", evaluation("passed", "PASSED: better than the base"))
    found = qualify(rounds[1], folder, tmp_path / "out")
    assert (found.decision, found.qualified, found.trained) == ("passed", True, True)
    judged = read_evaluation(tmp_path / "out")
    assert judged.verdict.passed
    assert judged.verdict.outcome == "better"
    assert judged.verdict.headline.startswith(
        "PASSED: by the judgement of openai/scripted, the model of round 1 is good"
    )
    assert judged.qualification.qualified
    assert judged.qualification.similarity.value == 95
    assert (tmp_path / "out" / "predictions.jsonl").is_file()


def test_a_model_that_the_judge_refuses_is_refused_whatever_the_gate_says(rounds, tmp_path):
    folder = written(tmp_path / "e", evaluation("passed", "PASSED: better than the base"))
    found = qualify(rounds[0].model_copy(update={"decision": "plateau", "reason": "no gain"}), folder, tmp_path / "out")
    assert not found.qualified
    assert found.headline == "PLATEAU: no gain"
    judged = read_evaluation(tmp_path / "out")
    assert (judged.verdict.status, judged.verdict.outcome) == ("refused", "below minimum")
    assert judged.verdict.headline == "REFUSED: by the judgement of openai/scripted, no gain"
    assert not judged.qualification.qualified


def test_a_model_that_the_gate_refuses_is_refused_though_the_judge_lets_it_pass(rounds, tmp_path):
    folder = written(tmp_path / "e", evaluation("refused", "REFUSED: it forgot"))
    found = qualify(rounds[1], folder, tmp_path / "out")
    assert (found.decision, found.qualified, found.headline) == ("passed", False, "REFUSED: it forgot")
    assert not read_evaluation(tmp_path / "out").verdict.passed


def test_where_nothing_was_trained_there_is_no_evaluation(rounds, tmp_path):
    found = qualify(rounds[0].model_copy(update={"decision": "budget"}), None, tmp_path / "out")
    assert (found.qualified, found.trained, found.rounds) == (False, False, 1)
    assert list((tmp_path / "out").iterdir()) == []
