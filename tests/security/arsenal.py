"""All targets, ready in a folder of their own, and how often each is attacked in a full run."""

import os
from contextlib import contextmanager
from unittest import mock

FULL = {
    "JSON lines": 20_000,
    "TensorBoard log directories": 10_000,
    "W&B run folders": 10_000,
    "the tab in TensorBoard": 1_500,
    "the tab, on TensorBoard's loader": 500,
    "records of a journal": 8_000,
    "SQLite journals": 3_000,
    "SQLite stores of MLflow": 300,
    "answers of an MLflow server": 300,
}
"""Inputs for each reader: more than 50,000 in all, fewer where one takes most of a second."""

QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true",
}
"""No network, and no retries of what is meant to fail."""


@contextmanager
def target(name, folder):
    """Make the target called ``name`` ready, and yield it."""
    environment = QUIET | {"LOSSGAP_OUTBOX": str(folder / "outbox")}
    with mock.patch.dict(os.environ, environment), _MAKERS[name](folder) as ready:
        assert ready.name == name
        yield ready


@contextmanager
def _simple(folder, module, kind):
    yield getattr(__import__(module), kind)(folder)


@contextmanager
def _wandb(folder):
    import targets

    written, read = folder / "written", folder / "read"
    written.mkdir()
    read.mkdir()
    yield targets.WandbFiles(read, targets.wandb_file(written))


@contextmanager
def _mlflow_answers(_folder):
    import mlflow_answers

    answers = mlflow_answers.Answers()
    with mlflow_answers.serving(answers) as uri:
        yield mlflow_answers.MLflowAnswers(answers, uri)


@contextmanager
def _mlflow_stores(folder):
    import mlflow_answers

    written, read = folder / "written", folder / "read"
    written.mkdir()
    read.mkdir()
    yield mlflow_answers.MLflowStores(read, mlflow_answers.store(written))


def _maker(module, kind):
    return lambda folder: _simple(folder, module, kind)


_MAKERS = {
    "JSON lines": _maker("targets", "JsonLines"),
    "TensorBoard log directories": _maker("targets", "EventFiles"),
    "W&B run folders": _wandb,
    "the tab in TensorBoard": _maker("tab_targets", "Tab"),
    "the tab, on TensorBoard's loader": _maker("tab_targets", "TabOverFiles"),
    "records of a journal": _maker("targets", "Records"),
    "SQLite journals": _maker("journals", "Journals"),
    "SQLite stores of MLflow": _mlflow_stores,
    "answers of an MLflow server": _mlflow_answers,
}
