"""Models with steps, losses and modes of their own: a right number, or a clear refusal."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import lossgap
from lossgap.errors import UnsupportedModelError
from small import assert_same_state, linear, mse, regression, state


def build(kind, **compiling):
    inputs = layers.Input((4,))
    model = kind(inputs, layers.Dense(1, kernel_regularizer="l2")(inputs))
    model.compile("sgd", **compiling)
    return model


class OwnTrainStep(keras.Model):
    """Clips its gradients, and reports the loss as Keras does."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients = [tf.clip_by_norm(gradient, 0.1) for gradient in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
        return self.get_metrics_result()


class Silent(OwnTrainStep):
    """Reports something else than a loss."""

    def train_step(self, data):
        super().train_step(data)
        return {"progress": 1.0}


class OwnTestStep(keras.Model):
    """Validates like Keras, step by step."""

    def test_step(self, data):
        x, y = data
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=False), training=False)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
        return {"loss": self._loss_tracker.result()}


class Scaling(keras.Model):
    """Scales its data in its steps, where no one else sees it."""

    def train_step(self, data):
        x, y = data
        return super().train_step((x / 10.0, y))

    def test_step(self, data):
        x, y = data
        return super().test_step((x / 10.0, y))


class SelfSupervised(keras.Model):
    """Makes its targets in its step."""

    def train_step(self, data):
        return super().train_step((data, ops.sum(data, axis=-1, keepdims=True)))


class WithSuper(keras.Model):
    """Adds a term to the compiled loss and the penalties."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + 0.5 * ops.mean(ops.abs(y_pred))


class WithoutPenalties(keras.Model):
    """Computes a loss of its own and leaves the penalties out."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        del x, sample_weight, training
        return ops.mean(ops.abs(y - y_pred))


