"""The tracker alone, fed with measurements that were made by hand: no Keras, no backend."""

import json
import math
import shutil
import sys
import time

import mlflow
import numpy as np
import pytest
from mlflow.entities import DatasetInput, InputTag, LoggedModelStatus

from lossgap import Measurement, Part, Penalty, Summary
from lossgap.core.measurement import MetricValues
from lossgap.core.observers import Training
from lossgap.errors import InvalidArgumentError, MissingDependencyError
from lossgap.mlflow import MLflowTracker
from lossgap.mlflow.reader import accepts, read

SETTINGS = {"every": 1, "unit": "epoch", "parts": True, "seed": 3}


def measured(epoch, *, step=None, val=True, **changes):
    """Return a measurement with every kind of number in it."""
    fields = {
        "true_loss": 1.0 / (epoch + 1),
        "epoch": epoch,
        "step": 10 * (epoch + 1) if step is None else step,
        "reported_loss": 1.5 / (epoch + 1),
        "val_loss": 1.3 / (epoch + 1) if val else None,
        "true_val_loss": 1.1 + (epoch - 2) ** 2 if val else None,
        "parts": {"penalty": Part(0.2), "dropout": Part(0.1, 0.01), "drift": Part(0.05)},
        "penalties": (Penalty("dense", "l2", 0.2),),
        "metrics": {"accuracy": MetricValues(0.9, 0.8, 0.7)},
        "n_samples": 100,
        "n_total": 100,
        "seconds": 0.5,
    }
    return Measurement(**(fields | changes))


def quick(*arguments, **options):
    """Return a tracker that draws nothing, for what isn't about pictures."""
    return MLflowTracker(*arguments, **options, panels=False)


def train(tracker, measurements, *, failed=False, callbacks=(), settings=SETTINGS, at=1_000.0):
    """Lead a tracker through a training, and return its lines."""
    tracker.start(Training(settings, callbacks))
    for number, measurement in enumerate(measurements):
        tracker.log(measurement, at + number)
    return tracker.finish(Summary(tuple(measurements)) if measurements else None, failed=failed)


def histories(client, run_id):
    """Return all that was logged: name -> [(step, timestamp, value)]."""
    return {
        name: [(m.step, m.timestamp, m.value) for m in client.get_metric_history(run_id, name)]
        for name in client.get_run(run_id).data.metrics
    }


def the_run(client):
    """Return the one run of the experiment."""
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return run


def test_every_number_arrives_at_one_step_with_one_timestamp(client):
    measurements = [measured(epoch) for epoch in range(4)]
    with mlflow.start_run() as run:
        train(quick(), measurements)
    found = histories(client, run.info.run_id)
    for epoch, measurement in enumerate(measurements):
        moment = 1_000_000 + 1_000 * epoch
        logged = {
            name: value
            for name, history in found.items()
            for step, timestamp, value in history
            if (step, timestamp) == (epoch, moment) and "best" not in name
        }
        assert logged == measurement.tracked()
    assert {len(h) for name, h in found.items() if "best" not in name} == {4}


def test_a_run_of_its_own_ends_and_one_of_the_user_does_not(client):
    train(quick(extra_tags={"team": "vision"}), [measured(0)])
    own = the_run(client)
    assert own.info.status == "FINISHED"
    assert own.data.tags["team"] == "vision"
    assert own.data.tags["mlflow.autologging"] == "lossgap"
    assert {"mlflow.user", "mlflow.source.name"} <= own.data.tags.keys()
    with mlflow.start_run() as run:
        train(quick(), [measured(0)])
        assert client.get_run(run.info.run_id).info.status == "RUNNING"


def test_a_failed_training_leaves_its_own_run_failed(client):
    train(quick(), [measured(0)], failed=True)
    assert the_run(client).info.status == "FAILED"


def test_a_training_without_a_measurement_makes_no_run(client):
    assert train(quick(), []) == []
    assert client.search_runs([client.get_experiment_by_name("digits").experiment_id]) == []


