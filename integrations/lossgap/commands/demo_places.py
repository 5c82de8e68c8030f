"""Where the demo logs: a folder with a place for each tracker that is installed."""

import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lossgap.errors import MissingDependencyError
from lossgap.extras import require
from lossgap.trackers.protocol import Tracker

_PROJECT: Final = "lossgap-demo"


@dataclass(frozen=True, slots=True)
class Place:
    """One tracker's place in the demo's folder.

    Attributes:
        extra: The tracker's name, which is also that of its extra and its package.
        title: What people call it.
        opened: Gives a context for a training, from the folder and the training's name.
        commands: Gives the command lines that show what was logged, each with what it does.
    """

    extra: str
    title: str
    opened: Callable[[Path, str], AbstractContextManager[Tracker]]
    commands: Callable[[Path], list[tuple[str, str]]]


def installed() -> tuple[list[Place], list[Place]]:
    """Return the places whose trackers are installed, and the others."""
    there: list[Place] = []
    absent: list[Place] = []
    for place in PLACES:
        try:
            require(place.extra, extra=place.extra)
        except MissingDependencyError:
            absent.append(place)
        else:
            there.append(place)
    return there, absent


@contextmanager
def opened(places: list[Place], folder: Path, name: str) -> Iterator[list[Tracker]]:
    """Give the trackers for one training, and end their runs when it has ended."""
    with ExitStack() as stack:
        yield [stack.enter_context(place.opened(folder, name)) for place in places]


def program(name: str) -> str:
    """Return how to call a program of this Python environment: its path if that is needed."""
    here = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if found is not None and Path(found).parent.resolve() == here.parent.resolve():
        return name
    return shown(here)


def shown(path: Path) -> str:
    """Return a path as it can be pasted: relative where it is below the working directory."""
    try:
        path = path.absolute().relative_to(Path.cwd())
    except ValueError:
        path = path.absolute()
    return shlex.quote(path.as_posix())


@contextmanager
def _mlflow(folder: Path, name: str) -> Iterator[Tracker]:
    from mlflow import MlflowClient

    from lossgap.mlflow import MLflowTracker

    uri = _store(folder)
    with redirect_stderr(io.StringIO()):  # where a new store tells of each of its tables
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(_PROJECT)
    artifacts = (folder / "mlflow-artifacts").absolute().as_uri()
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(_PROJECT, artifacts)
    )
    run_id = client.create_run(experiment_id, run_name=name).info.run_id
    try:
        yield MLflowTracker(run_id, tracking_uri=uri)
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)


def _show_mlflow(folder: Path) -> list[tuple[str, str]]:
    from mlflow import MlflowClient

    from lossgap.mlflow.view import page

    found = MlflowClient(tracking_uri=_store(folder)).get_experiment_by_name(_PROJECT)
    uri = f"sqlite:///{shown(folder / 'mlflow.db')}"
    command = f"{program('mlflow')} ui --backend-store-uri {uri}"
    return [(command, f"then open http://127.0.0.1:5000/{page(found.experiment_id)}")]


def _store(folder: Path) -> str:
    return f"sqlite:///{(folder / 'mlflow.db').absolute().as_posix()}"


@contextmanager
def _tensorboard(folder: Path, name: str) -> Iterator[Tracker]:
    from lossgap.tensorboard import TensorBoardTracker

    yield TensorBoardTracker(folder / "logs" / name)


def _show_tensorboard(folder: Path) -> list[tuple[str, str]]:
    command = f"{program('tensorboard')} --logdir {shown(folder / 'logs')}"
    return [(command, "then open http://localhost:6006/#lossgap")]


@contextmanager
def _wandb(folder: Path, name: str) -> Iterator[Tracker]:
    import wandb

    from lossgap.wandb import WandbTracker

    settings: Any = wandb.Settings(silent=True, console="off")
    run = wandb.init(
        project=_PROJECT,
        name=name,
        dir=os.fspath(folder.absolute()),  # W&B's own process has another working directory
        mode="offline",
        reinit="create_new",
        settings=settings,
    )
    with run:
        yield WandbTracker(run)


def _show_wandb(folder: Path) -> list[tuple[str, str]]:
    runs = shown(folder / "wandb")
    return [
        (f"{program('wandb')} leet {runs}", "shows the curves in the terminal"),
        (f"{program('wandb')} sync {runs}/offline-run-*", "uploads them, if you have an account"),
    ]


PLACES: Final = (
    Place("mlflow", "MLflow", _mlflow, _show_mlflow),
    Place("tensorboard", "TensorBoard", _tensorboard, _show_tensorboard),
    Place("wandb", "Weights & Biases", _wandb, _show_wandb),
)
