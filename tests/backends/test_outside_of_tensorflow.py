"""What JAX and PyTorch have in common: no TensorFlow, steps of one's own, data read again."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossgap
from iterated import BATCH, N, Sequence, W, X, Y
from lossgap.errors import DataError
from small import assert_same_state, l2_penalty, linear, mse, state

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # an import of it fails
import lossgap
from iterated import X, Y, Sequence, some
from small import linear
for feed in ({"x": X, "y": Y}, {"x": Sequence(X, Y)}, {"x": some(9), "steps_per_epoch": 3}):
    model = linear()
    history = lossgap.fit(model, **feed, epochs=2, verbose=0, shuffle=False).history
    assert len(history["true_loss"]) == 2
    lossgap.measure(model, X, Y)
assert not [name for name in sys.modules if name.startswith("tensorflow.")]
"""


def test_tensorflow_is_not_needed():
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent)))
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW],
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )


class Fixed(Sequence):
    """Batches that are always the same."""

    def __getitem__(self, index):
        return tuple(array[index * BATCH : (index + 1) * BATCH] for array in self.arrays)


def test_a_separate_dataset_is_read_anew_for_every_epoch():
    callback, expected, model = lossgap.TrueLoss(Fixed(X, Y, W)), [], linear()

    class Expected(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            expected.append(mse(model, X, Y, W))

    model.fit(X * 2, Y, epochs=3, verbose=0, callbacks=[callback, Expected()])
    np.testing.assert_allclose([m.true_loss for m in callback.measurements], expected, rtol=2e-6)
    assert {(m.n_samples, m.n_total) for m in callback.measurements} == {(N, N)}


def test_a_dataset_is_measured_and_the_model_left_alone():
    model = linear()
    model.fit(X, Y, verbose=0)
    before = state(model)
    for _ in range(2):
        measured = lossgap.measure(model, Fixed(X, Y, W))
        assert measured.true_loss == pytest.approx(mse(model, X, Y, W), rel=2e-6)
    assert_same_state(state(model), before)


def test_a_generator_cant_be_read_again_and_the_error_says_what_to_pass():
    with pytest.raises(DataError, match="can be read again"):
        lossgap.measure(linear(), (batch for batch in [(X, Y)]))


def test_dicts_are_taken_by_key_whatever_their_order():
    inputs = {name: layers.Input((2,), name=name) for name in ("b", "a")}
    outputs = layers.Dense(1)(layers.Concatenate()([inputs["b"], inputs["a"]]))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    losses = [
        lossgap.measure(model, dict(pairs), Y).true_loss
        for pairs in (
            [("b", X[:, :2]), ("a", X[:, 2:])],
            [("a", X[:, 2:]), ("b", X[:, :2])],
        )
    ]
    expected = np.mean((model.predict({"a": X[:, 2:], "b": X[:, :2]}, verbose=0) - Y) ** 2)
    assert losses == pytest.approx([expected, expected], rel=2e-6)


class OwnLoss(keras.Model):
    """Adds a loss of its own, and keeps a running mean of it."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.dropout = layers.Dropout(0.3)
        self.own = keras.metrics.Mean(name="own")

    def call(self, x, training=None):
        return self.dense(self.dropout(x, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        added = 0.1 * ops.sum(ops.square(self.dense.kernel))
        self.own.update_state(added)
        return loss + added


@pytest.mark.parametrize("metrics", [True, False])
def test_a_compute_loss_of_ones_own_is_the_loss_in_every_epoch(metrics):
    callback, model = lossgap.TrueLoss(metrics=metrics), OwnLoss()
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback])
    assert len(callback.measurements) == 3
    added = 0.1 * np.sum(ops.convert_to_numpy(model.dense.kernel).astype("float64") ** 2)
    expected = mse(model, X, Y) + added
    assert callback.measurements[-1].true_loss == pytest.approx(expected, rel=2e-6)
    assert {"dropout", "drift"} == set(callback.measurements[-1].parts)


class ChangesTheData(keras.Sequential):
    """Evaluates on other targets than it is given."""

    def test_step(self, *arguments):
        *before, (x, y) = arguments
        return super().test_step(*before, (x, y + 1.0))


class OwnTestStep(keras.Sequential):
    """Has a step of its own that does what Keras's does."""

    def test_step(self, *arguments):
        return super().test_step(*arguments)


def built(kind):
    model = kind([layers.Input((4,)), layers.Dense(1, kernel_regularizer="l2")])
    model.compile("sgd", "mse")
    return model


def test_a_test_step_of_ones_own_is_measured():
    model, callback = built(OwnTestStep), lossgap.TrueLoss()
    model.fit(X, Y, validation_split=0.2, verbose=0, callbacks=[callback])
    assert callback.measurements[0].true_loss == pytest.approx(mse(model, X[:56], Y[:56]), rel=2e-6)
    assert callback.measurements[0].true_val_loss == pytest.approx(
        mse(model, X[56:], Y[56:]), rel=2e-6
    )


def test_a_test_step_that_changes_the_data_is_refused_and_named():
    with pytest.raises(lossgap.LossgapError, match=r"ChangesTheData\.test_step reports"):
        lossgap.measure(built(ChangesTheData), X, Y)


def test_penalties_are_found_by_layer_and_kind():
    model = linear()
    measured = lossgap.measure(model, X, Y)
    assert [p.kind for p in measured.penalties] == ["l2"]
    assert measured.parts["penalty"].value == pytest.approx(l2_penalty(model), rel=5e-6)


def test_the_shares_of_random_masks_are_the_same_each_time():
    model = linear()
    parts = [lossgap.measure(model, X, Y).parts["dropout"] for _ in range(2)]
    assert parts[0] == parts[1]
    assert parts[0].standard_error > 0
