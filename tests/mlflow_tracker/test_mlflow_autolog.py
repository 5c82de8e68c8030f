"""Autologging in real trainings: beside MLflow's own in every order, and alone."""

import json
import subprocess
import sys
import textwrap

import keras
import mlflow
import numpy as np
import pytest

import lossgap
from lossgap.errors import InvalidArgumentError, LossgapWarning
from small import linear, mse, regression

QUICK = {"log_panels": False, "log_view": False}


def ours(**options):
    """Switch ours on, without pictures."""
    lossgap.mlflow.autolog(**(QUICK | options))


def tensorflow(**options):
    """Switch on MLflow's autologging for TensorFlow, without the model, which takes seconds."""
    mlflow.tensorflow.autolog(log_models=False, checkpoint=False, **options)


def for_keras(**options):
    """Switch on MLflow's autologging for Keras, without the model."""
    mlflow.keras.autolog(log_models=False, **options)


def everything(**options):
    """Switch on all of MLflow's autologging."""
    mlflow.autolog(log_models=False, **options)


def train(epochs=2, **options):
    """Train the small model with validation, and return its History."""
    keras.backend.clear_session(free_memory=False)  # which counts the names of optimizers
    x, y = regression()
    options = {"validation_data": (x[:20], y[:20]), "verbose": 0, "callbacks": []} | options
    return linear().fit(x, y, epochs=epochs, **options)


def runs_of(client):
    """Return all runs, newest last, once MLflow's own queue is empty."""
    mlflow.flush_async_logging()
    experiment = client.get_experiment_by_name("digits").experiment_id
    return client.search_runs([experiment], order_by=["attributes.start_time ASC"])


def curve(client, run, name):
    """Return the logged values of a metric by step."""
    return {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}


ORDERS = {
    "ours alone": [ours],
    "ours, TensorFlow": [ours, tensorflow],
    "TensorFlow, ours": [tensorflow, ours],
    "ours, Keras": [ours, for_keras],
    "Keras, ours": [for_keras, ours],
    "ours, all": [ours, everything],
    "all, ours": [everything, ours],
    "TensorFlow, ours, Keras": [tensorflow, ours, for_keras],
    "Keras, ours, TensorFlow": [for_keras, ours, tensorflow],
    "ours twice": [ours, tensorflow, ours],
}


@pytest.mark.parametrize("inside", [False, True], ids=["own run", "user's run"])
@pytest.mark.parametrize("order", ORDERS)
def test_both_sets_of_metrics_are_in_one_run(client, order, inside):
    for switch_on in ORDERS[order]:
        switch_on()
    if inside:
        with mlflow.start_run() as users:
            history = train()
    else:
        history = train()
    (run,) = runs_of(client)
    if inside:
        assert run.info.run_id == users.info.run_id
    assert run.info.status == "FINISHED"
    assert list(curve(client, run, "lossgap/true_loss")) == [0, 1]
    assert [*curve(client, run, "lossgap/true_loss").values()] == history.history["true_loss"]
    assert [*curve(client, run, "lossgap/reported_loss").values()] == pytest.approx(
        history.history["loss"]
    )
    if order.startswith("ours alone"):
        assert "loss" not in run.data.metrics
    else:
        assert [*curve(client, run, "loss").values()] == pytest.approx(history.history["loss"])
        # MLflow's callback saw no number of ours.
        assert "true_loss" not in run.data.metrics


def test_the_logged_number_is_that_of_an_independent_computation(client):
    ours()
    x, y = regression()
    model = linear(dropout=0.5, l2=0.1)
    model.fit(x, y, epochs=1, verbose=0)
    (run,) = runs_of(client)
    assert run.data.metrics["lossgap/true_loss"] == pytest.approx(mse(model, x, y), rel=1e-5)


