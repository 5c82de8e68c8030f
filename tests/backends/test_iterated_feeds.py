"""A training on JAX or PyTorch is the same to the last bit, whatever is fed and how.

Each cell of the matrix trains twice from the same seeds, once with TrueLoss among the
callbacks. It compares all that a training leaves behind, and the true loss with NumPy, on
the very batches that the training step was given.
"""

import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import lossgap
from iterated import BACKEND, BATCH, FEEDS, MODELS, Feed, N, compile_again, numpy_loss

EPOCHS = 2


def is_ours(name):
    return name == "regularization_gap" or name.startswith("true_")


class Witness(keras.callbacks.Callback):
    """Writes down when it is called, and with what."""

    def __init__(self, events):
        super().__init__()
        self.events = events

    def note(self, hook, index, logs):
        seen = {key: value for key, value in (logs or {}).items() if not is_ours(key)}
        self.events.append((hook, index, seen, self.model.stop_training))

    def on_epoch_begin(self, epoch, logs=None):
        self.note("epoch begins", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self.note("epoch ends", epoch, logs)

    def on_test_end(self, logs=None):
        self.note("test ends", None, logs)


class BatchWitness(Witness):
    """Writes down every batch too."""

    def on_train_batch_end(self, batch, logs=None):
        self.note("batch ends", batch, logs)


class Recorder(keras.callbacks.Callback):
    """Copies each batch that the training step gets, and the weights when TrueLoss measures."""

    def __init__(self, every):
        super().__init__()
        self.every = every
        self.batches = []
        self.moments = []
        if every:
            self.on_train_batch_end = self.after_batch

    def on_train_begin(self, logs=None):
        self.step = self.model.train_function
        self.model.train_function = self.recorded

    def on_train_end(self, logs=None):
        self.model.train_function = self.step

    def on_epoch_begin(self, epoch, logs=None):
        self.n_before = len(self.batches)

    def recorded(self, *arguments):
        if BACKEND == "jax":
            state, iterator = arguments
            return self.step(state, map(self.keep, iterator))
        return self.step([self.keep(batch) for batch in arguments[0]])

    def keep(self, batch):
        copied = keras.tree.map_structure(ops.convert_to_numpy, batch)
        self.batches.append(keras.utils.unpack_x_y_sample_weight(copied))
        return batch

    def take(self):
        optimizer = self.model.optimizer
        averages = {}
        if hasattr(optimizer, "_model_variables_moving_average"):
            pairs = (optimizer._trainable_variables, optimizer._model_variables_moving_average)
            averages = {id(v): ops.convert_to_numpy(a) for v, a in zip(*pairs, strict=True)}
        weights = {id(v): ops.convert_to_numpy(v) for v in self.model.weights}
        averaged = [averages.get(key, value) for key, value in weights.items()]
        self.moments.append((list(weights.values()), averaged, self.batches[self.n_before :]))

    def after_batch(self, batch, logs=None):
        if len(self.batches) % self.every == 0:
            self.take()

    def on_epoch_end(self, epoch, logs=None):
        if not self.every:
            self.take()


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        train: Trains, by calling ``fit`` as often as it likes.
        compiling: What `compile` is called with.
        callbacks: Makes further callbacks, given a folder.
        measuring: What `TrueLoss` is made with.
        averages: Whether the true loss is that of moving averages.
        every: Steps from one measurement to the next; 0 for epochs.
    """

    train: Callable[..., Any] = lambda model, fit: fit(epochs=EPOCHS)
    compiling: Callable[[], dict[str, Any]] = dict
    callbacks: Callable[[Any], list[Any]] = lambda folder: []
    measuring: dict[str, Any] = field(default_factory=dict)
    averages: bool = False
    every: int = 0
    witness: type = Witness


def fit_twice(model, fit):
    fit(epochs=1)
    fit(epochs=1)


def freeze_between(model, fit):
    fit(epochs=1)
    next(layer for layer in model._flatten_layers() if hasattr(layer, "kernel")).trainable = False
    compile_again(model, fit.kind)
    fit(epochs=1)


class StopInMidEpoch(keras.callbacks.Callback):
    n_batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.n_batches += 1
        self.model.stop_training |= self.n_batches == 7


def adam(**options):
    return lambda: {"optimizer": keras.optimizers.Adam(0.02, **options)}


def checkpoint(folder):
    return [keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True)]


AVERAGED = adam(use_ema=True, ema_momentum=0.8)
WAYS = {
    "plain": Way(),
    "batches watched": Way(witness=BatchWitness),
    "three steps per execution": Way(compiling=lambda: {"steps_per_execution": 3}),
    "eager": Way(compiling=lambda: {"run_eagerly": True}),
    "not compiled": Way(compiling=lambda: {"jit_compile": False}),
    "gradient accumulation": Way(compiling=adam(gradient_accumulation_steps=2)),
    "averaged weights, validated": Way(
        compiling=AVERAGED,
        callbacks=lambda folder: [keras.callbacks.SwapEMAWeights()],
        averages=True,
    ),
    "fit twice": Way(train=fit_twice),
    "frozen and compiled between": Way(train=freeze_between),
    "stopped in mid-epoch": Way(
        train=lambda model, fit: fit(epochs=6), callbacks=lambda folder: [StopInMidEpoch()]
    ),
    "checkpoints": Way(callbacks=checkpoint),
    "every second step": Way(measuring={"unit": "step", "every": 2}, every=2, witness=BatchWitness),
    "within a small memory": Way(measuring={"max_bytes": 1600}),
}


@dataclass
class Training:
    """One training, and what it leaves behind."""

    feed: Feed
    model: Any
    recorder: Recorder
    events: list[Any] = field(default_factory=list)
    histories: list[Any] = field(default_factory=list)
    measurements: list[Any] = field(default_factory=list)
    left: dict[str, Any] = field(default_factory=dict)


def train(feed, way, folder, *, measuring):
    """Train once, from fixed seeds, and write down all that is left behind."""
    folder.mkdir()
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    made = FEEDS[feed]()
    model = MODELS[made.kind]()
    compile_again(model, made.kind, **way.compiling())
    training = Training(made, model, Recorder(way.every))
    feeds = iter([made, *(FEEDS[feed]() for _ in range(2))])

    def fit(*, epochs):
        true = [lossgap.TrueLoss(**way.measuring)] if measuring else []
        callbacks = [
            way.witness(training.events),
            *true,
            *way.callbacks(folder),
            training.recorder,
            way.witness(training.events),
        ]
        arguments = {**next(feeds).arguments, "epochs": epochs, "verbose": 0}
        training.histories.append(model.fit(**arguments, callbacks=callbacks).history)
        training.measurements += [m for callback in true for m in callback.measurements]

    fit.kind = made.kind
    way.train(model, fit)
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    training.left = {
        **{f"variable {i}": ops.convert_to_numpy(v).copy() for i, v in enumerate(variables)},
        "python": np.array(random.getstate()[1]),
        "numpy": np.random.get_state()[1],  # noqa: NPY002  # the state that Keras draws from
        "keras": ops.convert_to_numpy(keras.random.uniform((3,))),
        "files": {path.name: path.read_bytes() for path in folder.glob("*.*")},
        "next name": keras.layers.Dense(1).name,
        "stop": model.stop_training,
    }
    if "torch" in sys.modules:
        training.left["torch"] = sys.modules["torch"].get_rng_state().numpy()
    return training


def assert_same_training(ours, theirs):
    """Compare two trainings bit by bit."""
    assert ours.left.keys() == theirs.left.keys()
    for name, value in ours.left.items():
        np.testing.assert_equal(value, theirs.left[name], err_msg=name)
    batches = (ours.recorder.batches, theirs.recorder.batches)
    for one, other in zip(*batches, strict=True):
        np.testing.assert_equal(one, other)
    assert ours.events == theirs.events
    without = [
        {name: values for name, values in history.items() if not is_ours(name)}
        for history in ours.histories
    ]
    assert without == theirs.histories


def joined(batches):
    """Lay batches end to end."""

    def join(*leaves):
        return None if leaves[0] is None else np.concatenate(leaves)

    return tuple(keras.tree.map_structure(join, *parts) for parts in zip(*batches, strict=True))


def assert_right(training, way):
    """Compare every measurement with NumPy, on the batches that were trained on by then."""
    model, feed = training.model, training.feed
    sampled = "max_bytes" in way.measuring
    n_whole = int(N * (1 - feed.arguments.get("validation_split", 0)))
    first_epoch = joined(training.recorder.batches[: math.ceil(n_whole / BATCH)])
    assert len(training.measurements) == len(training.recorder.moments) > 0
    for measured, moment in zip(training.measurements, training.recorder.moments, strict=True):
        weights, averaged, batches = moment
        model.set_weights(averaged if way.averages else weights)
        x, y, sample_weight = first_epoch if feed.whole else joined(batches)
        outputs = model.predict(x, verbose=0)
        expected = numpy_loss(feed.kind, outputs, y, sample_weight if feed.weighted else None)
        n_samples = len(keras.tree.flatten(x)[0])
        assert measured.n_total == n_samples
        if sampled:
            assert measured.n_samples < measured.n_total
            assert measured.true_loss == pytest.approx(expected, abs=4 * measured.standard_error)
        else:
            assert measured.n_samples == measured.n_total
            assert measured.standard_error is None
            assert measured.true_loss == pytest.approx(expected, rel=3e-6)
        assert {"dropout", "noise", "batch_norm", "drift"} <= set(measured.parts)
        assert sum(part.value for part in measured.parts.values()) == pytest.approx(
            measured.regularization_gap, abs=2e-6
        )


# What each feed is trained with, besides plainly.
OTHER_WAYS = {
    "NumPy": [
        "eager",
        "gradient accumulation",
        "averaged weights, validated",
        "fit twice",
        "frozen and compiled between",
        "stopped in mid-epoch",
        "checkpoints",
        "every second step",
    ],
    "NumPy in order": ["batches watched"],
    "validation split": ["averaged weights, validated", "every second step"],
    "a few steps of arrays": ["batches watched", "stopped in mid-epoch"],
    "PyDataset": ["every second step", "eager"],
    "PyDataset, shuffled": ["fit twice", "frozen and compiled between"],
    "generator": ["every second step", "gradient accumulation"],
    "long generator": ["within a small memory"],
}
ONLY = {
    "jax": {
        "NumPy": ["three steps per execution", "not compiled"],
        "generator": ["three steps per execution"],
    },
    "torch": {
        "DataLoader": ["every second step", "fit twice", "eager", "checkpoints"],
        "DataLoader with a worker": ["batches watched"],
    },
}[BACKEND]
CELLS = [
    (feed, way)
    for feed in FEEDS
    for way in (
        *(() if feed == "long generator" else ("plain",)),
        *OTHER_WAYS.get(feed, ()),
        *ONLY.get(feed, ()),
    )
]


# Keras says that arrays run out after the few steps that were asked for.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize(("feed", "way"), CELLS, ids=map(", ".join, CELLS))
def test_the_training_is_the_same_to_the_last_bit_and_the_true_loss_is_right(feed, way, tmp_path):
    theirs = train(feed, WAYS[way], tmp_path / "without", measuring=False)
    ours = train(feed, WAYS[way], tmp_path / "with", measuring=True)
    assert_same_training(ours, theirs)
    assert_right(ours, WAYS[way])
