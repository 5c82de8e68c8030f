"""Estimators against closed forms, brute force over all samples, and repeated sampling."""

import itertools
import math

import numpy as np
import pytest

from lossgap.core.estimates.intervals import caveat, half_width, interval, student_quantile
from lossgap.core.estimates.means import (
    Estimate,
    Moments,
    ratio_mean,
    regression_mean,
    stratified_mean,
)
from lossgap.core.estimates.planning import Budget, Count, Precision
from lossgap.core.estimates.purse import Purse
from lossgap.core.estimates.sampling import Frame, class_labels, proportional
from lossgap.core.estimates.sequences import ConfidenceSequence

POPULATION = np.array([0.1, 0.4, 0.7, 1.9, 2.0, 5.0, 0.3])
STRATA = np.array([0, 0, 0, 1, 1, 1, 0])


def all_stratified_samples(counts):
    """Yield every sample with so many values of each stratum."""
    places = [np.flatnonzero(h == STRATA) for h in range(len(counts))]
    choices = [itertools.combinations(p, n) for p, n in zip(places, counts, strict=True)]
    for chosen in itertools.product(*choices):
        yield np.concatenate([np.array(part) for part in chosen])


def test_over_all_samples_the_stratified_mean_and_its_variance_are_unbiased():
    sizes = np.bincount(STRATA)
    found = [
        stratified_mean(POPULATION[s], STRATA[s], sizes) for s in all_stratified_samples([2, 2])
    ]
    values = [estimate.value for estimate in found]
    assert np.mean(values) == pytest.approx(POPULATION.mean())
    assert np.mean([e.variance for e in found]) == pytest.approx(np.var(values))


def test_one_stratum_is_simple_random_sampling():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    estimate = stratified_mean(values, np.zeros(4, int), np.array([10]))
    assert estimate.value == 4.0
    assert estimate.variance == pytest.approx(np.var(values, ddof=1) / 4 * (1 - 4 / 10))


def test_a_sample_of_all_has_no_error():
    estimate = stratified_mean(POPULATION, STRATA, np.bincount(STRATA))
    assert estimate.value == pytest.approx(POPULATION.mean())
    assert estimate.variance == 0.0
    assert interval(estimate) == pytest.approx((estimate.value, estimate.value))


def test_the_skewness_of_a_mean_is_that_of_its_distribution():
    rng = np.random.default_rng(0)
    population = rng.exponential(size=400)
    means = [rng.choice(population, 60, replace=False).mean() for _ in range(60_000)]
    exact = np.mean((means - np.mean(means)) ** 3) / np.std(means) ** 3
    found = [
        stratified_mean(
            rng.choice(population, 60, replace=False), np.zeros(60, int), np.array([400])
        )
        for _ in range(3000)
    ]
    cubes = np.mean([e.skewness * e.variance**1.5 for e in found])
    assert cubes / np.mean([e.variance for e in found]) ** 1.5 == pytest.approx(exact, abs=0.03)


def test_a_frame_that_is_a_part_of_the_set_adds_its_own_error():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    within = stratified_mean(values, np.zeros(4, int), np.array([10]))
    beyond = stratified_mean(values, np.zeros(4, int), np.array([10]), n_total=100)
    # Four of ten, and ten of a hundred: four of a hundred.
    assert beyond.variance == pytest.approx(np.var(values, ddof=1) * (1 / 4 - 1 / 100))
    assert within.variance < beyond.variance


def pairs(n=6000, seed=1):
    """Return losses of an epoch and of the one before, by class."""
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 3, n)
    before = rng.exponential(1 + strata)
    return 0.8 * before + rng.exponential(0.2, n), before, strata


def regressed(y, x, strata, reference, sample):
    """Estimate the mean of y from a sample of a reference."""
    sizes = np.bincount(strata)
    return regression_mean(
        y[sample],
        x[sample],
        strata[sample],
        sizes,
        reference=Moments.of(x[reference], strata[reference], len(sizes)),
    )


