"""Models, their losses in NumPy, and whatever people hand to `fit` on JAX and PyTorch."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers, ops

BACKEND = keras.config.backend()
BATCH = 16
N = 70  # four full batches and a rest of six
CLASS_WEIGHT = {0: 1.0, 1: 4.0, 2: 0.25}


def regression():
    """Return 70 samples of 4 features, a noisy linear target, and weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4)).astype("float32")
    y = (x @ np.array([1.0, -2.0, 0.5, 0.0]) + rng.normal(size=N)).astype("float32")[:, None]
    return x, y, np.linspace(0.2, 2.0, N).astype("float32")


X, Y, W = regression()
LABELS = np.random.default_rng(1).integers(0, 3, N)


def body(tensor):
    """Run layers that draw at random, with a seed and without, and that move averages."""
    tensor = layers.Dropout(0.3)(tensor)
    tensor = layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01))(tensor)
    return layers.GaussianNoise(0.1, seed=7)(layers.BatchNormalization()(tensor))


def dense():
    inputs = layers.Input((4,))
    return keras.Model(inputs, layers.Dense(1)(body(inputs)))


def named():
    inputs = {name: layers.Input((2,), name=name) for name in ("b", "a")}
    joined = layers.Concatenate()([inputs["b"], inputs["a"]])
    outputs = {name: layers.Dense(1, name=name)(body(joined)) for name in ("q", "p")}
    return keras.Model(inputs, outputs)


def classifier():
    inputs = layers.Input((4,))
    return keras.Model(inputs, layers.Dense(3, "softmax")(body(inputs)))


MODELS = {"dense": dense, "named": named, "classes": classifier}
LOSSES = {"classes": "sparse_categorical_crossentropy"}


def compile_again(model, kind, **compiling):
    optimizer = compiling.pop("optimizer", None) or keras.optimizers.Adam(0.02)
    model.compile(optimizer, LOSSES.get(kind, "mse"), **compiling)


def numpy_loss(kind, outputs, y, weights):
    """Compute the loss of predictions in NumPy."""
    if kind == "named":
        return sum(numpy_loss("dense", outputs[name], y[name], weights) for name in y)
    p = outputs.astype("float64")
    if kind == "classes":
        losses = -np.log(p[np.arange(len(y)), y])
    else:
        losses = np.mean((p - y.reshape(p.shape)) ** 2, axis=-1)
    return float(np.mean(losses if weights is None else losses * weights.ravel()))


@dataclass(frozen=True)
class Feed:
    """Data as they are handed to `fit`.

    Attributes:
        arguments: What `fit` is called with.
        kind: The kind of model that takes them.
        weighted: Whether the weights of a batch are sample weights, and not class weights.
        whole: Whether all of the data are measured in mid-epoch too, and not what has passed.
    """

    arguments: dict[str, Any]
    kind: str = "dense"
    weighted: bool = True
    whole: bool = False


class Sequence(keras.utils.PyDataset):
    """Batches of arrays by their number, which draw at random too."""

    def __init__(self, *arrays, **options):
        super().__init__(**options)
        self.arrays = arrays

    def __len__(self):
        return 5

    def __getitem__(self, index):
        x, *rest = (array[index * BATCH : (index + 1) * BATCH] for array in self.arrays)
        if self.workers < 2:  # threads would draw in any order
            x = x + 0.1 * np.random.normal(size=x.shape).astype("float32")  # noqa: NPY002
        return x, *rest


def some(n_batches, batch_size=BATCH):
    """Yield batches, on PyTorch in arrays that are written to again and again.

    JAX may read an array after the step that got it has returned.
    """
    x, y = np.empty((batch_size, 4), "float32"), np.empty((batch_size, 1), "float32")
    for index in range(n_batches):
        places = (index * 7 + np.arange(batch_size)) % N
        x[:], y[:] = X[places], Y[places]
        yield (x, y) if BACKEND == "torch" else (x.copy(), y.copy())


def arrays(*data, **arguments):
    names = ("x", "y", "sample_weight")
    given = dict(zip(names, data, strict=False))
    return Feed({**given, "batch_size": BATCH, **arguments}, whole=True)


def dicts():
    x = {"b": X[:, 2:], "a": X[:, :2]}
    y = {"q": -Y, "p": Y}
    return Feed({"x": x, "y": y, "batch_size": BATCH}, "named", whole=True)


def stream(data, kind="dense", *, weighted=True, **arguments):
    return Feed({"x": data, "shuffle": False, **arguments}, kind, weighted)


def dict_batches():
    for index in range(20):
        rows = (index * 5 + np.arange(BATCH)) % N
        yield {"b": X[rows, 2:], "a": X[rows, :2]}, {"q": -Y[rows], "p": Y[rows]}


def frames():
    columns = pd.DataFrame(X, columns=list("abcd"))
    return arrays(columns, pd.Series(Y[:, 0]), pd.Series(W))


def class_weights(x, *rest):
    return Feed(
        {
            "x": x,
            **dict(zip(("y", "batch_size"), rest, strict=False)),
            "class_weight": CLASS_WEIGHT,
        },
        "classes",
        weighted=False,
        whole=bool(rest),
    )


def loader(**options):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.tensor(X), torch.tensor(Y), torch.tensor(W))
    return stream(DataLoader(data, batch_size=BATCH, shuffle=True, **options))


FEEDS = {
    "NumPy": lambda: arrays(X, Y),
    "NumPy in order": lambda: arrays(X, Y, shuffle=False),
    "NumPy shuffled by batch": lambda: arrays(X, Y, shuffle="batch"),
    "NumPy with weights": lambda: arrays(X, Y, W),
    "float64": lambda: arrays(X.astype("float64"), Y.astype("float64")),
    "tensors": lambda: arrays(ops.convert_to_tensor(X), ops.convert_to_tensor(Y)),
    "data frames": frames,
    "dicts": dicts,
    "class weights": lambda: class_weights(X, LABELS, BATCH),
    "validation split": lambda: arrays(X, Y, W, validation_split=0.2),
    "validation data": lambda: arrays(X, Y, validation_data=(X[:20], Y[:20], W[:20])),
    "a few steps of arrays": lambda: Feed(
        {"x": X, "y": Y, "batch_size": BATCH, "steps_per_epoch": 3}
    ),
    "PyDataset": lambda: stream(Sequence(X, Y, W)),
    "PyDataset, shuffled": lambda: stream(Sequence(X, Y), shuffle=True),
    "PyDataset with two workers": lambda: stream(Sequence(X, Y, workers=2)),
    "PyDataset, class weights": lambda: class_weights(Sequence(X, LABELS)),
    "generator": lambda: stream(some(20), steps_per_epoch=4),
    "generator of dicts": lambda: stream(dict_batches(), "named", steps_per_epoch=4),
    "long generator": lambda: stream(some(300, 4), steps_per_epoch=60),
    **(
        {
            "DataLoader": loader,
            "DataLoader with a worker": lambda: loader(num_workers=1),
        }
        if BACKEND == "torch"
        else {}
    ),
}
