"""Offline runs, read back from disk in two independent ways."""

import copy
import math
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import wandb

import chart_samples
from lossgap import LossgapError, LossgapWarning, Measurement, MetricValues
from lossgap.core import keys
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import InvalidArgumentError
from lossgap.trackers import Delivery, leftovers
from lossgap.wandb import WandbTracker, read_runs, rows
from wandb_runs import folder, history, inspect, n_journals, ours, read, train, until, wait_for_end

pytestmark = pytest.mark.usefixtures("offline")


def logged(measurement):
    """Return a measurement as it comes back: without what a row doesn't hold."""
    metrics = {name: MetricValues(true=m.true) for name, m in measurement.metrics.items()}
    return replace(measurement, penalties=(), metrics=metrics)


def as_logged(value):
    return float(value) if isinstance(value, str) else value


def odd_training():
    """Return a training with numbers that JSON doesn't have, and absent ones."""
    whole = list(chart_samples.training(12, standard_error=0.004))
    whole[2] = replace(whole[2], reported_loss=math.nan)
    whole[3] = replace(whole[3], true_loss=math.inf)
    whole[4] = replace(whole[4], val_loss=None, true_val_loss=None)
    whole[5] = replace(whole[5], reported_loss=1 / 3, true_loss=5e-324, val_loss=1e300)
    return whole


def test_what_is_read_back_equals_what_was_measured():
    whole = odd_training()
    run = wandb.init(project="project")
    train(whole)
    run.finish()
    wait_for_end(folder(run))
    assert repr(read(folder(run))) == repr([logged(m) for m in whole])
    assert [repr(m.tracked()) for m in read(folder(run))] == [repr(m.tracked()) for m in whole]
    by_wandb = [{k: as_logged(v) for k, v in row.items()} for row in ours(history(folder(run)))]
    expected = [dict(sorted(rows.row(m).items())) for m in whole]
    assert repr(by_wandb) == repr(expected)


def test_every_number_goes_out_together_on_its_own_axis():
    run = wandb.init(project="project")
    train(chart_samples.training(2))
    run.finish()
    wait_for_end(folder(run))
    entries = inspect(folder(run))
    metrics = {e["metric"]["name"]: e["metric"] for e in entries if e["type"] == "metric"}
    assert not any("*" in name for name in metrics)
    row = rows.row(chart_samples.training(2)[0])
    assert metrics.keys() == row.keys()
    axes = {name: metric.get("step_metric") for name, metric in metrics.items()}
    assert axes == {name: None if name in {rows.EPOCH, rows.STEP} else rows.EPOCH for name in row}
    steps = [e["history"]["step"].get("num", 0) for e in entries if e["type"] == "history"]
    assert steps == [0, 1]


def test_in_mid_epoch_the_axis_is_the_optimizers_step():
    run = wandb.init(project="project")
    train(chart_samples.training(2), unit="step")
    run.finish()
    wait_for_end(folder(run))
    metrics = [e["metric"] for e in inspect(folder(run)) if e["type"] == "metric"]
    assert {metric.get("step_metric") for metric in metrics} == {None, rows.STEP}


def test_the_configuration_says_how_the_numbers_were_had():
    run = wandb.init(project="project", config={"learning_rate": 0.1})
    train(chart_samples.training(2, standard_error=0.004))
    about = run.config["lossgap"]
    assert about["options"] == {"unit": "epoch"}
    assert (about["n_samples"], about["n_total"], about["precision"]) == (1000, 60_000, "float32")
    assert "estimate on 1,000 of 60,000 samples" in about["method"]
    assert any("includes the penalties" in text for text in about["caveats"])
    assert any("estimate" in text for text in about["caveats"])
    assert run.config["learning_rate"] == 0.1
    run.finish()
    wait_for_end(folder(run))
    (found,) = [
        e["config"]["update"]["lossgap"]
        for e in inspect(folder(run))
        if e["type"] == "config" and "lossgap" in e["config"]["update"]
    ]
    assert found["version"] == about["version"]


def test_the_summary_has_the_last_numbers():
    whole = chart_samples.training(3)
    run = wandb.init(project="project")
    train(whole)
    run.finish()
    wait_for_end(folder(run))
    summary = {}
    for entry in inspect(folder(run)):
        if entry["type"] == "summary":
            summary |= entry["summary"]["update"]
    for name in (keys.TRUE_LOSS, keys.REGULARIZATION_GAP):
        assert summary[keys.tracked(name)] == whole[-1].tracked()[keys.tracked(name)]


def test_the_verdict_goes_to_the_notes_only_if_asked():
    whole = chart_samples.training(3)
    run = wandb.init(project="project", notes="mine")
    train(whole)
    assert run.notes == "mine"
    train(whole, notes=True)
    train(whole, notes=True)
    assert run.notes == f"mine\n\nlossgap: {Summary(whole).verdict}"


def test_the_line_for_the_user_says_how_to_upload():
    run = wandb.init(project="project")
    (line,) = train(chart_samples.training(3))
    assert "3 measurements" in line
    assert f"wandb sync {folder(run)}" in line


def test_several_runs_of_one_process_are_kept_apart():
    first = wandb.init(project="project", reinit="create_new", name="one")
    second = wandb.init(project="project", reinit="create_new", name="two")
    train(chart_samples.training(2), second)
    train(chart_samples.training(3, base=0.3), first)
    for run in (first, second):
        run.finish()
        wait_for_end(folder(run))
    found = {run.name: len(run.measurements) for run in read_runs(str(folder(first).parent))}
    assert found == {"one": 3, "two": 2}


