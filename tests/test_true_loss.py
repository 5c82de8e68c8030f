"""The true loss, the penalties and the metrics agree with NumPy on a zoo of models."""

import random
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.random.seed_generator import global_seed_generator
from sklearn import metrics

import lossgap
import reference as ref
from lossgap.core import keys
from models import (
    CASES,
    Case,
    Forwards,
    activity,
    chain,
    diabetes,
    digits,
    predict,
    ready,
    trained,
    tumours,
    weights_for,
    wines,
)
from reference import Expected, Output


class Snapshot:
    """Every bit of a model's state, and of the random states around it."""

    def __init__(self, model):
        self.variables = [
            *model.variables,
            *model.metrics_variables,
            *model.optimizer.variables,
            global_seed_generator().state,
        ]
        self.bits = self.read()

    def read(self):
        return [
            *(variable.numpy().tobytes() for variable in self.variables),
            np.random.get_state()[1].tobytes(),  # noqa: NPY002  # it is what users have
            random.getstate(),
        ]

    def moved(self):
        """Return what isn't as it was."""
        names = [*(variable.path for variable in self.variables), "numpy.random", "random"]
        pairs = zip(names, self.bits, self.read(), strict=True)
        return [name for name, before, after in pairs if before != after]


@dataclass(frozen=True)
class Found:
    """One case of the zoo, measured."""

    case: Case
    expected: Expected
    measured: lossgap.Measurement
    measured_without_a_batch_size: lossgap.Measurement
    n_samples: int
    precision: str
    moved: list[str]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def found(request):
    case = request.param
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model, x, y, sample_weight = case.build()
    expected = case.reference(model, x, y, sample_weight, case.batch_size)
    snapshot = Snapshot(model)
    measured = lossgap.measure(model, x, y, sample_weight=sample_weight, batch_size=case.batch_size)
    again = lossgap.measure(model, x, y, sample_weight=sample_weight, parts=False, metrics=False)
    n_samples = len(keras.tree.flatten(x)[0])
    precision = model.dtype_policy.name
    return Found(case, expected, measured, again, n_samples, precision, snapshot.moved())


def test_the_true_loss_is_that_of_numpy(found):
    if found.expected.true_loss is None:
        assert np.isfinite(found.measured.true_loss)
    else:
        assert found.measured.true_loss == pytest.approx(
            found.expected.true_loss, rel=found.case.tolerance, abs=0
        )


def test_without_a_batch_size_the_true_loss_is_that_of_batches_of_32(found):
    if found.expected.true_loss is not None and found.case.batch_size == 32:
        assert found.measured_without_a_batch_size.true_loss == pytest.approx(
            found.expected.true_loss, rel=found.case.tolerance, abs=0
        )


def test_the_true_loss_is_exact_and_says_so(found):
    measured = found.measured
    assert measured.n_samples == measured.n_total == found.n_samples
    assert measured.standard_error is None
    assert measured.precision == found.precision


def test_the_penalties_by_layer_and_kind_are_those_of_numpy(found):
    penalties = {(p.layer.split("/")[-1], p.kind): p.value for p in found.measured.penalties}
    assert len(penalties) == len(found.measured.penalties)
    assert penalties == pytest.approx(found.expected.penalties, rel=5e-6)


def test_the_penalty_is_their_sum_and_absent_where_there_are_none(found):
    if not found.expected.penalties:
        assert keys.PENALTY not in found.measured.parts
        return
    assert found.measured.parts[keys.PENALTY].value == pytest.approx(
        found.expected.penalty, rel=5e-6
    )


def test_exactly_the_mechanisms_that_the_model_has_are_parts(found):
    parts = found.measured.parts
    assert set(parts) & set(keys.MECHANISMS) == found.case.mechanisms
    assert all(np.isfinite(part.value) for part in parts.values())
    assert not {keys.CLASS_WEIGHT, keys.DRIFT, keys.PIPELINE} & set(parts)


def test_no_variable_and_no_random_state_has_moved(found):
    assert found.moved == []


