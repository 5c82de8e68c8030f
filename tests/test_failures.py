"""Measurements that fail: the training goes on, and it is told once, counted, and in the summary.

Strict, it is raised instead. What trackers do is told in ``trackers/test_strict.py``.
"""

import contextlib
import copy
import gc
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

import lossgap
from lossgap.core.evaluator import Evaluator
from lossgap.core.failures import MOST_IN_A_ROW, Failures
from lossgap.trackers import Delivery
from small import assert_same_state, linear, regression, state

N_EPOCHS = 7


class OwnError(Exception):
    """Known to the user alone."""


class Breaking(keras.callbacks.Callback):
    """Lets measurements fail in some epochs, with an error."""

    def __init__(self, in_epochs, error=None):
        super().__init__()
        self.in_epochs = in_epochs
        self.error = error or OSError("the disk is gone")
        self.fails = False

    def on_epoch_begin(self, epoch, logs=None):
        self.fails = epoch in self.in_epochs

    def strike(self):
        if self.fails:
            raise self.error


@pytest.fixture
def breaking(monkeypatch):
    """Return what makes a callback that lets measurements fail."""

    def make(*in_epochs, error=None):
        callback = Breaking(in_epochs, error)
        run = Evaluator.run

        def broken(self):
            callback.strike()
            return run(self)

        monkeypatch.setattr(Evaluator, "run", broken)
        return callback

    return make


@pytest.fixture(scope="module", autouse=True)
def _pipelines_end():
    """Let go of the pipelines that tracebacks hold: TensorFlow waits for their threads at exit."""
    yield
    gc.collect()


def fitted(*callbacks):
    model = linear()
    history = model.fit(*regression(), epochs=N_EPOCHS, verbose=0, callbacks=[*callbacks])
    return model, history


@pytest.fixture
def trained(breaking):
    """Return what trains while measurements fail in some epochs."""

    def train(*in_epochs):
        callback = lossgap.TrueLoss(parts=False, metrics=False)
        with pytest.warns() as told:
            model, history = fitted(breaking(*in_epochs), callback)
        texts = [str(w.message) for w in told if w.category is lossgap.LossgapWarning]
        return callback, model, history, texts

    return train


def untouched():
    model = linear()
    model.fit(*regression(), epochs=N_EPOCHS, verbose=0)
    return model


# Not strict.


def test_a_failure_costs_the_epoch_that_it_is_in(trained):
    callback, model, history, (text,) = trained(2)
    assert [m.epoch for m in callback.measurements] == [0, 1, 3, 4, 5, 6]
    assert len(history.history["true_loss"]) == N_EPOCHS - 1
    assert len(history.history["loss"]) == N_EPOCHS
    assert text.startswith(
        "lossgap: epoch 3 could not be measured, and the training goes on without its true loss. "
        "OSError: the disk is gone"
    )
    assert "strict=True" in text  # the way to see all of it
    assert_same_state(state(model), state(untouched()))


def test_the_summary_counts_what_failed_and_the_first_cause(trained):
    callback, *_ = trained(2, 4)
    (trouble,) = callback.summary().troubles
    assert trouble.startswith("2 of 7 measurements failed: epoch 3 could not be measured. OSError")
    assert str(callback.summary()).splitlines()[-1] == trouble
    assert callback.summary().verdict in str(callback.summary())


def test_what_fails_again_and_again_is_given_up(trained):
    callback, model, _, (_,) = trained(*range(1, N_EPOCHS))
    assert [m.epoch for m in callback.measurements] == [0]
    assert callback.troubles[0].startswith("3 of 7 measurements failed, 3 were not tried: epoch 2")
    assert_same_state(state(model), state(untouched()))


def test_failures_that_are_not_in_a_row_end_nothing(trained):
    callback, *_ = trained(0, 1, 3, 4)
    assert [m.epoch for m in callback.measurements] == [2, 5, 6]
    assert callback.troubles[0].startswith("4 of 7 measurements failed: epoch 1")


def test_where_nothing_was_measured_the_summary_says_why(trained):
    callback, *_ = trained(*range(N_EPOCHS))
    with pytest.raises(lossgap.errors.InvalidArgumentError, match="3 of 7 measurements failed"):
        callback.summary()


