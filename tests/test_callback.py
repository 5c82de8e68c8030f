"""TrueLoss in model.fit: the numbers in the logs, on the samples that are trained on."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import lossgap
from lossgap.errors import DataError, InvalidArgumentError, UnsupportedModelError
from small import assert_same_state, l2_penalty, linear, mse, regression, state


class Snapshot(keras.callbacks.Callback):
    """Computes the true loss in NumPy at each epoch's end, through predict()."""

    def __init__(self, x, y, sample_weight=None):
        super().__init__()
        self.data = (x, y, sample_weight)
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        del epoch, logs
        self.losses.append(mse(self.model, *self.data))


def test_history_holds_the_flat_keys_beside_keras_own():
    x, y = regression()
    history = linear().fit(
        x, y, epochs=2, validation_split=0.2, verbose=0, callbacks=[lossgap.TrueLoss()]
    )
    assert set(history.history) == {
        *("loss", "mae", "val_loss", "val_mae"),
        *("true_loss", "regularization_gap", "true_val_loss", "true_mae"),
    }
    assert all(len(values) == 2 for values in history.history.values())


@pytest.mark.parametrize("given", ["nothing", "the whole set", "the training part", "both lists"])
def test_the_first_part_of_a_validation_split_is_measured(given):
    x, y = regression()
    n_train = 56
    callback = {
        "nothing": lossgap.TrueLoss,
        "the whole set": lambda: lossgap.TrueLoss(x, y),
        "the training part": lambda: lossgap.TrueLoss(x[:n_train], y[:n_train]),
        "both lists": lambda: lossgap.TrueLoss(x.astype("float64"), y.astype("float64")),
    }[given]()
    model = linear()
    reference = Snapshot(x[:n_train], y[:n_train])
    model.fit(x, y, epochs=3, validation_split=0.2, verbose=0, callbacks=[callback, reference])
    true = [m.true_loss for m in callback.measurements]
    np.testing.assert_allclose(true, reference.losses, rtol=2e-6)
    assert [m.n_samples for m in callback.measurements] == [n_train] * 3


def test_sample_weights_of_the_fit_count_when_the_same_data_are_given():
    x, y = regression()
    weights = np.linspace(0.1, 3.0, len(x))
    for callback in (lossgap.TrueLoss(), lossgap.TrueLoss(x, y)):
        reference = Snapshot(x, y, weights)
        linear().fit(
            x, y, sample_weight=weights, epochs=2, verbose=0, callbacks=[callback, reference]
        )
        true = [m.true_loss for m in callback.measurements]
        np.testing.assert_allclose(true, reference.losses, rtol=2e-6)


def test_weights_given_with_the_whole_set_count_on_the_training_part():
    x, y = regression()
    weights = np.linspace(0.1, 3.0, len(x))
    callback = lossgap.TrueLoss(x, y, sample_weight=weights)
    reference = Snapshot(x[:56], y[:56], weights[:56])
    linear().fit(
        x,
        y,
        sample_weight=weights,
        validation_split=0.2,
        verbose=0,
        callbacks=[callback, reference],
    )
    assert callback.measurements[0].n_samples == 56
    assert callback.measurements[0].true_loss == pytest.approx(reference.losses[0], rel=2e-6)


def test_targets_that_differ_in_one_sample_are_measured_as_given():
    x, y = regression()
    clean = y.copy()
    clean[41] += 100.0
    callback = lossgap.TrueLoss(x, clean)
    reference = Snapshot(x, clean)
    linear().fit(x, y, verbose=0, callbacks=[callback, reference])
    assert callback.measurements[0].true_loss == pytest.approx(reference.losses[0], rel=2e-6)


def test_missing_values_dont_hide_that_the_data_are_the_same():
    x, y = regression()
    y[0] = np.nan
    callback = lossgap.TrueLoss(x, y)
    with pytest.warns(lossgap.LossgapWarning, match="true_loss is nan"):
        linear().fit(x, y, validation_split=0.2, verbose=0, callbacks=[callback])
    assert callback.measurements[0].n_samples == 56


def test_true_val_loss_is_not_lost_beside_a_penalty_that_dwarfs_it():
    x, y = regression()
    model, callback = linear(l2=1e6), lossgap.TrueLoss()
    model.optimizer.learning_rate = 1e-9
    model.fit(x, y, validation_split=0.2, verbose=0, callbacks=[callback])
    measured = callback.measurements[0]
    assert measured.val_loss > 1e4 * measured.true_val_loss
    assert measured.true_val_loss == pytest.approx(mse(model, x[56:], y[56:]), rel=2e-6)


