import numpy as np
import pytest

from components.core.evaluation.bootstrap import resample_totals
from components.core.heads.evaluation.comparison import compare_heads
from components.core.heads.evaluation.tallies import tally_entities, tally_label_lists, tally_labels, tally_numbers
from components.core.metrics.classification import score_classification
from components.core.metrics.entities import score_entities
from components.core.metrics.multi_label import score_multi_label
from components.core.metrics.regression import score_regression
from components.core.recipe import EvaluationConfig

NAMES = ["a", "b", "c", "d"]


def draw(seed, rows=60):
    random = np.random.default_rng(seed)
    labels = random.choice(NAMES, (2, rows)).tolist()
    lists = [[[n for n in NAMES if random.random() < 0.3] for _ in range(rows)] for _ in range(2)]
    numbers = random.normal(1e4, 3, (2, rows)).tolist()
    tags = random.choice(["O", "O", "B-X", "B-Y"], (2, rows, 5)).tolist()
    return labels, lists, numbers, tags


def tallies_and_metrics(seed):
    labels, lists, numbers, tags = draw(seed)
    return [
        (labels, lambda *pair: tally_labels(*pair), lambda *pair: score_classification(*pair, NAMES)),
        (lists, lambda *pair: tally_label_lists(*pair, NAMES), lambda *pair: score_multi_label(*pair, NAMES)),
        (numbers, tally_numbers, score_regression),
        (tags, tally_entities, score_entities),
    ]


@pytest.mark.parametrize("case", range(4))
def test_a_tally_of_all_rows_gives_the_metrics(case):
    (wanted, found), tally, score = tallies_and_metrics(1)[case]
    values = score(wanted, found).values
    for name, value in tally(wanted, found).all_rows().items():
        assert value == pytest.approx(values[name], abs=1e-9), name


@pytest.mark.parametrize("case", range(4))
def test_resampled_sums_equal_a_plain_loop_over_resampled_rows(case):
    (wanted, found), tally, score = tallies_and_metrics(2)[case]
    tallied = tally(wanted, found)
    measured = tallied.measure(resample_totals(tallied.rows, 20, seed=7))
    drawn = np.random.default_rng(7).integers(0, len(wanted), size=(20, len(wanted)))
    for number, rows in enumerate(drawn):
        values = score([wanted[r] for r in rows], [found[r] for r in rows]).values
        for name, column in measured.items():
            assert column[number] == pytest.approx(values[name], abs=1e-9), name


def test_a_smaller_error_is_a_gain_and_a_constant_has_no_correlation():
    wanted = list(np.linspace(0, 9, 40))
    tallies = {"base": tally_numbers(wanted, [4.5] * 40), "tuned": tally_numbers(wanted, [w + 0.1 for w in wanted])}
    found = compare_heads(tallies, [str(n) for n in range(40)], ["mae", "pearson", "r2"], EvaluationConfig())
    assert found.scores["tuned"]["mae"].value == pytest.approx(0.1)
    assert found.differences["base"]["mae"].low > 0
    assert found.scores["base"]["pearson"].value == 0
    assert found.differences["base"]["pearson"].value == pytest.approx(1)


def test_a_metric_that_is_not_defined_is_left_out():
    tallies = {"base": tally_numbers([1.0] * 12, [1.0] * 12), "tuned": tally_numbers([1.0] * 12, [2.0] * 12)}
    found = compare_heads(tallies, [str(n) for n in range(12)], ["r2", "mae"], EvaluationConfig())
    assert list(found.scores["tuned"]) == ["mae"]
    assert found.differences["base"]["mae"].value == -1