def test_a_measurement_after_a_failure_is_the_same_as_without(trained):
    callback, *_ = trained(2)
    alone = lossgap.TrueLoss(parts=False, metrics=False)
    fitted(alone)
    expected = [m.true_loss for m in alone.measurements if m.epoch != 2]
    assert [m.true_loss for m in callback.measurements] == expected


def test_the_next_training_begins_anew(trained):
    callback, model, _, _ = trained(2)
    model.fit(*regression(), epochs=2, verbose=0, callbacks=[callback])
    assert len(callback.measurements) == 2
    assert callback.troubles == ()
    assert "failed" not in str(callback.summary())


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_counts_for_itself(way, trained):
    callback, *_ = trained(2)
    other = way(callback)
    other._failures.due()
    other._failures.failed("epoch 9", ValueError("no"), measuring=True)
    assert callback.troubles[0].startswith("1 of 7 measurements failed")
    assert other.troubles[0].startswith("2 of 8 measurements failed")


def test_batches_that_could_not_be_kept_once_are_kept_in_the_next_epoch(monkeypatch):
    import tensorflow as tf

    from lossgap.core.feeds.reservoir import Reservoir

    real, calls = Reservoir.add, []

    def add(self, batch):
        calls.append(batch)
        if len(calls) == 4:  # the first batch of the second epoch
            raise MemoryError("no more")
        real(self, batch)

    monkeypatch.setattr(Reservoir, "add", add)
    data = tf.data.Dataset.from_tensor_slices(regression()).shuffle(70).batch(32)
    callback = lossgap.TrueLoss()
    with pytest.warns(lossgap.LossgapWarning, match="epoch 2 could not be measured.*no more"):
        linear().fit(data, epochs=4, shuffle=False, verbose=0, callbacks=[callback])
    assert [m.epoch for m in callback.measurements] == [0, 2, 3]


class Unspeakable(Exception):
    """Fails even when it is asked what it is."""

    def __str__(self):
        raise RuntimeError("no words")


def test_an_error_that_cannot_be_told_ends_nothing(breaking):
    callback = lossgap.TrueLoss()
    with pytest.warns(lossgap.LossgapWarning, match="epoch 3 could not be measured.*Unspeakable"):
        fitted(breaking(2, error=Unspeakable()), callback)
    assert len(callback.measurements) == N_EPOCHS - 1


# What is done beside the measurements.


class Monitor(keras.callbacks.Callback):
    """Asks what it monitors of something that may break."""

    n_asked = 0

    @property
    def monitor(self):
        self.n_asked += 1
        if self.n_asked > 4:
            raise OSError("gone")
        return "loss"


def test_another_callback_that_breaks_when_it_is_looked_at_ends_nothing():
    callback, model = lossgap.TrueLoss(), linear()
    with pytest.warns(lossgap.LossgapWarning, match="OSError: gone") as told:
        model.fit(*regression(), epochs=N_EPOCHS, verbose=0, callbacks=[callback, Monitor()])
    assert len(told) == 1
    assert len(callback.measurements) == N_EPOCHS
    assert "OSError: gone" in str(callback.summary())
    assert_same_state(state(model), state(untouched()))


class Unheard(Delivery):
    """Fails on the thread that trains, where no tracker is called."""

    def measured(self, measurement):
        raise OwnError("mine")


@pytest.mark.parametrize("strict", [False, True])
def test_a_measurement_that_cannot_be_handed_on_is_one_all_the_same(strict):
    callback = lossgap.TrueLoss(strict=strict)
    callback.observer = Unheard([])
    if strict:
        with pytest.raises(OwnError) as raised:
            fitted(callback)
        (note,) = raised.value.__notes__
        assert "epoch 1 was measured, and could not be handed on" in note
    else:
        with pytest.warns(lossgap.LossgapWarning, match="could not be handed on. OwnError: mine"):
            _, history = fitted(callback)
        assert len(history.history["true_loss"]) == N_EPOCHS
        assert "epoch 1 was measured, and could not be handed on" in str(callback.summary())
    assert len(callback.measurements) == (1 if strict else N_EPOCHS)


def test_a_verdict_that_cannot_be_told_ends_nothing(monkeypatch):
    def tell(measurements):
        raise ZeroDivisionError("at the very end")

    monkeypatch.setattr(lossgap.core.summary.verdict, "tell", tell)
    callback = lossgap.TrueLoss()
    with pytest.warns(lossgap.LossgapWarning, match="the verdict could not be printed. ZeroDiv"):
        history = linear().fit(*regression(), epochs=2, verbose=2, callbacks=[callback])
    assert len(history.history["true_loss"]) == 2
    assert callback.fit_seconds > 0


