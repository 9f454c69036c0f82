from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdrecon import statistics
from kdrecon.errors import InputError
from kdrecon.statistics import Spread, compare, holm, limit, paired, seed_spread, subject_interval


def people(n: int, slices: int, effect: float = 0.0, between: float = 1.0, within: float = 0.1, seed: int = 0):
    """Differences of n subjects, each with an effect of its own round the common one, and the subject of each slice."""
    random = np.random.default_rng(seed)
    own = effect + between * random.standard_normal(n)
    values = np.repeat(own, slices) + within * random.standard_normal(n * slices)
    return values, np.repeat([f"person {i}" for i in range(n)], slices)


def scores(psnr, subject, volume=None) -> pd.DataFrame:
    """A slice-wise table as evaluation writes it."""
    place = {"volume": subject if volume is None else volume, "slice": range(len(psnr)), "subject": subject}
    return pd.DataFrame(place | {"psnr": psnr, "nmse": 1 / np.asarray(psnr)})


def test_wilcoxon_by_hand():
    """Seven subjects' means 1, 2, 3, 4, 5, 6, -0.5: rank sum 1 on the negative side; by enumeration of all signs."""
    means = np.array([1, 2, 3, 4, 5, 6, -0.5])
    ranks = stats.rankdata(abs(means))
    sums = [sum(r for r, sign in zip(ranks, signs) if sign) for signs in product((0, 1), repeat=7)]
    by_hand = 2 * np.mean([s <= 1 for s in sums])
    values = np.repeat(means, 4) + np.tile([-0.1, 0.1, -0.2, 0.2], 7)
    result = paired(values, np.repeat(list("abcdefg"), 4))
    assert result.p == pytest.approx(by_hand) == pytest.approx(4 / 128)
    assert result.p == stats.wilcoxon(means, method="exact").pvalue
    assert (result.difference, result.subjects, result.n) == (pytest.approx(means.mean()), 7, 28)


def test_the_estimate_is_the_mean_over_slices_and_the_test_counts_each_subject_once():
    values, subject = people(8, 5, effect=1.0)
    values, subject = np.append(values, [9.0] * 60), np.append(subject, ["person 0"] * 60)
    result = paired(values, subject)
    assert result.difference == pytest.approx(values.mean())
    assert result.p == stats.wilcoxon(pd.Series(values).groupby(subject).mean()).pvalue


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_than_six_subjects_have_neither_p_value_nor_interval(n):
    result = paired(*people(n, 50, effect=5.0))
    assert np.isnan([result.p, result.low, result.high]).all() and result.subjects == n
    assert result.difference == pytest.approx(5, abs=2)


def test_with_six_subjects_the_smallest_p_value_is_one_in_32():
    assert paired(*people(6, 10, effect=9.0)).p == pytest.approx(2 / 2**6)


def test_a_naive_test_of_slices_would_claim_what_the_clustered_one_does_not():
    """Three of eight people lose, five gain: 400 slices look overwhelming, eight people are not."""
    own = np.array([-0.9, -0.7, -0.8, 1.0, 0.9, 1.1, 0.8, 1.2])
    values = np.repeat(own, 50) + 0.1 * np.random.default_rng(0).standard_normal(400)
    result = paired(values, np.repeat(list("abcdefgh"), 50))
    assert stats.wilcoxon(values).pvalue < 1e-10
    assert result.p > 0.15 and result.low < 0 < result.high


def test_false_claims_are_as_rare_as_promised_where_naive_ones_are_the_rule():
    tests = [people(8, 20, seed=seed) for seed in range(200)]
    assert np.mean([paired(*t).p < 0.05 for t in tests]) <= 0.08
    assert np.mean([stats.wilcoxon(values).pvalue < 0.05 for values, _ in tests]) > 0.6


def test_the_interval_holds_the_truth_where_the_plain_percentile_interval_is_too_narrow():
    held = plain = 0
    for seed in range(200):
        values, subject = people(6, 12, effect=2.0, seed=seed)
        people_means = values.reshape(6, 12)
        low, high = subject_interval(people_means.sum(1), np.full(6, 12))
        held += low <= 2 <= high
        draws = np.random.default_rng(0).integers(0, 6, (1000, 6))
        low, high = np.quantile(people_means.mean(1)[draws].mean(1), [0.025, 0.975])
        plain += low <= 2 <= high
    assert held >= 184 > 180 > plain


def test_the_interval_is_that_of_a_t_test_for_many_normal_subjects():
    values, subject = people(60, 4, within=0.0)
    t = stats.ttest_1samp(values[::4], 0).confidence_interval()
    np.testing.assert_allclose(paired(values, subject)[1:3], t, atol=0.04)


def test_subjects_are_drawn_with_all_their_slices():
    """Two kinds of subjects, 0 with one slice and 1 with nine: means over slices lie between, never at slice level."""
    low, high = subject_interval(np.array([0.0, 0, 0, 9, 9, 9]), np.array([1, 1, 1, 9, 9, 9]))
    assert 0 <= low < 0.6 and 0.98 < high <= 1


def test_the_order_of_slices_does_not_matter():
    values, subject = people(9, 7, effect=0.3)
    order = np.random.default_rng(3).permutation(len(values))
    np.testing.assert_allclose(paired(values, subject), paired(values[order], subject[order]), rtol=1e-12)


def test_equal_networks_differ_by_nothing():
    assert paired(np.zeros(24), np.repeat(list("abcdef"), 4)) == (0, 0, 0, 1, 6, 24)


@pytest.mark.parametrize("values, subject", [([], []), ([1.0, 2.0], ["a"]), ([1.0, np.nan], ["a", "b"]), ([np.inf], ["a"])])
def test_differences_that_cannot_be_used_are_refused(values, subject):
    with pytest.raises(InputError, match="expected"):
        paired(values, subject)