def test_separate_data_are_measured_as_given():
    x, y = regression()
    other_x, other_y = regression(n=33, seed=5)
    weights = np.linspace(0.5, 2.0, 33)
    callback = lossgap.TrueLoss(other_x, other_y, sample_weight=weights)
    reference = Snapshot(other_x, other_y, weights)
    linear().fit(x, y, epochs=1, verbose=0, callbacks=[callback, reference])
    assert callback.measurements[0].true_loss == pytest.approx(reference.losses[0], rel=2e-6)


def test_the_gap_is_reported_less_true_and_its_parts_sum_to_it():
    x, y = regression()
    callback = lossgap.TrueLoss()
    history = linear().fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    for epoch, m in enumerate(callback.measurements):
        assert m.epoch == epoch
        assert m.step == 3 * (epoch + 1)
        assert m.reported_loss == history.history["loss"][epoch]
        assert m.regularization_gap == m.reported_loss - m.true_loss
        assert history.history["regularization_gap"][epoch] == m.regularization_gap
        assert sum(part.value for part in m.parts.values()) == pytest.approx(
            m.regularization_gap, abs=1e-6
        )
        assert list(m.parts) == ["penalty", "dropout", "drift"]


def test_drift_vanishes_when_the_weights_stand_still_and_nothing_else_differs():
    x, y = regression()
    model = linear(dropout=0.0, l2=0.0)
    model.optimizer.learning_rate = 0.0
    callback = lossgap.TrueLoss()
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert list(callback.measurements[0].parts) == ["drift"]
    assert callback.measurements[0].parts["drift"].value == pytest.approx(0.0, abs=1e-6)


def test_class_weights_are_in_the_gap_and_not_in_the_true_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 4)).astype("float32"), rng.integers(0, 3, 70)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    callback = lossgap.TrueLoss()
    weights = {0: 1.0, 1: 5.0, 2: 0.2}
    model.fit(x, y, class_weight=weights, verbose=0, callbacks=[callback])
    losses = -np.log(model.predict(x, verbose=0).astype("float64")[np.arange(70), y])
    measured = callback.measurements[0]
    assert measured.true_loss == pytest.approx(losses.mean(), rel=2e-6)
    weighted = np.mean(losses * np.array([weights[label] for label in y]))
    assert measured.parts["class_weight"].value == pytest.approx(weighted - losses.mean(), rel=1e-5)


def test_true_val_loss_is_val_loss_without_the_weight_penalty():
    x, y = regression()
    callback = lossgap.TrueLoss()
    model = linear()
    model.fit(x, y, validation_split=0.2, verbose=0, callbacks=[callback])
    measured = callback.measurements[0]
    assert measured.true_val_loss == pytest.approx(mse(model, x[56:], y[56:]), rel=2e-6)
    assert measured.val_loss == pytest.approx(measured.true_val_loss + l2_penalty(model), rel=2e-6)
    assert measured.generalization_gap == measured.true_val_loss - measured.true_loss


class Scaled(layers.Layer):
    """Passes its input on, with a penalty that depends on the data."""

    def call(self, inputs):
        self.add_loss(0.3 * keras.ops.mean(keras.ops.square(inputs)))
        return inputs


@pytest.mark.parametrize("kind", ["activity", "add_loss"])
def test_true_val_loss_is_exact_for_penalties_that_depend_on_the_data(kind):
    x, y = regression()
    penalized = (
        layers.Dense(1, activity_regularizer=keras.regularizers.L2(0.2))
        if kind == "activity"
        else layers.Dense(1)
    )
    stack = [layers.Input((4,)), Scaled() if kind == "add_loss" else layers.Identity(), penalized]
    model = keras.Sequential(stack)
    model.compile("sgd", "mse")
    callback = lossgap.TrueLoss()
    val = regression(n=37, seed=9)
    val = (10.0 * val[0], val[1])  # data on which the penalty is another one
    model.fit(x, y, validation_data=val, verbose=0, callbacks=[callback])
    measured = callback.measurements[0]
    assert measured.true_val_loss == pytest.approx(mse(model, *val), rel=2e-6)
    assert measured.val_loss - measured.true_val_loss > 2 * measured.parts["penalty"].value


def test_validation_weights_count_in_the_true_validation_loss():
    x, y = regression()
    weights = np.linspace(0.0, 2.0, 20).astype("float32")
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1, activity_regularizer="l2")])
    model.compile("sgd", "mse")
    callback = lossgap.TrueLoss()
    model.fit(x, y, validation_data=(x[:20], y[:20], weights), verbose=0, callbacks=[callback])
    assert callback.measurements[0].true_val_loss == pytest.approx(
        mse(model, x[:20], y[:20], weights), rel=2e-6
    )


def test_validation_every_few_epochs_leaves_the_other_epochs_without_validation():
    x, y = regression()
    callback = lossgap.TrueLoss()
    linear().fit(
        x, y, epochs=4, validation_split=0.2, validation_freq=2, verbose=0, callbacks=[callback]
    )
    assert [m.true_val_loss is None for m in callback.measurements] == [True, False, True, False]