class WithPenalties(keras.Model):
    """Computes a loss of its own and doubles the penalties."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        del x, sample_weight, training
        return ops.mean(ops.abs(y - y_pred)) + 2.0 * ops.sum(self.losses)


def squared_kernel(model):
    return 0.01 * float(np.sum(model.layers[-1].kernel.numpy().astype("float64") ** 2))


def test_a_train_step_of_ones_own_is_measured_by_the_compiled_loss():
    x, y = regression()
    model, callback = build(OwnTrainStep, loss="mse"), lossgap.TrueLoss()
    with pytest.warns(lossgap.LossgapWarning, match=r"OwnTrainStep\.train_step.*'drift'"):
        model.fit(x, y, validation_split=0.2, verbose=0, callbacks=[callback])
    measured = callback.measurements[0]
    assert measured.true_loss == pytest.approx(mse(model, x[:56], y[:56]), rel=2e-6)
    assert measured.true_val_loss == pytest.approx(mse(model, x[56:], y[56:]), rel=2e-6)


def test_a_train_step_that_reports_no_loss_leaves_the_gap_out_and_says_so():
    x, y = regression()
    model, callback = build(Silent, loss="mse"), lossgap.TrueLoss()
    with (
        pytest.warns(lossgap.LossgapWarning, match=r"Silent\.train_step is the model's own"),
        pytest.warns(lossgap.LossgapWarning, match="no 'loss', so there is no gap"),
    ):
        history = model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
    assert callback.measurements[0].regularization_gap is None
    assert "drift" not in callback.measurements[0].parts
    assert "regularization_gap" not in history.history
    assert history.history["true_loss"][-1] == pytest.approx(mse(model, x, y), rel=2e-6)


def test_a_test_step_of_ones_own_is_measured_on_the_validation_data():
    x, y = regression()
    model, callback = build(OwnTestStep, loss="mse"), lossgap.TrueLoss()
    model.fit(x, y, validation_split=0.2, verbose=0, callbacks=[callback])
    measured = callback.measurements[0]
    assert measured.true_loss == pytest.approx(mse(model, x[:56], y[:56]), rel=2e-6)
    assert measured.true_val_loss == pytest.approx(mse(model, x[56:], y[56:]), rel=2e-6)


def test_a_test_step_that_changes_the_data_is_refused_and_named():
    x, y = regression()
    model, callback = build(Scaling, loss="mse"), lossgap.TrueLoss()
    with (
        pytest.warns(lossgap.LossgapWarning, match=r"Scaling\.train_step is the model's own"),
        pytest.warns(lossgap.LossgapWarning, match=r"Scaling\.test_step reports a loss of"),
    ):
        history = model.fit(x, y, verbose=0, callbacks=[callback])
    assert "true_loss" not in history.history
    with pytest.raises(UnsupportedModelError, match=r"Scaling\.call or Scaling\.compute_loss"):
        lossgap.measure(model, x, y)


def test_a_train_step_that_makes_its_targets_is_named_in_the_refusal():
    x, _ = regression()
    model, callback = build(SelfSupervised, loss="mse"), lossgap.TrueLoss()
    with (
        pytest.warns(lossgap.LossgapWarning, match=r"train_step is the model's own"),
        pytest.warns(lossgap.LossgapWarning, match="Its train_step may make the targets"),
    ):
        history = model.fit(x, verbose=0, callbacks=[callback])
    assert list(history.history) == ["loss"]


@pytest.mark.parametrize("kind", [WithSuper, WithoutPenalties, WithPenalties])
def test_a_compute_loss_of_ones_own_is_measured_without_its_penalties(kind):
    x, y = regression()
    model, callback = build(kind), lossgap.TrueLoss()
    if kind is WithSuper:
        model.compile("sgd", "mse")
    model.fit(x, y, validation_split=0.2, batch_size=8, verbose=0, callbacks=[callback])
    measured = callback.measurements[0]

    def expected(x, y):
        outputs = model.predict(x, verbose=0).astype("float64")
        if kind is WithSuper:
            return np.mean((outputs - y) ** 2) + 0.5 * np.mean(np.abs(outputs))
        return np.mean(np.abs(outputs - y))

    assert measured.true_loss == pytest.approx(expected(x[:56], y[:56]), rel=2e-6)
    assert measured.true_val_loss == pytest.approx(expected(x[56:], y[56:]), rel=2e-6)
    factor = {WithSuper: 1.0, WithoutPenalties: 0.0, WithPenalties: 2.0}[kind]
    if factor:
        assert measured.parts["penalty"].value == pytest.approx(
            factor * squared_kernel(model), rel=1e-4
        )
    else:
        assert "penalty" not in measured.parts
    kinds = {WithSuper: ["l2"], WithoutPenalties: [], WithPenalties: ["compute_loss"]}[kind]
    assert [penalty.kind for penalty in measured.penalties] == kinds


def test_a_model_with_nothing_but_add_loss_is_refused():
    class Active(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(x**2))
            return x

    model = keras.Sequential([layers.Input((4,)), Active()])
    model.compile("sgd")
    x, y = regression()
    with pytest.raises(UnsupportedModelError, match="penalties from add_loss"):
        lossgap.measure(model, x, y)


@pytest.mark.parametrize("kind", [OwnTrainStep, OwnTestStep])
def test_a_model_whose_steps_hide_the_loss_is_refused_before_training_and_named(kind):
    x, y = regression()
    model = build(kind)
    step = "train_step" if kind is OwnTrainStep else "test_step"
    with pytest.raises(UnsupportedModelError, match=rf"{kind.__name__}\.{step}.*compute_loss"):
        model.fit(x, y, verbose=0, callbacks=[lossgap.TrueLoss()])
    assert model.optimizer.iterations == 0


def test_something_that_isnt_a_model_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"Expected a keras\.Model.*Received: Dense"):
        lossgap.measure(layers.Dense(1), np.zeros((2, 4)), np.zeros(2))


class Gated(keras.Model):
    """Calls its noise layer in training only."""

    def __init__(self):
        super().__init__()
        self.noise = layers.GaussianNoise(0.5)
        self.out = layers.Dense(1)

    def call(self, x, training=None):
        if training:
            x = self.noise(x)
        return self.out(x)


def test_a_layer_that_is_called_in_training_only_gets_its_whole_share():
    x, y = regression(n=600)
    model, callback = Gated(), lossgap.TrueLoss()
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0, callbacks=[callback])
    parts = callback.measurements[0].parts
    assert list(parts) == ["noise", "drift"]
    expected = 0.25 * np.sum(model.out.kernel.numpy() ** 2)
    assert parts["noise"].value == pytest.approx(expected, abs=4 * parts["noise"].standard_error)


def test_a_model_that_is_pinned_to_evaluation_has_no_mechanism():
    class Tuned(keras.Model):
        def __init__(self):
            super().__init__()
            self.base = keras.Sequential([layers.BatchNormalization(), layers.Dropout(0.5)])
            self.out = layers.Dense(1)

        def call(self, x, training=None):
            del training
            return self.out(self.base(x, training=False))

    model = Tuned()
    model.compile("sgd", "mse")
    x, y = regression()
    callback = lossgap.TrueLoss()
    model.fit(x, y, verbose=0, callbacks=[callback])
    assert list(callback.measurements[0].parts) == ["drift"]


@pytest.mark.parametrize("pinned", [True, False])
def test_mechanisms_are_those_that_the_training_really_runs(pinned):
    """Keras 3.15 overrules `training=False` in a functional graph; what counts is what runs."""
    inputs = layers.Input((4,))
    base = keras.Sequential([layers.Dropout(0.5)])
    hidden = base(inputs, training=False) if pinned else base(inputs)
    model = keras.Model(inputs, layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    x, y = regression()
    training, evaluation = (model(x, training=mode).numpy() for mode in (True, False))
    acts = not np.array_equal(training, evaluation)
    assert ("dropout" in lossgap.measure(model, x, y).parts) == acts


def test_a_layer_shared_between_a_pinned_and_a_free_call_keeps_both():
    class Shared(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization()
            self.out = layers.Dense(1)

        def call(self, x, training=None):
            return self.out(self.norm(x, training=training) + self.norm(x, training=False))

    x, y = regression(n=64)
    x += 3.0
    model, callback = Shared(), lossgap.TrueLoss()
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=64, verbose=0, callbacks=[callback])
    norm = model.norm
    gamma, beta, mean, variance = (value.astype("float64") for value in norm.get_weights())
    kernel, bias = model.out.get_weights()

    def loss(free, pinned):
        terms = [
            gamma * (x - used[0]) / np.sqrt(used[1] + norm.epsilon) + beta
            for used in (free, pinned)
        ]
        return np.mean((sum(terms) @ kernel + bias - y) ** 2)

    moving, batch = np.array([mean, variance]), np.array([x.mean(0), x.var(0)])
    # The free call updates the moving statistics before the pinned call reads them.
    updated = norm.momentum * moving + (1 - norm.momentum) * batch
    losses = [loss(batch, updated), loss(moving, moving)]
    part = callback.measurements[0].parts["batch_norm"]
    assert part.value == pytest.approx(losses[0] - losses[1], rel=1e-4)
    assert part.standard_error is None


def test_losses_of_the_users_last_call_stay_in_the_model():
    model = linear()
    x, y = regression()
    lossgap.measure(model, x, y)
    model(x)
    before = [float(loss) for loss in model.losses]
    lossgap.measure(model, x, y)
    assert [float(loss) for loss in model.losses] == before
    assert all("call" not in vars(layer) for layer in model._flatten_layers())


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    keras.config.set_floatx("float64" if request.param == "float64" else "float32")
    yield request.param
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"], indirect=True)
def test_the_precision_of_the_pass_is_told(policy):
    model = linear()
    x, y = regression()
    measured = lossgap.measure(model, x, y)
    assert measured.precision == policy
    tolerance = 1e-12 if policy == "float64" else 1e-2
    assert measured.true_loss == pytest.approx(mse(model, x, y), rel=tolerance)


def test_a_schedule_of_the_dropout_rate_is_followed():
    class Scheduled(layers.Layer):
        def __init__(self):
            super().__init__()
            self.strength = self.add_weight(name="strength", initializer="zeros", trainable=False)
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, x, training=None):
            if not training:
                return x
            return x + self.strength * keras.random.normal(ops.shape(x), seed=self.seed_generator)

    x, y = regression(n=300)
    model = keras.Sequential([layers.Input((4,)), Scheduled(), layers.Dense(1)])
    model.compile("sgd", "mse")
    first = lossgap.measure(model, x, y).parts["other"]
    assert first.value == 0.0
    model.layers[0].strength.assign(1.0)
    part = lossgap.measure(model, x, y).parts["other"]
    expected = float(np.sum(model.layers[-1].kernel.numpy() ** 2))
    assert part.value == pytest.approx(expected, abs=4 * part.standard_error)


class Unseeded(layers.Layer):
    """Draws from Keras's global seed generator, which comes into being with the first draw."""

    def call(self, x, training=None):
        return x + keras.random.normal(ops.shape(x)) if training else x