def test_exclusive_keeps_away_from_the_users_run(client):
    with mlflow.start_run() as run:
        train(quick(exclusive=True), [measured(0)])
    assert client.get_run(run.info.run_id).data.metrics == {}
    others = client.search_runs([run.info.experiment_id], "tags.`mlflow.autologging` = 'lossgap'")
    assert len(others) == 1


def test_a_run_that_is_named_is_the_one(client):
    run = client.create_run(client.get_experiment_by_name("digits").experiment_id)
    with mlflow.start_run():
        train(quick(run.info.run_id), [measured(0)])
    assert "lossgap/true_loss" in client.get_run(run.info.run_id).data.metrics


def test_another_store_does_not_know_what_is_active_in_this_one(client, tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "other.db")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    with mlflow.start_run() as run:
        train(quick(tracking_uri=other), [measured(0)])
    assert client.get_run(run.info.run_id).data.metrics == {}
    (own,) = mlflow.MlflowClient(other).search_runs(["0"])
    assert own.data.metrics["lossgap/true_loss"] == 1.0


def test_a_second_training_in_one_run_goes_on_where_the_first_ended(client):
    tracker = quick()
    with mlflow.start_run() as run:
        train(tracker, [measured(epoch) for epoch in range(3)])
        train(tracker, [measured(epoch) for epoch in range(2)], at=2_000.0)
        train(quick(), [measured(epoch) for epoch in (5, 6)], at=3_000.0)
    steps = [step for step, _, _ in histories(client, run.info.run_id)["lossgap/true_loss"]]
    assert sorted(steps) == [0, 1, 2, 3, 4, 5, 6]


def test_resumed_epochs_keep_their_numbers(client):
    with mlflow.start_run() as run:
        train(quick(), [measured(epoch) for epoch in range(3)])
        train(quick(), [measured(epoch) for epoch in (3, 4)], at=2_000.0)
    steps = [step for step, _, _ in histories(client, run.info.run_id)["lossgap/true_loss"]]
    assert sorted(steps) == [0, 1, 2, 3, 4]


def test_in_mid_epoch_the_step_is_the_optimizers(client):
    with mlflow.start_run() as run:
        train(
            quick(),
            [measured(0, step=50), measured(0, step=100)],
            settings=SETTINGS | {"unit": "step", "every": 50},
        )
    steps = [step for step, _, _ in histories(client, run.info.run_id)["lossgap/true_loss"]]
    assert sorted(steps) == [50, 100]


def test_sending_twice_changes_nothing(client):
    measurement = measured(1, reported_loss=math.nan)
    tracker = quick()
    with mlflow.start_run() as run:
        tracker.start(Training(SETTINGS))
        tracker.log(measurement, 5.0)
        again = MLflowTracker.resume(json.loads(json.dumps(tracker.destination())))
        again.log(measurement, 5.0)
        unseen = MLflowTracker.resume(
            json.loads(json.dumps({**tracker.destination(), "offset": None}))
        )
        unseen.log(measurement, 5.0)
    assert histories(client, run.info.run_id)["lossgap/true_loss"] == [(1, 5_000, 0.5)]


def test_a_run_that_was_made_before_its_process_was_killed_is_found_again(client):
    """Before the run's id was on disk."""
    tracker = quick()
    tracker.start(Training(SETTINGS))
    on_disk = json.loads(json.dumps(tracker.destination()))
    assert on_disk["run_id"] is None
    tracker.log(measured(0), 5.0)
    again = MLflowTracker.resume(on_disk)
    again.log(measured(0), 5.0)
    again.log(measured(1), 6.0)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert histories(client, run.info.run_id)["lossgap/true_loss"] == [
        (0, 5_000, 1.0),
        (1, 6_000, 0.5),
    ]


def test_how_it_was_measured_is_told_in_tags_that_never_collide(client):
    with mlflow.start_run() as run:
        train(quick(), [measured(0)])
        train(quick(), [measured(0, n_samples=20, standard_error=0.1)], at=2_000.0)
    tags = client.get_run(run.info.run_id).data.tags
    assert tags["lossgap.method"] == "sample of 20 of 100"
    assert tags["lossgap.parts"] == "penalty, dropout, drift"
    assert tags["lossgap.every"] == "1 epoch"
    assert client.get_run(run.info.run_id).data.params == {}


