"""The calibration figures: by hand, and against models whose calibration is known."""

import numpy as np
import pytest

from service.evaluation.calibration import calibration


def model(n, honest, seed):
    """Confidences of a model, and whether it was right: as often as it says, or as `honest` makes of it."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(8, 2, n)
    return [(float(c), float(rng.random() < honest(c))) for c in confidence]


def test_there_is_none_of_nothing():
    assert calibration([]) is None


def test_the_figures_by_hand():
    pairs = [(0.9, 1.0)] * 4 + [(0.9, 0.0)] + [(0.5, 1.0), (0.5, 0.0), (0.5, 0.0), (0.5, 1.0), (0.5, 1.0)]
    found = calibration(pairs)
    assert found["n"] == 10
    assert found["ece"] == pytest.approx(0.08)  # .9 against .8, .5 against .6; the bin with one of each is right
    assert found["brier"] == pytest.approx((4 * 0.01 + 0.81 + 5 * 0.25) / 10)
    assert [each["n"] for each in found["bins"]] == [2, 2, 2, 2, 2]
    assert found["bins"][-1] == {"confidence": 0.9, "accuracy": 0.8, "n": 2}
    assert found["coverage"][4] == [0.5, 0.8]
    assert found["coverage"][-1] == [1.0, 0.7]
    assert found["top_10_accuracy"] == 0.8


def test_the_order_of_cases_changes_nothing_even_among_equal_confidences():
    pairs = [(0.9, float(i % 3 > 0)) for i in range(40)] + [(0.6, float(i % 2)) for i in range(47)]
    shuffled = [pairs[i] for i in np.random.default_rng(1).permutation(len(pairs))]
    assert calibration(shuffled) == calibration(pairs)


def test_a_perfectly_calibrated_model_stays_under_the_null_quantile_in_95_of_100_runs():
    found = [calibration(model(200, lambda c: c, seed)) for seed in range(120)]
    under = np.mean([each["ece"] <= each["ece_null_95"] for each in found])
    assert 0.90 < under < 0.99
    # With 5 bins and 200 answers, published for this project's design as .073.
    assert found[0]["ece_null_95"] == pytest.approx(0.073, abs=0.004)


def test_a_model_that_is_ten_points_too_sure_is_over_it():
    found = calibration(model(290, lambda c: c - 0.1, 1))
    assert found["ece"] > found["ece_null_95"]


@pytest.mark.parametrize("n", [1, 3, 7])
def test_few_answers_are_no_error(n):
    found = calibration(model(n, lambda c: c, 1))
    assert sum(each["n"] for each in found["bins"]) == n