@pytest.mark.parametrize("n_reference", [6000, 1500])
def test_the_regression_mean_and_its_variance_are_those_of_repeated_sampling(n_reference):
    y, x, strata = pairs()
    rng = np.random.default_rng(2)
    found = []
    for _ in range(3000):
        reference = rng.permutation(len(y))[:n_reference]
        found.append(regressed(y, x, strata, reference, reference[:300]))
    values = np.array([e.value for e in found])
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - y.mean()) < 3.5 * error
    assert np.mean([e.variance for e in found]) == pytest.approx(values.var(), rel=0.08)


def test_after_a_full_pass_a_change_that_is_linear_is_measured_exactly():
    _, x, strata = pairs()
    y = 0.25 + 0.5 * x
    estimate = regressed(y, x, strata, np.arange(len(x)), np.arange(100))
    assert estimate.value == pytest.approx(y.mean())
    assert estimate.variance == pytest.approx(0.0, abs=1e-20)


def test_a_related_loss_saves_samples_and_an_unrelated_one_costs_none():
    y, x, strata = pairs()
    everything, sample = np.arange(len(y)), np.arange(400)
    plain = stratified_mean(y[sample], strata[sample], np.bincount(strata))
    related = regressed(y, x, strata, everything, sample)
    unrelated = regressed(y, np.random.default_rng(3).random(len(y)), strata, everything, sample)
    assert related.variance < plain.variance / 5
    assert unrelated.variance == pytest.approx(plain.variance, rel=0.05)


def test_there_is_no_slope_without_spread_and_with_few_or_infinite_values():
    y, x, strata = pairs()
    everything = np.arange(len(y))
    assert regressed(y, np.ones_like(x), strata, everything, np.arange(300)) is None
    assert regressed(y, x, strata, everything, np.arange(25)) is None
    assert regressed(np.where(y > 2, np.nan, y), x, strata, everything, np.arange(300)) is None


def test_the_ratio_mean_is_that_of_repeated_sampling():
    rng = np.random.default_rng(4)
    counts = np.array([32.0] * 59 + [7.0])
    values = rng.exponential(size=60)
    found = []
    for _ in range(4000):
        drawn = rng.choice(60, 20, replace=False)
        found.append(ratio_mean(values[drawn], counts[drawn], 60))
    means = np.array([e.value for e in found])
    assert means.mean() == pytest.approx(counts @ values / counts.sum(), abs=0.01)
    assert np.mean([e.variance for e in found]) == pytest.approx(means.var(), rel=0.06)


def test_values_that_are_not_finite_pass_and_have_no_error():
    values = np.array([1.0, np.inf, 2.0])
    estimate = stratified_mean(values, np.zeros(3, int), np.array([9]))
    assert estimate.value == math.inf
    assert estimate.standard_error is None
    assert interval(estimate) is None
    assert "finite" in caveat(estimate)


@pytest.mark.parametrize("size", [3, 7, 40])
def test_samples_for_inverts_the_variance(size):
    rng = np.random.default_rng(5)
    estimate = stratified_mean(rng.random(200), np.zeros(200, int), np.array([1000]))
    unit = estimate.variance / (1 / 200 - 1 / 1000)
    assert estimate.samples_for(unit * (1 / size - 1 / 1000)) == pytest.approx(size)
    assert estimate.samples_for(0.0) == pytest.approx(1000)


def test_no_number_of_samples_gets_below_the_floor():
    assert Estimate(1.0, 0.2, 0.0, 9.0, 10, 100, floor=0.1).samples_for(0.09) == math.inf


# Intervals.


@pytest.mark.parametrize(
    ("freedom", "exact"), [(5, 2.5706), (10, 2.2281), (30, 2.0423), (math.inf, 1.9600)]
)
def test_quantiles_are_those_of_the_tables(freedom, exact):
    assert student_quantile(0.975, freedom) == pytest.approx(exact, abs=4e-3)


