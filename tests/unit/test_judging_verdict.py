"""From scores to a verdict."""

import random

import pytest

from components.core.evaluation.bootstrap import Estimate
from components.core.judging.config import JudgeConfig
from components.core.judging.responses import parse_responses, plan
from components.core.judging.verdict import Verdict, Watch, decide, share


def config(**changes) -> JudgeConfig:
    return JudgeConfig.model_validate({"lm_response_ds_id": "answers", "bootstrap_samples": 500, **changes})


def rows(instructions: int, answers: int = 4) -> list[dict]:
    texts = [(f"question {i}", f"target {i}", f"answer {i}.{k}") for i in range(instructions) for k in range(answers)]
    return [dict(zip(("instructions", "target_responses", "candidate_responses"), each, strict=True)) for each in texts]


def judged(instructions: int, mean: float, *, seed: int = 1, between=5.0, noise=5.0, repeat=10, **changes) -> Verdict:
    """The verdict on scores of known mean, spread and noise."""
    dice = random.Random(seed)
    truths: dict[int, float] = {}
    told = config(eval_repeat=repeat, **changes)
    passes = plan(parse_responses(rows(instructions), "rows"), repeat, told.seed)
    watch = Watch([len(each) for each in passes], instructions, told)
    for task in (task for each in passes for task in each):
        truth = truths.setdefault(task.instruction, dice.gauss(mean, between))
        watch.add(task.instruction, tuple(min(100, max(0, dice.gauss(truth, noise))) for _ in range(2)))
        if watch.verdict:
            break
    return watch.verdict


def test_every_pass_asks_once_about_every_instruction_and_about_another_answer_each_time():
    passes = plan(parse_responses(rows(3, answers=2), "rows"), 2, seed=1)
    assert [len(each) for each in passes] == [3, 3, 3, 3]
    for each in passes:
        assert sorted(task.instruction for task in each) == [0, 1, 2]
    first = [(task.response.candidate[-1], task.repeat) for each in passes for task in each if task.instruction == 0]
    assert first == [("0", 0), ("1", 0), ("0", 1), ("1", 1)]


def test_the_order_is_the_seeds():
    orders = {tuple(t.response.row for t in plan(parse_responses(rows(9), "r"), 1, seed)[0]) for seed in (1, 1, 2, 3)}
    assert len(orders) == 3


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize(("mean", "word"), [(95.0, "qualified"), (80.0, "not qualified"), (90.3, "undecided")])
def test_the_word_rests_on_the_interval_and_the_qualification_on_the_mean(sequential, mean, word):
    verdict = judged(60, mean, repeat=2, sequential=sequential)
    assert verdict.word == word
    assert verdict.qualification == (verdict.similarity.value >= 90 and verdict.precision.value >= 90)


def test_a_clear_case_ends_long_before_everything_is_judged():
    assert judged(100, 60.0).judgements < 40
    assert judged(200, 97.0).judgements <= 200
    assert judged(100, 97.0, sequential=False, repeat=2).judgements == 800


def test_an_unclear_case_ends_where_more_judgements_change_nothing():
    verdict = judged(60, 90.0, between=10.0, noise=2.0)
    assert verdict.word == "undecided"
    assert verdict.judgements <= 4 * 60
    assert "would not change it" in verdict.reason


def test_both_scores_must_reach_their_threshold():
    over, under, unclear = Estimate(95, 93, 97), Estimate(80, 78, 82), Estimate(90, 88, 92)
    words = {
        bounds: decide(bounds, config()) for bounds in [(over, over), (over, under), (over, unclear), (under, unclear)]
    }
    assert list(words.values()) == ["qualified", "not qualified", "undecided", "not qualified"]


def test_a_few_instructions_decide_nothing_however_good_they_look():
    verdict = judged(9, 99.0, between=0.0, noise=0.0, repeat=1)
    assert verdict.word == "undecided"
    assert "needs 10" in verdict.reason
    assert verdict.qualification


def test_a_judgement_that_failed_is_left_out():
    told = config(eval_repeat=1, sequential=False)
    watch = Watch([20], 20, told)
    for number in range(20):
        watch.add(number, None if number in (3, 4) else (95.0, 95.0))
    assert (watch.verdict.instructions, watch.verdict.judgements) == (18, 18)
    assert watch.verdict.similarity.value == 95


def test_coverage_is_the_share_of_instructions_where_both_scores_reach_their_thresholds():
    told = config(eval_repeat=1, sequential=False)
    watch = Watch([20], 20, told)
    for number in range(20):
        watch.add(number, (95.0, 95.0) if number % 4 else (95.0, 89.0))
    coverage = watch.verdict.coverage
    assert coverage.value == 75
    assert coverage.low < 75 < coverage.high


def test_a_share_of_none_or_all_is_no_certainty():
    assert share(0, 20, 0.95).high > 10
    assert share(20, 20, 0.95).low < 90