def test_a_layer_without_a_seed_leaves_the_global_random_state_alone():
    keras.utils.clear_session()
    model = keras.Sequential([layers.Input((4,)), Unseeded(), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = regression(n=300)
    before = random.getstate()
    first = lossgap.measure(model, x, y)
    assert random.getstate() == before
    part = first.parts["other"]
    expected = float(np.sum(model.layers[-1].kernel.numpy() ** 2))
    assert part.value == pytest.approx(expected, abs=4 * part.standard_error)
    assert lossgap.measure(model, x, y).parts == first.parts


def test_a_stateful_recurrent_layer_carries_its_state_through_the_pass():
    inputs = layers.Input(batch_shape=(32, 5, 2))
    model = keras.Model(inputs, layers.Dense(1)(layers.LSTM(3, stateful=True)(inputs)))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 5, 2)).astype("float32"), rng.normal(size=(64, 1))
    measured = lossgap.measure(model, x, y, batch_size=32)
    assert not np.any(model.layers[1].states[0].numpy())
    assert measured.true_loss == pytest.approx(
        model.evaluate(x, y, batch_size=32, verbose=0), rel=2e-6
    )


class OnlyEager(layers.Layer):
    """Computes in NumPy, which no graph can."""

    def call(self, x):
        return ops.convert_to_tensor(np.sort(x.numpy(), axis=-1))

    def compute_output_shape(self, input_shape):
        return input_shape