def test_without_a_tracking_uri_it_logs_to_mlflows_default(client, monkeypatch):
    # A database or a folder of files in the working directory, by MLflow's version.
    mlflow.set_tracking_uri(None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_experiment("digits")
    ours()
    train()
    default = mlflow.MlflowClient()
    (run,) = runs_of(default)
    assert list(curve(default, run, "lossgap/true_loss")) == [0, 1]


SWITCHED_OFF = {
    "disable": lambda: ours(disable=True),
    "disable, after it was on": lambda: (ours(), ours(disable=True)),
    "mlflow.autolog(disable=True)": lambda: (ours(), mlflow.autolog(disable=True)),
    "never on": lambda: None,
}


@pytest.mark.parametrize("how", SWITCHED_OFF)
def test_switched_off_it_leaves_no_trace(client, how):
    SWITCHED_OFF[how]()
    history = train()
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert runs_of(client) == []


def test_mlflows_disable_of_its_own_leaves_ours(client):
    ours()
    tensorflow()
    mlflow.tensorflow.autolog(disable=True)
    train()
    (run,) = runs_of(client)
    assert "lossgap/true_loss" in run.data.metrics
    assert "loss" not in run.data.metrics


def test_exclusive_keeps_away_from_the_users_run(client):
    ours(exclusive=True)
    with mlflow.start_run() as users:
        train()
    found = {run.info.run_id: run for run in runs_of(client)}
    assert len(found) == 2
    assert "lossgap/true_loss" not in found.pop(users.info.run_id).data.metrics
    (own,) = found.values()
    assert own.data.metrics["lossgap/true_loss"]


def test_exclusive_beside_mlflows_own_run_uses_that(client):
    ours(exclusive=True)
    tensorflow()
    train()
    (run,) = runs_of(client)
    assert {"loss", "lossgap/true_loss"} <= run.data.metrics.keys()


def test_nested_runs_keep_their_own_numbers(client):
    tensorflow()
    ours()
    with mlflow.start_run():
        histories = []
        for _ in range(2):
            with mlflow.start_run(nested=True):
                histories.append(train())
    parent, *children = runs_of(client)
    assert "lossgap/true_loss" not in parent.data.metrics
    for run, history in zip(children, histories, strict=True):
        assert [*curve(client, run, "lossgap/true_loss").values()] == history.history["true_loss"]


def test_several_fits_in_one_run_go_on_in_steps(client):
    ours()
    tensorflow()
    x, y = regression()
    model = linear()
    with mlflow.start_run():
        for _ in range(3):
            model.fit(x, y, epochs=2, verbose=0)
    (run,) = runs_of(client)
    assert list(curve(client, run, "lossgap/true_loss")) == [0, 1, 2, 3, 4, 5]


def test_extra_tags_are_on_runs_of_its_own(client):
    ours(extra_tags={"team": "vision"})
    train()
    (run,) = runs_of(client)
    assert run.data.tags["team"] == "vision"


def test_options_reach_the_measurement(client):
    ours(every=2, parts=False, metrics=False)
    train(epochs=4)
    (run,) = runs_of(client)
    assert list(curve(client, run, "lossgap/true_loss")) == [1, 3]
    assert not [name for name in run.data.metrics if "gap_" in name or "mae" in name]


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"unit": "week"}, {"batch_size": -1}, {"extra_tags": "a"}]
)
def test_a_wrong_option_is_an_error_before_any_training(wrong):
    with pytest.raises(InvalidArgumentError, match="Received"):
        lossgap.mlflow.autolog(**wrong)


def test_the_users_own_callback_measures_and_is_logged(client):
    ours()
    x, y = regression()
    callback = lossgap.TrueLoss(x[:30], y[:30], parts=False)
    train(callbacks=[callback])
    (run,) = runs_of(client)
    assert [*curve(client, run, "lossgap/true_loss").values()] == [
        m.true_loss for m in callback.measurements
    ]
    assert callback.observer is None


def test_a_plain_tracker_beside_autologging_logs_once(client):
    ours()
    x, y = regression()
    train(callbacks=[lossgap.TrueLoss(x, y, trackers=lossgap.mlflow.MLflowTracker(view=False))])
    (run,) = runs_of(client)
    history = client.get_metric_history(run.info.run_id, "lossgap/true_loss")
    assert [m.step for m in history] == [0, 1]


@pytest.mark.parametrize("name", ["mlflow", ["mlflow"]])
def test_a_tracker_by_name(client, name):
    x, y = regression()
    callback = lossgap.TrueLoss(x, y, trackers=name)
    linear().fit(x, y, epochs=1, verbose=0, callbacks=[callback])
    (run,) = runs_of(client)
    assert run.data.metrics["lossgap/true_loss"] == callback.measurements[0].true_loss