def test_without_skewness_the_interval_is_the_usual_one():
    assert interval(Estimate(3.0, 0.25, 0.0, math.inf, 100, 1000)) == pytest.approx(
        (3 - 0.98, 3 + 0.98), abs=1e-3
    )


def test_losses_with_a_long_upper_tail_reach_further_up():
    estimate = Estimate(3.0, 0.25, 0.3, math.inf, 100, 1000)
    low, high = interval(estimate)
    assert high - 3 > 3 - low > 0
    assert half_width(estimate) == pytest.approx((high - low) / 2)
    mirrored = interval(Estimate(3.0, 0.25, -0.3, math.inf, 100, 1000))
    assert mirrored == pytest.approx((6 - high, 6 - low))


LOSSES = {
    "squared errors": lambda rng, n: rng.normal(size=n) ** 2,
    "absolute errors": lambda rng, n: np.abs(rng.normal(size=n)),
    "cross-entropies": lambda rng, n: -np.log(np.clip(rng.beta(6, 0.6, n), 1e-7, 1)),
    "heavy tails": lambda rng, n: rng.pareto(2.5, n),
}


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_the_interval_holds_the_mean_in_95_of_100_samples(losses):
    rng = np.random.default_rng(6)
    population = losses(rng, 20_000)
    held = 0
    for _ in range(2000):
        sample = rng.choice(population, 1000, replace=False)
        low, high = interval(stratified_mean(sample, np.zeros(1000, int), np.array([20_000])))
        held += low <= population.mean() <= high
    assert 0.93 <= held / 2000 <= 0.97


@pytest.mark.parametrize(("losses", "least"), [("cross-entropies", 0.93), ("heavy tails", 0.91)])
def test_the_interval_holds_the_mean_nearly_as_often_where_it_says_when_to_stop(losses, least):
    rng = np.random.default_rng(6)
    population, plan = LOSSES[losses](rng, 20_000), Precision(0.1)
    held = 0
    for _ in range(1000):
        values, n = rng.permutation(population), plan.first([], 20_000)
        while n:
            some = values[:n]
            estimate = stratified_mean(some, np.zeros(n, int), np.array([20_000]))
            n = plan.further([estimate], 0.0, 20_000)
        low, high = interval(estimate)
        held += low <= population.mean() <= high
    assert least <= held / 1000 <= 0.975


def test_heavy_tails_are_told_and_light_ones_are_not():
    rng = np.random.default_rng(7)
    heavy, light = np.exp(2.5 * rng.normal(size=500)), rng.random(500)
    told = [
        caveat(stratified_mean(v, np.zeros(500, int), np.array([9999]))) for v in (heavy, light)
    ]
    assert "500 samples are few" in told[0]
    assert told[1] is None


# Confidence sequences.


def by_the_formula(values, n_total, alpha=0.05):
    """Return the interval after every value, term by term."""
    low, high = 0.0, 1.0
    above = below = losses = total = 0.0
    guess, spread = 0.5, 0.25
    for i, x in enumerate(values, 1):
        bet = min(math.sqrt(2 * math.log(2 / alpha) / (spread / i * i * math.log(1 + i))), 0.5)
        left = n_total - i + 1
        above += bet * (x + total / left)
        below += bet * n_total / left
        losses += (x - guess) ** 2 * (-math.log(1 - bet) - bet)
        spread += (x - guess) ** 2
        total += x
        guess = (0.5 + total) / (i + 1)
        radius = (math.log(2 / alpha) + losses) / below
        low = max(low, above / below - radius, total / n_total)
        high = min(high, above / below + radius, (total + n_total - i) / n_total)
    return low, high


