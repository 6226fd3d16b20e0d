"""Drift is said when there is some, and seldom when there is none."""

import random

import pytest

from service.evaluation.drift import FEWEST, REFERENCE, WINDOW, Answer, State, cusum, distributions, failures

LABELS, USUAL = ("a", "b", "c", "d"), (0.4, 0.3, 0.2, 0.1)


def answers(n, seed, weights=USUAL, sure=(8, 2), length=300):
    rng = random.Random(seed)
    return [
        Answer(
            rng.choices(LABELS, weights)[0],
            rng.choices(("auto", "review"), (0.7, 0.3))[0],
            rng.betavariate(*sure),
            round(rng.gauss(length, 40)),
        )
        for _ in range(n)
    ]


def states(first, newest):
    return {monitor.name: monitor.state for monitor in distributions(first, newest)}


def test_the_same_stream_is_no_drift():
    calm = [states(answers(REFERENCE, seed), answers(2 * WINDOW, seed + 1000)) for seed in range(50)]
    said = [state for found in calm for state in found.values()]
    assert said.count(State.PAGE) == 0
    assert said.count(State.WARN) <= 8  # of 200 looks, 1 % each


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("label", {"weights": (0.2, 0.3, 0.2, 0.3)}),
        ("confidence", {"sure": (6, 4)}),
        ("length", {"length": 350}),
    ],
)
def test_what_has_moved_for_two_windows_is_a_page(name, changed):
    found = states(answers(REFERENCE, 1), answers(2 * WINDOW, 2, **changed))
    assert found.pop(name) is State.PAGE
    assert State.PAGE not in found.values()


def test_what_has_moved_for_one_window_only_is_a_warning():
    newest = answers(WINDOW, 2) + answers(WINDOW, 3, weights=(0.1, 0.3, 0.2, 0.4))
    assert states(answers(REFERENCE, 1), newest)["label"] is State.WARN


def test_a_label_that_was_never_there_before_counts():
    newest = [Answer("new", a.disposition, a.confidence, a.length) if i % 4 == 0 else a
              for i, a in enumerate(answers(2 * WINDOW, 2))]  # fmt: skip
    assert states(answers(REFERENCE, 1), newest)["label"] is State.PAGE


@pytest.mark.parametrize(("reference", "newest"), [(FEWEST - 1, 2 * WINDOW), (REFERENCE, 2 * WINDOW - 1), (0, 0)])
def test_too_few_answers_say_nothing(reference, newest):
    assert set(states(answers(reference, 1), answers(newest, 2)).values()) == {State.TOO_FEW}


def test_answers_that_are_all_alike_are_no_drift():
    same = [Answer("a", "auto", 0.9, 10)] * REFERENCE
    assert set(states(same, same).values()) == {State.OK}


def stream(rate, n, seed):
    rng = random.Random(seed)
    return [rng.random() < rate for _ in range(n)]


def test_failures_that_become_more_are_found_within_some_hundred_answers():
    delays = []
    for seed in range(20):
        failed = stream(0.05, REFERENCE, seed) + stream(0.15, 1000, seed + 99)
        delays.append(next(n for n in range(1, 1000) if cusum(failed[REFERENCE : REFERENCE + n], 0.05) >= 7))
    assert sorted(delays)[10] < 150
    assert failures("format", stream(0.05, REFERENCE, 1) + stream(0.15, REFERENCE, 2)).state is State.PAGE


def test_failures_as_ever_or_none_are_not():
    calm = [failures("format", stream(0.05, 2 * REFERENCE, seed)).state for seed in range(50)]
    assert calm.count(State.PAGE) <= 3
    assert failures("format", [False] * 2 * REFERENCE).state is State.OK


def test_failures_that_become_fewer_are_no_drift():
    assert failures("format", stream(0.1, REFERENCE, 1) + stream(0.01, REFERENCE, 2)).state is State.OK


def test_a_few_verdicts_are_no_reference():
    assert failures("format", [True] * (2 * FEWEST - 1)).state is State.TOO_FEW
