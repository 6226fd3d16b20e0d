"""The formulas: against scipy, published figures, brute force, and simulation where a promise is made about chance."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from dev.gate_power import answers, coverage, solid
from service.evaluation.accuracy import wilson
from service.evaluation.statistics import (
    agreement,
    drop_upper,
    failure_rate_upper,
    holm,
    on_grid,
    paired_mid_p,
    paired_ratio,
    unchanged_drop_upper,
)


def changes(broke, fixed, n):
    return [-1.0] * broke + [1.0] * fixed + [0.0] * (n - broke - fixed)


class TestRates:
    @pytest.mark.parametrize(("passed", "n"), [(238, 250), (225, 250), (20, 20), (0, 5), (1, 300)])
    def test_the_wilson_interval_is_that_of_scipy(self, passed, n):
        expected = stats.binomtest(passed, n).proportion_ci(0.95, "wilson")
        assert wilson(passed, n) == pytest.approx((expected.low, expected.high))

    def test_of_repeats_it_takes_the_sum_of_means(self):
        assert wilson(9, 10)[0] < wilson(9 + 1 / 3, 10)[0] < wilson(10, 10)[0]

    @pytest.mark.parametrize(("passed", "n"), [(0, 0), (3, 2), (-1, 2)])
    def test_it_refuses_nonsense(self, passed, n):
        with pytest.raises(ValueError, match="passed"):
            wilson(passed, n)

    @pytest.mark.parametrize(("n", "most"), [(20, 0.139), (40, 0.072), (60, 0.049), (100, 0.030)])
    def test_no_failure_still_leaves_some_possible(self, n, most):
        assert failure_rate_upper(0, n) == pytest.approx(most, abs=0.0005)

    def test_some_failures_leave_more_and_all_leave_everything(self):
        assert failure_rate_upper(0, 40) < failure_rate_upper(1, 40) < failure_rate_upper(40, 40) == 1


class TestPairedTest:
    @pytest.mark.parametrize(("broke", "fixed"), [(8, 1), (1, 8), (5, 0), (0, 5), (30, 22), (1, 0)])
    def test_of_single_answers_it_is_the_mid_p_mcnemar_test(self, broke, fixed):
        pairs = stats.binom(broke + fixed, 0.5)
        assert paired_mid_p(changes(broke, fixed, 250)) == pytest.approx(pairs.sf(broke) + pairs.pmf(broke) / 2)

    def test_of_repeats_it_counts_every_sign_pattern(self):
        seen = [-1 / 3, -2 / 3, 1 / 3, -1.0, -0.25, 0.0]
        patterns = [sum(s * abs(c) for s, c in zip(signs, seen, strict=True)) for signs in product((1, -1), repeat=6)]
        falls = np.array([round(60 * total) for total in patterns]), round(60 * sum(seen))
        by_hand = np.mean(falls[0] < falls[1]) + np.mean(falls[0] == falls[1]) / 2
        assert paired_mid_p(seen) == pytest.approx(by_hand)

    def test_nothing_changed_is_no_evidence(self):
        assert paired_mid_p([0.0] * 100) == 1

    def test_scores_that_a_file_has_rounded_give_the_same(self):
        exact, rounded = [-1 / 3] * 9 + [2 / 3] * 2, [-0.3333] * 9 + [0.6667] * 2
        assert paired_mid_p(rounded) == paired_mid_p(exact)
        assert [on_grid(change) for change in rounded] == pytest.approx(exact)
        assert on_grid(0.6667 - 2 / 3) == 0

    @pytest.mark.parametrize("repeats", [(1, 1), (3, 3), (3, 1), (1, 3)])
    def test_a_wavering_model_that_did_not_change_is_blamed_in_one_run_of_twenty(self, repeats):
        rng, runs = np.random.default_rng(7), 600
        wrong = 0
        for _ in range(runs):
            before, after = (answers(rng, solid(100), each) for each in repeats)
            wrong += paired_mid_p((after - before).tolist()) <= 0.05
        assert 0.02 < wrong / runs < 0.07


class TestHolm:
    def test_it_is_the_published_procedure(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.9, 0.8]) == [1, 1]
        assert holm([]) == []


class TestDropUpper:
    @pytest.mark.parametrize("n", [1, 20, 52, 250])
    def test_no_change_in_n_cases_leaves_a_drop_possible(self, n):
        assert drop_upper([0.0] * n) == pytest.approx(unchanged_drop_upper(n))

    def test_52_cases_without_a_change_rule_out_5_points_and_51_do_not(self):
        assert unchanged_drop_upper(52) < 0.05 < unchanged_drop_upper(51)

    def test_it_is_the_drop_at_which_the_score_test_of_tango_rejects(self):
        broke, fixed, n = 12, 5, 250
        bound = drop_upper(changes(broke, fixed, n))
        # The likelihood at that drop, maximised over the share of gains by search.
        gains = np.linspace(1e-6, 0.2, 200_001)
        likely = broke * np.log(gains + bound) + fixed * np.log(gains) + 233 * np.log(1 - 2 * gains - bound)
        best = gains[np.argmax(likely)]
        z = (broke - fixed - n * bound) / (n * (2 * best + bound - bound**2)) ** 0.5
        assert z == pytest.approx(-1.645, abs=0.001)

    @pytest.mark.parametrize(("n", "drop"), [(17, 0.05), (60, 0.05), (250, 0.01), (250, 0.05)])
    def test_it_covers_the_true_drop_in_95_of_100_runs(self, n, drop):
        assert coverage(n, drop, churn=0.04, times=5_000) > 0.935

    @pytest.mark.parametrize("repeats", [3, 5])
    def test_so_it_does_of_repeats(self, repeats):
        rng, n, runs = np.random.default_rng(5), 250, 500
        after, covered = np.where(np.arange(n) % 16 == 0, 0.0, solid(n)), 0
        drop = float(np.mean(solid(n) - after))
        for _ in range(runs):
            seen = (answers(rng, after, repeats) - answers(rng, solid(n), repeats)).tolist()
            covered += drop_upper(seen) >= drop
        assert covered / runs > 0.925

    def test_repeats_narrow_it_but_not_below_that_of_no_change(self):
        whole, thirds = changes(9, 6, 250), [change / 3 for change in changes(27, 18, 250)]
        assert sum(whole) == pytest.approx(sum(thirds))
        assert drop_upper(thirds) < drop_upper(whole)
        assert drop_upper([-1 / 3] + [0.0] * 249) >= unchanged_drop_upper(250)

    def test_all_broken_leaves_everything_and_all_mended_little(self):
        assert drop_upper([-1.0] * 5) == 1
        assert drop_upper([1.0] * 50) < -0.89


class TestRatio:
    def test_it_is_that_of_the_totals_with_its_interval(self):
        before = np.random.default_rng(1).gamma(2, size=250)
        ratio, low, high = paired_ratio(before.tolist(), (1.2 * before).tolist())
        assert (ratio, low, high) == pytest.approx((1.2, 1.2, 1.2))
        noisy = 1.2 * before * np.random.default_rng(2).lognormal(-0.02, 0.2, 250)
        ratio, low, high = paired_ratio(before.tolist(), noisy.tolist())
        assert 1.1 < low < ratio < high < 1.3

    def test_there_is_none_of_nothing(self):
        assert paired_ratio([], []) is None
        assert paired_ratio([0.0, 0.0], [1.0, 1.0]) is None


class TestAgreement:
    def test_it_is_cohens_kappa_beside_the_share_and_the_base_rate(self):
        # The textbook table 20, 5, 10, 15.
        pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
        found = agreement(pairs)
        assert (found.n, found.agreed, found.base_rate) == (50, 0.7, 0.5)
        assert found.kappa == pytest.approx(0.4)
        assert found.low < 0.4 < found.high

    def test_raters_who_both_say_good_to_everything_agree_by_chance(self):
        found = agreement([(True, True)] * 100)
        assert (found.agreed, found.kappa) == (1, 0)

    def test_one_shared_exception_in_a_hundred_is_no_certain_agreement(self):
        assert agreement([(True, True)] * 99 + [(False, False)]).low < 0.3

    def test_the_interval_holds_the_true_kappa_in_95_of_100_samples(self):
        rng = np.random.default_rng(3)
        shares = [0.80, 0.05, 0.04, 0.11]  # kappa .654
        chance = 0.85 * 0.84 + 0.15 * 0.16
        true, cells = (0.91 - chance) / (1 - chance), [(True, True), (True, False), (False, True), (False, False)]
        inside = 0
        for counts in rng.multinomial(100, shares, size=200):
            found = agreement([cell for cell, count in zip(cells, counts, strict=True) for _ in range(count)])
            inside += found.low <= true <= found.high
        assert inside / 200 > 0.91