def test_the_sequence_is_that_of_the_formula_however_the_values_come():
    values = np.random.default_rng(8).beta(2, 5, 300)
    once, often = ConfidenceSequence(1000, 0.0, 1.0), ConfidenceSequence(1000, 0.0, 1.0)
    once.add(values)
    for part in np.split(values, [1, 50, 51, 200]):
        often.add(part)
    assert once.interval == pytest.approx(often.interval)
    assert once.interval == pytest.approx(by_the_formula(values, 1000))


def test_the_sequence_holds_the_mean_at_all_times_and_ends_at_it():
    rng = np.random.default_rng(9)
    population = 4 + 2 * rng.beta(1, 8, 600)
    missed = 0
    for _ in range(300):
        sequence = ConfidenceSequence(600, 4.0, 6.0)
        for part in np.split(rng.permutation(population), 30):
            sequence.add(part)
            low, high = sequence.interval
            if not low - 1e-9 <= population.mean() <= high + 1e-9:
                missed += 1
                break
    assert missed / 300 <= 0.05
    assert sequence.interval == pytest.approx((population.mean(), population.mean()))


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_a_value_out_of_range_is_an_error(value):
    with pytest.raises(ValueError, match="outside of the range"):
        ConfidenceSequence(10, 0.0, 1.0).add(np.array([0.5, value]))


# Sampling.


def test_a_larger_sample_holds_a_smaller_one_and_every_class_has_its_share():
    labels = np.random.default_rng(10).choice(3, 1000, p=[0.7, 0.2, 0.1])
    frame = Frame.drawn(1000, labels.__getitem__, n_least=100, size=2000, seed=0)
    small, large = frame.allocated(100), frame.allocated(400)
    zero = np.zeros(3, int)
    chosen = [set(frame.order[frame.between(zero, counts)]) for counts in (small, large)]
    assert chosen[0] < chosen[1]
    assert list(map(len, chosen)) == [100, 400]
    for label in range(3):
        share = np.mean(labels[list(chosen[1])] == label)
        assert share == pytest.approx(np.mean(labels == label), abs=1 / 400)


def test_every_sample_has_the_same_chance():
    labels = np.arange(40) % 4
    hits = np.zeros(40)
    for seed in range(4000):
        frame = Frame.drawn(40, labels.__getitem__, n_least=40, size=40, seed=seed)
        hits[frame.order[frame.between(np.zeros(4, int), frame.allocated(12))]] += 1
    assert np.abs(hits / 4000 - 12 / 40).max() < 0.03


def test_a_frame_may_be_a_part_of_the_set():
    frame = Frame.drawn(10_000, lambda _: None, n_least=10, size=100, seed=0)
    assert frame.n_frame == len(set(frame.order)) == 100
    assert frame.n_total == 10_000


def test_classes_too_small_to_have_a_variance_share_a_stratum():
    labels = np.array([0] * 500 + [1] * 480 + [2] * 11 + [3] * 9)
    frame = Frame.drawn(1000, labels.__getitem__, n_least=100, size=1000, seed=0)
    assert sorted(frame.sizes) in ([500, 500], [480, 520])


@pytest.mark.parametrize("n", [4, 10, 33, 100, 1000])
def test_proportional_shares_sum_up(n):
    sizes = np.array([50, 30, 20])
    counts = proportional(n, sizes)
    assert (counts <= sizes).all()
    assert counts.sum() == max(min(n, 100), 6)
    if n >= 10:
        assert np.abs(counts - min(n, 100) * sizes / 100).max() < 1


def test_class_labels_are_found_in_integers_floats_and_one_hot_rows():
    labels = np.array([3, 1, 3, 0])
    expected = np.array([2, 1, 2, 0])
    for y in (labels, labels[:, None], labels.astype("float32"), np.eye(4)[labels]):
        np.testing.assert_array_equal(class_labels(y), expected)