def test_a_model_that_runs_eagerly_is_measured_eagerly():
    x, y = regression()
    model = keras.Sequential(
        [OnlyEager(), layers.Dropout(0.3), layers.Dense(1, kernel_regularizer="l2")]
    )
    model.compile("sgd", "mse", run_eagerly=True)
    callback = lossgap.TrueLoss()
    model.fit(x, y, verbose=0, callbacks=[callback])
    outputs = np.sort(x) @ model.layers[-1].kernel.numpy() + model.layers[-1].bias.numpy()
    measured = callback.measurements[0]
    assert measured.true_loss == pytest.approx(np.mean((outputs - y) ** 2), rel=2e-6)
    assert set(measured.parts) == {"penalty", "dropout", "drift"}


class Compiled(layers.Layer):
    """Runs its sublayers in a tf.function of its own."""

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.5, seed=1)
        self.out = layers.Dense(1)

    @tf.function
    def call(self, x, training=False):
        return self.out(self.dropout(self.norm(x, training=training), training=training))


def test_a_layer_with_a_graph_of_its_own_trains_and_predicts_as_without_a_measurement():
    x, y = regression(n=60)
    results = []
    for callbacks in ([], [callback := lossgap.TrueLoss()]):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([layers.Dense(8), Compiled()])
        model.compile("adam", "mse")
        options = {"validation_data": (x, y), "validation_freq": 2, "batch_size": 16}
        history = model.fit(x, y, epochs=3, verbose=0, callbacks=callbacks, **options)
        model.predict(x, verbose=0)
        results.append((history.history["loss"], history.history["val_loss"], state(model)))
    assert results[0][:2] == results[1][:2]
    assert_same_state(results[0][2], results[1][2])
    # In NumPy from the weights: Keras's own predict() gives another number for such a layer.
    dense, inner = model.layers
    gamma, beta, mean, variance = inner.norm.get_weights()
    hidden = x @ dense.kernel.numpy() + dense.bias.numpy()
    hidden = gamma * (hidden - mean) / np.sqrt(variance + inner.norm.epsilon) + beta
    expected = np.mean((hidden @ inner.out.kernel.numpy() + inner.out.bias.numpy() - y) ** 2)
    assert callback.measurements[-1].true_loss == pytest.approx(expected, rel=2e-6)
    assert {"dropout", "batch_norm"} <= set(callback.measurements[-1].parts)