class Fails(keras.callbacks.Callback):
    """Raises after the first epoch."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise self.error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()], ids=type)
@pytest.mark.parametrize("beside", [[], [tensorflow]], ids=["alone", "beside MLflow"])
def test_a_training_that_fails_leaves_its_run_failed(client, error, beside):
    for switch_on in [ours, *beside]:
        switch_on()
    with pytest.raises(type(error)):
        train(callbacks=[Fails(error)])
    (run,) = runs_of(client)
    assert run.info.status == "FAILED"
    assert list(curve(client, run, "lossgap/true_loss")) == [0]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()], ids=type)
def test_a_users_run_ends_as_mlflow_ends_it(client, error):
    ours()
    with pytest.raises(type(error)), mlflow.start_run():
        train(callbacks=[Fails(error)])
    (run,) = runs_of(client)
    assert run.info.status == "FAILED"


def test_a_model_that_cannot_be_measured_is_a_warning_and_no_error(client):
    ours()
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1, activity_regularizer="l2")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile("sgd")  # no loss on the data, a penalty alone
    with pytest.warns(LossgapWarning, match="goes on without the true loss"):
        history = model.fit(regression()[0], verbose=0)
    assert list(history.history) == ["loss"]
    assert runs_of(client) == []


def test_silent_says_nothing(client, capsys):
    ours(silent=True)
    x, y = regression()
    linear().fit(x, y, epochs=1, verbose=2)
    assert "Keras reports" not in capsys.readouterr().out
    (run,) = runs_of(client)
    assert "lossgap/true_loss" in run.data.metrics


def test_the_address_of_the_view_is_printed_once(client, capsys):
    lossgap.mlflow.autolog(log_panels=False)
    x, y = regression()
    linear().fit(x, y, epochs=2, verbose=2)
    assert capsys.readouterr().out.count("viewStateShareKey=lossgap-true-loss") == 1


def everything_of(client, run):
    """Return all that is known of a run, ours left out."""

    def foreign(name):
        return "lossgap" not in name

    def paths(folder=None):
        for artifact in client.list_artifacts(run.info.run_id, folder):
            if foreign(artifact.path):
                yield from paths(artifact.path) if artifact.is_dir else [artifact.path]

    changing = {"mlflow.runName", "mlflow.log-model.history", "mlflow.note.content"}
    events = "events.out.tfevents"  # names with a time in them
    return {
        "metrics": {name: curve(client, run, name) for name in run.data.metrics if foreign(name)},
        "params": run.data.params,
        "tags": {
            name: value
            for name, value in run.data.tags.items()
            if foreign(name) and name not in changing and "lossgap/" not in value
        },
        "artifacts": sorted({path.partition(events)[0] for path in paths()}),
        "datasets": [(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs],
        "status": run.info.status,
    }


def early_stop():
    """Stop after the second epoch, and put the first one's weights back."""
    return keras.callbacks.EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)


@pytest.mark.parametrize(
    ("switch_on", "callbacks"),
    [
        (mlflow.tensorflow.autolog, list),
        (mlflow.tensorflow.autolog, lambda: [early_stop()]),
        (mlflow.keras.autolog, list),
    ],
    ids=["TensorFlow", "TensorFlow with an early stop", "Keras"],
)
def test_mlflows_own_autologging_logs_the_same_with_and_without_ours(client, switch_on, callbacks):
    switch_on()
    train(epochs=3, callbacks=callbacks())
    ours()
    train(epochs=3, callbacks=callbacks())
    without, with_ours = runs_of(client)
    assert "lossgap/true_loss" in with_ours.data.metrics
    assert everything_of(client, without) == everything_of(client, with_ours)
    model = client.search_logged_models([without.info.experiment_id])
    assert len(model) == 2
    assert {m.status for m in model} == {mlflow.entities.LoggedModelStatus.READY}


def test_the_model_that_mlflow_logs_is_linked_to_the_last_true_loss(client):
    ours()
    mlflow.tensorflow.autolog(checkpoint=False)
    history = train(epochs=3)
    (run,) = runs_of(client)
    (model,) = client.search_logged_models(
        [run.info.experiment_id],
        order_by=[{"field_name": "metrics.lossgap/true_loss", "ascending": True}],
    )
    last = [m for m in model.metrics if m.key == "lossgap/true_loss" and m.step == 2]
    assert [m.value for m in last] == [history.history["true_loss"][-1]]
    assert last[0].dataset_name


def test_training_is_the_same_with_and_without(client):
    weights = []
    for switch_on in (lambda: None, ours):
        switch_on()
        keras.utils.set_random_seed(5)
        x, y = regression()
        model = linear(dropout=0.4)
        model.fit(x, y, epochs=3, verbose=0)
        weights.append([v.numpy() for v in [*model.variables, *model.optimizer.variables]])
        weights[-1].append(np.random.random(3))  # noqa: NPY002 - the global state
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


PROGRAM = """
import json, os, sys
import lossgap, mlflow
mlflow.set_tracking_uri(sys.argv[1])
{before}
assert "keras" not in sys.modules
import keras, numpy as np
{after}
x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, x[:, :1], epochs=2, verbose=0)
client = mlflow.MlflowClient()
(run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
print(json.dumps(run.data.metrics))
"""


@pytest.mark.parametrize("place", ["before", "after"])
def test_switched_on_before_or_after_keras_is_imported(client, tmp_path, place):
    switches = "lossgap.mlflow.autolog(log_panels=False)"
    source = PROGRAM.format(**({"before": "", "after": ""} | {place: switches}))
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), f"sqlite:///{tmp_path / 'mlflow.db'}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1])["lossgap/true_loss"] >= 0