def test_holm_by_hand():
    """m = 4, sorted .005 .01 .03 .04: times 4, 3, 2, 1 gives .02 .03 .06 .04, and the last may not be below .06."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, np.nan, 0.7]), [1, np.nan, 1])
    np.testing.assert_allclose(holm([0.01, 0.01]), [0.02, 0.02])
    assert np.isnan(holm([np.nan])).all() and holm([]).size == 0


def test_seed_spread_by_hand():
    """Squares round the means: 0.02 with one degree of freedom, 0.08 with two, nothing from a single seed."""
    spread = seed_spread([[30.0, 30.2], [31.0, 31.2, 30.8], [29.0]])
    assert spread == (pytest.approx(np.sqrt(0.10 / 3)), 3)
    assert np.isnan(seed_spread([[30.0], [31.0]]).sd)


def test_the_limit_by_hand():
    t = stats.t.ppf(0.975, 3)
    assert limit((-0.2, 0.4), Spread(np.nan, 0), 1) == pytest.approx(0.3)
    assert limit((np.nan, np.nan), Spread(0.1, 3), 2) == pytest.approx(t * 0.1)
    assert limit((-0.2, 0.4), Spread(0.1, 3), 2) == pytest.approx(np.hypot(0.3, t * 0.1))
    assert np.isnan(limit((np.nan, np.nan), Spread(np.nan, 0), 1))


def networks(effect: float, n=12, seeds=(0, 1, 2), noise=0.02) -> dict[str, dict[int, pd.DataFrame]]:
    """A reference and two networks: one shifted by the effect, one by nothing; slices differ widely in difficulty."""
    difficulty, subject = people(n, 10, effect=30, between=2.0, within=1.0)
    table = {}
    for number, (name, shift) in enumerate({"student": 0, "planted": effect, "nothing": 0}.items()):
        own, _ = people(n, 10, effect=shift, between=0.1, within=0.1, seed=number + 1)
        shifts = noise * np.roll([-1, 0, 1], number)
        table[name] = {seed: scores(difficulty + own + shifts[seed], subject) for seed in seeds}
    return table


def test_a_planted_difference_is_found_and_a_planted_nothing_is_not():
    table = compare(networks(0.4), "student")
    assert table.verdict.to_dict() == {"planted": "better", "nothing": "not shown"}
    assert table.difference["planted"] == pytest.approx(0.4, abs=0.15) and table.low["planted"] > 0
    np.testing.assert_allclose(table.p_holm.sort_values(), holm(table.p.sort_values()))
    assert compare(networks(-0.4), "student").verdict["planted"] == "worse"
    assert compare(networks(0.4), "student", "nmse").verdict["planted"] == "better"


def test_a_difference_as_large_as_that_between_seeds_is_not_shown():
    steady, unsteady = (compare(networks(0.3, noise=noise), "student") for noise in (0.01, 0.5))
    assert steady.verdict["planted"] == "better" and unsteady.verdict["planted"] == "not shown"
    assert unsteady.limit["planted"] > 0.5 > 0.3 > steady.limit["planted"]


def test_the_notes_say_why():
    few = compare(networks(0.4, n=3), "student")
    assert (few.verdict == "not tested").all() and few.note["planted"].startswith("3 subjects: fewer than 6")
    assert few.note["planted"].endswith("the limit counts seeds alone") and np.isfinite(few.limit).all()
    six = compare(networks(0.4, n=6), "student")
    assert "2 tests with 6 subjects: no corrected p-value can be below 0.062" in six.note["planted"]
    assert (six.verdict == "not shown").all() and six.p_holm["planted"] == pytest.approx(4 / 64)
    one = compare(networks(0.4, seeds=(0,)), "student")
    assert one.note["planted"].startswith("one seed") and np.isnan(one.seed_sd).all()
    assert "one common seed" in compare(networks(0.4) | {"late": {2: networks(0.4)["planted"][2]}}, "student").note["late"]


def test_seeds_are_paired_and_averaged():
    tables = networks(0.4, seeds=(0, 1))
    row = compare(tables, "student").loc["planted"]
    by_seed = [(tables["planted"][s].psnr - tables["student"][s].psnr).mean() for s in (0, 1)]
    assert row.difference == pytest.approx(np.mean(by_seed)) and row.seed_sd == pytest.approx(np.std(by_seed, ddof=1))
    assert row["mean"] - row.reference_mean == pytest.approx(row.difference) and row.seeds == 2


def test_rows_in_any_order_are_paired_by_volume_and_slice():
    tables = networks(0.4)
    mixed = {name: {s: t.sample(frac=1, random_state=s) for s, t in by.items()} for name, by in tables.items()}
    pd.testing.assert_frame_equal(compare(mixed, "student"), compare(tables, "student"))


def test_tables_that_do_not_pair_are_refused():
    tables = networks(0.4)
    with pytest.raises(InputError, match="not evaluated on the same slices"):
        compare(tables | {"other": {0: tables["planted"][0].iloc[1:]}}, "student")
    with pytest.raises(InputError, match=r"seeds \[7\] and \[0, 1, 2\] of the reference: expected a common one"):
        compare(tables | {"other": {7: tables["planted"][0]}}, "student")
    with pytest.raises(InputError, match="reference 'tutor' is unknown: expected one of student, planted, nothing"):
        compare(tables, "tutor")
    with pytest.raises(InputError, match="metric 'loss' is unknown: expected one of psnr"):
        compare(tables, "student", "loss")


def test_lower_is_better_for_errors_alone():
    assert set(statistics.LOWER_IS_BETTER) == {"nmse", "mse", "hfn"}