def test_every_second_epoch_is_measured_when_asked_for():
    x, y = regression()
    callback = lossgap.TrueLoss(every=2)
    history = linear().fit(x, y, epochs=5, verbose=0, callbacks=[callback])
    assert [m.epoch for m in callback.measurements] == [1, 3]
    assert len(history.history["true_loss"]) == 2
    assert len(history.history["loss"]) == 5


def test_epochs_are_counted_on_from_initial_epoch():
    x, y = regression()
    model, callback = linear(), lossgap.TrueLoss()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
    model.fit(x, y, epochs=4, initial_epoch=2, verbose=0, callbacks=[callback])
    assert [m.epoch for m in callback.measurements] == [2, 3]
    assert [m.step for m in callback.measurements] == [9, 12]


def test_a_second_fit_measures_its_own_data_and_a_recompiled_loss():
    x, y = regression()
    model, callback = linear(), lossgap.TrueLoss()
    model.fit(x, y, verbose=0, callbacks=[callback])
    model.compile("sgd", "mae")
    model.fit(x[:40], y[:40], verbose=0, callbacks=[callback])
    assert len(callback.measurements) == 1
    errors = np.abs(model.predict(x[:40], verbose=0) - y[:40])
    assert callback.measurements[0].true_loss == pytest.approx(errors.mean(), rel=2e-6)


@pytest.mark.parametrize(
    ("monitored", "callback"),
    [
        ("true_loss", keras.callbacks.EarlyStopping),
        ("true_val_loss", keras.callbacks.EarlyStopping),
        ("true_loss", keras.callbacks.ReduceLROnPlateau),
    ],
)
def test_callbacks_after_it_may_monitor_its_keys_without_a_mode(monitored, callback):
    x, y = regression()
    watching = callback(monitor=monitored, patience=0, min_delta=1e9)
    history = linear().fit(
        x, y, epochs=4, validation_split=0.2, verbose=0, callbacks=[lossgap.TrueLoss(), watching]
    )
    if callback is keras.callbacks.EarlyStopping:
        assert len(history.epoch) == 2
    else:
        assert watching.model.optimizer.learning_rate < 0.01


def test_a_monitored_metric_has_the_direction_of_the_metric():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype("float32"), rng.integers(0, 2, 40)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    stopping = keras.callbacks.EarlyStopping(monitor="true_accuracy", patience=5)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[lossgap.TrueLoss(), stopping])
    assert stopping.mode == "max"


def test_a_checkpoint_keeps_the_epoch_of_the_best_true_validation_loss(tmp_path):
    x, y = regression()
    model, callback = linear(), lossgap.TrueLoss()
    path = tmp_path / "best.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor="true_val_loss", save_best_only=True, save_weights_only=True
    )
    model.fit(x, y, epochs=6, validation_split=0.2, verbose=0, callbacks=[callback, checkpoint])
    best = min(m.true_val_loss for m in callback.measurements)
    model.load_weights(path)
    assert mse(model, x[56:], y[56:]) == pytest.approx(best, rel=2e-6)


def test_a_callback_that_monitors_its_key_from_before_it_is_told():
    x, y = regression()
    stopping = keras.callbacks.EarlyStopping(monitor="true_loss", patience=9)
    with (
        pytest.warns(UserWarning, match="conditioned on metric `true_loss`"),  # Keras's own
        pytest.warns(lossgap.LossgapWarning, match=r"EarlyStopping.*Put TrueLoss first"),
    ):
        linear().fit(x, y, verbose=0, callbacks=[stopping, lossgap.TrueLoss()])


def test_the_training_is_the_same_to_the_last_bit():
    x, y = regression()
    states, histories = [], []
    for callbacks in ([], [lossgap.TrueLoss()], [lossgap.TrueLoss(x, y, seed=3)]):
        model = linear()
        history = model.fit(
            x, y, epochs=3, validation_split=0.2, verbose=0, callbacks=callbacks
        ).history
        states.append(state(model))
        histories.append({name: history[name] for name in ("loss", "mae", "val_loss", "val_mae")})
    for other_state, other_history in zip(states[1:], histories[1:], strict=True):
        assert_same_state(states[0], other_state)
        assert other_history == histories[0]


def test_vector_metrics_get_one_key_for_each_element():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)).astype("float32")
    y = keras.utils.to_categorical(rng.integers(0, 3, 50), 3)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    history = model.fit(x, y, verbose=0, callbacks=[callback := lossgap.TrueLoss()]).history
    predicted, labels = model.predict(x, verbose=0).argmax(-1), y.argmax(-1)
    for index in range(3):
        hits = np.sum((predicted == index) & (labels == index))
        f1 = 2 * hits / (np.sum(predicted == index) + np.sum(labels == index))
        assert history[f"true_f1_score_{index}"][0] == pytest.approx(f1, abs=1e-6)
        assert callback.measurements[0].metrics[f"f1_score_{index}"].reported is not None


