"""Estimates of real models agree with NumPy, on the very samples and within their errors."""

import keras
import numpy as np
import pytest
from keras import layers

import lossgap
import reference as ref
from lossgap.core.averaging import validated_weights
from lossgap.core.estimates.planning import Count, Precision
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.sampler import Sampler
from lossgap.core.samplewise import Samplewise
from lossgap.errors import InvalidArgumentError, LossgapWarning
from models import chain, digits, predict, ready, weights_for
from small import assert_same_state, linear, mse, regression, state

SCCE = "sparse_categorical_crossentropy"


def classifier(**compiling):
    """Return a classifier of digits, with its data and the loss of each sample in NumPy."""
    x, y = digits(1700)
    stack = [layers.Dropout(0.2), layers.Dense(16, "relu"), layers.Dense(10, "softmax")]
    model = ready(chain((64,), *stack), SCCE, **compiling)
    return model, x, y, ref.sparse_categorical_crossentropy()(y, ref.exact(predict(model, x)))


def sampler(model, x, y, plan, *, metrics=True, sample_weight=None, **options):
    """Compile a sampler for arrays."""
    feed = ArrayFeed(x, y, sample_weight, batch_size=32)
    model._symbolic_build(data_batch=feed.layout.pack(feed.specs())[:3])
    weights = validated_weights(model, ())
    return Sampler(model, feed, weights, plan, batch_size=None, metrics=metrics, seed=0, **options)


def losses_of_samples(model, x, y, sample_weight=None):
    """Return the table that a pass over all samples writes down."""
    measuring = sampler(model, x, y, Count(len(x) - 1), sample_weight=sample_weight)
    taken = []
    add = Samplewise.taken

    def noted(self, state):
        values, state = add(self, state)
        taken.append(values)
        return values, state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samplewise, "taken", noted)
        measuring._plan = Count(len(x))
        measuring.run()
    return np.concatenate(taken)


def test_the_losses_of_the_samples_are_those_of_numpy():
    model, x, y, losses = classifier(metrics=["accuracy"])
    table = losses_of_samples(model, x, y)
    np.testing.assert_allclose(table[:, 0], losses, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(table[:, 1], predict(model, x).argmax(1) == y)


def test_the_losses_of_the_samples_count_weights_outputs_and_loss_weights():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(90, 5)).astype("float32"), weights_for(90)
    inputs = keras.Input((5,))
    outputs = [layers.Dense(2, name="a")(inputs), layers.Dense(3, name="b")(inputs)]
    model = ready(keras.Model(inputs, outputs), ["mse", "mae"], loss_weights=[2.0, 0.5])
    y = [rng.normal(size=(90, n)).astype("float32") for n in (2, 3)]
    table = losses_of_samples(model, x, y, weight)
    a, b = (ref.exact(p) for p in predict(model, x))
    expected = 2 * ref.mean_squared_error(y[0], a) + 0.5 * ref.mean_absolute_error(y[1], b)
    np.testing.assert_allclose(table[:, 0], expected * weight, rtol=1e-4)