def test_the_verdict_is_the_description_only_where_there_is_none(client):
    with mlflow.start_run() as run:
        train(quick(), [measured(0)])
        first = client.get_run(run.info.run_id).data.tags
        train(quick(), [measured(0, true_loss=9.0)], at=2_000.0)
        second = client.get_run(run.info.run_id).data.tags
    assert first["mlflow.note.content"] == first["lossgap.verdict"]
    assert second["mlflow.note.content"] == second["lossgap.verdict"] != first["lossgap.verdict"]
    with mlflow.start_run(description="mine") as run:
        train(quick(), [measured(0)])
    assert client.get_run(run.info.run_id).data.tags["mlflow.note.content"] == "mine"
    with mlflow.start_run() as run:
        train(quick(note=False), [measured(0)])
    assert "mlflow.note.content" not in client.get_run(run.info.run_id).data.tags


def with_model_and_data(client, run):
    """Let the run have a LoggedModel and a training dataset, as MLflow's autologging does."""
    model = client.create_logged_model(run.info.experiment_id, "model", run.info.run_id)
    data = mlflow.data.from_numpy(np.ones((1, 1)), name="digits-train")._to_mlflow_entity()
    client.log_inputs(
        run.info.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "train")])]
    )
    return model


def linked(client, model):
    """Return the metrics that are linked to a model: (name, step) -> metric."""
    metrics = client.get_logged_model(model.model_id).metrics or []
    assert len({(m.key, m.step) for m in metrics}) == len(metrics)
    return {(m.key, m.step): m for m in metrics}


def test_the_last_and_the_best_measurement_are_linked_to_model_and_data(client):
    measurements = [measured(epoch) for epoch in range(5)]
    with mlflow.start_run() as run:
        model = with_model_and_data(client, run)
        train(quick(), measurements, at=time.time())
    found = linked(client, model)
    assert found["lossgap/true_loss", 4].value == measurements[4].true_loss
    assert found["lossgap/true_loss", 4].dataset_name == "digits-train"
    assert found["lossgap/best_epoch", 4].value == 2
    assert found["lossgap/best_true_val_loss", 4].value == measurements[2].true_val_loss
    assert {step for _, step in found} == {4}
    # Linking has added nothing to the curves.
    assert len(histories(client, run.info.run_id)["lossgap/true_loss"]) == 5


def test_models_and_runs_can_be_sorted_by_the_true_loss(client):
    losses = [0.3, 0.1, 0.2]
    for loss in losses:
        with mlflow.start_run() as run:
            with_model_and_data(client, run)
            train(
                quick(),
                [measured(0, true_loss=5.0), measured(1, true_loss=loss)],
                at=time.time(),
            )
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment], order_by=["metrics.`lossgap/true_loss` ASC"])
    assert [r.data.metrics["lossgap/true_loss"] for r in runs] == sorted(losses)
    models = client.search_logged_models(
        [experiment],
        filter_string="metrics.`lossgap/true_loss` < 0.25",
        order_by=[{"field_name": "metrics.lossgap/true_loss", "ascending": True}],
        datasets=[{"dataset_name": "digits-train"}],
    )
    values = [m.value for model in models for m in model.metrics if m.key == "lossgap/true_loss"]
    assert values == [0.1, 0.2]


def echo(model_input: list[str]) -> list[str]:
    """Be a model that MLflow can log; without types it warns."""
    return model_input


def test_a_training_of_one_epoch_does_not_step_into_mlflows_trap(client):
    """Model and dataset together at step 0 would make MLflow's own log_model fail."""
    with mlflow.start_run() as run:
        model = with_model_and_data(client, run)
        train(quick(), [measured(0)], at=time.time())
        mlflow.pyfunc.log_model(
            python_model=mlflow.pyfunc.utils.pyfunc(echo),
            name="model",
            model_id=model.model_id,
            pip_requirements=["mlflow"],
        )
    assert linked(client, model)["lossgap/true_loss", 0].value == 1.0
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert client.get_logged_model(model.model_id).status == LoggedModelStatus.READY


class Stopping:
    """As much of Keras's EarlyStopping as the tracker reads."""

    restore_best_weights = True
    best_weights = ()
    best_epoch = 1


