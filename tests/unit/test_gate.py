import numpy as np
import pytest

from components.core.evaluation.comparison import compare
from components.core.evaluation.gate import judge
from components.core.evaluation.results import ALL_ROWS
from components.core.recipe import EvaluationConfig, GateConfig

QUICK = EvaluationConfig(bootstrap_samples=400)


def verdict(gate=None, same=(), **scores):
    """The gate's word on models whose F1 on each row is given; exact match is 1 where F1 is."""
    count = len(scores["tuned"])
    rows = [{"context": f"context {number}", "answers": {"text": ["x"]}} for number in range(count)]
    scored = {
        name: [{"f1": float(value), "exact_match": float(value == 1)} for value in values]
        for name, values in scores.items()
    }
    everything = compare(rows, scored, ["f1", "exact_match"], QUICK)[ALL_ROWS]
    return judge(gate or GateConfig(), everything, frozenset(same), QUICK.confidence)


def answers(share, count=200, seed=0):
    return (np.random.default_rng(seed).random(count) < share).astype(float)


def test_a_clearly_better_model_passes_and_the_headline_gives_the_numbers():
    found = verdict(base=answers(0.3), tuned=answers(0.7, seed=1))
    assert (found.status, found.outcome, found.passed) == ("passed", "better", True)
    assert found.headline.startswith("PASSED: F1 of the tuned model is better than the base (difference +")
    assert "95 % interval" in found.headline


def test_a_model_compared_with_itself_shows_no_difference_and_is_refused():
    found = verdict(base=answers(0.5), tuned=answers(0.5))
    assert (found.status, found.outcome) == ("refused", "no difference")
    assert found.headline == (
        "REFUSED: F1 of the tuned model is not better than the base (difference 0.0 points, 95 % interval 0.0 to 0.0)"
    )


def test_the_same_weights_are_named_as_such():
    found = verdict(base=answers(0.5), tuned=answers(0.5), same=["base"])
    assert found.outcome == "no difference"
    assert "the tuned model has the same weights as the base" in found.headline


def test_a_model_that_answers_worse_is_refused_as_worse():
    found = verdict(base=answers(0.7), tuned=answers(0.3, seed=1))
    assert (found.status, found.outcome) == ("refused", "worse")


def test_a_gain_that_chance_explains_is_no_difference():
    base = answers(0.5)
    tuned = base.copy()
    tuned[:6], tuned[6:10] = 1 - tuned[:6], 1 - tuned[6:10]
    assert verdict(base=base, tuned=tuned).outcome == "no difference"


def test_four_changed_rows_are_too_few_even_when_the_interval_lies_above_zero():
    base = np.zeros(200)
    tuned = base.copy()
    tuned[:5] = 1
    found = verdict(base=base, tuned=tuned)
    assert (found.status, found.outcome) == ("refused", "no difference")
    assert "the score changed in only 5 places, and 6 are needed" in found.headline
    tuned[:8] = 1
    assert verdict(base=base, tuned=tuned).passed


def test_one_row_never_promotes_a_model():
    assert verdict(base=[0], tuned=[1]).status == "refused"


def test_a_real_but_small_gain_does_not_reach_the_wanted_improvement():
    base, tuned = np.zeros(200), np.zeros(200)
    tuned[:40] = 1
    found = verdict(GateConfig(min_improvement=0.18), base=base, tuned=tuned)
    assert (found.status, found.outcome) == ("refused", "too small a gain")
    assert "not surely by more than 18.0 points" in found.headline
    assert verdict(GateConfig(min_improvement=0.05), base=base, tuned=tuned).passed


def test_a_score_below_the_minimum_is_refused_though_better():
    gate = GateConfig(minimum={"exact_match": 0.9, "f1": 0.1})
    found = verdict(gate, base=answers(0.2), tuned=answers(0.6, seed=1))
    assert (found.status, found.outcome) == ("refused", "below minimum")
    assert "below the minimum 90.0" in found.headline
    assert len(found.reasons) == 1


def test_a_score_at_the_minimum_is_enough():
    tuned = np.array([1.0] * 60 + [0.0] * 40)
    assert verdict(GateConfig(minimum={"f1": 0.6}), base=np.zeros(100), tuned=tuned).passed


def test_all_broken_rules_are_listed():
    gate = GateConfig(minimum={"f1": 0.9})
    found = verdict(gate, base=answers(0.7), tuned=answers(0.3, seed=1), champion=answers(0.8, seed=2))
    assert found.outcome == "worse"
    assert len(found.reasons) == 3


@pytest.mark.parametrize(
    ("rule", "champion_share", "outcome"),
    [
        ("better", 0.3, "better"),
        ("better", 0.75, "not better than the champion"),
        ("not_worse", 0.3, "better"),
        ("not_worse", 0.95, "worse than the champion"),
        ("ignore", 0.95, "better"),
    ],
)
def test_the_champion_rule(rule, champion_share, outcome):
    gate = GateConfig(champion=rule, tolerance=0.05)
    scores = {"base": answers(0.1), "tuned": answers(0.75, seed=1), "champion": answers(champion_share, seed=2)}
    found = verdict(gate, **scores)
    assert found.outcome == outcome
    assert found.passed == (outcome == "better")


