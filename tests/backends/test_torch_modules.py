"""Modules of PyTorch inside of a Keras model: their buffers, modes and random states."""

import keras
import numpy as np
import pytest
import torch
from keras import layers, ops
from torch.utils.data import DataLoader, TensorDataset

import lossgap
from iterated import BATCH, N, W, X, Y
from small import linear, mse


class Noisy(layers.Layer):
    """Draws from a generator of its own, and counts its calls in a tensor of its own."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)
        self.count = torch.zeros(())

    def call(self, x, training=None):
        self.count += 1
        return x + torch.randn(x.shape, generator=self.generator) if training else x


def wrapped():
    keras.utils.set_random_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.3)
    )
    inside = layers.TorchModuleWrapper(module)
    model = keras.Sequential([layers.Input((4,)), Noisy(), inside, layers.Dense(1)])
    return model, module


def train(callbacks, **compiling):
    model, module = wrapped()
    model.compile(**{"optimizer": "sgd", "loss": "mse", **compiling})
    history = model.fit(X, Y, batch_size=BATCH, epochs=3, verbose=0, callbacks=callbacks)
    left = {
        "weights": [ops.convert_to_numpy(variable) for variable in model.variables],
        "buffers": [buffer.numpy().copy() for buffer in module.buffers()],
        "modes": [part.training for layer in model._flatten_layers() for part in layer.modules()],
        "own": [model.layers[0].generator.get_state().numpy(), model.layers[0].count.numpy()],
        "random": torch.get_rng_state().numpy(),
        "losses": history.history["loss"],
    }
    return model, left


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_module_trains_as_it_would_have_and_is_measured(unit):
    callback = lossgap.TrueLoss(unit=unit)
    model, ours = train([callback])
    _, theirs = train([])
    np.testing.assert_equal(ours, theirs)
    assert callback.measurements[-1].true_loss == pytest.approx(mse(model, X, Y), rel=2e-6)
    assert "other" in callback.measurements[-1].parts


def test_a_module_cant_be_measured_with_moving_averages_and_the_warning_says_the_way_out():
    callback = lossgap.TrueLoss()
    optimizer = keras.optimizers.SGD(use_ema=True)
    with pytest.warns(lossgap.LossgapWarning, match=r"torch\.nn\.Module.*swap_on_epoch=True"):
        train([callback, keras.callbacks.SwapEMAWeights()], optimizer=optimizer)
    assert callback.measurements == []


def loader(generator=None):
    data = TensorDataset(*map(torch.tensor, (X, Y, W)))
    return DataLoader(data, batch_size=BATCH, shuffle=True, generator=generator)


@pytest.mark.parametrize("shared", [False, True])
def test_a_separate_loader_is_read_anew_and_the_training_stays_the_same(shared):
    left = []
    for measuring in (False, True):
        model = linear()
        generator = torch.Generator().manual_seed(3) if shared else None
        callbacks = [lossgap.TrueLoss(loader(generator))] if measuring else []
        fitted = model.fit(
            loader(generator), shuffle=False, epochs=2, verbose=0, callbacks=callbacks
        )
        weights = [ops.convert_to_numpy(variable) for variable in model.variables]
        left.append((fitted.history["loss"], weights, torch.get_rng_state().numpy()))
    np.testing.assert_equal(*left)
    measured = callbacks[0].measurements[-1]
    assert measured.n_samples == N
    assert measured.true_loss == pytest.approx(mse(model, X, Y, W), rel=2e-6)


def test_no_gradient_and_no_inference_tensor_is_left_behind():
    model = linear()
    lossgap.measure(model, X, Y)
    assert all(variable.value.grad is None for variable in model.trainable_variables)
    assert not any(variable.value.is_inference() for variable in model.variables)
