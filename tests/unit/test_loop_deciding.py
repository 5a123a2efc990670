"""The loop's decision after each round: pass, plateau with an interval, budget, or another round."""

import random

import pytest

from components.core.errors import StorageError
from components.core.loop import LoopConfig, Round, Usage, decide, read_history, write_history
from components.core.loop.history import Points

THRESHOLDS = {"similarity": 90.0, "precision": 90.0}


def judged(number, mean, prompts=40, noise=10.0, seed=0, passed=False, calls=100, usd=0.5, rows=0):
    """A round whose prompts scatter about a mean."""
    source = random.Random(f"{seed} {number}")
    scores = {f"p{key}": mean + source.uniform(-noise, noise) for key in range(prompts)}
    value = sum(scores.values()) / len(scores)
    points = Points(value=value, low=value - 3, high=value + 3)
    return Round(
        number=number, model=f"round {number}", similarity=points, precision=points, coverage=points,
        qualification=passed, prompts=scores, synthetic_rows=rows, judging=Usage(calls=calls, usd=usd),
    )  # fmt: skip


def history_of(rounds, loop):
    found = None
    for each in rounds:
        found = decide(found.rounds if found else (), each, loop, THRESHOLDS)
    return found


def test_a_base_model_that_is_not_good_enough_gets_another_round():
    found = decide((), judged(0, 20), LoopConfig(), THRESHOLDS)
    assert found.decision == "continue"
    assert found.last.gain is None
    assert found.reason.startswith("the base model is not good enough yet: similarity ")


def test_means_that_would_do_are_not_enough_without_their_intervals():
    found = decide((), judged(0, 92), LoopConfig(), THRESHOLDS)
    assert found.decision == "continue"
    assert found.reason.startswith("the base model is not surely good enough yet: similarity 9")


@pytest.mark.parametrize("number", [0, 2])
def test_a_qualified_model_passes_whatever_the_budget(number):
    rounds = [judged(each, 20 + each) for each in range(number)] + [judged(number, 95, passed=True)]
    found = history_of(rounds, LoopConfig(max_rounds=number, max_calls=1, patience=1))
    assert found.decision == "passed"
    assert "is good enough" in found.reason


def test_rounds_that_surely_gain_go_on():
    found = history_of([judged(0, 20), judged(1, 40), judged(2, 60)], LoopConfig())
    assert found.decision == "continue"
    assert [each.gain.shown for each in found.rounds[1:]] == [True, True]
    assert found.last.gain.against == 1
    assert found.last.gain.low > 10


def test_two_rounds_without_a_shown_gain_are_a_plateau():
    rounds = [judged(0, 20), judged(1, 50), judged(2, 50.2), judged(3, 49.9)]
    assert history_of(rounds[:3], LoopConfig()).decision == "continue"
    found = history_of(rounds, LoopConfig())
    assert found.decision == "plateau"
    assert found.reason.startswith("the last 2 rounds did not surely gain anything")
    assert "interval" in found.reason


def test_a_gain_between_two_rounds_without_starts_the_count_again():
    rounds = [judged(0, 20), judged(1, 20), judged(2, 50), judged(3, 50)]
    assert history_of(rounds, LoopConfig()).decision == "continue"


def test_a_gain_is_measured_against_the_best_round_before_not_the_last():
    found = history_of([judged(0, 50), judged(1, 20), judged(2, 45)], LoopConfig(patience=2))
    assert found.last.gain.against == 0
    assert found.decision == "plateau"


def test_a_gain_below_the_smallest_wanted_one_does_not_count():
    rounds = [judged(0, 20, noise=1), judged(1, 23, noise=1)]
    assert history_of(rounds, LoopConfig(patience=1)).decision == "continue"
    found = history_of(rounds, LoopConfig(patience=1, min_gain=5))
    assert found.decision == "plateau"
    assert "did not surely gain more than 5 points" in found.reason


def test_a_handful_of_changed_prompts_is_no_gain():
    base = judged(0, 20)
    changed = {key: value + (60 if key in ("p1", "p2", "p3") else 0) for key, value in base.prompts.items()}
    found = decide([base], judged(1, 20).model_copy(update={"prompts": changed}), LoopConfig(patience=1), THRESHOLDS)
    assert found.last.gain.changed == 3
    assert not found.last.gain.shown


def test_equal_rounds_are_called_a_gain_in_at_most_one_of_twenty_seeds():
    loop = LoopConfig(bootstrap_samples=300)
    wrong = sum(
        decide([judged(0, 50, seed=seed)], judged(1, 50, seed=seed), loop, THRESHOLDS).last.gain.shown
        for seed in range(100)
    )
    assert wrong <= 5


def test_rounds_without_a_common_prompt_say_nothing_about_a_gain():
    other = judged(1, 20).model_copy(update={"prompts": {"elsewhere": 20.0}})
    found = decide([judged(0, 20)], other, LoopConfig(patience=1), THRESHOLDS)
    assert found.last.gain is None
    assert found.decision == "continue"


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"max_rounds": 1}, "1 of loop.max_rounds=1 rounds are done"),
        ({"max_calls": 250}, "200 calls are made, and another round like the last (100) would exceed loop.max_calls"),
        ({"max_usd": 1.4}, "1.00 USD are spent, and another round like the last (0.50) would exceed loop.max_usd=1.4"),
        ({"max_synthetic_rows": 60}, "60 rows are generated, as many as loop.max_synthetic_rows allows"),
    ],
)
def test_what_is_used_up_ends_the_loop(budget, reason):
    found = history_of([judged(0, 20), judged(1, 40, rows=60)], LoopConfig(**budget))
    assert found.decision == "budget"
    assert found.reason.startswith(reason)


def test_a_budget_that_just_holds_another_round_lets_it_happen():
    loop = LoopConfig(max_rounds=2, max_calls=300, max_usd=1.5, max_synthetic_rows=61)
    assert history_of([judged(0, 20), judged(1, 40, rows=60)], loop).decision == "continue"


def test_a_history_is_read_as_it_was_written(tmp_path):
    found = history_of([judged(0, 20), judged(1, 40)], LoopConfig())
    write_history(found, tmp_path)
    assert read_history(tmp_path) == found
    assert found.spent == Usage(calls=200, usd=1.0)
    assert found.best.number == 1


def test_a_damaged_history_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "history.json").write_text('{"rounds": []')
    with pytest.raises(StorageError, match=r"history\.json is missing or no history of a loop. Run the loop again"):
        read_history(tmp_path)
