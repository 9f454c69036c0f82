import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdrecon.errors import InputError
from kdrecon.results.statistics import (
    Spread,
    compare,
    components,
    equivalence,
    estimate,
    holm,
    seed_spread,
    subject_means,
)


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


def test_people_count_once_however_many_slices_there_are_of_them():
    """Eleven people lose 0.1 dB on four slices each, one gains 0.6 dB on sixty: the method is not better."""
    gain = np.array([-0.1] * 44 + [0.6] * 60)
    subject = [f"person {i // 4}" for i in range(44)] + ["the twelfth"] * 60
    tables = {"student": {}, "other": {}}
    for seed in (0, 1):
        base = np.random.default_rng(seed).uniform(25, 35, len(gain))
        tables["student"][seed], tables["other"][seed] = scores(base, subject), scores(base + gain, subject)
    row = compare(tables, "student").loc["other"]
    assert row.difference == pytest.approx((11 * -0.1 + 0.6) / 12) and row.low < row.difference < 0 < row.high
    assert row.difference == pytest.approx(row["mean"] - row.reference_mean)
    assert row.verdict == "not shown" and (row.subjects, row.n) == (12, 104)


def test_the_estimate_by_hand():
    """Variance of 1 .. 7 is 14/3, so a = 2/3; s^2 = 0.09 with 4 degrees of freedom and K = 3 give b = 0.06."""
    found = estimate(np.arange(1, 8), 3, Spread(0.3, 4))
    error, freedom = np.sqrt(2 / 3 + 0.06), (2 / 3 + 0.06) ** 2 / ((2 / 3) ** 2 / 6 + 0.06**2 / 4)
    half = stats.t.ppf(0.975, freedom) * error
    np.testing.assert_allclose(found[:3], [4, 4 - half, 4 + half])
    assert found.p == pytest.approx(2 * stats.t.sf(4 / error, freedom)) and found.about == "method"


def test_the_p_value_and_the_interval_say_the_same():
    """Where the interval ends at 0, p is 0.05."""
    d = np.arange(6.0)
    low = estimate(d, 2, Spread(0.5, 3)).low
    assert estimate(d - low, 2, Spread(0.5, 3)).p == pytest.approx(0.05)


def test_without_a_spread_over_seeds_it_is_the_t_test():
    d, _ = people(9, 1, effect=0.5)
    t = stats.ttest_1samp(d, 0)
    found = estimate(d, 2, Spread(0.0, 3))
    np.testing.assert_allclose([found.low, found.high, found.p], [*t.confidence_interval(), t.pvalue])


def test_one_seed_gives_an_interval_about_these_networks_and_no_test():
    """Twenty people who all gain, but one training of each method: another seed might have given a loss."""
    tables = {name: tables[0] for name, tables in networks(0.4, n=20).items()}
    row = compare(tables, "student").loc["planted"]
    assert row.low > 0 and row.about == "networks"
    assert row.verdict == "not tested" and np.isnan(row.p) and row.note.startswith("one seed")
    one_of_three = networks(0.4, n=20)
    one_of_three["planted"] = {2: one_of_three["planted"][2]}
    assert compare(one_of_three, "student").verdict.to_dict() == {"planted": "not tested", "nothing": "not shown"}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_than_six_subjects_have_neither_p_value_nor_interval(n):
    found = estimate(people(n, 1, effect=5.0)[0], 3, Spread(0.1, 4))
    assert np.isnan([found.p, found.low, found.high]).all() and found.about == ""
    assert found.difference == pytest.approx(5, abs=2)


def test_six_people_can_decide():
    """The least p-value of a signed rank test of six people is 1/32, which no correction for two tests survives."""
    table = compare(networks(0.4, n=6), "student")
    assert table.verdict["planted"] == "better" and table.p_holm["planted"] < 0.01


def test_a_naive_test_of_slices_would_claim_what_people_do_not_show():
    """Three of eight people lose, five gain: 400 slices look overwhelming, eight people are not."""
    own = np.array([-0.9, -0.7, -0.8, 1.0, 0.9, 1.1, 0.8, 1.2])
    values = np.repeat(own, 50) + 0.1 * np.random.default_rng(0).standard_normal(400)
    found = estimate(subject_means(values, np.repeat(list("abcdefgh"), 50)), 3, Spread(0.01, 2))
    assert stats.wilcoxon(values).pvalue < 1e-10
    assert found.p > 0.15 and found.low < 0 < found.high


@pytest.mark.parametrize("n, seeds", [(6, 2), (10, 3), (15, 2)])
def test_equal_networks_are_rarely_told_apart(n, seeds):
    """A reference and nine networks of one method: any false verdict in at most about one study in twenty."""
    random, studies, false, held = np.random.default_rng(n), 300, 0, []
    for _ in range(studies):
        shift = 0.07 * random.standard_normal((10, seeds, 1)) + 0.1 * random.standard_normal((10, seeds, n))
        spread, differences = seed_spread(shift.mean(2)), (shift[1:] - shift[0]).mean(1)
        found = [estimate(d, seeds, spread) for d in differences]
        false += min(holm([one.p for one in found])) < 0.05
        held += [one.low <= 0 <= one.high for one in found]
    assert false / studies < 0.08 and 0.93 < np.mean(held) < 0.985


def test_the_order_of_slices_does_not_matter():
    values, subject = people(9, 7, effect=0.3)
    order = np.random.default_rng(3).permutation(len(values))
    pd.testing.assert_series_equal(subject_means(values, subject), subject_means(values[order], subject[order]))


def test_equal_networks_differ_by_nothing():
    assert estimate(np.zeros(6), 2, Spread(0.0, 2)) == (0, 0, 0, 1, "method")


