"""A training is the same to the last bit with and without lossgap, whatever is fed and how.

Each cell of the matrix trains twice from the same seeds, once with TrueLoss among the
callbacks. It compares all that a training leaves behind, and the true loss with NumPy.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import lossgap
from feeding import FEEDS, Feed, compile_again, compiled, true_loss
from small import linear, mse, regression

# The models keep their rows in a train_step of their own, which lossgap tells.
pytestmark = pytest.mark.filterwarnings(
    "ignore:lossgap. .*train_step is the model's own:lossgap.errors.LossgapWarning"
)

EPOCHS = 2


def is_ours(name):
    return name == "regularization_gap" or name.startswith("true_")


class Witness(keras.callbacks.Callback):
    """Writes down when it is called, with what, and what the model is like then."""

    def __init__(self, name, events):
        super().__init__()
        self.name = name
        self.events = events

    def _note(self, hook, index, logs):
        seen = {key: value for key, value in (logs or {}).items() if not is_ours(key)}
        self.events.append((self.name, hook, index, seen, self.model.stop_training))

    def on_train_begin(self, logs=None):
        self._note("train begins", None, logs)

    def on_train_end(self, logs=None):
        self._note("train ends", None, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._note("epoch begins", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._note("epoch ends", epoch, logs)

    def on_test_begin(self, logs=None):
        self._note("test begins", None, logs)

    def on_test_end(self, logs=None):
        self._note("test ends", None, logs)


class BatchWitness(Witness):
    """Writes down every batch too."""

    def on_train_batch_begin(self, batch, logs=None):
        self._note("batch begins", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._note("batch ends", batch, logs)


class Moments(keras.callbacks.Callback):
    """Copies weights and rows whenever TrueLoss measures, for NumPy to compute with later."""

    def __init__(self, averages):
        super().__init__()
        self.averages = averages
        self.taken = []
        self.n_before = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.n_before = len(self.model.kept.numpy())

    def take(self):
        model = self.model
        weights = [variable.numpy().copy() for variable in model.weights]
        if self.averages:
            averages = map(id, model.optimizer._trainable_variables)
            by_id = dict(
                zip(averages, model.optimizer._model_variables_moving_average, strict=True)
            )
            weights = [by_id.get(id(variable), variable).numpy() for variable in model.weights]
        self.taken.append((weights, model.kept.numpy()[self.n_before :]))

    def on_epoch_end(self, epoch, logs=None):
        self.take()


class MomentsOfSteps(Moments):
    """Copies them after every second step."""

    n_steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.n_steps += 1
        if self.n_steps % 2 == 0:
            self.take()

    def on_epoch_end(self, epoch, logs=None):
        pass


@dataclass
class Training:
    """One training, and what it leaves behind."""

    feed: Feed
    model: Any
    events: list[Any] = field(default_factory=list)
    histories: list[dict[str, list[float]]] = field(default_factory=list)
    measurements: list[Any] = field(default_factory=list)
    moments: list[Any] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    variables: list[np.ndarray] = field(default_factory=list)
    rows: np.ndarray | None = None
    randomness: list[Any] = field(default_factory=list)
    next_pass: list[np.ndarray] = field(default_factory=list)
    next_name: str = ""


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        train: Trains, by calling ``fit`` as often as it likes.
        compiling: What `compile` is called with.
        fitting: What `fit` is called with.
        callbacks: Makes further callbacks, given a folder.
        measuring: What `TrueLoss` is made with.
        averages: Whether validation sees moving averages, which the model doesn't hold.
        after: Whether TrueLoss stands after the further callbacks.
    """

    train: Callable[..., Any] = lambda model, fit: fit(epochs=EPOCHS)
    compiling: dict[str, Any] = field(default_factory=dict)
    fitting: dict[str, Any] = field(default_factory=dict)
    callbacks: Callable[[Path], list[Any]] = lambda folder: []
    measuring: dict[str, Any] = field(default_factory=dict)
    averages: bool = False
    after: bool = False
    optimizer: Callable[[], Any] | None = None
    moments: type = Moments
    witness: type = Witness


def fit_twice(model, fit):
    fit(epochs=1)
    fit(epochs=EPOCHS)


def freeze_between(model, fit):
    fit(epochs=1)
    next(layer for layer in model._flatten_layers() if hasattr(layer, "kernel")).trainable = False
    compile_again(model, fit.feed.kind)
    fit(epochs=1)


