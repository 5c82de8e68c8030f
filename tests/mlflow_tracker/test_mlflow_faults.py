"""A server that is killed, frozen, slow or refusing: trainings go on, and every number arrives."""

import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from threading import Event

import keras
import mlflow
import pytest
from faulty_proxy import Proxy

import lossgap
from lossgap.errors import LossgapWarning
from lossgap.trackers import leftovers
from small import linear, regression

PLENTY = 180
"""Seconds that a slow machine may take; nothing here asserts less."""


@pytest.fixture(autouse=True)
def _quick_to_give_up(run, monkeypatch):
    """Let MLflow's client try twice and for seconds, not eight times and for minutes."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.fixture
def run(server):
    """Return a client of the live server, and a run there."""
    client = mlflow.MlflowClient(server.uri)
    return client, client.create_run("0").info.run_id


class At(keras.callbacks.Callback):
    """Calls a function at the beginning of an epoch."""

    def __init__(self, **actions):
        super().__init__()
        self.actions = {int(name.removeprefix("epoch_")): f for name, f in actions.items()}

    def on_epoch_begin(self, epoch, logs=None):
        self.actions.get(epoch, lambda: None)()


def train(uri, run_id, *callbacks, epochs=4):
    """Train with a tracker for the run, and return the callback and the warnings."""
    x, y = regression()
    tracker = lossgap.mlflow.MLflowTracker(run_id, tracking_uri=uri, panels=False)
    true_loss = lossgap.TrueLoss(x, y, trackers=tracker)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        linear().fit(x, y, epochs=epochs, verbose=0, callbacks=[true_loss, *callbacks])
    return true_loss, [str(w.message) for w in said if issubclass(w.category, LossgapWarning)]


def arrived(client, run_id):
    """Return the logged true losses: (step, value), as often as they are there."""
    history = client.get_metric_history(run_id, "lossgap/true_loss")
    return [(m.step, m.value) for m in history]


def expected(true_loss):
    """Return what has to arrive."""
    return [(m.epoch, m.true_loss) for m in true_loss.measurements]


def wait_until(condition):
    """Wait for what another thread does."""
    deadline = time.monotonic() + PLENTY
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def all_arrived(figures, fault, true_loss, client, run_id):
    """Check that everything is there once, and tell how much that is."""
    found = arrived(client, run_id)
    assert found == expected(true_loss)
    figures(f"MLflow's server {fault}", len(true_loss.measurements), len(found))


def test_a_server_that_is_killed_and_comes_back_has_every_number_once(server, run, figures):
    client, run_id = run
    true_loss, said = train(server.uri, run_id, At(epoch_2=server.kill))
    assert len(true_loss.measurements) == 4
    assert sum("mlflow did not take everything" in text for text in said) == 1
    assert "lossgap sync" in said[-1]
    server.start()
    wait_until(lambda: not leftovers.journal.paths())
    all_arrived(figures, "killed and started again", true_loss, client, run_id)


def test_another_process_sends_what_was_left(server, run):
    client, run_id = run
    with Proxy(server.uri) as gone:
        uri = gone.uri  # an address that nothing listens on any more
    tests = str(Path(__file__).parents[1])
    program = f"""
import sys; sys.path.insert(0, {tests!r})
import lossgap
from small import linear, regression, state
x, y = regression()
tracker = lossgap.mlflow.MLflowTracker({run_id!r}, tracking_uri={uri!r}, panels=False)
linear().fit(x, y, epochs=3, verbose=0, callbacks=[lossgap.TrueLoss(x, y, trackers=tracker)])
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PLENTY)
    (path,) = leftovers.journal.paths()
    (outcome,) = leftovers.send_all()
    assert (outcome.n_sent, outcome.n_left) == (0, 4)  # three measurements, and the end
    with Proxy(server.uri, port=int(uri.rpartition(":")[2])):
        (outcome,) = leftovers.send_all()
    assert (outcome.n_sent, outcome.n_left, outcome.trouble) == (4, 0, None)
    assert not path.exists()
    assert [step for step, _ in arrived(client, run_id)] == [0, 1, 2]
    assert "lossgap.verdict" in client.get_run(run_id).data.tags


def test_a_frozen_server_holds_nothing_up_and_gets_everything_when_it_thaws(server, run, figures):
    client, run_id = run
    true_loss, _ = train(server.uri, run_id, At(epoch_1=server.freeze))
    assert len(true_loss.measurements) == 4
    server.thaw()
    wait_until(lambda: len(arrived(client, run_id)) == 4 and not leftovers.journal.paths())
    all_arrived(figures, "frozen for a while", true_loss, client, run_id)


