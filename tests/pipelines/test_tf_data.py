"""Pipelines of ``tf.data`` under Keras on JAX or PyTorch: ``tox run -e pipelines``."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import lossgap
from lossgap.errors import DataError
from small import linear, mse, regression

X, Y = regression()
W = np.linspace(0.2, 2.0, len(X)).astype("float32")
LABELS = (Y[:, 0] > 0).astype("int64")
N, BATCH = len(X), 16


def in_order(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH)


def shuffled(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).shuffle(N).batch(BATCH)


def named():
    inputs = {name: layers.Input((2,), name=name) for name in "ab"}
    joined = layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.3)(joined)))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def by_name(x, y):
    return {"a": x[:, :2], "b": x[:, 2:]}, y


def classifier():
    inputs = layers.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Dropout(0.3)(inputs)))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def cross_entropy(model):
    outputs = model.predict(X, verbose=0).astype("float64")
    return float(-np.log(outputs[np.arange(N), LABELS]).mean())


# What fit is given, besides arguments that all share; the model; its true loss in NumPy.
FEEDS = {
    "in order": (lambda: {"x": in_order(X, Y)}, linear, lambda m: mse(m, X, Y)),
    "shuffled": (lambda: {"x": shuffled(X, Y)}, linear, lambda m: mse(m, X, Y)),
    "with weights": (lambda: {"x": shuffled(X, Y, W)}, linear, lambda m: mse(m, X, Y, W)),
    "prefetched": (
        lambda: {"x": shuffled(X, Y).prefetch(tf.data.AUTOTUNE)},
        linear,
        lambda m: mse(m, X, Y),
    ),
    "of dicts": (
        lambda: {"x": shuffled(X, Y).map(by_name)},
        named,
        lambda m: mse(m, by_name(X, Y)[0], Y),
    ),
    "repeated": (
        lambda: {"x": in_order(X[:64], Y[:64]).repeat(), "steps_per_epoch": 4},
        linear,
        lambda m: mse(m, X[:64], Y[:64]),
    ),
    "class weights": (
        lambda: {"x": shuffled(X, LABELS), "class_weight": {0: 1.0, 1: 4.0}},
        classifier,
        cross_entropy,
    ),
    "validated": (
        lambda: {"x": shuffled(X, Y), "validation_data": in_order(X[:20], Y[:20])},
        linear,
        lambda m: mse(m, X, Y),
    ),
}


def train(make, build, *callbacks):
    """Train from fixed seeds, and return the model and every bit that is left behind."""
    keras.utils.set_random_seed(3)
    tf.random.set_seed(3)
    model = build()
    arguments = make()
    history = model.fit(
        **arguments, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks)
    ).history
    reported = {k: v for k, v in history.items() if "gap" not in k and not k.startswith("true_")}
    variables = [*model.variables, *model.optimizer.variables]
    values = [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]
    drawn = [tf.random.uniform((2,)).numpy().tolist(), np.random.random()]  # noqa: NPY002
    drawn.append(keras.ops.convert_to_numpy(keras.random.uniform((2,))).tolist())
    following = [leaf.numpy().tobytes() for leaf in tf.nest.flatten(next(iter(arguments["x"])))]
    return model, (reported, values, drawn, following)


@pytest.mark.parametrize("feed", FEEDS)
def test_a_pipeline_trains_the_same_to_the_last_bit_and_its_true_loss_is_right(feed):
    make, build, expected = FEEDS[feed]
    callback = lossgap.TrueLoss()
    _, theirs = train(make, build)
    model, ours = train(make, build, callback)
    assert ours == theirs
    measured = callback.measurements[-1]
    assert measured.true_loss == pytest.approx(expected(model), rel=3e-6)
    assert measured.n_samples == measured.n_total
    assert "dropout" in measured.parts
    assert sum(part.value for part in measured.parts.values()) == pytest.approx(
        measured.regularization_gap, abs=2e-6
    )


def test_what_a_pipeline_adds_at_random_is_a_part_where_the_clean_data_are_given():
    callback = lossgap.TrueLoss(in_order(X, Y))
    make = FEEDS["in order"][0]
    model, _ = train(lambda: {"x": make()["x"].map(lambda x, y: (x + 1.0, y))}, linear, callback)
    measured = callback.measurements[-1]
    assert measured.true_loss == pytest.approx(mse(model, X, Y), rel=3e-6)
    added = mse(model, X + 1.0, Y) - mse(model, X, Y)
    assert measured.parts["pipeline"].value == pytest.approx(added, rel=1e-5)


def test_a_pipeline_is_measured_and_one_that_shuffles_refused():
    model = linear()
    for _ in range(2):
        measured = lossgap.measure(model, in_order(X, Y, W))
        assert measured.true_loss == pytest.approx(mse(model, X, Y, W), rel=2e-6)
    with pytest.raises(DataError, match="draws at random"):
        lossgap.measure(model, shuffled(X, Y))
