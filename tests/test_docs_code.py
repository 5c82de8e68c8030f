"""Every block of Python on a page runs, one after the other, as a reader would paste them."""

import re
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
import wandb
from sklearn.datasets import load_digits

import lossgap
import wandb_runs
from fences import blocks

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Run where PyTorch is: tests/torch_loops. And what needs a cluster, of which the form is checked.
ELSEWHERE = {"pytorch.md"}
ON_A_CLUSTER = {"scale.md"}
WITH_CODE = [
    page
    for page in PAGES
    if page.name not in ELSEWHERE
    and any(language == "python" for language, *_ in blocks(page.read_text(encoding="utf-8")))
]
# What trackers' packages say of each other, and Keras of NumPy, is no matter of ours.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning:wandb",
    "ignore:lossgap. mlflow did not take everything",  # on a machine that is busy
)

# What the code before a block of text prints.
WITH_OUTPUT = {"tutorial.md"}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
# What stands for an address of the reader's.
SERVER = '"http://…"'


def model():
    """Return a small model with several causes of a gap, compiled."""
    built = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, activation="softmax", kernel_regularizer="l2"),
        ]
    )
    built.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return built


def assert_prints_the_like(printed, expected):
    """Compare words, and numbers as far as another processor's rounding leaves them alike."""
    printed, expected = printed.split(), expected.split()
    for ours, theirs in zip(printed, expected, strict=True):
        both = NUMBER.findall(ours), NUMBER.findall(theirs)
        assert NUMBER.sub("", ours) == NUMBER.sub("", theirs)
        found, wanted = (list(map(float, numbers)) for numbers in both)
        assert found == pytest.approx(wanted, rel=0.05, abs=0.05)


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Return what a reader has already: data, a compiled model, trackers on this machine."""
    monkeypatch.chdir(tmp_path)
    for name, value in wandb_runs.QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # which reads its settings once
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment_id = mlflow.set_experiment("docs").experiment_id
    client = mlflow.MlflowClient()
    digits = load_digits()
    x, y = digits.data[:320] / 16, digits.target[:320]
    yield {
        "__name__": "__main__",
        "EarlyStopping": keras.callbacks.EarlyStopping,
        "client": client,
        "experiment_id": experiment_id,
        "keras": keras,
        "loss": 2.0,
        "lossgap": lossgap,
        "measurement": lossgap.Measurement(true_loss=1.0, epoch=0),
        "mlflow": mlflow,
        "model": model(),
        "np": np,
        "run": client.create_run(experiment_id),
        "x": x,
        "y": y,
        "x_val": x[:64],
        "y_val": y[:64],
    }
    while mlflow.active_run() is not None:
        mlflow.end_run()
    wandb.finish()
    wandb.teardown()


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, names, capsys):
    for language, line, text in blocks(page.read_text(encoding="utf-8")):
        if language == "text" and page.name in WITH_OUTPUT:
            assert_prints_the_like(capsys.readouterr().out, text)
        elif language == "python":
            capsys.readouterr()
            # Line numbers of an error are those of the page.
            mended = text.replace(SERVER, repr(mlflow.get_tracking_uri()))
            code = compile("\n" * (line - 1) + mended, str(page), "exec")
            if page.name in ON_A_CLUSTER:
                continue
            exec(code, names)
            # Autologging is for good; the next block is another way to do it.
            for tracker in ("mlflow", "wandb", "tensorboard"):
                getattr(lossgap, tracker).autolog(disable=True)
