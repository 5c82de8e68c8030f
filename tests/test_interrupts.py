"""A training that breaks off keeps its measurements; bad input fails before it begins."""

import gc
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import lossgap
from lossgap.errors import (
    DataError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from small import assert_same_state, linear, mse, regression, state


class Raises(keras.callbacks.Callback):
    """Raises an exception when a hook is called for the n-th time."""

    def __init__(self, hook, exception, *, call=1):
        super().__init__()
        self.exception = exception
        self.n_calls_left = call
        setattr(self, hook, self._strike)

    def _strike(self, *args, **kwargs):
        self.n_calls_left -= 1
        if self.n_calls_left == 0:
            raise self.exception


class OwnError(RuntimeError):
    """An exception that only the user knows."""


def arrays():
    return dict(zip("xy", regression(), strict=True))


def stream():
    return {
        "x": tf.data.Dataset.from_tensor_slices(regression()).shuffle(70).batch(32),
        "shuffle": False,
    }


def broken_off(feed, callback, exception, *, first, hook, call, epochs=4):
    """Train until the exception, and return the model and what was raised."""
    model = linear()
    raises = Raises(hook, exception, call=call)
    callbacks = [callback, raises] if first else [raises, callback]
    with pytest.raises(type(exception)) as caught:
        model.fit(**feed(), epochs=epochs, verbose=0, callbacks=callbacks)
    return model, caught.value


def assert_unpatched(model):
    """Check that no layer carries a method or an attribute of ours."""
    fresh = linear()
    fresh.fit(**arrays(), verbose=0)
    for layer, other in zip(model._flatten_layers(), fresh._flatten_layers(), strict=True):
        names = {name for name in vars(layer) if callable(vars(layer)[name])}
        assert names == {name for name in vars(other) if callable(vars(other)[name])}
        assert type(layer) is type(other)
    assert set(vars(model)) == set(vars(fresh))


@pytest.fixture(scope="module", autouse=True)
def _pipelines_end():
    """Let go of the pipelines that tracebacks hold: TensorFlow waits for their threads at exit."""
    yield
    gc.collect()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OwnError])
@pytest.mark.parametrize("feed", [arrays, stream])
@pytest.mark.parametrize("first", [True, False], ids=["measured before", "measured after"])
@pytest.mark.parametrize(
    "moment",
    [
        ("on_train_begin", 1, {True: 0, False: 0}),
        ("on_epoch_begin", 3, {True: 2, False: 2}),
        ("on_train_batch_end", 5, {True: 1, False: 1}),
        ("on_epoch_end", 2, {True: 2, False: 1}),
    ],
    ids=lambda moment: moment[0],
)
def test_measurements_stay_and_the_users_exception_comes_through_as_it_is(
    kind, feed, first, moment
):
    hook, call, n_measured = moment
    callback, exception = lossgap.TrueLoss(), kind("mine")
    model, raised = broken_off(feed, callback, exception, first=first, hook=hook, call=call)
    assert raised is exception
    assert raised.__cause__ is None
    assert raised.__context__ is None
    assert [m.epoch for m in callback.measurements] == list(range(n_measured[first]))
    assert all(np.isfinite(m.true_loss) for m in callback.measurements)
    assert_unpatched(model)


def test_after_an_interrupt_the_same_model_and_callback_train_on():
    callback, expected = lossgap.TrueLoss(), linear()
    model, _ = broken_off(
        arrays, callback, KeyboardInterrupt(), first=True, hook="on_train_batch_end", call=5
    )
    with pytest.raises(KeyboardInterrupt):
        expected.fit(
            **arrays(),
            epochs=4,
            verbose=0,
            callbacks=[Raises("on_train_batch_end", KeyboardInterrupt(), call=5)],
        )
    for each, callbacks in ((model, [callback]), (expected, [])):
        each.fit(**arrays(), epochs=2, verbose=0, callbacks=callbacks)
    assert_same_state(state(model), state(expected))
    assert len(callback.measurements) == 2
    assert callback.measurements[-1].true_loss == pytest.approx(mse(model, *regression()), rel=2e-6)


