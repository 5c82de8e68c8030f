"""lossgap.fit: the arguments, defaults and History of model.fit."""

import keras
import numpy as np
import pytest

import lossgap
from lossgap.errors import InvalidArgumentError
from small import assert_same_state, linear, mse, regression, state


@pytest.mark.parametrize(
    "arguments",
    [
        ((), {}),
        ((16,), {"epochs": 2}),
        ((16, 2, 0, None, 0.2), {}),
        ((), {"batch_size": 10, "callbacks": None, "validation_split": 0.3, "shuffle": False}),
        ((), {"epochs": 4, "initial_epoch": 2}),
    ],
    ids=["defaults", "batch size", "all by position", "no callbacks", "initial epoch"],
)
def test_it_trains_as_model_fit_does(arguments):
    x, y = regression()
    args, kwargs = arguments
    kwargs = kwargs if len(args) > 2 else {**kwargs, "verbose": 0}
    one = linear()
    ours = lossgap.fit(one, x, y, *args, **kwargs)
    other = linear()  # from the same seeds
    theirs = other.fit(x, y, *args, **kwargs)
    assert isinstance(ours, keras.callbacks.History)
    assert ours.epoch == theirs.epoch
    assert {name: ours.history[name] for name in theirs.history} == theirs.history
    assert_same_state(state(one), state(other))
    n_train = int(len(x) * (1 - (kwargs.get("validation_split") or (0.2 if len(args) > 2 else 0))))
    assert ours.history["true_loss"][-1] == pytest.approx(
        mse(one, x[:n_train], y[:n_train]), rel=2e-6
    )


def test_all_arguments_may_be_keywords():
    x, y = regression()
    history = lossgap.fit(linear(), x=x, y=y, verbose=0)
    assert "true_loss" in history.history


def test_callbacks_may_monitor_its_keys_in_any_order():
    x, y = regression()
    stopping = keras.callbacks.EarlyStopping(monitor="true_loss", patience=0, min_delta=1e9)
    measuring = lossgap.TrueLoss()
    for callbacks in ([stopping], stopping, [stopping, measuring], (measuring, stopping)):
        given = list(callbacks) if isinstance(callbacks, list | tuple) else callbacks
        history = lossgap.fit(linear(), x, y, epochs=5, verbose=0, callbacks=callbacks)
        assert len(history.epoch) == 2
        after = list(callbacks) if isinstance(callbacks, list | tuple) else callbacks
        assert after == given


def test_a_callback_list_is_used_and_left_as_it_was():
    x, y = regression()
    model = linear()
    callbacks = keras.callbacks.CallbackList(
        [keras.callbacks.EarlyStopping(monitor="true_loss", patience=0, min_delta=1e9)],
        add_history=True,
        model=model,
        epochs=5,
        verbose=0,
        steps=3,
    )
    before = list(callbacks.callbacks)
    history = lossgap.fit(model, x, y, epochs=5, verbose=0, callbacks=callbacks)
    assert callbacks.callbacks == before
    assert len(history.history["true_loss"]) == 2


def test_options_come_as_a_callback_that_holds_the_measurements():
    x, y = regression()
    measuring = lossgap.TrueLoss(every=2, parts=False)
    lossgap.fit(linear(), x, y, epochs=4, verbose=0, true_loss=measuring)
    assert [m.epoch for m in measuring.measurements] == [1, 3]


def test_two_measuring_callbacks_are_refused():
    x, y = regression()
    with pytest.raises(InvalidArgumentError, match="Pass one"):
        lossgap.fit(
            linear(), x, y, verbose=0, callbacks=[lossgap.TrueLoss()], true_loss=lossgap.TrueLoss()
        )


def test_options_of_another_type_are_refused():
    x, y = regression()
    with pytest.raises(InvalidArgumentError, match=r"lossgap\.TrueLoss.*Received: dict"):
        lossgap.fit(linear(), x, y, verbose=0, true_loss={"every": 2})


def test_an_unknown_argument_fails_as_in_keras():
    x, y = regression()
    with pytest.raises(TypeError, match="nonsense"):
        lossgap.fit(linear(), x, y, nonsense=1)


def test_a_fit_of_the_models_own_is_called():
    class Own(keras.Sequential):
        def fit(self, *args, **kwargs):
            self.called = True
            return super().fit(*args, **kwargs)

    x, y = regression()
    model = Own([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = lossgap.fit(model, x, y, verbose=0)
    assert model.called
    assert history.history["true_loss"][0] == pytest.approx(mse(model, x, y), rel=2e-6)


def test_users_exceptions_pass_untouched_and_measurements_stay():
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            del logs
            if epoch == 1:
                raise ZeroDivisionError("mine")

    x, y = regression()
    measuring = lossgap.TrueLoss()
    with pytest.raises(ZeroDivisionError, match="mine"):
        lossgap.fit(linear(), x, y, epochs=5, verbose=0, callbacks=[Failing()], true_loss=measuring)
    assert np.isfinite([m.true_loss for m in measuring.measurements]).all()
    assert len(measuring.measurements) == 2