def test_a_snapshot_sees_everything_that_training_moves():
    x, y = tumours()
    stack = (layers.Dropout(0.2), layers.BatchNormalization(), layers.Dense(1, "sigmoid"))
    model = trained(chain((30,), *stack), "bce", x, y, metrics=["auc"])
    snapshot = Snapshot(model)
    assert snapshot.moved() == []

    model.fit(x, y, verbose=0)
    keras.random.normal((1,))
    np.random.normal()  # noqa: NPY002
    random.random()

    moved = {path.split("/")[-1] for path in snapshot.moved()}
    assert moved >= {"kernel", "moving_mean", "seed_generator_state", "iteration", "total"}
    assert moved >= {"true_positives", "numpy.random", "random"}


def test_a_model_that_was_never_called_is_built_and_measured():
    x, y = digits()
    model = Forwards()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    measured = lossgap.measure(model, x, y)
    output = Output(ref.sparse_categorical_crossentropy(), y, predict(model, x))
    assert measured.true_loss == pytest.approx(ref.true_loss(output, batch_size=32), rel=2e-6)
    assert set(measured.parts) == {"dropout"}


def test_the_zoo_is_large_and_every_name_is_used_once():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 100


# Metrics.


def true_metrics(model, *data, **options):
    measured = lossgap.measure(model, *data, **options)
    return {name: values.true for name, values in measured.metrics.items()}


def test_metrics_of_a_binary_classifier_are_those_of_scikit_learn():
    x, y = tumours()
    model = chain((30,), layers.Dropout(0.3), layers.Dense(1, "sigmoid"))
    f1_score = keras.metrics.F1Score(average="micro", threshold=0.5)
    compiled = ["accuracy", "auc", "precision", "recall", f1_score]
    trained(model, "binary_crossentropy", x, y.astype("float32"), metrics=compiled)
    snapshot = Snapshot(model)

    found = true_metrics(model, x, y.astype("float32"))

    p = predict(model, x)
    label, guess = y[:, 0], p[:, 0] > 0.5
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, guess))
    assert found["precision"] == pytest.approx(metrics.precision_score(label, guess))
    assert found["recall"] == pytest.approx(metrics.recall_score(label, guess))
    assert found["f1_score"] == pytest.approx(metrics.f1_score(label, guess), rel=1e-5)
    assert found["auc"] == pytest.approx(ref.roc_auc(label, p[:, 0]), rel=1e-5)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(label, p), abs=0.01)
    assert snapshot.moved() == []


def test_metrics_of_a_regression_are_those_of_scikit_learn():
    x, y = diabetes()
    compiled = ["mae", keras.metrics.R2Score(), keras.metrics.RootMeanSquaredError()]
    model = trained(
        chain((10,), layers.Dense(4, "relu"), layers.Dense(1)), "mse", x, y, metrics=compiled
    )

    found = true_metrics(model, x, y, batch_size=17)

    p = predict(model, x)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p), rel=1e-5)
    assert found["r2_score"] == pytest.approx(metrics.r2_score(y, p), rel=1e-4)
    assert found["root_mean_squared_error"] == pytest.approx(
        metrics.root_mean_squared_error(y, p), rel=1e-5
    )


def test_metrics_of_a_classifier_with_ten_classes_are_those_of_scikit_learn():
    x, y = digits()
    compiled = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_3")]
    model = chain((64,), layers.Dense(10, "softmax"))
    trained(model, "sparse_categorical_crossentropy", x, y, metrics=compiled)

    found = true_metrics(model, x, y)

    p = predict(model, x)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, p.argmax(1)))
    assert found["top_3"] == pytest.approx(metrics.top_k_accuracy_score(y, p, k=3))


def test_weighted_metrics_use_the_sample_weights_and_the_others_do_not():
    x, y = tumours()
    weight = weights_for(len(x))
    model = ready(
        chain((30,), layers.Dense(1, "sigmoid")),
        "binary_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.AUC(name="area"), "mae"],
    )

    found = true_metrics(model, x, y, sample_weight=weight)

    p, label = predict(model, x)[:, 0], y[:, 0]
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, p > 0.5))
    assert found["area"] == pytest.approx(ref.roc_auc(label, p, weight), rel=1e-5)
    assert found["mae"] == pytest.approx(
        metrics.mean_absolute_error(label, p, sample_weight=weight), rel=1e-5
    )


