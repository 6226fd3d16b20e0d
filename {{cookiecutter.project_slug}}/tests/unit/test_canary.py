"""A canary's verdict: against exact sums, exact fractions and simulated looks."""

import json
from dataclasses import asdict
from fractions import Fraction
from functools import cache
from itertools import product
from math import comb
from random import Random

import pytest

from service.evaluation.canary import (
    ALPHA,
    MEASURES,
    MOST_ANSWERS,
    PRIOR,
    Arm,
    Share,
    Verdict,
    as_text,
    compare,
    interval,
    quantile,
)

interval_of = cache(interval)
A, B = (Fraction(x) for x in PRIOR)


def arm(answers=0, release="r", latency_ms=(), cost_usd=(), **counts):
    """Measures that are not told have no trials."""
    shares = {measure: Share(*counts.get(measure, (0, 0))) for measure in MEASURES}
    return Arm(release, answers, shares, latency_ms, cost_usd)


def rising(x, n):
    value = Fraction(1)
    for i in range(n):
        value *= x + i
    return value


@cache
def mixture(events, of):
    """B(a+s, b+n-s) / B(a, b), exactly."""
    return rising(A, events) * rising(B, of - events) / rising(A + B, of)


def inside(p, events, of, alpha):
    return p**events * (1 - p) ** (of - events) > alpha * mixture(events, of)


class TestTheIntervalOfAShare:
    @pytest.mark.parametrize(
        ("events", "of"), [(0, 1), (1, 1), (0, 40), (40, 40), (3, 50), (25, 50), (49, 50), (7, 300)]
    )
    @pytest.mark.parametrize("alpha", [Fraction(1, 20), Fraction(1, 160)])
    def test_its_ends_are_where_exact_fractions_have_them(self, events, of, alpha):
        low, high = interval(Share(events, of), float(alpha))
        near = Fraction(1, 10**9)
        if events:
            assert not inside(Fraction(low), events, of, alpha)
            assert inside(Fraction(low) + near, events, of, alpha)
        else:
            assert low == 0
        if events < of:
            assert not inside(Fraction(high), events, of, alpha)
            assert inside(Fraction(high) - near, events, of, alpha)
        else:
            assert high == 1

    @pytest.mark.parametrize("p", [0.01, 0.05, 0.3, 0.5, 0.8, 0.97])
    @pytest.mark.parametrize("alpha", [0.05, 0.3])
    def test_the_paths_of_up_to_12_answers_that_ever_miss_weigh_no_more_than_alpha(self, p, alpha):
        missed = 0.0
        for path in product((0, 1), repeat=12):
            counts = [(sum(path[:n]), n) for n in range(1, 13)]
            if any(not low <= p <= high for low, high in (interval_of(Share(*count), alpha) for count in counts)):
                missed += p ** sum(path) * (1 - p) ** (12 - sum(path))
        assert missed <= alpha

    def test_over_200_answers_it_misses_about_as_seldom_as_promised_and_not_much_less(self):
        p, alpha = 0.1, 0.05
        weights, missed = {0: 1.0}, 0.0  # of paths that have not missed yet, by events so far
        for n in range(1, 201):
            reached: dict[int, float] = {}
            for events, weight in weights.items():
                reached[events] = reached.get(events, 0.0) + weight * (1 - p)
                reached[events + 1] = reached.get(events + 1, 0.0) + weight * p
            weights = {}
            for events, weight in reached.items():
                low, high = interval(Share(events, n), alpha) if weight > 1e-9 else (p, p)
                if low <= p <= high:
                    weights[events] = weight
                else:
                    missed += weight
        assert alpha / 4 < missed <= alpha

    def test_who_looks_after_each_of_300_answers_is_misled_in_few_of_200_runs(self):
        rng, p, misled = Random(2024), 0.3, 0
        for _ in range(200):
            events, looks = 0, []
            for n in range(1, 301):
                events += rng.random() < p
                looks.append(interval_of(Share(events, n), 0.05))
            misled += any(not low <= p <= high for low, high in looks)
        assert misled <= 200 * 0.05

    def test_nothing_seen_says_nothing(self):
        assert interval(Share(0, 0), 0.05) == (0, 1)

    def test_more_of_the_same_makes_it_narrower(self):
        ends = [interval(Share(1, 10), 0.05, grown) for grown in (1, 1.3, 2, 7.7, 50, 1000)]
        assert ends == sorted(ends, key=lambda pair: pair[1] - pair[0], reverse=True)
        assert ends[2] == interval(Share(2, 20), 0.05)

    @pytest.mark.parametrize(("events", "of"), [(3, 2), (-1, 2), (0, -1)])
    def test_more_events_than_trials_are_refused(self, events, of):
        with pytest.raises(ValueError, match="events"):
            Share(events, of)


