"""PyTorch's DataLoader as a feed: under Keras on TensorFlow: `tox run -e pipelines`."""

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch.utils.data import DataLoader, TensorDataset

import lossgap


def train(make_callbacks):
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 4)).astype("float32")
    y = 2 * x[:, :1]

    def loader():
        data = TensorDataset(torch.tensor(x), torch.tensor(y))
        return DataLoader(data, batch_size=32, shuffle=True)

    model = keras.Sequential([layers.Input((4,)), layers.Dropout(0.2), layers.Dense(1)])
    model.compile("sgd", "mse")
    callbacks = make_callbacks(loader)
    fitted = model.fit(loader(), epochs=3, verbose=0, shuffle=False, callbacks=callbacks)
    weights = [variable.numpy() for variable in model.variables]
    mse = float(np.mean((model.predict(x, verbose=0) - y) ** 2))
    return weights, fitted.history["loss"], torch.get_rng_state().numpy(), mse


@pytest.mark.parametrize("kind", ["as it passes", "a separate one"])
def test_a_data_loader_is_measured_and_the_training_untouched(kind):
    measuring = []

    def callbacks(loader):
        measuring.append(
            lossgap.TrueLoss() if kind == "as it passes" else lossgap.TrueLoss(loader())
        )
        return measuring

    weights, losses, random_state, mse = train(callbacks)
    plain_weights, plain_losses, plain_random_state, _ = train(lambda _: [])
    for ours, theirs in zip(weights, plain_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert losses == plain_losses
    np.testing.assert_array_equal(random_state, plain_random_state)
    assert measuring[0].measurements[-1].true_loss == pytest.approx(mse, rel=2e-6)
    assert measuring[0].measurements[-1].n_samples == 100
