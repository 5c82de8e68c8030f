"""Stores and a live server of MLflow, and runs that are read back."""

import os

# Before MLflow is imported: neither telemetry nor a version check asks for a network.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

import shutil

import mlflow
import pytest
from mlflow.tracking import fluent
from mlflow.utils import autologging_utils
from mlflow_server import Server

import lossgap.mlflow


@pytest.fixture(autouse=True)
def _current(monkeypatch):
    """Put back what ``mlflow.set_experiment`` and ``set_tracking_uri`` leave in the process."""
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that it is put back, whether it was there or not
        monkeypatch.delenv(name)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Make a database once: its migrations take seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(_current, empty_database, tmp_path, monkeypatch):
    """Return a client of a new SQLite store, which is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    name = "digits"
    experiment = client.create_experiment(name, artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment(experiment_id=experiment)
    yield client
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def server(empty_database, tmp_path_factory):
    """Return a live server. It takes seconds to start: a test that kills it starts it again."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "server.db")
    with Server(folder / "server.db", folder / "artifacts") as running:
        yield running


@pytest.fixture(autouse=True)
def _switched_off(tmp_path, monkeypatch):
    """Leave no autologging to the next test, and keep journals out of the user's home."""
    monkeypatch.setenv("LOSSGAP_OUTBOX", str(tmp_path / "outbox"))
    yield
    lossgap.mlflow.autolog(disable=True)
    for flavor in ("tensorflow", "keras"):
        if autologging_utils.AUTOLOGGING_INTEGRATIONS.get(flavor):
            getattr(mlflow, flavor).autolog(disable=True)
            # What was said to a flavor itself, mlflow.autolog() leaves alone.
            autologging_utils.AUTOLOGGING_INTEGRATIONS[flavor].clear()
    autologging_utils.AUTOLOGGING_INTEGRATIONS.get("mlflow", {}).clear()
