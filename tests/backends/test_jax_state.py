"""What only JAX has: a state outside of the model, traces with constants, sparse arrays."""

import warnings

import jax
import keras
import numpy as np
import pytest
from jax.experimental import sparse
from keras import layers

import lossgap
from iterated import BATCH, X, Y
from lossgap.errors import DataError
from small import linear, mse


def test_measuring_in_mid_epoch_sees_the_weights_of_that_step():
    callback, expected = lossgap.TrueLoss(unit="step", parts=False), []

    class Expected(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernel, bias = (np.asarray(w, "float64") for w in self.model.get_weights()[-2:])
            expected.append(float(np.mean((X @ kernel + bias - Y) ** 2)))

    linear(dropout=0.0).fit(
        X, Y, batch_size=BATCH, epochs=2, verbose=0, callbacks=[callback, Expected()]
    )
    np.testing.assert_allclose([m.true_loss for m in callback.measurements], expected, rtol=2e-6)
    assert len(set(expected)) == 10


def test_weights_set_by_hand_are_measured():
    model = linear()
    for kernel in (0.0, 1.0):
        model.set_weights([w * 0 + kernel for w in model.get_weights()])
        measured = lossgap.measure(model, X, Y)
        assert measured.true_loss == pytest.approx(mse(model, X, Y), rel=2e-6)


def test_sums_are_in_float64_and_the_precision_of_jax_is_left_alone():
    x = np.ones((2**12 + 1, 1), "float32")
    model = keras.Sequential([layers.Input((1,)), layers.Dense(1, "linear")])
    model.compile("sgd", "mse")
    y = np.linspace(0, 1e4, len(x), dtype="float32")[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = lossgap.measure(model, x, y, batch_size=7)
    assert measured.true_loss == pytest.approx(mse(model, x, y), rel=1e-7)
    assert not jax.config.jax_enable_x64


def test_sparse_arrays_are_refused_before_the_training():
    with pytest.raises(DataError, match="Sparse arrays"):
        linear().fit(sparse.BCOO.fromdense(X), Y, verbose=0, callbacks=[lossgap.TrueLoss()])


def test_sparse_batches_arent_measured_and_the_warning_says_what_to_pass():
    def batches():
        while True:
            yield sparse.BCOO.fromdense(X[:BATCH]), Y[:BATCH]

    model = keras.Sequential([layers.Input((4,), sparse=True), layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    callback = lossgap.TrueLoss()
    with pytest.warns(lossgap.LossgapWarning, match=r"Expected dense arrays.*BCOO"):
        model.fit(batches(), steps_per_epoch=2, shuffle=False, verbose=0, callbacks=[callback])
    assert callback.measurements == []
