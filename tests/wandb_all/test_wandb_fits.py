"""Trainings of Keras with W&B's own callbacks beside ours: no row is lost, none is shifted."""

import re
import warnings

import keras
import numpy as np
import pytest
import wandb

import lossgap
import small
from lossgap import LossgapError, LossgapWarning
from wandb_runs import folder, history, ours, read, wait_for_end

pytestmark = [
    pytest.mark.usefixtures("offline"),
    # W&B's callbacks import Keras through TensorFlow, which warns of NumPy's future.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow"),
]

EPOCHS = 3
N_BATCHES = 3


@pytest.fixture(autouse=True)
def _autolog_off():
    yield
    lossgap.wandb.autolog(disable=True)


def fit(model, *callbacks, epochs=EPOCHS, **options):
    x, y = small.regression()
    return model.fit(
        x, y, epochs=epochs, validation_split=0.1, verbose=0, callbacks=[*callbacks], **options
    )


def finished(run):
    run.finish()
    wait_for_end(folder(run))
    return history(folder(run))


def logger(frequency):
    from wandb.integration.keras import WandbMetricsLogger

    return WandbMetricsLogger(log_freq=frequency)


def checkpoint(path):
    from wandb.integration.keras import WandbModelCheckpoint

    return WandbModelCheckpoint(path / "{epoch}.keras")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("frequency", ["epoch", "batch"])
def test_every_row_of_every_logger_is_there_and_whole(frequency, first, tmp_path):
    run = wandb.init(project="project")
    ours_first = lossgap.TrueLoss(trackers="wandb")
    theirs = [logger(frequency), checkpoint(tmp_path)]
    callbacks = [ours_first, *theirs] if first else [*theirs, ours_first]
    result = fit(small.linear(), *callbacks)
    rows = finished(run)

    measured = ours(rows)
    expected = [lossgap.wandb.tracker.rows.row(m) for m in ours_first.measurements]
    assert repr(measured) == repr([dict(sorted(row.items())) for row in expected])
    assert read(folder(run))[-1].tracked() == ours_first.measurements[-1].tracked()

    others = [row for row in rows if not ours([row])]
    assert len(others) + EPOCHS == len(rows)  # no row is of two loggers
    if frequency == "epoch":
        assert [row["epoch/epoch"] for row in others] == list(range(EPOCHS))
        assert [row["epoch/loss"] for row in others] == result.history["loss"]
    else:
        by_epoch = [row for row in others if "epoch/epoch" in row]
        by_batch = [row for row in others if "batch/batch_step" in row]
        assert [row["epoch/epoch"] for row in by_epoch] == list(range(EPOCHS))
        steps = [row["batch/batch_step"] for row in by_batch]
        assert steps == sorted(set(steps))
        assert len(by_batch) + len(by_epoch) == len(others)
        assert len(by_batch) % EPOCHS == 0


def test_mid_epoch_rows_are_all_there():
    run = wandb.init(project="project")
    callback = lossgap.TrueLoss(trackers="wandb", every=1, unit="step")
    fit(small.linear(), logger("batch"), callback, batch_size=8)
    rows = finished(run)
    steps = [row["lossgap/step"] for row in ours(rows)]
    assert steps == [m.step for m in callback.measurements]
    assert len(steps) == EPOCHS * 8