@pytest.mark.parametrize(
    "values, subject", [([], []), ([1.0, 2.0], ["a"]), ([1.0, np.nan], ["a", "b"]), ([np.inf], ["a"])]
)
def test_values_that_cannot_be_used_are_refused(values, subject):
    with pytest.raises(InputError, match="expected"):
        subject_means(values, subject)


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
    assert unsteady.low["planted"] < 0 < steady.low["planted"]


def test_the_notes_say_why():
    few = compare(networks(0.4, n=3), "student")
    assert (few.verdict == "not tested").all()
    assert few.note["planted"] == "3 subjects: fewer than 6, so no interval and no p-value"
    one = compare(networks(0.4, seeds=(0,)), "student")
    assert "the interval is about these two networks" in one.note["planted"] and np.isnan(one.seed_sd).all()
    both = compare(networks(0.4, n=3, seeds=(0,)), "student").note["planted"]
    assert both.startswith("3 subjects") and "one seed" in both and "interval is about" not in both
    assert (compare(networks(0.4), "student").note == "").all()


def test_seeds_are_paired_and_averaged():
    tables = networks(0.4, seeds=(0, 1))
    row = compare(tables, "student").loc["planted"]
    by_seed = [(tables["planted"][s].psnr - tables["student"][s].psnr).mean() for s in (0, 1)]  # as many slices each
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


@pytest.mark.parametrize("difference, p", [(0.0, 0.0), (0.1, 0.5), (0.3, 1.0)])
def test_equivalence_is_not_claimed_at_the_margin_and_beyond(difference, p):
    """Differences +-0.01 round their mean: se = 0.01 / sqrt(11), far below the margin of 0.1."""
    d = difference + 0.01 * np.tile([-1, 1], 6)
    assert equivalence(d, 2, Spread(0.0, 2), 0.1) == pytest.approx(p, abs=1e-6)
    assert equivalence(-d, 2, Spread(0.0, 2), 0.1) == pytest.approx(p, abs=1e-6)


def test_equivalence_is_two_one_sided_tests():
    d, spread = people(9, 1, effect=0.02, between=0.1)[0], Spread(0.0, 3)
    sides = [stats.ttest_1samp(d, -0.1, alternative="greater"), stats.ttest_1samp(d, 0.1, alternative="less")]
    assert equivalence(d, 2, spread, 0.1) == pytest.approx(max(side.pvalue for side in sides))
    half = np.ptp(stats.t.interval(0.9, 8, d.mean(), stats.sem(d))) / 2
    assert equivalence(d, 2, spread, abs(d.mean()) + half) == pytest.approx(
        0.05
    )  # the 90 % interval ends at the margin
    assert equivalence(d, 2, Spread(0.2, 3), 0.1) > equivalence(d, 2, spread, 0.1)  # other seeds count
    assert np.isnan([equivalence(d, 1, spread, 0.1), equivalence(d[:5], 2, spread, 0.1)]).all()
    assert np.isnan(equivalence(np.zeros(6), 2, spread, np.nan))


def test_no_effect_can_be_shown_and_a_shown_effect_can_be_small():
    table = compare(networks(0.4, n=60), "student")
    assert table.equal.to_dict() == {"planted": False, "nothing": True} and table.verdict["nothing"] == "not shown"
    small = compare(networks(0.05, n=200, noise=0.0), "student").loc["planted"]
    assert small.verdict == "better" and small.equal


@pytest.mark.parametrize(
    "tables, metric",
    [(networks(0.4), "nmse"), (networks(0.4, seeds=(0,)), "psnr"), (networks(0.4, n=5), "psnr")],
    ids=["a metric without a margin", "one seed", "five people"],
)
def test_where_equality_is_not_tested_nothing_is_said_of_it(tables, metric):
    table = compare(tables, "student", metric)
    assert table.equal.isna().all() and table.p_equal_holm.isna().all() and "False" not in table[["equal"]].to_csv()


def test_differences_at_the_margin_are_rarely_called_equal():
    """Nine methods whose true difference is the margin: any false claim in at most about one study in twenty."""
    random, studies, false = np.random.default_rng(1), 300, 0
    for _ in range(studies):
        shift = 0.02 * random.standard_normal((10, 3, 1)) + 0.04 * random.standard_normal((10, 3, 10))
        spread, differences = seed_spread(shift.mean(2)), 0.1 + (shift[1:] - shift[0]).mean(1)
        false += min(holm([equivalence(d, 3, spread, 0.1) for d in differences])) < 0.05
    assert false / studies < 0.08


def test_components_by_hand():
    """Rows 0 2, 4 6, 5 7: people 1 5 6, seeds 3 5, nothing left; so MS_P = 2 * 7, MS_S = 3 * 2, MS_E = 0."""
    found = components([[0, 2], [4, 6], [5, 7]])
    np.testing.assert_allclose(found, [np.sqrt(7), np.sqrt(2), 0], atol=1e-12)
    np.testing.assert_allclose(components([[1.0, -1.0], [-1.0, 1.0]]), [0, 0, 2])
    assert components([[1.0], [3.0]]) == (
        pytest.approx(np.sqrt(2)),
        pytest.approx(np.nan, nan_ok=True),
        pytest.approx(np.nan, nan_ok=True),
    )
    assert np.isnan(components([[1.0]])).all() and components([[1.0, 3.0]])[1] == pytest.approx(np.sqrt(2))


def test_components_are_those_that_were_planted():
    random, planted = np.random.default_rng(0), (0.5, 0.3, 0.2)
    sides = (400, 1), (1, 400), (400, 400)
    d = sum(sd * random.standard_normal(shape) for sd, shape in zip(planted, sides))
    np.testing.assert_allclose(components(d), planted, rtol=0.1)