def test_a_server_whose_disk_is_full_has_every_number_once_there_is_space(server, run, figures):
    client, run_id = run
    try:
        true_loss, said = train(server.uri, run_id, At(epoch_2=lambda: server.limit_disk(4096)))
        assert len(true_loss.measurements) == 4
        assert sum("mlflow failed, and the training goes on" in text for text in said) == 1
        assert "503" in said[0]  # what MLflow's server makes of its store's errors
        assert "lossgap sync" in said[-1]
    finally:
        server.limit_disk(resource.RLIM_INFINITY)
    wait_until(lambda: not leftovers.journal.paths())
    all_arrived(figures, "on a full disk for a while", true_loss, client, run_id)


@pytest.mark.parametrize("fault", [500, 429, 10.0, "lost"])
def test_a_server_that_refuses_for_a_while_has_every_number_once(server, run, fault, figures):
    """Or is slow: it answers after 10 s, when the client has hung up."""
    client, run_id = run
    with Proxy(server.uri) as proxy:

        def misbehave():
            proxy.fault = fault

        true_loss, said = train(proxy.uri, run_id, At(epoch_1=misbehave))
        assert len([text for text in said if "failed, and the training goes on" in text]) <= 1
        proxy.fault = None
        wait_until(lambda: len(arrived(client, run_id)) == 4 and not leftovers.journal.paths())
    what = {500: "answering 500", 429: "answering 429", "lost": "losing its answers"}
    all_arrived(figures, what.get(fault, "answering after 10 s"), true_loss, client, run_id)


def test_no_request_is_made_on_the_thread_that_trains(server, run, figures):
    """The server answers nothing while the training runs: it ends all the same."""
    client, run_id = run
    with Proxy(server.uri) as proxy:
        proxy.fault = 3600.0
        trained = Event()
        true_loss, _ = train(
            proxy.uri, run_id, keras.callbacks.LambdaCallback(on_train_end=lambda _: trained.set())
        )
        assert trained.is_set()
        assert len(true_loss.measurements) == 4
        (path,) = leftovers.journal.paths()
        proxy.fault = None
        wait_until(lambda: len(arrived(client, run_id)) == 4 and not path.exists())
    all_arrived(figures, "answering nothing", true_loss, client, run_id)


def test_a_deleted_run_keeps_the_numbers_on_disk(server, run):
    client, run_id = run
    client.delete_run(run_id)
    _, said = train(server.uri, run_id)
    assert "deleted" in said[0]
    assert leftovers.journal.paths()
    client.restore_run(run_id)
    wait_until(lambda: not leftovers.journal.paths())
    assert len(arrived(client, run_id)) == 4


def test_a_refused_artifact_is_told_and_the_metrics_are_there(server, run, monkeypatch):
    client, run_id = run

    def refuse(*_arguments, **_options):
        raise mlflow.exceptions.MlflowException(
            "no", mlflow.protos.databricks_pb2.PERMISSION_DENIED
        )

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifacts", refuse)
    x, y = regression()
    tracker = lossgap.mlflow.MLflowTracker(run_id, tracking_uri=server.uri, view=False)
    linear().fit(x, y, epochs=1, verbose=0, callbacks=[lossgap.TrueLoss(x, y, trackers=tracker)])
    assert len(arrived(client, run_id)) == 1


def test_a_training_behind_a_live_server_is_the_same_as_without(server, run):
    _, run_id = run
    weights = []
    for trackers in ((), lossgap.mlflow.MLflowTracker(run_id, tracking_uri=server.uri)):
        x, y = regression()
        model = linear(dropout=0.4)
        model.fit(x, y, epochs=3, verbose=0, callbacks=[lossgap.TrueLoss(x, y, trackers=trackers)])
        weights.append(
            [v.numpy().tobytes() for v in [*model.variables, *model.optimizer.variables]]
        )
    assert weights[0] == weights[1]


def test_a_dead_server_is_known_at_once_whatever_mlflows_client_would_try(run, monkeypatch):
    """With MLflow's own settings its client would try for minutes, and the end would wait."""
    _, run_id = run
    for name in ("MAX_RETRIES", "TIMEOUT", "BACKOFF_FACTOR"):
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}")
    with Proxy("http://127.0.0.1:1") as gone:
        uri = gone.uri
    _, said = train(uri, run_id)
    assert "ConnectionRefusedError" in said[0]
    assert "4 measurements" in said[-1]