def test_a_terminal_that_knows_no_unicode_ends_nothing():
    program = """
import lossgap
from small import linear, regression
linear().fit(*regression(), epochs=2, verbose=2, callbacks=[lossgap.TrueLoss()])
print("done")
"""
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.splitlines()[-1] == "done", process.stderr
    assert "LossgapWarning" not in process.stderr


def test_a_notebook_shows_what_failed_as_text(trained):
    failures = Failures()
    failures.due()
    failures.failed("epoch 1", ValueError("<script>alert(1)</script>"), measuring=True)
    callback, *_ = trained(2)
    summary = lossgap.Summary(tuple(callback.measurements), troubles=failures.lines())
    bundle = summary._repr_mimebundle_()
    assert "<script>" not in bundle["text/html"]
    assert "1 of 1 measurement failed: epoch 1. ValueError: &lt;script&gt;" in bundle["text/html"]
    assert bundle["text/plain"] == str(summary)


# Strict.


@pytest.mark.parametrize("kind", [OwnError, MemoryError])
def test_strict_raises_what_failed_and_says_where_it_comes_from(kind, breaking):
    error = kind("mine")
    callback = lossgap.TrueLoss(strict=True)
    with pytest.raises(kind) as raised:
        fitted(breaking(2, error=error), callback)
    assert raised.value is error
    (note,) = error.__notes__
    assert note == "lossgap: epoch 3 could not be measured. It is raised because of strict=True."
    assert [m.epoch for m in callback.measurements] == [0, 1]
    assert all(getattr(callback, name) is None for name in ("_call", "_feeds", "_meter"))


def test_strict_leaves_the_weights_as_the_training_without_it_would_have(breaking):
    model, expected = linear(), linear()
    with pytest.raises(OwnError):
        model.fit(
            *regression(),
            epochs=N_EPOCHS,
            verbose=0,
            callbacks=[breaking(2, error=OwnError("mine")), lossgap.TrueLoss(strict=True)],
        )
    expected.fit(*regression(), epochs=3, verbose=0)
    for one, other in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_a_measurement_is_ctrl_c(strict, kind, breaking):
    error = kind("stop")
    callback = lossgap.TrueLoss(strict=strict)
    with pytest.raises(kind) as raised:
        fitted(breaking(1, error=error), callback)
    assert raised.value is error
    assert not hasattr(error, "__notes__")
    assert len(callback.measurements) == 1


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", [OwnError, KeyboardInterrupt])
def test_the_users_own_exceptions_pass_untouched(strict, kind):
    error = kind("mine")

    class Stumbling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise error

    callback = lossgap.TrueLoss(strict=strict)
    with pytest.raises(kind) as raised:
        lossgap.fit(linear(), *regression(), verbose=0, callbacks=[Stumbling(), callback])
    assert raised.value is error
    assert not hasattr(error, "__notes__")
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert callback.troubles == ()


def test_strict_and_nothing_failing_is_as_without():
    one, other = lossgap.TrueLoss(strict=True), lossgap.TrueLoss()
    models = [linear(), linear()]
    for model, callback in zip(models, (one, other), strict=True):
        model.fit(*regression(), epochs=3, verbose=0, callbacks=[callback])
    assert_same_state(state(models[0]), state(models[1]))
    assert [m.true_loss for m in one.measurements] == [m.true_loss for m in other.measurements]


def test_a_warning_that_the_user_made_an_error_is_raised():
    x, y = regression()
    y[3] = np.nan
    with pytest.raises(lossgap.LossgapWarning, match="true_loss is nan"):
        linear().fit(x, y, verbose=0, callbacks=[lossgap.TrueLoss()])


def test_it_is_given_up_after_a_few_and_not_before():
    failures = Failures()
    for n in range(MOST_IN_A_ROW):
        assert failures.due()
        assert not failures.gave_up
        failures.failed(f"epoch {n}", ValueError("no"), measuring=True)
    assert not failures.due()
    with contextlib.suppress(ValueError):
        failures.failed("something else", ValueError("no"), measuring=False)
    assert len(failures.lines()) == 2