def test_the_tolerance_decides_how_far_below_the_champion_a_model_may_be():
    tuned = answers(0.8, count=400)
    champion = tuned.copy()
    champion[np.flatnonzero(tuned == 0)[:8]] = 1
    scores = {"base": np.zeros(400), "tuned": tuned, "champion": champion}
    assert verdict(GateConfig(tolerance=0.05), **scores).passed
    assert verdict(GateConfig(tolerance=0.02), **scores).outcome == "worse than the champion"


@pytest.mark.parametrize("rule", ["better", "not_worse"])
def test_a_champion_with_the_same_weights_is_never_replaced(rule):
    scores = {"base": answers(0.1), "tuned": answers(0.8), "champion": answers(0.8)}
    found = verdict(GateConfig(champion=rule), same=["champion"], **scores)
    assert (found.status, found.outcome) == ("refused", "no difference")
    assert "the registered champion, which is the same model" in found.headline


def test_a_champion_that_scores_the_same_on_every_row_is_not_replaced():
    found = verdict(base=answers(0.1), tuned=answers(0.8), champion=answers(0.8))
    assert (found.status, found.outcome) == ("refused", "no difference")
    assert "scores the same on every row" in found.headline


def test_a_gate_that_is_off_lets_the_model_pass_and_records_what_it_would_have_said():
    found = verdict(GateConfig(enabled=False), base=answers(0.7), tuned=answers(0.3, seed=1))
    assert (found.status, found.outcome) == ("passed", "worse")
    assert found.headline.startswith("PASSED WITH THE GATE OFF (it would have refused it): ")
    assert found.warnings == ["The gate is switched off (gate.enabled is false); it would have refused it."]


def test_the_metric_of_the_gate_is_the_one_that_is_judged():
    half = np.array([0.5] * 100 + [0.0] * 100)
    assert verdict(GateConfig(metric="f1"), base=np.zeros(200), tuned=half).passed
    found = verdict(GateConfig(metric="exact_match"), base=np.zeros(200), tuned=half)
    assert (found.status, found.outcome) == ("refused", "no difference")
    assert found.headline.startswith("REFUSED: Exact match of")


def test_rounding_noise_around_zero_is_not_a_gain():
    base = np.array([1 / 3, 2 / 3, 0.1, 0.7] * 25)
    tuned = base + 1e-17
    assert verdict(base=base, tuned=tuned).outcome == "no difference"


def test_models_of_equal_skill_are_promoted_in_few_of_many_comparisons():
    promoted = sum(verdict(base=answers(0.5, seed=n), tuned=answers(0.5, seed=1000 + n)).passed for n in range(60))
    assert promoted <= 6


def on_kinds(gate=None, **scores):
    """The gate's word where the first half of the rows has an answer and the other half has none."""
    count = len(scores["tuned"])
    rows = [
        {"context": f"context {number}", "answers": {"text": ["x"] if number < count / 2 else []}}
        for number in range(count)
    ]
    scored = {
        name: [{"f1": float(value), "exact_match": float(value == 1)} for value in values]
        for name, values in scores.items()
    }
    slices = compare(rows, scored, ["f1", "exact_match"], QUICK)
    config = gate or GateConfig()
    return judge(config, slices[ALL_ROWS], frozenset(), QUICK.confidence, slices["has_answer"])


def halves(answered, unanswered):
    return np.concatenate([answers(answered, 150, 1), answers(unanswered, 150, 2)])


def test_a_model_that_only_learned_to_abstain_passes_with_a_warning_or_is_refused_by_choice():
    base, tuned = halves(0.2, 0.0), halves(0.2, 0.9)
    found = on_kinds(base=base, tuned=tuned)
    assert found.passed
    assert "learned only to say that there is none" in found.warnings[0]
    strict = on_kinds(GateConfig(has_answer="better"), base=base, tuned=tuned)
    assert not strict.passed
    assert "on the rows that have an answer is not better than the base" in strict.headline


def test_a_model_that_gives_up_answers_to_abstain_is_refused():
    found = on_kinds(base=halves(0.8, 0.0), tuned=halves(0.4, 0.95))
    assert (found.status, found.outcome) == ("refused", "worse")
    assert "on the rows that have an answer is worse than the base" in found.headline
    ignored = on_kinds(GateConfig(has_answer="ignore"), base=halves(0.8, 0.0), tuned=halves(0.4, 0.95))
    assert ignored.passed
    assert ignored.warnings


def test_a_model_that_gains_on_both_kinds_passes_without_a_warning():
    found = on_kinds(base=halves(0.2, 0.0), tuned=halves(0.8, 0.8))
    assert found.passed
    assert found.warnings == []
    assert len(found.reasons) == 2
