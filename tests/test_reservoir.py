"""The sample of a stream is uniform and small enough, and its standard error is honest."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats

import lossgap
from lossgap.core.evaluator import standard_error
from lossgap.core.feeds import Wish
from lossgap.core.feeds.batches import Batch
from lossgap.core.feeds.reservoir import Reservoir

N_BATCHES = 24
N_STREAMS = 4000


def batch(index, *, n_bytes=10, n_samples=4):
    """Return a batch that is told by its index."""
    return Batch([tf.fill((n_samples, 1), float(index))], n_samples, n_bytes)


def bare(index, n_bytes=10, n_samples=4):
    """Return a batch that is told by its index, and never measured."""
    return Batch([index], n_samples, n_bytes)


def kept(reservoir):
    """Return the indices of the kept batches, in order."""
    return [batch.leaves[0] for batch in reservoir.in_order()]


SIZES = {
    "equal": [10] * N_BATCHES,
    "with a partial last batch": [10] * (N_BATCHES - 1) + [3],
    "of two kinds": [4, 16] * (N_BATCHES // 2),
    "growing": list(range(1, N_BATCHES + 1)),
    "shrinking": list(range(N_BATCHES, 0, -1)),
    "with one giant": [5] * 10 + [50] + [5] * (N_BATCHES - 11),
}


def implausible(counts, n_kept):
    """Test inclusion counts against a uniform choice of a fixed number of batches.

    Cell counts of samples without replacement are correlated, and spread less than
    independent ones: the statistic is scaled to a chi-square with one degree of freedom
    less than there are batches.
    """
    share = n_kept / len(counts)
    expected = N_STREAMS * share
    statistic = np.sum((counts - expected) ** 2) / (expected * (1 - share))
    statistic *= (len(counts) - 1) / len(counts)
    low, high = stats.chi2.ppf([0.0005, 0.9995], len(counts) - 1)
    return not low < statistic < high


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_each_batch_has_the_same_chance_whatever_its_size_and_place(sizes):
    reservoir = Reservoir(max_bytes=85, seed=1)
    counts, n_kept = np.zeros(N_BATCHES), set()
    for _ in range(N_STREAMS):
        reservoir.clear()
        for index, n_bytes in enumerate(sizes):
            reservoir.add(bare(index, n_bytes))
        counts[kept(reservoir)] += 1
        n_kept.add(len(kept(reservoir)))
    assert len(n_kept) == 1  # set by the sizes alone, as the standard error presumes
    assert 1 < next(iter(n_kept)) < N_BATCHES
    assert not implausible(counts, next(iter(n_kept)))


def test_the_sample_is_uniform_at_any_time_of_the_stream():
    reservoir = Reservoir(max_bytes=50, seed=2)
    counts = np.zeros(N_BATCHES // 2)
    for _ in range(N_STREAMS):
        reservoir.clear()
        for index in range(N_BATCHES):
            reservoir.add(bare(index))
            if index == N_BATCHES // 2 - 1:
                counts[kept(reservoir)] += 1
    assert not implausible(counts, 5)


def test_the_check_of_uniformity_would_find_a_favoured_batch():
    counts = np.full(N_BATCHES, N_STREAMS / 4)
    rng = np.random.default_rng(0)
    counts += rng.normal(scale=np.sqrt(N_STREAMS * 3 / 16), size=N_BATCHES)
    counts += (N_STREAMS / 4 * N_BATCHES - counts.sum()) / N_BATCHES
    assert not implausible(counts, N_BATCHES // 4)
    counts[-1] = N_STREAMS
    assert implausible(counts, N_BATCHES // 4)


def test_each_epoch_gets_a_sample_of_its_own():
    reservoir = Reservoir(max_bytes=80, seed=3)
    overlaps, before = [], None
    for _ in range(N_STREAMS):
        reservoir.clear()
        for index in range(N_BATCHES):
            reservoir.add(bare(index))
        now = set(kept(reservoir))
        if before is not None:
            overlaps.append(len(now & before))
        before = now
    expected = stats.hypergeom(N_BATCHES, 8, 8)
    error = expected.std() / np.sqrt(len(overlaps))
    assert np.mean(overlaps) == pytest.approx(expected.mean(), abs=4 * error)


def test_the_same_seed_keeps_the_same_batches():
    samples = []
    for _ in range(2):
        reservoir = Reservoir(max_bytes=80, seed=4)
        for index in range(N_BATCHES):
            reservoir.add(bare(index))
        samples.append(kept(reservoir))
    assert samples[0] == samples[1]


@pytest.mark.parametrize("seed", range(20))
def test_memory_stays_within_the_limit_at_any_time_and_the_order_is_kept(seed):
    rng = np.random.default_rng(seed)
    limit = 200
    reservoir = Reservoir(max_bytes=limit, seed=seed)
    for index in range(300):
        reservoir.add(bare(index, n_bytes=int(rng.integers(1, 60))))
        held = reservoir.in_order()
        assert sum(batch.n_bytes for batch in held) <= limit
        assert kept(reservoir) == sorted(kept(reservoir))
    assert reservoir.n_batches == 300
    assert not reservoir.is_complete


def test_a_stream_that_fits_is_kept_whole():
    reservoir = Reservoir(max_bytes=60, seed=0)
    sizes = [5, 20, 1, 14, 20]
    for index, n_bytes in enumerate(sizes):
        reservoir.add(bare(index, n_bytes))
    assert reservoir.is_complete
    assert kept(reservoir) == [0, 1, 2, 3, 4]
    reservoir.add(bare(5, n_bytes=1))
    assert not reservoir.is_complete


def test_one_batch_is_kept_even_if_it_is_larger_than_the_limit():
    reservoir = Reservoir(max_bytes=5, seed=0)
    for index in range(7):
        reservoir.add(bare(index))
        assert len(kept(reservoir)) == 1
    assert reservoir.n_samples == 28


def test_a_cleared_reservoir_begins_anew():
    reservoir = Reservoir(max_bytes=30, seed=0)
    for index in range(9):
        reservoir.add(bare(index, n_bytes=20))
    reservoir.clear()
    assert kept(reservoir) == []
    for index in range(3):
        reservoir.add(bare(index))
    assert kept(reservoir) == [0, 1, 2]
    assert (reservoir.n_batches, reservoir.n_samples) == (3, 12)
    assert reservoir.is_complete


def test_a_draw_is_a_uniform_part_of_the_sample():
    reservoir = Reservoir(max_bytes=10 * N_BATCHES // 2, seed=5)
    wish = Wish(n_samples=16, min_batches=1, max_bytes=10**6, seed=0)
    batches = [batch(index) for index in range(N_BATCHES)]
    counts = np.zeros(N_BATCHES)
    for _ in range(N_STREAMS):
        reservoir.clear()
        for each in batches:
            reservoir.add(each)
        drawn = reservoir.draw(wish)
        assert not drawn.is_full
        rows = np.concatenate([chunk.leaves[0].numpy() for chunk in drawn.chunks])
        assert rows.shape == (16, 1)
        counts[np.unique(rows).astype(int)] += 1
    assert not implausible(counts, 4)


def test_a_draw_that_wants_more_than_there_is_gets_all_and_says_so():
    reservoir = Reservoir(max_bytes=1000, seed=0)
    for index in range(5):
        reservoir.add(batch(index))
    drawn = reservoir.draw(Wish(n_samples=10**6, min_batches=1, max_bytes=10**9, seed=0))
    assert drawn.is_full
    assert sum(int(chunk.splits[-1]) for chunk in drawn.chunks) == 20


def population(kind, rng):
    """Return losses and sample counts of 400 batches, in the order of the stream."""
    n = 400
    counts = np.full(n, 32)
    losses = rng.normal(1.0, 0.3, n)
    if kind == "skewed":
        losses = rng.gamma(2.0, 0.5, n)
    elif kind == "falling along the stream":
        losses = np.linspace(3.0, 0.5, n) + rng.normal(scale=0.1, size=n)
    elif kind == "with a partial last batch that is an outlier":
        counts[-1], losses[-1] = 5, 8.0
    elif kind == "unequal, larger batches with larger losses":
        counts = rng.integers(4, 65, n)
        losses = 0.5 + counts / 40 + rng.normal(scale=0.3, size=n)
    return losses, counts


@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        "skewed",
        "falling along the stream",
        "with a partial last batch that is an outlier",
        "unequal, larger batches with larger losses",
    ],
)
def test_the_interval_of_95_percent_covers_the_loss_of_all_batches_that_often(kind):
    losses, counts = population(kind, np.random.default_rng(6))
    true = counts @ losses / counts.sum()
    reservoir = Reservoir(max_bytes=int(60.5 * 8 * counts.max()), seed=7)
    stream = [
        Batch([index], int(count), 8 * int(count)) for index, count in enumerate(counts.tolist())
    ]
    n_streams, n_covering, estimates, errors = 3000, 0, [], []
    for _ in range(n_streams):
        reservoir.clear()
        for each in stream:
            reservoir.add(each)
        chosen = kept(reservoir)
        values, sizes = losses[chosen], counts[chosen]
        estimate = sizes @ values / sizes.sum()
        error = standard_error(values, sizes, reservoir.n_batches)
        n_covering += abs(estimate - true) <= 1.96 * error
        estimates.append(estimate)
        errors.append(error)
    assert 0.93 <= n_covering / n_streams <= 0.97
    spread = float(np.std(estimates))
    assert np.mean(estimates) == pytest.approx(true, abs=4 * spread / np.sqrt(n_streams) + 1e-3)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.06)


def test_all_batches_have_no_standard_error_and_one_batch_can_tell_none():
    values, counts = np.array([1.0, 2.0, 4.0]), np.array([3, 3, 1])
    assert standard_error(values, counts, None) is None
    assert standard_error(values, counts, 3) == 0.0
    assert standard_error(values[:1], counts[:1], 9) is None


def test_a_stream_that_is_tapped_within_a_small_memory_is_covered_by_its_error():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(1000, 4)).astype("float32")
    y = (x.sum(axis=1, keepdims=True) + rng.normal(size=(1000, 1))).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(10).repeat()
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")  # at rest, so that all epochs compare
    epochs, n_kept = 40, 20
    callback = lossgap.TrueLoss(max_bytes=n_kept * 225, parts=False)  # a tenth is for copies
    model.fit(
        data,
        steps_per_epoch=100,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[callback],
    )
    errors = (model.predict(x, verbose=0).astype("float64") - y) ** 2
    deviations = [(m.true_loss - errors.mean()) / m.standard_error for m in callback.measurements]
    assert {(m.n_samples, m.n_total) for m in callback.measurements} == {(10 * n_kept, 1000)}
    assert len({m.true_loss for m in callback.measurements}) == epochs
    assert np.max(np.abs(deviations)) < 4
    assert np.std(deviations) == pytest.approx(1.0, abs=0.3)
