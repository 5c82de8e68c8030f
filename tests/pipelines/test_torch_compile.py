"""A training that PyTorch compiles is the same with lossgap, whose own pass stays eager."""

import keras
import numpy as np
import pytest
from keras import layers

import lossgap

# Keras on PyTorch sets attributes of layers in ways that the compiler gives up on.
pytestmark = pytest.mark.filterwarnings("ignore")


def trained(*callbacks):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(96, 6)).astype(np.float32), rng.integers(0, 3, 96)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True)
    model.fit(x, y, epochs=2, verbose=0, callbacks=list(callbacks))
    return model, x, y


def test_a_training_compiled_by_pytorch_stays_as_it_is():
    alone, x, y = trained()
    callback = lossgap.TrueLoss()
    beside, _, _ = trained(callback)
    for one, other in zip(alone.get_weights(), beside.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    p = beside.predict(x, verbose=0)[np.arange(len(y)), y].astype(np.float64)
    last = callback.measurements[-1]
    assert last.true_loss == pytest.approx(-np.log(p).mean(), rel=1e-5)
    total = sum(part.value for part in last.parts.values())
    assert total == pytest.approx(last.regularization_gap, rel=1e-6)
    assert {"dropout", "batch_norm"} <= set(last.parts)