def test_the_linked_numbers_are_those_of_the_weights_that_are_kept(client):
    with mlflow.start_run() as run:
        model = with_model_and_data(client, run)
        measurements = [measured(epoch) for epoch in range(4)]
        train(quick(), measurements, callbacks=(Stopping(),), at=time.time())
    found = linked(client, model)
    assert found["lossgap/true_loss", 1].value == measurements[1].true_loss
    assert {step for _, step in found} == {1}


def test_an_unmeasured_epoch_that_is_kept_links_nothing(client):
    with mlflow.start_run() as run:
        model = with_model_and_data(client, run)
        train(quick(), [measured(0), measured(3)], callbacks=(Stopping(),), at=time.time())
    assert linked(client, model) == {}


def test_names_that_mlflow_refuses_are_cleaned_and_stay_apart(client):
    odd = {"a/b": 1.0, "a_b": 2.0, "größe": 3.0, "x" * 400: 4.0, "../up": 5.0, "p@5": 6.0}
    measurement = measured(0, metrics={name: MetricValues(v) for name, v in odd.items()})
    with mlflow.start_run() as run:
        train(quick(), [measurement])
    metrics = client.get_run(run.info.run_id).data.metrics
    assert metrics["lossgap/true_a_b"] == 1.0
    assert metrics["lossgap/true_a_b_2"] == 2.0
    assert metrics["lossgap/true_gr__e"] == 3.0
    assert metrics["lossgap/true____up"] == 5.0
    assert metrics["lossgap/true_p_5"] == 6.0
    (long,) = [name for name in metrics if "xxx" in name]
    assert (len(long), metrics[long]) == (250, 4.0)


def test_a_number_that_is_none_stays_away_and_nan_arrives_as_such(client):
    with mlflow.start_run() as run:
        train(quick(), [measured(0, val=False, reported_loss=math.nan)])
    metrics = client.get_run(run.info.run_id).data.metrics
    assert "lossgap/true_val_loss" not in metrics
    assert math.isnan(metrics["lossgap/reported_loss"])


def test_the_panels_are_artifacts(client, tmp_path):
    with mlflow.start_run() as run:
        train(MLflowTracker(), [measured(epoch) for epoch in range(3)])
        train(MLflowTracker(), [measured(epoch) for epoch in range(3)], at=2_000.0)
    names = {a.path for a in client.list_artifacts(run.info.run_id, "lossgap")}
    assert names == {
        f"lossgap/{name}"
        for name in (
            "true_loss.html",
            "measurements.json",
            "measurements.jsonl",
            "loss_comparison.png",
            "gap_by_cause.png",
            "generalization.png",
            "penalty_by_layer.png",
            "waterfall.png",
        )
    }
    page = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/lossgap/true_loss.html")
    assert "<script" in page
    assert " src=" not in page.split("<script", 1)[0]
    table = mlflow.load_table("lossgap/measurements.json", run_ids=[run.info.run_id])
    assert list(table["lossgap/true_loss"]) == pytest.approx([1.0, 0.5, 1 / 3])
    assert list(table["epoch"]) == [0, 1, 2]


def test_the_users_own_tables_can_still_be_loaded(client):
    with mlflow.start_run() as run:
        mlflow.log_table({"a": [1]}, "mine.json")
        train(MLflowTracker(), [measured(0)])
    assert list(mlflow.load_table("mine.json", run_ids=[run.info.run_id])["a"]) == [1]


def test_panels_and_view_can_be_left_out(client):
    with mlflow.start_run() as run:
        assert train(MLflowTracker(panels=False, view=False), [measured(0)]) == []
    assert client.list_artifacts(run.info.run_id) == []
    assert client.get_experiment(run.info.experiment_id).tags.keys() == set()


def test_without_the_charts_package_the_metrics_arrive_and_the_user_hears_why(client, monkeypatch):
    def missing(*_arguments):
        raise MissingDependencyError('pip install "lossgap[charts]"')

    monkeypatch.setattr("lossgap.mlflow.artifacts.write_png", missing)
    with mlflow.start_run() as run:
        (line, _address) = train(MLflowTracker(), [measured(0)])
    assert 'pip install "lossgap[charts]"' in line
    assert client.get_run(run.info.run_id).data.metrics["lossgap/true_loss"] == 1.0


