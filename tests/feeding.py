"""Whatever people hand to `fit`, each with a model that takes it and its loss in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

BATCH = 16
N = 70  # four full batches and a rest of six
N_BATCHES = 5
CAPACITY = 1024
CLASS_WEIGHT = {0: 1.0, 1: 4.0, 2: 0.25}


def regression():
    """Return 70 samples of 4 features, a noisy linear target, and weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4)).astype("float32")
    y = (x @ np.array([1.0, -2.0, 0.5, 0.0]) + rng.normal(size=N)).astype("float32")[:, None]
    return x, y, np.linspace(0.2, 2.0, N).astype("float32")


def classes():
    """Return 70 samples of 4 features in 3 classes."""
    return regression()[0], np.random.default_rng(1).integers(0, 3, N)


def sequences():
    """Return 70 sequences of one to five numbers, and targets that are all different."""
    rng = np.random.default_rng(2)
    lists = [rng.normal(size=1 + i % 5).astype("float32") for i in range(N)]
    return lists, rng.normal(size=(N, 1)).astype("float32")


class Rows:
    """The samples that a training step saw, in order: one row of all leaves for each."""

    def __init__(self, width):
        self.values = tf.Variable(tf.zeros((CAPACITY, width)), trainable=False)
        self.count = tf.Variable(0, trainable=False)

    def keep(self, data):
        rows = tf.concat([_as_rows(leaf) for leaf in tf.nest.flatten(data)], axis=1)
        n_rows = tf.shape(rows)[0]
        places = (self.count + tf.range(n_rows))[:, None]
        width = self.values.shape[1]  # narrower rows, without weights, are filled with ones
        rows = tf.pad(rows, [[0, 0], [0, width - rows.shape[1]]], constant_values=1.0)
        self.values.assign(tf.tensor_scatter_nd_update(self.values, places, rows))
        self.count.assign_add(n_rows)

    def numpy(self):
        return self.values.numpy()[: int(self.count)]


def _as_rows(leaf):
    if isinstance(leaf, tf.RaggedTensor) or leaf.shape.rank == 3:  # told apart by their targets
        return tf.zeros((leaf.nrows() if hasattr(leaf, "nrows") else tf.shape(leaf)[0], 0))
    width = 1 if leaf.shape.rank == 1 else leaf.shape[1]
    return tf.reshape(tf.cast(leaf, tf.float32), (tf.shape(leaf)[0], width))


class Recording:
    """Keeps the rows that a model is trained on."""

    def keep_rows(self, width):
        object.__setattr__(self, "kept", Rows(width))
        return self

    def train_step(self, data):
        self.kept.keep(data)
        return super().train_step(data)


class Recorded(Recording, keras.Model):
    """A functional model that keeps the rows that it is trained on."""


def _body(tensor):
    tensor = layers.Dropout(0.3, seed=11)(tensor)
    return layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01))(tensor)


def _normed_body(tensor):
    return layers.BatchNormalization()(_body(tensor))


def dense():
    inputs = layers.Input((4,))
    return Recorded(inputs, layers.Dense(1)(_body(inputs))).keep_rows(6)


def named():
    inputs = {name: layers.Input((2,), name=name) for name in "ab"}
    joined = layers.Concatenate()([inputs["a"], inputs["b"]])
    return Recorded(inputs, layers.Dense(1)(_normed_body(joined))).keep_rows(6)


def nested():
    inputs = {"a": [layers.Input((2,)), layers.Input((1,))], "b": layers.Input((1,), name="b")}
    joined = layers.Concatenate()([*inputs["a"], inputs["b"]])
    return Recorded(inputs, layers.Dense(1)(_body(joined))).keep_rows(6)


def pair():
    inputs = [layers.Input((2,)), layers.Input((2,))]
    return Recorded(inputs, layers.Dense(1)(_body(layers.Concatenate()(inputs)))).keep_rows(6)


def two_outputs():
    inputs = layers.Input((4,))
    body = _body(inputs)
    outputs = {"p": layers.Dense(1, name="p")(body), "q": layers.Dense(1, name="q")(body)}
    return Recorded(inputs, outputs).keep_rows(8)


def classifier():
    inputs = layers.Input((4,))
    return Recorded(inputs, layers.Dense(3, "softmax")(_normed_body(inputs))).keep_rows(6)