class Counting(layers.Layer):
    """Keeps a state that isn't Keras's."""

    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0.0, trainable=False)

    def call(self, x, training=None):
        if training:
            self.calls.assign_add(1.0)
        return x + 0.01 * self.calls


class Drawing(layers.Layer):
    """Draws from a generator of TensorFlow's."""

    def __init__(self):
        super().__init__()
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x, training=None):
        return x + self.generator.normal(tf.shape(x)) if training else x


@pytest.mark.parametrize("kind", [Counting, Drawing])
def test_a_state_of_tensorflows_own_is_left_alone_and_the_parts_are_refused(kind):
    x, y = regression()
    states = []
    for measured in (False, True):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([kind(), layers.Dense(1)])
        model.compile("sgd", "mse")
        if measured:
            with pytest.warns(lossgap.LossgapWarning, match="writes to a state of TensorFlow"):
                model.fit(x, y, epochs=2, verbose=0, callbacks=[lossgap.TrueLoss()])
        else:
            model.fit(x, y, epochs=2, verbose=0)
        states.append(state(model))
    assert_same_state(*states)


def test_draws_of_an_eager_model_dont_move_the_shared_random_states():
    class Noisy(layers.Layer):
        def call(self, x, training=None):
            if not training:
                return x
            noise = tf.random.normal(tf.shape(x)) + np.random.normal()  # noqa: NPY002
            return x + noise

    x, y = regression()
    losses = []
    for callbacks in ([], [lossgap.TrueLoss()]):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([layers.Input((4,)), Noisy(), layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        losses.append(model.fit(x, y, epochs=3, verbose=0, callbacks=callbacks).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", ["pinned to training", "centred on the batch"])
def test_a_model_that_looks_at_the_whole_batch_keeps_the_training_batch_size(kind):
    class Batchwise(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm, self.out = layers.BatchNormalization(), layers.Dense(1)

        def call(self, x):
            if kind == "pinned to training":
                return self.out(self.norm(x, training=True))
            return self.out(x - ops.mean(x, axis=0) + 0.0 * self.norm(x))

    x, y = regression(n=64)
    model, callback = Batchwise(), lossgap.TrueLoss()
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[callback])
    assert callback.measurements[0].true_loss == pytest.approx(
        model.evaluate(x, y, batch_size=8, verbose=0), rel=2e-6
    )


def test_a_metric_that_no_pass_updates_is_absent():
    class Tracking(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1)
            self.norm = keras.metrics.Mean("norm")

        def call(self, x, training=None):
            if training:
                self.norm.update_state(ops.mean(x**2))
            return self.out(x)

    x, y = regression()
    model, callback = Tracking(), lossgap.TrueLoss()
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(x, y, verbose=0, callbacks=[callback])
    assert history.history["norm"][0] > 0
    assert set(callback.measurements[0].metrics) == {"mae"}


def test_a_loss_that_isnt_reduced_is_measured_by_its_mean():
    x, y = regression()
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", keras.losses.MeanSquaredError(reduction=None))
    assert lossgap.measure(model, x, y).true_loss == pytest.approx(mse(model, x, y), rel=2e-6)
