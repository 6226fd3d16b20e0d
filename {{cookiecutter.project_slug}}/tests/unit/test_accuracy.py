"""What reviewers said of some answers, as an estimate for all."""

import random

import pytest

from service.evaluation.accuracy import Rate, Stratum, of_one, overall

NOTHING = Rate(None, None, None)


def test_reviewed_answers_alone_would_speak_ill_of_the_service():
    strata = [Stratum("auto", 9000, 180, 171), Stratum("review", 1000, 1000, 500)]
    found = overall(strata)
    assert found.rate == pytest.approx(0.9 * 0.95 + 0.1 * 0.5)
    assert found.low < found.rate < found.high


def test_one_stratum_has_the_wilson_interval():
    found = of_one(Stratum("auto", 1000, 250, 238))
    assert (found.rate, found.low) == (pytest.approx(0.952), pytest.approx(0.918, abs=0.0005))


@pytest.mark.parametrize(
    "strata", [[], [Stratum("auto", 10, 0, 0)], [Stratum("auto", 9, 0, 0), Stratum("review", 1, 1, 1)]]
)
def test_nothing_is_said_of_answers_that_nobody_looked_at(strata):
    assert overall(strata) == NOTHING


def test_a_stratum_without_answers_is_not_missed():
    assert overall([Stratum("auto", 100, 10, 9), Stratum("escalate", 0, 0, 0)]).rate == pytest.approx(0.9)


def test_ten_of_ten_are_not_certain():
    assert overall([Stratum("auto", 1000, 10, 10)]).low < 0.85


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, inside = random.Random(3), 0
    truth = 0.8 * 0.97 + 0.2 * 0.6
    for _ in range(1000):
        auto = sum(rng.random() < 0.97 for _ in range(60))
        review = sum(rng.random() < 0.6 for _ in range(150))
        found = overall([Stratum("auto", 8000, 60, auto), Stratum("review", 2000, 150, review)])
        inside += found.low <= truth <= found.high
    assert inside >= 930