class OverRagged(Recording, keras.Model):
    """Averages ragged sequences, and goes on with a head on the averages."""

    def __init__(self):
        super().__init__()
        inputs = layers.Input((1,))
        self.head = keras.Model(inputs, layers.Dense(1)(_body(inputs)))

    def call(self, x, training=None):
        return self.head(tf.reduce_mean(x, axis=1, keepdims=True), training=training)


def over_ragged():
    return OverRagged().keep_rows(2)


def over_padded():
    inputs = layers.Input((None, 1))
    pooled = layers.GlobalAveragePooling1D()(layers.Masking()(inputs))
    return Recorded(inputs, layers.Dense(1)(_body(pooled))).keep_rows(2)


@dataclass(frozen=True, slots=True)
class Kind:
    """A model, what it is compiled with, and its loss in NumPy on rows that it was trained on."""

    build: Callable[[], Any]
    losses: Callable[[Any, np.ndarray], list[tuple[np.ndarray, np.ndarray]]]
    loss: str = "mse"
    metrics: Any = "mae"


def _squared(outputs, targets):
    return np.mean((np.asarray(outputs, "float64") - targets) ** 2, axis=-1)


def _regressed(inputs):
    """Make the loss of a model with inputs that are cut from the first four columns."""

    def losses(model, rows):
        outputs = model.predict(inputs(rows), verbose=0)
        return [(_squared(outputs, rows[:, 4:5]), rows[:, 5])]

    return losses


def _two_losses(model, rows):
    outputs = model.predict(rows[:, :4], verbose=0)
    return [
        (_squared(outputs[name], rows[:, 4 + i : 5 + i]), rows[:, 6 + i])
        for i, name in enumerate("pq")
    ]


def _class_losses(model, rows):
    outputs = model.predict(rows[:, :4], verbose=0).astype("float64")
    return [(-np.log(outputs[np.arange(len(rows)), rows[:, 4].astype(int)]), rows[:, 5])]


def _sequence_losses(model, rows):
    lists, targets = sequences()
    places = [int(np.flatnonzero(targets[:, 0] == row[0])[0]) for row in rows]
    means = np.array([[np.mean(lists[place], dtype="float64")] for place in places], "float32")
    head = getattr(model, "head", None)
    inputs = means[:, :, None] if head is None else means
    outputs = (head or model).predict(inputs, verbose=0)
    return [(_squared(outputs, targets[places]), rows[:, 1])]


KINDS = {
    "dense": Kind(dense, _regressed(lambda rows: rows[:, :4])),
    "named": Kind(named, _regressed(lambda rows: {"a": rows[:, :2], "b": rows[:, 2:4]})),
    "nested": Kind(
        nested,
        _regressed(lambda rows: {"a": [rows[:, :2], rows[:, 2:3]], "b": rows[:, 3:4]}),
    ),
    "pair": Kind(pair, _regressed(lambda rows: [rows[:, :2], rows[:, 2:4]])),
    "two outputs": Kind(two_outputs, _two_losses, metrics=None),
    "classes": Kind(
        classifier, _class_losses, loss="sparse_categorical_crossentropy", metrics="accuracy"
    ),
    "ragged": Kind(over_ragged, _sequence_losses),
    "padded": Kind(over_padded, _sequence_losses),
}


def compiled(kind, *, optimizer=None, **compiling):
    """Build a model of a kind, and compile it."""
    model = KINDS[kind].build()
    compile_again(model, kind, optimizer=optimizer, **compiling)
    return model


def compile_again(model, kind, *, optimizer=None, **compiling):
    """Compile a model of a kind."""
    metrics = KINDS[kind].metrics
    model.compile(
        optimizer or keras.optimizers.Adam(0.02),
        KINDS[kind].loss,
        metrics=None if metrics is None else [metrics],
        **compiling,
    )


def true_loss(kind, model, weights, rows, *, weighted=True):
    """Compute the data loss in NumPy, from predict() with the weights of that moment."""
    now = model.get_weights()
    model.set_weights(weights)
    pairs = KINDS[kind].losses(model, rows)
    model.set_weights(now)
    return float(sum(np.mean(losses * (w if weighted else 1.0)) for losses, w in pairs))


