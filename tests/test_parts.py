"""The gap's parts: closed forms, exact values in NumPy, and what holds for all of them."""

import math

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossgap
import reference as ref
from lossgap.core import keys
from models import (
    Inverts,
    base,
    chain,
    diabetes,
    hidden_l2,
    linear,
    linear_dropout_part,
    linear_noise_part,
    one_layer,
    predict,
    ready,
    small_network,
    tumours,
    weight_of,
    weights_for,
    wines,
)
from reference import Output


def values(measured):
    return {name: part.value for name, part in measured.parts.items()}


def mechanisms(measured):
    return [name for name in measured.parts if name in keys.MECHANISMS]


# Closed forms: a linear model with squared error.


def assert_agrees(part, expected):
    """The value is within 4 standard errors, and these are small enough to mean something."""
    assert part.standard_error is not None
    assert 0 < part.standard_error < 0.12 * expected
    assert abs(part.value - expected) < 4 * part.standard_error


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.7])
def test_dropout_on_the_input_of_a_linear_model_adds_what_theory_says(rate):
    model, x, y, _ = linear(layers.Dropout(rate))
    part = lossgap.measure(model, x, y).parts["dropout"]
    assert_agrees(part, linear_dropout_part(model, x, rate))


def test_dropout_on_weighted_samples_adds_what_theory_says():
    model, x, y, _ = linear(layers.Dropout(0.3))
    weight = weights_for(len(x))
    part = lossgap.measure(model, x, y, sample_weight=weight).parts["dropout"]
    assert_agrees(part, linear_dropout_part(model, x, 0.3, ref.exact(weight)))


def test_gaussian_dropout_on_the_input_adds_what_dropout_of_the_same_rate_adds():
    model, x, y, _ = linear(layers.GaussianDropout(0.3))
    part = lossgap.measure(model, x, y).parts["dropout"]
    assert_agrees(part, linear_dropout_part(model, x, 0.3))


@pytest.mark.parametrize("stddev", [0.1, 0.8])
def test_noise_on_the_input_of_a_linear_model_adds_what_theory_says(stddev):
    model, x, y, _ = linear(layers.GaussianNoise(stddev))
    part = lossgap.measure(model, x, y).parts["noise"]
    assert_agrees(part, linear_noise_part(model, stddev))


def test_a_sample_of_a_large_set_gives_the_same_as_theory():
    model, x, y, _ = linear(layers.GaussianNoise(0.5))
    x, y = np.tile(x, (30, 1)), np.tile(y, (30, 1))
    measured = lossgap.measure(model, x, y)
    assert_agrees(measured.parts["noise"], linear_noise_part(model, 0.5))
    assert measured.n_samples == len(x)


def test_the_standard_error_is_as_large_as_the_values_scatter():
    model, x, y, _ = linear(layers.Dropout(0.3))
    expected = linear_dropout_part(model, x, 0.3)
    parts = [lossgap.measure(model, x, y, seed=seed).parts["dropout"] for seed in range(12)]
    scores = [(part.value - expected) / part.standard_error for part in parts]
    assert 0.4 < math.sqrt(np.mean(np.square(scores))) < 1.8


# Values that NumPy computes exactly.


def two_layer_network(*, inverts=False):
    """Return a network with batch normalization, and maybe a layer that uses `training`."""
    x, y = diabetes(120)
    other = [Inverts()] if inverts else []
    model = chain(
        (10,),
        layers.Dense(6, name="first"),
        *other,
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Dense(1, name="second"),
    )
    return ready(model, "mse"), x, y


def loss_in_numpy(model, x, y, *, batch_statistics, factor=1.0):
    """Return the squared error of the network on one batch."""
    hidden = ref.exact(x) @ weight_of(model, "first", "kernel") + weight_of(model, "first", "bias")
    hidden = hidden * factor
    if batch_statistics:
        mean, variance = hidden.mean(0), hidden.var(0)
    else:
        mean = weight_of(model, "norm", "moving_mean")
        variance = weight_of(model, "norm", "moving_variance")
    hidden = (hidden - mean) / np.sqrt(variance + 1e-3) * weight_of(model, "norm", "gamma")
    hidden = ref.relu(hidden + weight_of(model, "norm", "beta"))
    outputs = hidden @ weight_of(model, "second", "kernel") + weight_of(model, "second", "bias")
    return float(((outputs - ref.exact(y)) ** 2).mean())