def test_the_losses_of_sequences_are_means_over_their_steps():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 4, 3)).astype("float32")
    y = rng.normal(size=(50, 4, 2)).astype("float32")
    model = ready(chain((4, 3), layers.Dense(2)), "mse")
    expected = ((ref.exact(predict(model, x)) - y) ** 2).mean((1, 2))
    np.testing.assert_allclose(losses_of_samples(model, x, y)[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("samples", [150, 0.2, 1000])
def test_the_estimate_is_the_stratified_mean_of_its_samples_in_numpy(samples):
    model, x, y, losses = classifier(metrics=["accuracy"])
    measured = lossgap.measure(model, x, y, samples=samples, parts=False)
    n = samples if isinstance(samples, int) else round(samples * len(x))
    assert measured.n_samples == n
    assert measured.n_total == len(x)
    assert measured.is_estimate

    frame = sampler(model, x, y, Count(n))._frame
    chosen = frame.order[frame.between(np.zeros(len(frame.sizes), int), frame.allocated(n))]
    right = predict(model, x).argmax(1) == y
    expected, variance, share = 0.0, 0.0, 0.0
    for label in range(10):
        mine, weight = chosen[y[chosen] == label], np.mean(y == label)
        expected += weight * losses[mine].mean()
        share += weight * right[mine].mean()
        fraction = 1 / len(mine) - 1 / np.sum(y == label)
        variance += weight**2 * losses[mine].var(ddof=1) * fraction
    assert measured.true_loss == pytest.approx(expected, rel=1e-5)
    assert measured.standard_error == pytest.approx(np.sqrt(variance), rel=1e-4)
    assert measured.metrics["accuracy"].true == pytest.approx(share, rel=1e-6)
    low, high = measured.interval
    assert low < measured.true_loss < high
    assert measured.relative_half_width == pytest.approx((high - low) / 2 / expected, rel=1e-4)


def test_estimates_scatter_as_much_as_they_say():
    model, x, y, losses = classifier()
    found = [
        lossgap.measure(model, x, y, samples=200, seed=seed, parts=False, metrics=False)
        for seed in range(25)
    ]
    scores = [(m.true_loss - losses.mean()) / m.standard_error for m in found]
    assert 0.6 < np.sqrt(np.mean(np.square(scores))) < 1.5
    assert sum(m.interval[0] <= losses.mean() <= m.interval[1] for m in found) >= 21


def test_the_same_seed_takes_the_same_samples():
    model, x, y, _ = classifier()
    one, other, third = (
        lossgap.measure(model, x, y, samples=100, seed=seed, parts=False) for seed in (3, 3, 4)
    )
    assert one.true_loss == other.true_loss != third.true_loss


def test_all_samples_are_exact():
    model, x, y, losses = classifier(metrics=["accuracy"])
    measured = lossgap.measure(model, x, y, samples=len(x), parts=False)
    assert measured.true_loss == pytest.approx(losses.mean(), rel=2e-6)
    assert measured.standard_error is measured.interval is measured.caveat is None
    assert not measured.is_estimate
    assert measured.metrics["accuracy"].standard_error is None


def test_a_metric_that_is_no_mean_has_no_error():
    model, x, y, _ = classifier(metrics=["accuracy", keras.metrics.R2Score(name="r2")])
    y = ref.one_hot(y, 10).astype("float32")
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy", keras.metrics.R2Score()])
    metrics = lossgap.measure(model, x, y, samples=300, parts=False).metrics
    assert metrics["accuracy"].standard_error > 0
    assert metrics["r2_score"].standard_error is None


def test_penalties_of_the_weights_are_exact_and_those_of_the_data_have_errors():
    x, y = digits(1700)
    for options, exact in (
        ({"kernel_regularizer": "l2"}, True),
        ({"activity_regularizer": "l2"}, False),
    ):
        stack = layers.Dense(16, "relu", **options), layers.Dense(10, "softmax")
        model = ready(chain((64,), *stack), SCCE)
        full = lossgap.measure(model, x, y).parts["penalty"]
        part = lossgap.measure(model, x, y, samples=900, batch_size=50).parts["penalty"]
        assert full.standard_error is None
        if exact:
            assert part.value == pytest.approx(full.value, rel=1e-6)
            assert part.standard_error is None
        else:
            assert abs(part.value - full.value) < 4 * part.standard_error < 0.4 * full.value


def test_class_weights_of_a_sample_have_an_error():
    model, x, y, losses = classifier()
    weights = {label: 1 + label / 5 for label in range(10)}
    part = lossgap.measure(model, x, y, samples=400, class_weight=weights).parts["class_weight"]
    expected = (losses * ref.class_weights(y, weights)).mean() - losses.mean()
    assert 0 < part.standard_error < 0.1 * expected
    assert abs(part.value - expected) < 4 * part.standard_error


# Losses that aren't means over samples.


def test_a_summed_loss_is_estimated_from_whole_batches():
    x, y = digits(1700)
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    model = ready(chain((64,), layers.Dense(10, "softmax")), loss)
    measured = lossgap.measure(model, x, y, samples=320, batch_size=32, parts=False)
    losses = ref.sparse_categorical_crossentropy()(y, ref.exact(predict(model, x)))
    batches = [losses[i : i + 32].sum() for i in range(0, 1700, 32)]
    expected = sum(min(32, 1700 - 32 * i) * b for i, b in enumerate(batches)) / 1700
    assert measured.n_samples in (320, 320 - 32 + 1700 % 32)
    assert measured.standard_error > 0
    assert abs(measured.true_loss - expected) < 4 * measured.standard_error
    everything = lossgap.measure(model, x, y, samples=1700, batch_size=32, parts=False)
    assert everything.true_loss == pytest.approx(expected, rel=2e-6)
    assert everything.standard_error is None


def test_masked_losses_are_estimated_from_whole_batches():
    rng = np.random.default_rng(2)
    tokens = rng.integers(1, 9, (400, 5))
    tokens[np.arange(5) >= rng.integers(1, 6, 400)[:, None]] = 0
    model = ready(
        chain((5,), layers.Embedding(9, 4, mask_zero=True), layers.Dense(3, "softmax")), SCCE
    )
    full = lossgap.measure(model, tokens, tokens % 3, batch_size=16)
    part = lossgap.measure(model, tokens, tokens % 3, batch_size=16, samples=200)
    assert part.n_samples < 220
    assert abs(part.true_loss - full.true_loss) < 4 * part.standard_error


# Precision, references, budgets.


def test_a_precision_is_reached():
    model, x, y, losses = classifier()
    x, y = np.tile(x, (10, 1)), np.tile(y, 10)
    measured = lossgap.measure(model, x, y, precision=0.05, parts=False)
    assert 512 <= measured.n_samples < len(x) / 2
    assert measured.relative_half_width <= 0.05
    assert abs(measured.true_loss - losses.mean()) < 4 * measured.standard_error


def test_after_a_reference_fewer_samples_measure_the_change():
    model, x, y, _ = classifier()
    measuring = sampler(model, x, y, Precision(0.02))
    sizes = [measuring.run().n_samples for _ in range(2)]
    assert sizes[0] < sizes[1] == len(x)  # a reference, and why not all of them
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight.numpy() + rng.normal(0, 0.004, weight.shape))
    second = measuring.run()
    losses = ref.sparse_categorical_crossentropy()(y, ref.exact(predict(model, x)))
    assert second.n_samples < len(x) / 2
    assert second.standard_error > 0
    low, high = second.interval
    assert (high - low) / 2 <= 0.02 * second.data_loss
    assert abs(second.data_loss - losses.mean()) < 4 * second.standard_error


def test_a_model_that_has_not_moved_is_measured_again_without_an_error():
    model, x, y, losses = classifier()
    measuring = sampler(model, x, y, Precision(0.02))
    _, _, again = (measuring.run() for _ in range(3))
    assert again.n_samples <= 512
    assert again.data_loss == pytest.approx(losses.mean(), rel=1e-5)


def test_a_reference_is_renewed_when_it_has_been_paid_for():
    model, x, y, _ = classifier()
    measuring = sampler(model, x, y, Precision(0.02))
    sizes = [measuring.run().n_samples for _ in range(10)]
    assert sizes[1:] == [1700, 512, 512, 512, 512, 1700, 512, 512, 512]


def test_a_reference_may_be_a_part_of_the_set():
    model, x, y, losses = classifier()
    x, y = np.tile(x, (30, 1)), np.tile(y, 30)
    pilot = lossgap.measure(model, x, y, samples=512, parts=False, metrics=False)
    precision = pilot.relative_half_width / 2
    measuring = sampler(model, x, y, Precision(precision), metrics=False)
    measuring.n_left = 9
    first, reference, third = (measuring.run() for _ in range(3))
    assert third.n_samples < first.n_samples < reference.n_samples < len(x) / 2
    for found in (first, reference, third):
        assert (found.interval[1] - found.interval[0]) / 2 <= precision * found.data_loss
        assert abs(found.data_loss - losses.mean()) < 4 * found.standard_error


def test_a_loss_range_gives_intervals_that_hold_at_all_times():
    model, x, y, losses = classifier()
    wide = lossgap.measure(model, x, y, samples=400, loss_range=(0.0, 17.0), parts=False)
    assert wide.interval[0] <= losses.mean() <= wide.interval[1]
    assert wide.interval[1] - wide.interval[0] > 4 * wide.standard_error
    short = lossgap.measure(model, x, y, samples=400, loss_range=(0.0, 0.1), parts=False)
    assert short.interval is None
    assert "loss_range" in short.caveat


@pytest.mark.filterwarnings("ignore:lossgap. .*few for losses that spread")
@pytest.mark.parametrize(
    "options", [{"samples": 30}, {"samples": 0.4}, {"precision": 0.1}, {"budget": 0.05}]
)
def test_a_training_is_the_same_with_and_without_an_estimate(options):
    x, y = regression(700)
    plain, measured = linear(), linear()
    one = plain.fit(x, y, epochs=3, verbose=0)
    callback = lossgap.TrueLoss(**options)
    keras.utils.set_random_seed(1)
    other = lossgap.fit(measured, x, y, epochs=3, verbose=0, true_loss=callback)
    assert len(callback.measurements) == 3
    assert_same_state(state(plain), state(measured))
    assert one.history["loss"] == other.history["loss"]


def test_kept_batches_are_sampled_too():
    x, y = regression(640)

    def batches():
        while True:
            for i in range(0, 640, 32):
                yield x[i : i + 32], y[i : i + 32]

    model = linear()
    callback = lossgap.TrueLoss(samples=160, parts=False)
    model.fit(
        batches(),
        steps_per_epoch=20,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[callback],
    )
    assert [(m.n_samples, m.n_total) for m in callback.measurements] == [(160, 640)] * 2
    last = callback.measurements[-1]
    assert abs(last.true_loss - mse(model, x, y)) < 4 * last.standard_error


def test_a_budget_without_time_still_measures_a_few_samples():
    x, y = regression(3000)
    callback = lossgap.TrueLoss(budget=0.001)
    linear().fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    assert [m.n_samples for m in callback.measurements] == [512] * 3
    assert all(m.interval is not None for m in callback.measurements)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"samples": 0}, "`samples`.*count of at least 1, or a fraction.*Received: 0"),
        ({"samples": 1.5}, "`samples`.*Received: 1.5"),
        ({"samples": True}, "`samples`.*Received: True"),
        ({"precision": 2}, "`precision`.*fraction above 0.0 and below 1.0.*Received: 2"),
        ({"budget": 0.0}, "`budget`.*Received: 0.0"),
        ({"samples": 9, "budget": 0.1}, "samples=9 and budget=0.1.*pass one"),
        ({"samples": 9, "loss_range": (1, 0)}, r"`loss_range`.*\(0.0, 20.0\).*Received: \(1, 0\)"),
        ({"loss_range": (0, 1)}, "loss_range.*without an estimate.*samples, precision or budget"),
    ],
)
def test_wrong_arguments_are_told_with_the_way_out(arguments, text):
    with pytest.raises(InvalidArgumentError, match=f"(?s){text}"):
        lossgap.TrueLoss(**arguments)