def test_ctrl_c_inside_a_measurement_is_no_failed_measurement(monkeypatch):
    callback, interrupt = lossgap.TrueLoss(), KeyboardInterrupt()
    model = linear()
    run = lossgap.core.evaluator.Evaluator.run
    calls = []

    def interrupted(self):
        calls.append(self)
        if len(calls) == 2:
            raise interrupt
        return run(self)

    monkeypatch.setattr(lossgap.core.evaluator.Evaluator, "run", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        model.fit(**arrays(), epochs=4, verbose=0, callbacks=[callback])
    assert caught.value is interrupt
    assert len(callback.measurements) == 1
    assert_unpatched(model)


class Pressed(layers.Layer):
    """Passes its input on; while `armed`, Ctrl-C is pressed when it is traced."""

    armed = False

    def call(self, inputs, training=None):
        if Pressed.armed:
            raise KeyboardInterrupt
        return inputs


def test_ctrl_c_while_the_model_is_traced_leaves_no_patch_on_it(monkeypatch):
    class Arm(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            monkeypatch.setattr(Pressed, "armed", True)

    keras.utils.set_random_seed(1)
    model = keras.Sequential([layers.Input((4,)), layers.Dropout(0.5), Pressed(), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(KeyboardInterrupt):
        model.fit(**arrays(), verbose=0, callbacks=[Arm(), lossgap.TrueLoss()])
    assert all("call" not in vars(layer) for layer in model._flatten_layers())
    monkeypatch.setattr(Pressed, "armed", False)
    assert not keras.src.backend.common.stateless_scope.in_stateless_scope()
    callback = lossgap.TrueLoss()
    model.fit(**arrays(), verbose=0, callbacks=[callback])
    assert callback.measurements[0].true_loss == pytest.approx(mse(model, *regression()), rel=2e-6)


@pytest.mark.parametrize("feed", [arrays, stream])
def test_an_error_of_the_users_data_comes_through_with_what_was_measured(feed):
    """The pipeline's own errors are TensorFlow's, with and without the tap."""
    rows = iter(range(1000))

    def fails(x, y):
        if next(rows) >= 100:
            raise OwnError("row 100 is broken")
        return x, y

    def failing(x, y):
        x, y = tf.py_function(fails, (x, y), (tf.float32, tf.float32))
        return tf.ensure_shape(x, (4,)), tf.ensure_shape(y, (1,))

    data = tf.data.Dataset.from_tensor_slices(regression())
    data = data.map(failing, num_parallel_calls=1).batch(10, num_parallel_calls=1)
    given = regression() if feed is arrays else ()
    callback = lossgap.TrueLoss(*given, parts=feed is stream)
    with pytest.raises(tf.errors.OpError, match="row 100 is broken"):
        linear().fit(data, epochs=4, shuffle=False, verbose=0, callbacks=[callback])
    assert len(callback.measurements) == 1


@pytest.mark.parametrize("feed", [arrays, stream])
def test_a_stop_in_mid_epoch_is_measured_and_the_flag_stays(feed):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 5:
                self.model.stop_training = True

    model, callback = linear(), lossgap.TrueLoss()
    history = model.fit(**feed(), epochs=9, verbose=0, callbacks=[Stop(), callback])
    assert [m.step for m in callback.measurements] == [3, 5]
    assert len(history.history["true_loss"]) == len(history.history["loss"]) == 2
    assert model.stop_training
    assert_unpatched(model)


def test_no_thread_and_no_data_are_held_after_a_training_that_broke_off():
    before = set(threading.enumerate())
    callback = lossgap.TrueLoss()
    broken_off(stream, callback, OwnError(), first=True, hook="on_epoch_end", call=2)
    assert set(threading.enumerate()) == before
    linear().fit(**arrays(), verbose=0, callbacks=[callback])
    assert all(getattr(callback, name) is None for name in ("_call", "_feeds", "_meter"))


def _generator():
    x, y = regression()
    yield x, y


def _batched():
    return tf.data.Dataset.from_tensor_slices(regression()).batch(32)


class Endless(keras.utils.PyDataset):
    """Has no end."""

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return regression()


X, Y = regression()

BAD_DATA = {
    "a generator": (
        lambda: lossgap.TrueLoss(_generator()),
        r"read again.*Received: generator\. Leave the data out",
    ),
    "a list of numbers": (
        lambda: lossgap.TrueLoss(X, Y.tolist()),
        r"Expected arrays.*Received: float\. Convert lists of numbers with np\.asarray",
    ),
    "a shuffled dataset": (
        lambda: lossgap.TrueLoss(_batched().shuffle(9)),
        r"draws at random \(.*Shuffle.*\).*without \.shuffle\(\).*or leave it out",
    ),
    "an endless dataset": (
        lambda: lossgap.TrueLoss(_batched().repeat()),
        r"never ends.*without \.repeat\(\), or leave it out",
    ),
    "an endless PyDataset": (
        lambda: lossgap.TrueLoss(Endless()),
        r"no num_batches: it never ends.*or\s+leave it out",
    ),
    "a dataset with y": (
        lambda: lossgap.TrueLoss(_batched(), Y),
        r"Received a .*Dataset as x together with y.*pass it alone",
    ),
    "x without y": (lambda: lossgap.TrueLoss(X), r"received x without y.*Pass both"),
    "a dataset without y": (
        lambda: lossgap.TrueLoss(tf.data.Dataset.from_tensor_slices(X).batch(8)),
        r"received x without y.*Pass both",
    ),
    "lengths that differ": (
        lambda: lossgap.TrueLoss(X, Y[:-3]),
        r"can't be measured.*same number of samples.*70.*67",
    ),
    "weights of another length": (
        lambda: lossgap.TrueLoss(X, Y, sample_weight=np.ones(5)),
        r"can't be measured.*same number of samples.*70.*5",
    ),
    "no samples": (lambda: lossgap.TrueLoss(X[:0], Y[:0]), r"empty: 0 samples.*at least one"),
}


@pytest.mark.parametrize(("make", "text"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_fail_before_the_training_with_the_way_out(make, text):
    model, untouched = linear(), linear()
    with pytest.raises(DataError, match=f"(?s){text}"):
        model.fit(X, Y, verbose=0, callbacks=[make()])
    assert model.optimizer.iterations == 0
    for weights, others in zip(model.get_weights(), untouched.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, others)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"unit": "batch"}, r"`unit`.*'epoch', 'step'.*Received: 'batch'"),
        ({"every": -1}, r"`every`.*at least 1.*Received: -1"),
        ({"max_bytes": 0}, r"`max_bytes`.*at least 1.*Received: 0"),
        ({"max_bytes": 1.5e6}, r"`max_bytes`.*Received: 1500000\.0"),
        ({"batch_size": 0}, r"`batch_size`.*at least 1.*Received: 0"),
        ({"y": Y}, "without `x`.*or none of them"),
    ],
    ids=str,
)
def test_bad_options_fail_when_the_callback_is_made(arguments, text):
    with pytest.raises(InvalidArgumentError, match=text):
        lossgap.TrueLoss(**arguments)


def test_measuring_without_data_and_without_a_fit_says_what_to_pass():
    model, callback = linear(), lossgap.TrueLoss()
    callback.set_model(model)
    with pytest.raises(DataError, match=r"no fit is running.*TrueLoss\(x, y\)"):
        callback.on_train_begin()


def test_a_model_that_isnt_compiled_is_refused_by_its_name():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)], name="bare")
    callback = lossgap.TrueLoss(X, Y)
    callback.set_model(model)
    with pytest.raises(UnsupportedModelError, match=r"'bare' isn't compiled.*model\.compile"):
        callback.on_train_begin()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: lossgap.measure(m, _batched(), Y), r"together with y.*pass it alone"),
        (lambda m: lossgap.measure(m, _batched(), class_weight={0: 1.0}), r"class_weight.*alone"),
        (lambda m: lossgap.measure(m, _generator()), r"read again.*Received: generator"),
        (lambda m: lossgap.measure(m, _batched().shuffle(9)), r"draws at random.*Shuffle"),
        (lambda m: lossgap.measure(m, X, Y, validation_data=(X,) * 4), r"Received: 4 elements"),
        (lambda m: lossgap.measure(m, X, Y[:-1]), "same number of samples"),
    ],
)
def test_measure_refuses_what_it_cant_read(call, text):
    model = linear()
    before = state(model)
    with pytest.raises(DataError, match=f"(?s){text}"):
        call(model)
    assert_same_state(state(model), before)