def test_the_batch_norm_part_is_the_loss_with_batch_statistics_less_the_loss_with_moving_ones():
    model, x, y = two_layer_network()
    part = lossgap.measure(model, x, y, batch_size=len(x)).parts["batch_norm"]
    train, evaluation = (loss_in_numpy(model, x, y, batch_statistics=on) for on in (True, False))
    assert abs(train - evaluation) > 0.05
    assert part.value == pytest.approx(train - evaluation, rel=1e-5)
    assert part.standard_error is None


def test_smaller_batches_change_the_batch_norm_part():
    model, x, y = two_layer_network()
    large, small = (
        lossgap.measure(model, x, y, batch_size=size).parts["batch_norm"].value for size in (120, 5)
    )
    assert abs(large - small) > 1e-3


def test_a_sample_of_a_large_set_gives_the_batch_norm_part_within_its_error():
    model, x, y = two_layer_network()
    rng = np.random.default_rng(8)
    chosen = rng.integers(0, len(x), 12_800)
    x = x[chosen] + rng.normal(0, 0.3, (len(chosen), 10)).astype("float32")
    y = y[chosen]

    part = lossgap.measure(model, x, y, batch_size=32).parts["batch_norm"]

    differences = []
    for _ in range(3):
        order = rng.permutation(len(x)).reshape(-1, 32)
        differences += [
            loss_in_numpy(model, x[batch], y[batch], batch_statistics=True)
            - loss_in_numpy(model, x[batch], y[batch], batch_statistics=False)
            for batch in order
        ]
    assert part.standard_error is not None
    assert part.standard_error < 0.2 * abs(np.mean(differences))
    assert abs(part.value - np.mean(differences)) < 4 * part.standard_error


def test_mechanisms_that_interact_get_their_shapley_values():
    model, x, y = two_layer_network(inverts=True)
    parts = lossgap.measure(model, x, y, batch_size=len(x)).parts
    neither, norm, other, both = (
        loss_in_numpy(model, x, y, batch_statistics=on, factor=factor)
        for factor, on in ((1.0, False), (1.0, True), (0.8, False), (0.8, True))
    )
    assert abs(both - norm - other + neither) > 1e-3
    assert parts["batch_norm"].value == pytest.approx(
        ((norm - neither) + (both - other)) / 2, rel=1e-4
    )
    assert parts["other"].value == pytest.approx(((other - neither) + (both - norm)) / 2, rel=1e-4)


@pytest.mark.parametrize("targets", ["labels", "one_hot"])
def test_the_class_weight_part_is_what_the_weights_of_the_classes_add(targets):
    x, y = wines()
    class_weight = {0: 3.0, 2: 0.25}
    if targets == "labels":
        loss, compiled = ref.sparse_categorical_crossentropy(), "sparse_categorical_crossentropy"
    else:
        y = ref.one_hot(y, 3)
        loss, compiled = ref.categorical_crossentropy(), "categorical_crossentropy"
    model = ready(chain((13,), layers.Dense(3, "softmax", kernel_regularizer="l2")), compiled)

    measured = lossgap.measure(model, x, y, class_weight=class_weight, batch_size=25)

    p = predict(model, x)
    weight = ref.class_weights(y, class_weight)
    plain = ref.true_loss(Output(loss, y, p), batch_size=25)
    weighted = ref.true_loss(Output(loss, y, p, weight), batch_size=25)
    assert abs(weighted - plain) > 0.01
    assert measured.true_loss == pytest.approx(plain, rel=2e-6)
    assert measured.parts["class_weight"].value == pytest.approx(weighted - plain, rel=1e-5)


def test_class_weights_that_are_all_1_add_nothing():
    x, y = tumours()
    model = ready(chain((30,), layers.Dense(1, "sigmoid")), "binary_crossentropy")
    parts = lossgap.measure(model, x, y, class_weight={0: 1.0, 1: 1.0}).parts
    assert parts["class_weight"].value == pytest.approx(0.0, abs=1e-7)