class TestTheVerdict:
    def test_a_measure_is_worse_when_the_intervals_are_apart(self):
        comparison = compare(arm(1000, failure=(51, 1000)), arm(100, failure=(25, 100)))
        row = comparison.measures[0]
        assert (comparison.verdict, row.measure, row.verdict) == (Verdict.WORSE, "failure", Verdict.WORSE)
        assert row.canary.low > row.incumbent.high
        assert compare(arm(1000, failure=(51, 1000)), arm(100, failure=(12, 100))).verdict is Verdict.UNCLEAR

    def test_a_measure_is_better_when_they_are_apart_the_other_way(self):
        assert compare(arm(1000, review=(510, 1000)), arm(100, review=(10, 100))).verdict is Verdict.BETTER

    def test_one_worse_measure_outweighs_a_better_one(self):
        old = arm(1000, failure=(51, 1000), review=(510, 1000))
        new = arm(100, failure=(25, 100), review=(10, 100))
        comparison = compare(old, new)
        assert [row.verdict for row in comparison.measures] == [
            Verdict.WORSE,
            Verdict.UNCLEAR,
            Verdict.BETTER,
            Verdict.UNCLEAR,
        ]
        assert comparison.verdict is Verdict.WORSE

    def test_the_error_is_shared_out_over_measures_and_arms(self):
        comparison = compare(arm(900, repair=(20, 900)), arm(90, correction=(3, 30)))
        repair, correction = comparison.measures[1], comparison.measures[3]
        assert (repair.incumbent.low, repair.incumbent.high) == interval(Share(20, 900), ALPHA / 8)
        assert (correction.canary.low, correction.canary.high) == interval(Share(3, 30), ALPHA / 8)
        assert (correction.canary.value, correction.canary.of) == (0.1, 30)

    def test_the_difference_is_bounded_by_the_outer_ends(self):
        row = compare(arm(1000, failure=(51, 1000)), arm(100, failure=(6, 100))).measures[0]
        assert row.least == row.canary.low - row.incumbent.high < 0
        assert row.most == row.canary.high - row.incumbent.low > 0

    @pytest.mark.parametrize("measure", MEASURES)
    def test_every_measure_counts(self, measure):
        old, new = arm(1000, **{measure: (51, 1000)}), arm(100, **{measure: (60, 100)})
        assert compare(old, new).verdict is Verdict.WORSE
        assert compare(new, old).verdict is Verdict.BETTER


def times(arm_, factor):
    """The counts that are expected when an arm is so many times as large: not whole, as a rule."""
    shares = {name: Share(share.events * factor, share.of * factor) for name, share in arm_.shares.items()}
    return Arm(arm_.release, arm_.answers * factor, shares, (), ())


class TestHowManyMoreAnswers:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (arm(1000, failure=(51, 1000)), arm(100, failure=(12, 100))),
            (arm(380, failure=(19, 380), review=(120, 380)), arm(20, failure=(1, 20), review=(3, 20))),
            (arm(40, failure=(10, 40), correction=(1, 9)), arm(40, failure=(2, 40), correction=(0, 7))),
            (arm(5000, repair=(100, 5000)), arm(5000, repair=(125, 5000))),
            (arm(20, failure=(0, 20)), arm(1, failure=(1, 1))),
        ],
    )
    def test_that_many_settle_it_and_one_fewer_does_not(self, old, new):
        more = compare(old, new).more_answers
        assert more > 1
        grown, short = 1 + more / new.answers, 1 + (more - 1) / new.answers
        assert compare(times(old, grown), times(new, grown)).verdict is not Verdict.UNCLEAR
        assert compare(times(old, short), times(new, short)).verdict is Verdict.UNCLEAR

    def test_none_are_needed_once_it_is_settled(self):
        assert compare(arm(1000, failure=(51, 1000)), arm(100, failure=(25, 100))).more_answers == 0

    def test_a_difference_that_takes_too_many_gets_no_number(self):
        assert compare(arm(1000, failure=(50, 1000)), arm(100, failure=(5, 100))).more_answers is None
        assert compare(arm(10_000, failure=(500, 10_000)), arm(10_000, failure=(505, 10_000))).more_answers is None

    def test_an_empty_arm_gets_no_number(self):
        full = arm(100, failure=(5, 100))
        assert compare(full, arm()).more_answers is None
        assert compare(arm(), full).more_answers is None
        assert compare(arm(), arm()).more_answers is None


def binomial(n, percent):
    """The chance of each number of values below the quantile, exactly."""
    q = Fraction(percent, 100)
    return [comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]