def test_a_run_that_is_handed_in_is_neither_ended_nor_made_active():
    run = wandb.init(project="project", reinit="create_new")
    train(chart_samples.training(1), run)
    assert wandb.run is None
    run.log({"mine": 1.0})
    run.finish()
    wait_for_end(folder(run))
    assert history(folder(run))[-1] == {"mine": 1.0}


def test_a_disabled_run_takes_everything_and_says_nothing():
    wandb.init(mode="disabled")
    assert train(chart_samples.training(2)) == []


def test_without_a_run_the_training_does_not_begin():
    delivery = Delivery("wandb")
    with pytest.raises(LossgapError, match=r"wandb\.init"):
        delivery.begin(Training({}))


def test_a_finished_run_is_refused_at_the_start():
    run = wandb.init(project="project")
    run.finish()
    with pytest.raises(LossgapError, match="is finished"):
        Delivery(WandbTracker(run)).begin(Training({}))


@pytest.mark.parametrize("run", ["my-run", 3, {"log": 1}])
def test_something_else_than_a_run_is_refused(run):
    with pytest.raises(InvalidArgumentError, match=r"wandb\.init"):
        WandbTracker(run)


# Runs that end before the training.


@pytest.mark.parametrize("end", [lambda run: run.finish(), lambda _run: wandb.init(reinit=True)])
def test_what_was_measured_before_a_run_ends_is_in_it(end):
    whole = chart_samples.training(40)
    run = wandb.init(project="project")
    delivery = Delivery(WandbTracker())
    delivery.begin(Training({}))
    for measurement in whole:
        delivery.measured(measurement)
    end(run)  # at once: the rows may be on their way
    wait_for_end(folder(run))
    assert delivery.end(Summary(whole))
    assert [m.epoch for m in read(folder(run))] == list(range(40))


def test_a_row_that_comes_after_the_end_is_a_warning_with_the_way_out():
    run = wandb.init(project="project")
    delivery = Delivery(WandbTracker())
    delivery.begin(Training({}))
    first, *others = chart_samples.training(4)
    delivery.measured(first)
    run.finish()

    def go_on():
        for measurement in others:
            delivery.measured(measurement)
        until(lambda: delivery._outboxes[0].failing)
        assert delivery.end(None) == []

    with pytest.warns(LossgapWarning) as warned:
        go_on()
    refused, kept = [str(w.message) for w in warned if issubclass(w.category, LossgapWarning)]
    assert "finished before the training" in refused
    assert "after fit" in refused
    assert "3 measurements and the end" in kept
    assert kept.endswith("by this process, or later by the command: lossgap sync")
    wait_for_end(folder(run))
    assert len(read(folder(run))) == 1


def test_the_run_keeps_no_hook_of_a_training_that_ended():
    run = wandb.init(project="project")
    before = len(run._teardown_hooks)
    for _ in range(3):
        train(chart_samples.training(1))
    assert len(run._teardown_hooks) == before


# Folders that go away.


def test_a_folder_that_is_removed_is_told_and_the_rest_comes_into_a_new_one(tmp_path, figures):
    whole = chart_samples.training(4)
    run = wandb.init(project="project")
    delivery = Delivery(WandbTracker())
    delivery.begin(Training({}))
    delivery.measured(whole[0])
    until(lambda: delivery._outboxes[0]._backlog.n_sent == 1)
    gone = folder(run)
    shutil.rmtree(gone)
    for measurement in whole[1:]:
        delivery.measured(measurement)
    with pytest.warns(LossgapWarning) as warned:
        assert delivery.end(Summary(whole)) == []
    (text,) = [str(w.message) for w in warned if issubclass(w.category, LossgapWarning)]
    assert f"The folder of the W&B run is gone: {gone}. Was it removed?" in text
    assert "lossgap sync" in text
    assert n_journals() == 1
    run.finish()
    delivery._ended[0]._keeper.close()  # as the end of the process does
    (outcome,) = leftovers.send_all()
    assert (outcome.n_left, outcome.trouble) == (0, None)
    (new,) = (tmp_path / "wandb").glob("offline-run-*")
    found = [m.epoch for m in read(new)]
    assert found[-3:] == [1, 2, 3]
    assert found[:-3] in ([0], [])  # what was in the folder by then went with it
    figures("W&B's folder removed: what came after", 3, len(found[-3:]))


# Copies, which tuners make.


@pytest.mark.parametrize("way", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_is_for_other_trainings(way):
    run = wandb.init(project="project")
    tracker = WandbTracker(notes=True)
    tracker.start(Training({}))
    tracker.log(Measurement(0.5, epoch=0, seconds=0.25), 0.0)
    other = way(tracker)
    other.start(Training({}))
    other.log(Measurement(0.25, epoch=1, seconds=0.5), 0.0)
    run.finish()
    wait_for_end(folder(run))
    assert [m.epoch for m in read(folder(run))] == [0, 1]
    assert other._notes


@pytest.mark.parametrize("way", [copy.deepcopy, pickle.dumps])
def test_a_tracker_with_a_run_says_why_it_cannot_be_copied(way):
    with pytest.raises(InvalidArgumentError, match="Leave the run out"):
        way(WandbTracker(wandb.init(project="project")))


# What is imported.


def test_the_package_imports_nothing_heavy():
    program = "import sys, lossgap.wandb, lossgap.wandb.reader; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"wandb", "wandb_workspaces", "keras", "tensorflow", "altair", "google.protobuf"}
    assert not heavy & set(process.stdout.split())


def test_every_public_name_is_documented():
    import lossgap.wandb

    assert [n for n in lossgap.wandb.__all__ if not getattr(lossgap.wandb, n).__doc__] == []


def test_a_row_of_one_number_is_a_row():
    run = wandb.init(project="project")
    train([Measurement(0.25)])
    run.finish()
    wait_for_end(folder(run))
    assert read(folder(run)) == [Measurement(0.25)]