@dataclass(frozen=True, slots=True)
class Feed:
    """Data as they are handed to `fit`.

    Attributes:
        arguments: What `fit` is called with.
        kind: The kind of model that takes them.
        weighted: Whether weights in the rows are sample weights, and not class weights.
        dataset: What the user could read once more after the training.
    """

    arguments: dict[str, Any]
    kind: str = "dense"
    weighted: bool = True
    dataset: Any = None


class Sequence(keras.utils.PyDataset):
    """Batches of arrays by their number; each is computed when it is asked for."""

    def __init__(self, *arrays, **options):
        super().__init__(**options)
        self.arrays = arrays

    def __len__(self):
        return N_BATCHES

    def __getitem__(self, index):
        place = slice(index * BATCH, (index + 1) * BATCH)
        return tuple(array[place] for array in self.arrays)


def _endless(batch_size=BATCH):
    x, y, _ = regression()
    index = 0
    while True:
        places = (index + np.arange(batch_size)) % N
        yield x[places], y[places]
        index += batch_size


def _finite(n_batches):
    x, y, weights = regression()
    for index in range(n_batches):
        places = (index * 7 + np.arange(BATCH)) % N
        yield x[places], y[places], weights[places]


def _arrays(*names, **arguments):
    x, y, weights = regression()
    given = {"x": x, "y": y, "sample_weight": weights}
    return Feed({**{name: given[name] for name in names}, "batch_size": BATCH, **arguments})


def _stream(dataset, kind="dense", *, weighted=True, again=True, **arguments):
    return Feed(
        {"x": dataset, "shuffle": False, **arguments},
        kind,
        weighted,
        dataset if again else None,
    )


def _pairs():
    x, y, _ = regression()
    return tf.data.Dataset.from_tensor_slices((x, y))


def _shaken(x, y):
    return x + tf.random.normal(tf.shape(x), stddev=0.1), y


def _split(x):
    return {"a": x[:, :2], "b": x[:, 2:]}


def _data_frames():
    x, y, weights = regression()
    frame = pd.DataFrame(x, columns=list("abcd"))
    return Feed(
        {
            "x": frame,
            "y": pd.Series(y[:, 0]),
            "sample_weight": pd.Series(weights),
            "batch_size": BATCH,
        }
    )


def _tensors():
    x, y, _ = regression()
    return Feed({"x": tf.constant(x), "y": tf.constant(y), "batch_size": BATCH})


def _structure(kind):
    x, y, _ = regression()
    structures = {
        "named": _split(x),
        "nested": {"a": [x[:, :2], x[:, 2:3]], "b": x[:, 3:]},
        "pair": [x[:, :2], x[:, 2:]],
    }
    return Feed({"x": structures[kind], "y": y, "batch_size": BATCH}, kind)


def _weights_by_output():
    x, y, weights = regression()
    return Feed(
        {
            "x": x,
            "y": {"p": y, "q": -y},
            "sample_weight": {"p": weights, "q": weights[::-1].copy()},
            "batch_size": BATCH,
        },
        "two outputs",
    )


def _weights_by_output_in_a_dataset():
    arguments = _weights_by_output().arguments
    names = ("x", "y", "sample_weight")
    data = tf.data.Dataset.from_tensor_slices(tuple(arguments[name] for name in names))
    return _stream(data.batch(BATCH), "two outputs")


def _class_weights():
    x, y = classes()
    return Feed(
        {"x": x, "y": y, "class_weight": CLASS_WEIGHT, "batch_size": BATCH},
        "classes",
        weighted=False,
    )


def _class_weights_of_a_dataset():
    data = tf.data.Dataset.from_tensor_slices(classes()).shuffle(N).batch(BATCH)
    return _stream(data, "classes", weighted=False, class_weight=CLASS_WEIGHT)


def _class_weights_of_a_pydataset():
    return _stream(
        Sequence(*classes()), "classes", weighted=False, again=False, class_weight=CLASS_WEIGHT
    )


def _from_generator():
    x, y, _ = regression()
    data = tf.data.Dataset.from_generator(
        lambda: zip(x, y, strict=True),
        output_signature=(tf.TensorSpec((4,)), tf.TensorSpec((1,))),
    )
    return _stream(data.batch(BATCH))


def _ragged():
    lists, y = sequences()
    data = tf.data.Dataset.from_tensor_slices((tf.ragged.constant(lists), y)).shuffle(N)
    return _stream(data.batch(BATCH), "ragged")