def test_nan_passes_through_with_one_warning_that_names_epoch_and_number():
    x, y = regression()
    y[3] = np.nan
    model, callback = linear(), lossgap.TrueLoss()
    with pytest.warns(lossgap.LossgapWarning, match="epoch 1: true_loss is nan") as caught:
        history = model.fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    assert [warning.category for warning in caught].count(lossgap.LossgapWarning) == 1
    assert np.isnan(history.history["true_loss"]).all()
    assert np.isnan(callback.measurements[0].regularization_gap)


def test_an_infinite_loss_passes_through():
    x, y = regression()
    y[:] = 1e30
    model = linear()
    model.optimizer.learning_rate = 0.0
    with pytest.warns(lossgap.LossgapWarning, match="epoch 1: true_loss is inf"):
        history = model.fit(x, y, verbose=0, callbacks=[lossgap.TrueLoss()])
    assert history.history["true_loss"] == [np.inf]


def test_a_measurement_that_fails_warns_once_and_the_training_goes_on():
    x, y = regression()
    callback = lossgap.TrueLoss(x[:, :2], y)  # fewer features than the model takes
    model = linear()
    with pytest.warns(lossgap.LossgapWarning, match="epoch 1 could not be measured") as caught:
        history = model.fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    assert [warning.category for warning in caught].count(lossgap.LossgapWarning) == 1
    assert "true_loss" not in history.history
    assert callback.measurements == []
    untouched = linear()  # from the same seeds
    untouched.fit(x, y, epochs=3, verbose=0)
    assert_same_state(state(model), state(untouched))


def test_the_verdict_is_printed_after_a_fit_that_prints(capsys):
    x, y = regression()
    model = linear()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[lossgap.TrueLoss()])
    assert capsys.readouterr().out == ""
    callback = lossgap.TrueLoss()
    model.fit(x, y, epochs=2, verbose=2, callbacks=[callback])
    assert str(callback.summary()) in capsys.readouterr().out


def test_cost_is_known_after_the_fit():
    x, y = regression()
    callback = lossgap.TrueLoss()
    linear().fit(x, y, epochs=2, verbose=0, callbacks=[callback])
    assert 0 < callback.compile_seconds < callback.fit_seconds
    assert 0 < sum(m.seconds for m in callback.measurements) < callback.fit_seconds
    assert callback.summary().measurements == tuple(callback.measurements)


def test_parts_and_metrics_can_be_switched_off():
    x, y = regression()
    callback = lossgap.TrueLoss(parts=False, metrics=False)
    history = linear().fit(x, y, verbose=0, callbacks=[callback])
    assert callback.measurements[0].parts == {}
    assert callback.measurements[0].metrics == {}
    assert "true_mae" not in history.history


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"every": 0}, "`every`.*at least 1.*Received: 0"),
        ({"every": 1.5}, "`every`.*Received: 1.5"),
        ({"every": True}, "`every`.*Received: True"),
        ({"batch_size": -4}, "`batch_size`.*Received: -4"),
        ({"y": np.zeros(3)}, "without `x`"),
        ({"sample_weight": np.zeros(3)}, "without `x`"),
    ],
)
def test_bad_options_fail_when_the_callback_is_made(arguments, text):
    with pytest.raises(InvalidArgumentError, match=text):
        lossgap.TrueLoss(**arguments)


def test_x_without_y_fails_before_the_training():
    x, y = regression()
    model = linear()
    with pytest.raises(DataError, match="x without y"):
        model.fit(x, y, verbose=0, callbacks=[lossgap.TrueLoss(x)])
    assert model.optimizer.iterations == 0


def test_lengths_that_differ_fail_before_the_training():
    x, y = regression()
    model = linear()
    with pytest.raises(DataError, match="same number of samples"):
        model.fit(x, y, verbose=0, callbacks=[lossgap.TrueLoss(x, y[:-1])])
    assert model.optimizer.iterations == 0


def test_a_summary_before_any_measurement_says_what_to_do():
    with pytest.raises(InvalidArgumentError, match="at least one measured epoch"):
        lossgap.TrueLoss().summary()


def test_no_warning_is_given_where_nothing_is_wrong():
    x, y = regression()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear().fit(x, y, validation_split=0.2, verbose=0, callbacks=[lossgap.TrueLoss()])


def test_an_uncompiled_model_is_refused_with_the_way_out():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    x, y = regression()
    with pytest.raises(UnsupportedModelError, match=r"isn't compiled.*model\.compile"):
        lossgap.measure(model, x, y)