def test_a_caveat_is_told_once():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2000, 4)).astype("float32")
    y = rng.standard_cauchy(2000).astype("float32")[:, None]
    callback = lossgap.TrueLoss(samples=100, parts=False)
    with pytest.warns(LossgapWarning, match="100 samples are few for losses that spread") as told:
        linear().fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    assert len(told) == 1
    assert all(m.caveat for m in callback.measurements)


def test_a_stateful_model_is_measured_exactly_and_says_so():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(64, 3, 2)).astype("float32")
    y = rng.normal(size=(64, 1)).astype("float32")
    inputs = keras.Input(batch_shape=(16, 3, 2))
    hidden = layers.SimpleRNN(4, stateful=True)(inputs)
    model = ready(keras.Model(inputs, layers.Dense(1)(hidden)), "mse")
    full = lossgap.measure(model, x, y, batch_size=16)
    part = lossgap.measure(model, x, y, batch_size=16, samples=32)
    assert part.true_loss == full.true_loss
    assert part.n_samples == 64
    assert "stateful" in part.caveat


def test_a_dataset_is_read_once_and_sampled_from_then_on():
    n_reads = 0

    class Counted(keras.utils.PyDataset):
        def __len__(self):
            return 20

        def __getitem__(self, index):
            nonlocal n_reads
            n_reads += 1
            place = slice(index * 32, index * 32 + 32)
            return X[place], Y[place]

    X, Y = regression(640)
    model = linear(dropout=0.0)
    callback = lossgap.TrueLoss(Counted(), samples=160, parts=False)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback])
    assert [m.n_samples for m in callback.measurements] == [160] * 3
    assert n_reads <= 22
    last = callback.measurements[-1]
    assert abs(last.true_loss - mse(model, X, Y)) < 4 * last.standard_error


def test_losses_that_do_not_add_up_are_measured_by_batches(monkeypatch):
    """A loss of Keras's that one day isn't the mean of what it is without a reduction."""
    x, y = regression(640)
    model = ready(chain((4,), layers.Dense(1)), "mse")
    full = lossgap.measure(model, x, y)
    original = Samplewise._columns

    def columns(self, *arguments):
        return [1.5 * column for column in original(self, *arguments)]

    monkeypatch.setattr(Samplewise, "_columns", columns)
    part = lossgap.measure(model, x, y, samples=320)
    assert part.n_samples == 320
    assert abs(part.true_loss - full.true_loss) < 4 * part.standard_error