def test_metrics_of_named_outputs_have_the_names_that_keras_gives_them():
    x, y = wines()
    inputs = keras.Input((13,))
    hidden = layers.BatchNormalization()(layers.Dense(8, "relu")(inputs))
    outputs = {
        "level": layers.Dense(1, name="level")(hidden),
        "kind": layers.Dense(3, "softmax", name="kind")(hidden),
    }
    model = keras.Model(inputs, outputs)
    targets = {"level": x[:, :1], "kind": y}
    ready(
        model,
        {"level": "mse", "kind": "sparse_categorical_crossentropy"},
        metrics={"level": ["mae", "mse"], "kind": ["accuracy"]},
    )

    found = true_metrics(model, x, targets)

    p = predict(model, x)
    assert found["kind_accuracy"] == pytest.approx(metrics.accuracy_score(y, p["kind"].argmax(1)))
    assert found["level_mae"] == pytest.approx(
        metrics.mean_absolute_error(x[:, :1], p["level"]), rel=1e-5
    )
    assert found["level_mse"] == pytest.approx(
        metrics.mean_squared_error(x[:, :1], p["level"]), rel=1e-5
    )


def test_metrics_can_be_left_out():
    x, y = diabetes()
    model = ready(chain((10,), layers.Dense(1)), "mse", metrics=["mae"])
    assert lossgap.measure(model, x, y, metrics=False).metrics == {}


def test_metrics_measured_twice_are_the_same():
    x, y = tumours()
    model = ready(
        chain((30,), layers.Dense(1, "sigmoid")), "binary_crossentropy", metrics=["accuracy", "auc"]
    )
    assert true_metrics(model, x, y) == true_metrics(model, x, y)


# Batches and validation data.


@pytest.mark.parametrize("batch_size", [1, 7, 32, 150, 1000])
def test_a_mean_loss_does_not_depend_on_the_batch_size(batch_size):
    x, y = diabetes()
    model = ready(chain((10,), layers.Dropout(0.2), layers.Dense(1)), "mse")
    expected = ref.true_loss(Output(ref.mean_squared_error, y, predict(model, x)), batch_size=32)
    measured = lossgap.measure(model, x, y, batch_size=batch_size, parts=False)
    assert measured.true_loss == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
def test_a_summed_loss_is_that_of_the_batch_size(batch_size):
    x, y = diabetes()
    loss = keras.losses.MeanSquaredError(reduction="sum")
    model = ready(chain((10,), layers.Dense(1)), loss)
    output = Output(ref.mean_squared_error, y, predict(model, x), reduction="sum")
    measured = lossgap.measure(model, x, y, batch_size=batch_size)
    assert measured.true_loss == pytest.approx(
        ref.true_loss(output, batch_size=batch_size), rel=2e-6
    )


def test_the_true_validation_loss_has_no_penalties_of_the_weights_or_of_the_data():
    x, y = diabetes()
    train, val = slice(100), slice(100, None)
    hidden = layers.Dense(
        6, "relu", kernel_regularizer="l2", activity_regularizer="l1", name="hidden"
    )
    model = ready(chain((10,), hidden, layers.Dropout(0.2), layers.Dense(1)), "mse")
    val_loss = model.evaluate(x[val], y[val], verbose=0)

    measured = lossgap.measure(
        model, x[train], y[train], validation_data=(x[val], y[val]), val_loss=val_loss
    )

    p = predict(model, x)
    true, true_val = (
        ref.true_loss(Output(ref.mean_squared_error, y[part], p[part]), batch_size=32)
        for part in (train, val)
    )
    penalty = ref.l2(hidden.kernel.numpy(), 0.01) + activity(model, x[val], l1=0.01)
    assert measured.val_loss == val_loss
    assert measured.true_val_loss == pytest.approx(true_val, rel=2e-6)
    assert val_loss - penalty == pytest.approx(true_val, rel=1e-5)
    assert measured.generalization_gap == pytest.approx(true_val - true, rel=1e-5)