def _padded():
    lists, y = sequences()
    data = tf.data.Dataset.from_generator(
        lambda: ((row[:, None], target) for row, target in zip(lists, y, strict=True)),
        output_signature=(tf.TensorSpec((None, 1)), tf.TensorSpec((1,))),
    )
    return _stream(data.padded_batch(BATCH, padded_shapes=([None, 1], [1])), "padded")


def _split_off():
    return _arrays("x", "y", "sample_weight", validation_split=0.2)


def _steps_of_arrays():
    return _arrays("x", "y", steps_per_epoch=3)


def _validated():
    x, y, weights = regression()
    return _arrays("x", "y", validation_data=(x[:20], y[:20], weights[:20]))


def _generator_in_keras(data, n_steps=4):
    return _stream(data, again=False, steps_per_epoch=n_steps)


def _drawn_by_a_generator():
    generator = tf.random.Generator.from_seed(5)
    data = _pairs().map(lambda x, y: (x + generator.normal((4,), stddev=0.1), y))
    return _stream(data.batch(BATCH))


FEEDS = {
    "NumPy": lambda: _arrays("x", "y"),
    "NumPy in order": lambda: _arrays("x", "y", shuffle=False),
    "NumPy shuffled by batch": lambda: _arrays("x", "y", shuffle="batch"),
    "NumPy with weights": lambda: _arrays("x", "y", "sample_weight"),
    "tensors": _tensors,
    "data frames": _data_frames,
    "dict": lambda: _structure("named"),
    "nested structure": lambda: _structure("nested"),
    "list of inputs": lambda: _structure("pair"),
    "weights by output": _weights_by_output,
    "class weights": _class_weights,
    "validation split": _split_off,
    "validation data": _validated,
    "a few steps of arrays": _steps_of_arrays,
    "dataset": lambda: _stream(_pairs().batch(BATCH)),
    "dataset, shuffled": lambda: _stream(_pairs().shuffle(N).batch(BATCH)),
    "dataset, shuffled by a seed": lambda: _stream(_pairs().shuffle(20, seed=7).batch(BATCH)),
    "dataset, shuffled once": lambda: _stream(
        _pairs().shuffle(N, seed=7, reshuffle_each_iteration=False).batch(BATCH)
    ),
    "dataset, cached and shuffled": lambda: _stream(_pairs().cache().shuffle(N).batch(BATCH)),
    "dataset, shuffled and cached": lambda: _stream(_pairs().shuffle(N).batch(BATCH).cache()),
    "dataset, prefetched": lambda: _stream(
        _pairs().shuffle(N).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    ),
    "dataset, repeated": lambda: _stream(
        _pairs().shuffle(N).repeat().batch(BATCH),
        again=False,
        steps_per_epoch=3,
    ),
    "dataset, augmented": lambda: _stream(_pairs().shuffle(N).batch(BATCH).map(_shaken)),
    "dataset, augmented by a generator": _drawn_by_a_generator,
    "dataset from a generator": _from_generator,
    "dataset, ragged": _ragged,
    "dataset, padded": _padded,
    "dataset with weights": lambda: _stream(
        tf.data.Dataset.from_tensor_slices(regression()).shuffle(N).batch(BATCH)
    ),
    "dataset with weights by output": _weights_by_output_in_a_dataset,
    "dataset of dicts": lambda: _stream(
        _pairs().shuffle(N).batch(BATCH).map(lambda x, y: (_split(x), y)), "named"
    ),
    "dataset, batched anew": lambda: _stream(_pairs().batch(9).unbatch().batch(BATCH)),
    "dataset, class weights": _class_weights_of_a_dataset,
    "PyDataset": lambda: _stream(Sequence(*regression()), again=False),
    "PyDataset with a worker": lambda: _stream(Sequence(*regression(), workers=1), again=False),
    "PyDataset with two workers": lambda: _stream(Sequence(*regression(), workers=2), again=False),
    "PyDataset, class weights": _class_weights_of_a_pydataset,
    "generator": lambda: _generator_in_keras(_finite(30)),
    "endless generator": lambda: _generator_in_keras(_endless()),
    "long stream": lambda: _generator_in_keras(_pairs().shuffle(N).repeat().batch(4), 60),
    "long generator": lambda: _generator_in_keras(_endless(4), 60),
}