class TestAQuantile:
    @pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 20, 71, 72, 73, 150])
    @pytest.mark.parametrize("percent", [50, 95])
    def test_its_ends_are_the_closest_ranks_with_tails_of_a_fortieth(self, n, percent):
        chances, tail = binomial(n, percent), Fraction(1, 40)
        ranks = list(range(1, n + 1))
        low = max((rank for rank in ranks if sum(chances[:rank]) <= tail), default=None)
        high = min((rank for rank in ranks if sum(chances[rank:]) <= tail), default=None)
        Random(n).shuffle(ranks)
        found = quantile(ranks, percent)  # each value is its own rank
        assert (found.low, found.high, found.of) == (low, high, n)
        assert found.value == next(rank for rank in range(1, n + 1) if 100 * rank >= percent * n)
        assert sum(chances[low or 0 : high or n + 1]) >= Fraction(95, 100)

    def test_too_few_values_leave_an_end_open(self):
        assert (quantile(range(5), 50).low, quantile(range(6), 50).low) == (None, 0)
        assert (quantile(range(71), 95).high, quantile(range(72), 95).high) == (None, 71)
        assert asdict(quantile([], 50)) == {"value": None, "low": None, "high": None, "of": 0}

    def test_many_values_do_not_underflow(self):
        found = quantile(range(20_000), 95)
        assert found.value == 18_999
        assert (found.low, found.high) == pytest.approx((18_999 - 60.4, 18_999 + 60.4), abs=2)

    def test_an_unknown_cost_is_counted_apart_and_is_not_free(self):
        old, new = arm(4, cost_usd=[None, 0.002, None, 0.006]), arm(1, cost_usd=[None])
        figures = {figure.name: figure for figure in compare(old, new).figures}
        mean, unknown = figures["cost mean USD"], figures["cost unknown"]
        assert (mean.incumbent.value, mean.incumbent.of) == (pytest.approx(0.004), 2)
        assert (mean.canary.value, mean.canary.of) == (None, 0)
        assert figures["cost p50 USD"].incumbent.value == 0.002
        assert (unknown.incumbent.value, unknown.canary.value) == (2, 1)

    def test_each_arm_has_its_own_latency(self):
        old, new = arm(3, latency_ms=[1.0, 2.0, 9.0]), arm(3, latency_ms=[5.0, 6.0, 7.0])
        p50, p95 = compare(old, new).figures[1:3]
        assert (p50.name, p50.incumbent.value, p50.canary.value) == ("latency p50 ms", 2, 6)
        assert (p95.name, p95.incumbent.value, p95.canary.value) == ("latency p95 ms", 9, 7)


def last_line(old, new):
    return as_text(compare(old, new)).splitlines()[-1]


class TestTheText:
    def test_a_settled_verdict_names_its_measures(self):
        old, new = arm(1000, failure=(51, 1000), review=(510, 1000)), arm(100, failure=(25, 100), review=(10, 100))
        assert last_line(old, new) == "worse: failure 25.0 % against 5.1 %; better: review 10.0 % against 51.0 %"

    def test_an_open_one_says_how_many_more_and_how_bad_it_can_be(self):
        old, new = arm(1000, failure=(51, 1000)), arm(100, failure=(12, 100))
        comparison = compare(old, new)
        assert last_line(old, new) == (
            f"cannot tell yet: about {comparison.more_answers} more canary answers if the shares stay as they are; "
            f"worse by at most, in points: failure {100 * comparison.measures[0].most:.1f}"
        )

    def test_better_says_how_bad_the_open_measures_can_be(self):
        old, new = arm(1000, failure=(51, 1000), review=(510, 1000)), arm(100, failure=(5, 100), review=(10, 100))
        words = last_line(old, new)
        assert words.startswith("better: review 10.0 % against 51.0 %; worse by at most, in points: failure ")
        assert words.count("review") == 1

    def test_no_difference_is_said_to_matter_to_nobody(self):
        words = last_line(arm(1000, failure=(50, 1000)), arm(100, failure=(5, 100)))
        assert words.startswith(f"cannot tell yet: more than {MOST_ANSWERS:,} more canary answers")

    def test_an_empty_canary_has_a_table_too(self):
        assert last_line(arm(100, failure=(5, 100)), arm()) == "cannot tell yet: nothing to compare"

    def test_the_table_fits_the_screen_and_has_every_number(self):
        counts = dict.fromkeys(MEASURES, (30_000, 100_000))
        seen = {"latency_ms": [1234.5] * 200, "cost_usd": [0.012345] * 200 + [None]}
        old, new = arm(100_000, "0123456789abcdef", **counts, **seen), arm(100, "fedcba9876543210", **seen)
        *table, _ = as_text(compare(old, new)).splitlines()
        assert max(map(len, table)) <= 100
        told = [" ".join(line.split()) for line in table]
        assert told[0] == "incumbent 0123456789ab canary fedcba987654 difference"
        assert told[1] == "failure % 30.0 (29.3-30.7) of 100000 ? (0.0-100.0) of 0 -30.7 to +70.7"
        assert told[5:7] == ["answers 100000 100", "latency p50 ms 1234 (1234-1234) 1234 (1234-1234)"]
        assert told[9:] == ["cost mean USD 0.012345 0.012345", "cost unknown 1 1"]


def test_a_comparison_becomes_json():
    comparison = compare(arm(1000, "old", failure=(51, 1000)), arm(100, "new", failure=(25, 100)))
    told = json.loads(json.dumps(asdict(comparison), allow_nan=False))
    assert (told["incumbent"], told["canary"], told["verdict"], told["more_answers"]) == ("old", "new", "worse", 0)
    assert [row["measure"] for row in told["measures"]] == list(MEASURES)
    assert told["measures"][0]["canary"]["value"] == 0.25