class Finisher(keras.callbacks.Callback):
    """Ends the run in the middle of the training, as some users' callbacks do."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            wandb.finish()


def test_a_run_that_a_callback_finishes_has_every_row_until_then():
    run = wandb.init(project="project")
    callback = lossgap.TrueLoss(trackers="wandb")
    with pytest.warns(LossgapWarning) as warned:
        fit(small.linear(), callback, Finisher())
    refused, kept = (str(w.message) for w in warned)
    assert "finished before the training" in refused
    assert "lossgap sync" in kept
    wait_for_end(folder(run))
    assert [m.epoch for m in read(folder(run))] == [0, 1]
    assert len(callback.measurements) == EPOCHS


def test_a_broken_run_changes_nothing_in_the_training(monkeypatch):
    plain = small.linear()
    fit(plain)
    wandb.init(project="project")
    monkeypatch.setattr(wandb.run, "log", lambda *_a, **_k: 1 / 0, raising=False)
    model = small.linear()
    with pytest.warns(LossgapWarning) as warned:
        fit(model, lossgap.TrueLoss(trackers="wandb"))
    failed, kept = (str(w.message) for w in warned)
    assert re.search("ZeroDivisionError.*wandb sync", failed)
    assert "lossgap sync" in kept
    small.assert_same_state(small.state(model), small.state(plain))


@pytest.mark.parametrize("autolog", [True, False])
def test_a_logged_training_is_bit_identical_to_a_plain_one(autolog):
    plain = small.linear()
    before = fit(plain).history
    wandb.init(project="project")
    model = small.linear()
    if autolog:
        lossgap.wandb.autolog(silent=True)
        after = fit(model).history
    else:
        after = fit(model, lossgap.TrueLoss(trackers="wandb", seed=5)).history
    small.assert_same_state(small.state(model), small.state(plain))
    assert {name: after[name] for name in before} == before


# Autologging.


def test_autolog_logs_every_fit_to_the_run_that_is_active():
    lossgap.wandb.autolog(silent=True)
    found = []
    for epochs in (2, 3):
        run = wandb.init(project="project")
        fit(small.linear(), epochs=epochs)
        finished(run)
        found.append([m.epoch for m in read(folder(run))])
    assert found == [[0, 1], [0, 1, 2]]


def test_autolog_without_a_run_says_so_once_and_trains_on():
    lossgap.wandb.autolog()
    with pytest.warns(LossgapWarning, match=r"no W&B run is active.*wandb\.init") as warned:
        histories = [fit(small.linear()).history for _ in range(2)]
    assert len(warned) == 1
    assert not any("true_loss" in history for history in histories)
    lossgap.wandb.autolog(silent=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(small.linear())


def test_autolog_beside_w_and_b_s_logger_shares_no_row():
    lossgap.wandb.autolog(silent=True)
    run = wandb.init(project="project")
    fit(small.linear(), logger("epoch"))
    rows = finished(run)
    assert len(rows) == 2 * EPOCHS
    # W&B's logger sees our numbers in the logs: we come first.
    theirs = [row["epoch/true_loss"] for row in rows if "epoch/epoch" in row]
    assert theirs == [row["lossgap/true_loss"] for row in ours(rows)]


def test_autolog_takes_the_settings_of_the_callback():
    lossgap.wandb.autolog(silent=True, every=2, parts=False, metrics=False, notes=True)
    run = wandb.init(project="project")
    fit(small.linear(), epochs=4)
    assert run.notes.startswith("lossgap: ")
    finished(run)
    measured = read(folder(run))
    assert [m.epoch for m in measured] == [1, 3]
    assert not any(m.parts or m.metrics for m in measured)


def test_autolog_is_switched_off():
    lossgap.wandb.autolog(silent=True)
    lossgap.wandb.autolog(disable=True)
    run = wandb.init(project="project")
    assert "true_loss" not in fit(small.linear()).history
    assert not ours(finished(run))


def test_a_wrong_setting_is_refused_at_once():
    with pytest.raises(LossgapError, match="unit"):
        lossgap.wandb.autolog(unit="batch")


def test_no_run_for_a_tracker_asked_for_by_name_stops_the_fit():
    model = small.linear()
    before = small.state(model)
    with pytest.raises(LossgapError, match=r"wandb\.init"):
        fit(model, lossgap.TrueLoss(trackers="wandb"))
    small.assert_same_state(small.state(model)[: len(before)], before)


def test_a_fit_that_fails_leaves_the_run_active():
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("an error of the user's")

    x, y = small.regression()
    run = wandb.init(project="project")
    with pytest.raises(RuntimeError, match="of the user's"):
        lossgap.fit(
            small.linear(),
            x,
            y,
            epochs=3,
            verbose=0,
            callbacks=[Fails()],
            true_loss=lossgap.TrueLoss(trackers="wandb"),
        )
    assert wandb.run is run
    run.log({"mine": np.float32(1.0)})
    rows = finished(run)
    assert [m.epoch for m in read(folder(run))] == [0, 1]
    assert rows[-1] == {"mine": 1}
