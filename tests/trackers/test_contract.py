"""What every tracker of lossgap's has to do. A new one costs a line in ``READ_BACK``.

The packages of all trackers have to be installed.
"""

import importlib
import time

import mlflow
import pytest
import wandb
from tracking import n_journals, wait_until

import wandb_runs
from lossgap import Measurement, MetricValues, Part, Summary
from lossgap.core.observers import Training
from lossgap.tensorboard.reader import READER as in_logs
from lossgap.trackers import Delivery, Tracker, registry

# What the packages of trackers say of each other is no matter of ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("_patient", "offline"),
]


offline = wandb_runs.offline  # a fixture


def mlflow_tracker(folder):
    return registry.tracker_class("mlflow")(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def from_mlflow(folder):
    """Return what the runs in an MLflow store hold: the tracked numbers by step, run by run."""
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs(["0"], order_by=["attributes.start_time ASC"])
    return [by_step(client, run) for run in runs]


def by_step(client, run):
    found = {}
    for name in run.data.metrics:
        if "best" not in name:  # a summary of the training, not of a measurement
            for metric in client.get_metric_history(run.info.run_id, name):
                found.setdefault(metric.step, {})[name] = metric.value
    return [found[step] for step in sorted(found)]


def tensorboard_tracker(folder):
    return registry.tracker_class("tensorboard")(folder / "logs")


def from_tensorboard(folder):
    """Return what log directories hold, a training each."""
    return [[m.tracked() for m in run.measurements] for run in in_logs.read(str(folder / "logs"))]


def wandb_tracker(folder):
    return registry.tracker_class("wandb")(wandb.init(mode="offline", dir=folder))


def from_wandb(folder):
    """Return what the one run holds, all trainings together."""
    place = wandb_runs.folder(wandb.run)
    wandb.finish()
    wandb_runs.wait_for_end(place)
    return [[m.tracked() for m in wandb_runs.read(place)]]


# Name: how to make the tracker of a folder, and how to read the folder back, a training each.
READ_BACK = {
    "mlflow": (mlflow_tracker, from_mlflow),
    "tensorboard": (tensorboard_tracker, from_tensorboard),
    "wandb": (wandb_tracker, from_wandb),
}
# Those whose package is there.
NAMES = [name for name in registry.names() if importlib.import_module(f"lossgap.{name}").__all__]


@pytest.fixture
def made(request, tmp_path, monkeypatch):
    """Return the tracker, and a function that reads back what it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    make, read = READ_BACK[request.param]
    return make(tmp_path), lambda: read(tmp_path)


def measurements(n, base=1.0):
    return [
        Measurement(
            base / (epoch + 1),
            epoch=epoch,
            step=10 * (epoch + 1),
            reported_loss=2.0 + epoch,
            val_loss=1.5,
            true_val_loss=1.25,
            parts={"penalty": Part(0.5), "drift": Part(0.25, 0.125)},
            metrics={"mae": MetricValues(0.75, 0.5, 0.25)},
            n_samples=70,
            n_total=70,
            standard_error=0.0625,
            seconds=0.03125,
        )
        for epoch in range(n)
    ]


def train(delivery, measured, *, failed=False):
    delivery.begin(Training({"every": 1, "unit": "epoch"}, n_epochs=len(measured)))
    for measurement in measured:
        delivery.measured(measurement)
    return delivery.end(Summary(tuple(measured)) if measured else None, failed=failed)


def assert_same(trainings, measured):
    """Compare what was read back, all trainings in a row, with what was measured.

    Within the rounding of float32, which TensorBoard stores.
    """
    rows = [row for training in trainings for row in training]
    assert len(rows) == len(measured)
    for row, measurement in zip(rows, measured, strict=True):
        assert row == pytest.approx(measurement.tracked(), rel=1e-6)


every_tracker = pytest.mark.parametrize("made", NAMES, indirect=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_tracker_is_made_by_its_name_alone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tracker,) = registry.resolve(name)
    assert isinstance(tracker, Tracker)
    assert tracker.name == name
    assert name in READ_BACK, "a tracker needs its line in this file"


@every_tracker
def test_what_is_read_back_is_what_was_tracked(made):
    tracker, read = made
    measured = measurements(3)
    lines = train(Delivery(tracker), measured)
    assert all(isinstance(line, str) for line in lines)
    assert_same(read(), measured)
    wait_until(lambda: n_journals() == 0)  # W&B is asked now and then what it has written


@every_tracker
def test_one_training_follows_the_other(made):
    tracker, read = made
    delivery = Delivery(tracker)
    first, second = measurements(2), measurements(3, base=0.5)
    train(delivery, first)
    train(delivery, second)
    assert_same(read(), [*first, *second])


@every_tracker
def test_a_clock_that_is_set_back_in_mid_training_changes_no_number_and_no_order(
    made, monkeypatch, figures
):
    tracker, read = made
    measured = measurements(6)
    set_back = 0
    for name, per_second in {"time": 1, "time_ns": 10**9}.items():
        real = getattr(time, name)
        monkeypatch.setattr(time, name, lambda real=real, n=per_second: real() - set_back * n)
    delivery = Delivery(tracker)
    delivery.begin(Training({"every": 1, "unit": "epoch"}, n_epochs=len(measured)))
    for measurement in measured:
        set_back = 3600 * (measurement.epoch >= 3)
        delivery.measured(measurement)
    delivery.end(Summary(tuple(measured)))
    assert_same(read(), measured)
    figures(f"the clock set back: {tracker.name}", len(measured), len(measured))


@every_tracker
def test_a_failed_training_keeps_its_measurements(made):
    tracker, read = made
    measured = measurements(2)
    train(Delivery(tracker), measured, failed=True)
    assert_same(read(), measured)


@every_tracker
@pytest.mark.parametrize("failed", [False, True])
def test_a_training_without_a_measurement_is_no_trouble(made, failed):
    tracker, _ = made
    train(Delivery(tracker), [], failed=failed)


@every_tracker
def test_the_end_may_come_twice(made):
    tracker, read = made
    measured = measurements(1)
    tracker.start(Training({"every": 1, "unit": "epoch"}))
    tracker.log(measured[0], 1e9)
    for _ in range(2):
        tracker.finish(Summary(tuple(measured)), failed=False)
    assert_same(read(), measured)