def test_the_other_parts_count_in_the_class_weights():
    x, y = tumours()
    model = ready(chain((30,), layers.Dropout(0.4), layers.Dense(1, "sigmoid")), "bce")
    once = lossgap.measure(model, x, y).parts["dropout"]
    thrice = lossgap.measure(model, x, y, class_weight={0: 3.0, 1: 3.0}).parts["dropout"]
    assert thrice.value == pytest.approx(3 * once.value, rel=1e-4)


# What holds for all parts.


@pytest.mark.parametrize("reported_loss", [0.3, 7.0])
def test_the_parts_sum_to_the_gap(reported_loss):
    model, x, y, _ = one_layer(
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.GaussianNoise(0.3),
        layers.Dense(4, "relu", kernel_regularizer="l2", activity_regularizer="l1"),
    )
    measured = lossgap.measure(model, x, y, reported_loss=reported_loss)
    assert list(measured.parts) == ["penalty", "dropout", "noise", "batch_norm", "drift"]
    assert measured.regularization_gap == reported_loss - measured.true_loss
    assert sum(values(measured).values()) == pytest.approx(measured.regularization_gap, abs=1e-6)


def test_the_parts_sum_to_the_gap_with_class_weights_after_training():
    x, y = tumours()
    model = chain((30,), layers.Dropout(0.3), layers.Dense(1, "sigmoid", kernel_regularizer="l1"))
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    class_weight = {0: 2.0, 1: 0.5}
    reported = model.fit(x, y, class_weight=class_weight, verbose=0).history["loss"][0]
    measured = lossgap.measure(model, x, y, class_weight=class_weight, reported_loss=reported)
    assert list(measured.parts) == ["penalty", "class_weight", "dropout", "drift"]
    assert sum(values(measured).values()) == pytest.approx(measured.regularization_gap, abs=1e-6)


def test_without_a_mechanism_the_gap_is_the_penalty_and_the_drift():
    x, y = diabetes()
    model = ready(chain((10,), layers.Dense(1, kernel_regularizer="l2", name="head")), "mse")
    measured = lossgap.measure(model, x, y, reported_loss=5.0)
    assert set(measured.parts) == {"penalty", "drift"}
    penalty = ref.l2(weight_of(model, "head", "kernel"), 0.01)
    drift = 5.0 - measured.true_loss - penalty
    assert measured.parts["drift"].value == pytest.approx(drift, rel=1e-6)


def test_without_a_reported_loss_there_is_no_gap_and_no_drift():
    model, x, y, _ = one_layer(layers.Dropout(0.3))
    measured = lossgap.measure(model, x, y)
    assert measured.regularization_gap is None
    assert set(measured.parts) == {"dropout"}


def test_parts_can_be_left_out():
    model, x, y, _ = one_layer(layers.Dropout(0.3), layers.BatchNormalization())
    measured = lossgap.measure(model, x, y, parts=False)
    assert mechanisms(measured) == []


def test_the_mechanisms_together_add_what_training_mode_adds():
    model, x, y, _ = one_layer(
        layers.BatchNormalization(), layers.Dropout(0.3), layers.GaussianNoise(0.3)
    )
    measured = lossgap.measure(model, x, y, batch_size=len(x))
    total = sum(measured.parts[name].value for name in mechanisms(measured))
    error = math.hypot(*(measured.parts[name].standard_error for name in mechanisms(measured)))

    losses = [
        float(np.mean((ops.convert_to_numpy(model(x, training=True)) - y) ** 2))
        - measured.true_loss
        for _ in range(60)
    ]
    own_error = np.std(losses) / math.sqrt(len(losses))
    assert abs(total - np.mean(losses)) < 4 * math.hypot(error, own_error)


def test_a_mechanism_that_reaches_nothing_adds_0():
    x, y = diabetes()
    inputs = keras.Input((10,))
    dead = layers.Dense(1, name="dead")
    outputs = layers.Add()(
        [
            dead(layers.Dropout(0.5)(inputs)),
            layers.Dense(1, name="live")(layers.GaussianNoise(0.5)(inputs)),
        ]
    )
    model = ready(keras.Model(inputs, outputs), "mse")
    dead.kernel.assign(np.zeros((10, 1)))
    parts = lossgap.measure(model, x, y).parts
    assert parts["dropout"].value == pytest.approx(0.0, abs=1e-7)
    assert abs(parts["noise"].value) > 1e-3


