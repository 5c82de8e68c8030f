"""Training is the same to the last bit, measured or not."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from loops import MODELS, Augmented, build, loader, same, tensors, train
from lossgap.torch import measure

CROSS_ENTROPY = nn.CrossEntropyLoss()


def trained(name, batches, *, measured):
    """Train a new model, and return what it left, and what its modules hold."""
    model = build(name)
    measurements = []

    def between(_):
        measurements.append(measure(model, batches, CROSS_ENTROPY, reported_loss=1.0))

    left = train(model, batches, between if measured else None)
    assert len(measurements) == (4 if measured else 0)
    # Where the modules' attributes have numbers: counters, lists, caches.
    left["held"] = [
        value
        for module in model.modules()
        for attribute, value in vars(module).items()
        if attribute[0] != "_" and isinstance(value, int | list | torch.Tensor)
    ]
    return left


@pytest.mark.parametrize("name", MODELS)
def test_a_training_is_bit_identical_with(name):
    plain = trained(name, loader(name), measured=False)
    assert same(plain, trained(name, loader(name), measured=True))


LOADERS = {
    "a generator of its own": lambda data: DataLoader(
        data, 16, shuffle=True, generator=torch.Generator().manual_seed(1)
    ),
    "a weighted sampler": lambda data: DataLoader(
        data,
        16,
        sampler=WeightedRandomSampler(
            torch.ones(50), 50, generator=torch.Generator().manual_seed(2)
        ),
    ),
    "noise in the data set": lambda data: DataLoader(Augmented(data), 16, shuffle=True),
    "workers": lambda data: DataLoader(data, 16, shuffle=True, num_workers=1),
    "workers that stay": lambda data: DataLoader(
        Augmented(data), 16, shuffle=True, num_workers=1, persistent_workers=True
    ),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_loader_goes_on_where_it_was_with(kind):
    def batches():
        return LOADERS[kind](TensorDataset(*tensors("dense")))

    plain = trained("dense", batches(), measured=False)
    assert same(plain, trained("dense", batches(), measured=True))


def test_a_compiled_training_is_bit_identical():
    def run(*, measured):
        torch._dynamo.reset()
        model = build("shared modules")
        compiled = torch.compile(model, backend="aot_eager")
        data = loader("shared modules", batch_size=25)
        return train(
            compiled,
            data,
            (lambda _: measure(compiled, data, CROSS_ENTROPY)) if measured else None,
        )

    assert same(run(measured=False), run(measured=True))


PROGRAM = """
import sys
import lossgap.torch
assert "torch" not in sys.modules
import torch
from torch import nn
batches = [(torch.ones(2, 1), torch.ones(2, 1))]
assert lossgap.torch.measure(nn.Linear(1, 1), batches, nn.MSELoss()).n_samples == 2
assert not {"keras", "tensorflow", "jax", "mlflow", "wandb"} & set(sys.modules)
"""


def test_neither_keras_nor_its_backend_is_imported():
    # A backend that doesn't exist: Keras could not be imported at all.
    environment = os.environ | {"KERAS_BACKEND": "absent"}
    subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], check=True, env=environment)