@pytest.mark.parametrize(
    "y",
    [
        None,
        np.array([0.5, 1.0]),
        np.array([[0.3, 0.7], [1.0, 0.0]]),
        np.zeros(5),
        np.zeros((3, 2, 2)),
        np.array(["a", "b"]),
        np.arange(2000),
        np.array([1.0, np.nan]),
    ],
    ids=repr,
)
def test_other_targets_have_no_classes(y):
    assert class_labels(y) is None


# Plans.


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self):
        return self.now


def test_a_count_is_kept_and_a_fraction_is_of_all():
    assert Count(300).first([], 1000) == 300
    assert Count(300).first([], 200) == 200
    assert Count(0.25).first([], 1000) == 250
    assert Count(100).first([], 50, 32.0) == 3  # batches
    assert Count(300).further([], 1.0, 1000) == Count(300).reference(300, 1.0, 9, 1000) == 0


def test_a_precision_asks_for_what_the_variance_says():
    plan = Precision(0.02)
    estimate = Estimate(2.0, 0.01, 0.0, math.inf, 500, 10**6)
    n = plan.further([estimate], 1.0, 10**6)
    assert n == 2000  # at most four times as many at once
    unit = 0.01 / (1 / 500 - 1e-6)
    needed = 1 / ((0.02 * 2 / 1.96) ** 2 / unit + 1e-6)
    assert plan.first([estimate], 10**6) == pytest.approx(1.05 * needed, rel=1e-3)
    assert plan.further([Estimate(2.0, 1e-6, 0.0, math.inf, 500, 10**6)], 1.0, 10**6) == 0


def test_a_precision_that_takes_half_of_a_set_takes_all_of_it():
    estimate = Estimate(2.0, 0.01, 0.0, math.inf, 500, 1000)
    assert Precision(0.001).further([estimate], 1.0, 1000) == 1000


def test_a_purse_counts_measuring_apart_and_shares_out_what_is_left():
    clock = Clock()
    purse = Purse(0.01, 10, clock)
    clock.now += 50
    with purse.measuring():
        # Ten epochs of 50 s: 5 s for measuring, half a second for each. What comes first gets half.
        assert purse.share() == pytest.approx(0.25)
        clock.now += 0.1
        assert purse.share() == pytest.approx(0.15)
        assert purse.n_left == 9
    assert purse.training_seconds == pytest.approx(50)
    clock.now += 50
    with purse.measuring():
        assert purse.share() == pytest.approx(4.9 / 9)
        clock.now += 0.2
        assert purse.share() == pytest.approx(4.7 / 9)
    assert purse.overhead == pytest.approx(0.3 / 100)


def test_a_debt_leaves_a_part_of_a_share():
    clock = Clock()
    purse = Purse(0.01, None, clock)
    with purse.measuring(counted=False):
        clock.now += 3
    clock.now += 100
    with purse.measuring():
        assert purse.share() == pytest.approx(0.3)
        clock.now += 0.4
        assert purse.share() == 0.0
        assert Budget(purse).further([Estimate(1.0, 1.0, 0.0, 9.0, 512, 10**6)], 0.1, 10**6) == 0


def test_what_was_settled_is_paid_but_no_part_of_a_measurement():
    clock = Clock()
    purse = Purse(0.1, None, clock)
    clock.now += 100
    with purse.measuring():
        clock.now += 12  # compiling
        purse.settle()
        assert purse.share() == pytest.approx(3)
        clock.now += 1
        assert purse.share() == pytest.approx(2)
    assert purse.training_seconds == pytest.approx(100)
    assert purse.overhead == pytest.approx(0.13)


def test_a_budget_takes_as_many_samples_as_its_share_allows():
    clock = Clock()
    purse = Purse(0.1, None, clock)
    clock.now += 100
    with purse.measuring():
        clock.now += 1
        estimate = Estimate(1.0, 1.0, 0.0, 9.0, 512, 10**6)
        # 9 s are left, and half of them are for something else.
        assert Budget(purse, 0.5).further([estimate], 1.0, 10**6) == 512 + int(512 * 4.5)