def test_a_loss_of_twice_the_weight_has_parts_twice_as_large():
    x, y = diabetes()

    def measured(weight):
        keras.utils.set_random_seed(0)
        stack = (layers.Dropout(0.3), layers.Dense(5), layers.BatchNormalization())
        model = chain((10,), *stack, layers.Dense(1))
        return lossgap.measure(ready(model, "mse", loss_weights=[weight]), x, y, seed=3)

    once, twice = values(measured(1.0)), values(measured(2.0))
    assert set(once) == {"dropout", "batch_norm"}
    assert twice == pytest.approx({name: 2 * value for name, value in once.items()}, rel=1e-4)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_gives_others():
    model, x, y, _ = one_layer(layers.Dropout(0.3), layers.GaussianNoise(0.1))
    first, again, other = (lossgap.measure(model, x, y, seed=seed) for seed in (5, 5, 6))
    assert first.parts == again.parts
    assert first.true_loss == again.true_loss == other.true_loss
    assert first.parts["dropout"] != other.parts["dropout"]
    assert first.parts["noise"] != other.parts["noise"]


def test_the_seed_of_a_layer_and_the_global_seed_do_not_matter():
    model, x, y, _ = one_layer(layers.Dropout(0.3, seed=1))
    first = lossgap.measure(model, x, y)
    keras.utils.set_random_seed(99)
    assert lossgap.measure(model, x, y).parts == first.parts


def test_exact_parts_have_no_standard_error_and_random_ones_have_one():
    model, x, y, _ = one_layer(
        layers.Dropout(0.3), layers.Dense(4, kernel_regularizer="l2"), layers.Dense(2)
    )
    parts = lossgap.measure(model, x, y, reported_loss=5.0).parts
    assert parts["penalty"].standard_error is None
    assert parts["dropout"].standard_error > 0
    assert parts["drift"].standard_error > 0


def test_layers_called_with_a_fixed_mode_count_exactly_where_keras_lets_them_act():
    x, y = tumours()
    inputs = keras.Input((30,))
    for fixed in (layers.Dropout(0.4), chain((30,), layers.BatchNormalization())):
        outputs = layers.Dense(1, "sigmoid")(fixed(inputs, training=False))
        model = ready(keras.Model(inputs, outputs), "binary_crossentropy")
        in_training, in_evaluation = model(x, training=True), model(x, training=False)
        acts = not np.array_equal(in_training, in_evaluation)
        assert bool(mechanisms(lossgap.measure(model, x, y))) == acts


def test_a_compute_loss_that_scales_the_loss_scales_the_penalty_too():
    class Doubles(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)

    model, x, y, _ = small_network(Doubles)
    measured = lossgap.measure(model, x, y)
    output = Output(ref.mean_squared_error, y, predict(model, x), weight=2.0)
    assert measured.true_loss == pytest.approx(ref.true_loss(output, batch_size=32), rel=2e-6)
    (penalty,) = hidden_l2(model, x, 32).values()
    assert measured.parts["penalty"].value == pytest.approx(2 * penalty, rel=1e-5)
    assert sum(p.value for p in measured.penalties) == pytest.approx(2 * penalty, rel=1e-5)


def test_a_measured_model_trains_as_it_would_have():
    def weights(*, measures):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(2)
        x, y = wines()
        model = chain((13,), base_of_13(), layers.Dense(3, "softmax"))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = []
        for _ in range(2):
            history.append(model.fit(x, y, verbose=0).history)
            if measures:
                lossgap.measure(model, x, y, reported_loss=history[-1]["loss"][0])
        return history, [weight.numpy().tobytes() for weight in model.variables]

    assert weights(measures=True) == weights(measures=False)


def base_of_13():
    encoder = base()
    return keras.Sequential([keras.Input((13,)), layers.Dense(64), encoder])