def test_the_view_is_written_once_and_mended_in_place(client):
    with mlflow.start_run() as run:
        (address,) = train(quick(), [measured(0)])
        tag = "mlflow.sharedViewState.lossgap-true-loss"
        first = client.get_experiment(run.info.experiment_id).tags[tag]
        train(quick(), [measured(0)], at=2_000.0)
        assert client.get_experiment(run.info.experiment_id).tags[tag] == first
        client.set_experiment_tag(run.info.experiment_id, tag, "old")
        train(quick(), [measured(0)], at=3_000.0)
    mended = json.loads(client.get_experiment(run.info.experiment_id).tags[tag])
    assert mended["state"] == json.loads(first)["state"]
    assert "viewStateShareKey=lossgap-true-loss" in address
    assert address.startswith("Reported and true loss in one chart: mlflow ui --backend-store-uri")


def test_a_password_is_neither_shown_nor_written(client, monkeypatch):
    uri = "https://ada:secret@tracking.example/api"
    tracker = MLflowTracker("0" * 32, tracking_uri=uri)
    tracker.start(Training(SETTINGS))
    assert "secret" not in json.dumps(tracker.destination())
    monkeypatch.setattr("lossgap.mlflow.runs.tracking_uri", lambda: uri)
    assert MLflowTracker.resume(tracker.destination())._to.tracking_uri == uri


def test_a_local_store_is_found_again_from_another_folder(client, tmp_path, monkeypatch):
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    tracker = quick()
    tracker.start(Training(SETTINGS))
    monkeypatch.chdir("/")
    again = MLflowTracker.resume(tracker.destination())
    again.log(measured(0), 1.0)
    assert the_run(client).data.metrics["lossgap/true_loss"] == 1.0


@pytest.mark.parametrize("arguments", [{"run_id": 3}, {"extra_tags": "team"}, {"run_id": object()}])
def test_a_wrong_argument_is_an_error_at_once(arguments):
    with pytest.raises(InvalidArgumentError, match="Received"):
        MLflowTracker(**arguments)


def test_without_mlflow_the_error_has_the_command(monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "mlflow", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "lossgap\[mlflow\]"'):
            MLflowTracker()


# The reader behind `lossgap report`.


def test_what_was_logged_is_read_back_whole(client, tmp_path):
    measurements = tuple(measured(epoch) for epoch in range(3))
    with mlflow.start_run(run_name="first") as run:
        train(MLflowTracker(), measurements)
    for place in (
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        f"sqlite:///{tmp_path / 'mlflow.db'}?experiment=digits",
        f"sqlite:///{tmp_path / 'mlflow.db'}?runs={run.info.run_id}",
        f"runs:/{run.info.run_id}",
        str(tmp_path),
    ):
        assert accepts(place)
        (found,) = read(place)
        assert found.name == "first"
        assert found.measurements == measurements


def test_without_artifacts_the_metrics_are_read(client, tmp_path):
    with mlflow.start_run():
        train(quick(), [measured(epoch) for epoch in range(3)])
    (found,) = read(f"sqlite:///{tmp_path / 'mlflow.db'}")
    expected = [measured(epoch).tracked() for epoch in range(3)]
    assert [m.tracked() for m in found.measurements] == expected
    assert [m.epoch for m in found.measurements] == [0, 1, 2]


def test_a_place_without_a_true_loss_says_so(client, tmp_path):
    with mlflow.start_run():
        mlflow.log_metric("loss", 1.0)
    with pytest.raises(ValueError, match=r"No run in .* has 'lossgap/true_loss'"):
        read(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(ValueError, match="no experiment called 'nothing'"):
        read(f"sqlite:///{tmp_path / 'mlflow.db'}?experiment=nothing")


@pytest.mark.parametrize("place", ["runs.jsonl", "logs", "wandb/offline-run-1", "C:stuff"])
def test_other_places_are_not_mlflows(place):
    assert not accepts(place)