def resume(model, fit):
    """Break off in the second epoch, and take the training up from the backup."""

    class BreakOff(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise ConnectionError("the machine is gone")

    with pytest.raises(ConnectionError, match="the machine is gone"):
        fit(epochs=3, more=[BreakOff()])
    fit(epochs=3)


class StopInMidEpoch(keras.callbacks.Callback):
    """Stops the training in the second epoch, after the seventh batch in all."""

    n_batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.n_batches += 1
        if self.n_batches == 7:
            self.model.stop_training = True


def adam(**options):
    return lambda: keras.optimizers.Adam(0.02, **options)


WAYS = {
    "plain": Way(),
    "batches watched": Way(witness=BatchWitness),
    "three steps per execution": Way(compiling={"steps_per_execution": 3}),
    "compiled by XLA": Way(compiling={"jit_compile": True}),
    "eager": Way(compiling={"run_eagerly": True}),
    "gradient accumulation": Way(optimizer=adam(gradient_accumulation_steps=2)),
    "averaged weights": Way(optimizer=adam(use_ema=True, ema_momentum=0.8)),
    "averaged weights, validated": Way(
        optimizer=adam(use_ema=True, ema_momentum=0.8),
        callbacks=lambda folder: [keras.callbacks.SwapEMAWeights()],
        averages=True,
    ),
    "averaged weights, swapped after": Way(
        optimizer=adam(use_ema=True, ema_momentum=0.8),
        callbacks=lambda folder: [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    ),
    "averaged weights, swapped before": Way(
        optimizer=adam(use_ema=True, ema_momentum=0.8),
        callbacks=lambda folder: [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
        after=True,
    ),
    "from a later epoch": Way(train=lambda model, fit: fit(epochs=5, initial_epoch=3)),
    "resumed": Way(
        train=resume,
        callbacks=lambda folder: [keras.callbacks.BackupAndRestore(folder / "backup")],
    ),
    "fit twice": Way(train=fit_twice),
    "frozen and compiled between": Way(train=freeze_between),
    "stopped early": Way(
        train=lambda model, fit: fit(epochs=6),
        callbacks=lambda folder: [
            keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9, mode="min")
        ],
    ),
    "stopped in mid-epoch": Way(
        train=lambda model, fit: fit(epochs=6), callbacks=lambda folder: [StopInMidEpoch()]
    ),
    "checkpoints": Way(
        callbacks=lambda folder: [
            keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True)
        ]
    ),
    "every second step": Way(
        measuring={"unit": "step", "every": 2}, moments=MomentsOfSteps, witness=BatchWitness
    ),
    "within a small memory": Way(measuring={"max_bytes": 1600}),
    "validated every epoch": Way(fitting={"validation_split": 0.3}),
}


class Fit:
    """Calls `fit` on a model the same way with and without a measurement."""

    def __init__(self, training, way, make_feed, folder, measuring):
        self.training = training
        self.feed = training.feed
        self._way = way
        self._make_feed = make_feed
        self._folder = folder
        self._measuring = measuring
        self._n_calls = 0

    def __call__(self, *, epochs, initial_epoch=0, more=()):
        training, way = self.training, self._way
        self._n_calls += 1
        feed = self.feed if self._n_calls == 1 else self._make_feed()
        log = keras.callbacks.CSVLogger(self._folder / f"{self._n_calls}.csv")
        true = lossgap.TrueLoss(**way.measuring) if self._measuring else None
        ours = [] if true is None else [true]
        moments = way.moments(way.averages)
        others = way.callbacks(self._folder)
        callbacks = [
            way.witness("first", training.events),
            log,
            *([*others, *ours] if way.after else [*ours, *others]),
            moments,
            *more,
            way.witness("last", training.events),
        ]
        try:
            history = training.model.fit(
                **{**feed.arguments, **way.fitting},
                epochs=epochs,
                initial_epoch=initial_epoch,
                verbose=0,
                callbacks=callbacks,
            )
            training.histories.append(history.history)
        finally:
            log.csv_file.close()  # Keras leaves it open after an exception
            training.moments += moments.taken
            training.measurements += [] if true is None else true.measurements


def train(feed, way, folder, *, measuring):
    """Train once, from fixed seeds, and write down all that is left behind."""
    folder.mkdir()
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    tf.random.get_global_generator().reset_from_seed(3)
    made = FEEDS[feed]()
    optimizer = None if way.optimizer is None else way.optimizer()
    training = Training(made, compiled(made.kind, optimizer=optimizer, **way.compiling))
    model = training.model
    way.train(model, Fit(training, way, FEEDS[feed], folder, measuring))
    training.files = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    training.variables = [variable.numpy().copy() for variable in variables]
    training.rows = model.kept.numpy()
    training.next_name = keras.layers.Dense(1).name
    training.randomness = [
        np.array(random.getstate()[1]),
        *map(np.asarray, np.random.get_state()[1:]),  # noqa: NPY002  # the state that Keras draws from
        tf.random.uniform((3,)).numpy(),
        keras.random.uniform((3,)).numpy(),
        tf.random.get_global_generator().normal((3,)).numpy(),
    ]
    if made.dataset is not None:
        training.next_pass = [
            leaf.numpy()
            for batch in made.dataset
            for leaf in tf.nest.flatten(batch, expand_composites=True)
        ]
    return training


def assert_same_training(ours, theirs):
    """Compare two trainings bit by bit."""
    for name in ("variables", "randomness", "next_pass"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert len(one) == len(other), name
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b, strict=True, err_msg=name)
    np.testing.assert_array_equal(ours.rows, theirs.rows, strict=True)
    assert ours.events == theirs.events
    assert ours.files == theirs.files
    assert ours.next_name == theirs.next_name
    assert ours.model.stop_training == theirs.model.stop_training
    without = [
        {name: values for name, values in history.items() if not is_ours(name)}
        for history in ours.histories
    ]
    assert without == theirs.histories


def assert_right(training, *, sampled):
    """Compare every measurement with NumPy, on the rows that were trained on by then."""
    feed, model = training.feed, training.model
    assert len(training.measurements) == len(training.moments) > 0
    arrays = "batch_size" in feed.arguments and "steps_per_epoch" not in feed.arguments
    for measured, (weights, rows) in zip(training.measurements, training.moments, strict=True):
        # Arrays are measured whole, in mid-epoch too; all of their rows are different.
        measured_rows = np.unique(training.rows, axis=0) if arrays else rows
        expected = true_loss(feed.kind, model, weights, measured_rows, weighted=feed.weighted)
        assert measured.n_total == len(measured_rows)
        if sampled:
            assert measured.n_samples < measured.n_total
            assert measured.true_loss == pytest.approx(expected, abs=4 * measured.standard_error)
        else:
            assert measured.n_samples == measured.n_total
            assert measured.standard_error is None
            assert measured.true_loss == pytest.approx(expected, rel=2e-6)
        assert sum(part.value for part in measured.parts.values()) == pytest.approx(
            measured.regularization_gap, abs=1e-6
        )


def check(feed, way, folder):
    theirs = train(feed, way, folder / "without", measuring=False)
    ours = train(feed, way, folder / "with", measuring=True)
    assert_same_training(ours, theirs)
    assert_right(ours, sampled="max_bytes" in way.measuring)


# What each feed is trained with, besides plainly.
OTHER_WAYS = {
    "NumPy": [
        "three steps per execution",
        "compiled by XLA",
        "eager",
        "gradient accumulation",
        "averaged weights",
        "averaged weights, validated",
        "averaged weights, swapped after",
        "averaged weights, swapped before",
        "resumed",
        "frozen and compiled between",
        "every second step",
        "stopped in mid-epoch",
    ],
    "NumPy in order": ["batches watched"],
    "NumPy shuffled by batch": ["from a later epoch"],
    "NumPy with weights": ["stopped early"],
    "data frames": ["validated every epoch"],
    "dict": ["validated every epoch"],
    "weights by output": ["every second step"],
    "class weights": ["fit twice"],
    "validation split": ["averaged weights, validated", "checkpoints"],
    "a few steps of arrays": ["batches watched"],
    "dataset": ["compiled by XLA"],
    "dataset, shuffled": [
        "three steps per execution",
        "gradient accumulation",
        "averaged weights, swapped before",
        "resumed",
        "fit twice",
        "frozen and compiled between",
        "every second step",
        "stopped in mid-epoch",
        "checkpoints",
    ],
    "dataset, shuffled once": ["from a later epoch"],
    "dataset, cached and shuffled": ["averaged weights, swapped after"],
    "dataset, repeated": ["three steps per execution"],
    "dataset, augmented": ["fit twice", "every second step"],
    "dataset, augmented by a generator": ["averaged weights"],
    "dataset, ragged": ["eager"],
    "dataset, batched anew": ["three steps per execution"],
    "PyDataset": ["stopped in mid-epoch"],
    "PyDataset with a worker": ["every second step"],
    "generator": ["stopped early"],
    "endless generator": ["three steps per execution"],
    "long stream": ["within a small memory"],
    "long generator": ["within a small memory"],
}
SAMPLED_ONLY = {"long stream", "long generator"}
CELLS = [
    (feed, way)
    for feed in FEEDS
    for way in (*(() if feed in SAMPLED_ONLY else ("plain",)), *OTHER_WAYS.get(feed, ()))
]


def _marks(feed):
    """Let Keras say that it can't know the length of a feed, or that arrays run out."""
    runs_out = {
        "dataset from a generator",
        "dataset, padded",
        "dataset, batched anew",
        "a few steps of arrays",
    }
    told = pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
    return [told] if feed in runs_out else []


@pytest.mark.parametrize(
    ("feed", "way"),
    [pytest.param(*cell, marks=_marks(cell[0]), id=", ".join(cell)) for cell in CELLS],
)
def test_the_training_is_the_same_to_the_last_bit_and_the_true_loss_is_right(feed, way, tmp_path):
    check(feed, WAYS[way], tmp_path)


def test_every_feed_and_every_way_has_its_cells():
    assert set(OTHER_WAYS) <= set(FEEDS)
    assert {feed for feed, _ in CELLS} == set(FEEDS)
    ways = [way for _, way in CELLS]
    assert all(ways.count(way) >= 2 for way in WAYS)
    assert len(set(CELLS)) == len(CELLS) >= 60


def test_a_program_that_never_set_a_seed_is_measured(monkeypatch):
    from tensorflow.python.eager import context

    x, y = regression()
    model = linear()
    monkeypatch.delattr(context.context(), "_rng", raising=False)
    callback = lossgap.TrueLoss()
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert callback.measurements[0].true_loss == pytest.approx(mse(model, x, y), rel=1e-5)
