"""Reads the measurements of W&B runs from their folders, for ``lossgap report``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lossgap.charts.frames import Run
from lossgap.charts.readers import Reader
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError
from lossgap.wandb import datastore, rows
from lossgap.wandb.about import CONFIG, PRECISION

MOST_RUNS: Final = 1_000
MOST_VALUES: Final = 20_000_000
"""Numbers of lossgap's in one run; in memory they take two gigabytes."""

_FILES: Final = "run-*.wandb"
# W&B's folders: offline-run-<date>-<id> and run-<date>-<id>. Its link latest-run isn't one.
_FOLDERS: Final = f"*run-*/{_FILES}"


def accepts(place: str) -> bool:
    """Tell whether a path is a run's file, a run's folder, or a folder of runs."""
    path = Path(place)
    if path.suffix == ".wandb":
        return True
    return path.is_dir() and bool(_files(path))


def read_runs(place: str) -> list[Run]:
    """Read the runs below a path, those without a measurement left out.

    Numbers are as they were logged, to the last bit. The penalty by layer isn't logged. W&B writes
    the last rows a moment after ``run.finish()``: in the same process call ``wandb.teardown()``
    before, which waits for them.

    Args:
        place: A file ``run-*.wandb``, a run's folder such as ``wandb/offline-run-…``, or a
            folder that holds several of them, such as ``wandb``.

    Returns:
        The runs, oldest first; each is called by its display name or its id.

    Raises:
        DataError: There is no run, none has a measurement, or one can't be read.
        MissingDependencyError: wandb isn't installed.
    """
    path = Path(place)
    files = [path] if path.suffix == ".wandb" else _files(path)
    if not files:
        raise DataError(f"{place}: there is no W&B run in it. Expected {_FILES} or folders of it.")
    if len(files) > MOST_RUNS:
        raise DataError(f"{place}: more than {MOST_RUNS} runs. Pass the folders of some of them.")
    runs = [run for file in files if (run := _read(file)).measurements]
    if not runs:
        raise DataError(
            f"{place}: no measurement of lossgap's in {len(files)} W&B run"
            f"{'s' * (len(files) != 1)}. Were they logged with lossgap.wandb? A run that was "
            "killed has on disk what W&B had written by then; of one that has just finished, "
            "wandb.teardown() waits for the rest."
        )
    return runs


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(_FILES)) or sorted(folder.glob(_FOLDERS))


@dataclass(slots=True)
class _Found:
    """What the records of a file have told so far."""

    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    n_values: int = 0


def _read(path: Path) -> Run:
    found = _Found(name=path.stem)
    for record in datastore.records(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            values = rows.ours(record.history.item)
            if rows.is_row(values):
                found.rows.append(values)
                found.n_values += len(values)
            if found.n_values > MOST_VALUES:
                raise DataError(
                    f"{path}: more than {MOST_VALUES} numbers of lossgap's. Leave its folder out."
                )
        elif kind == "run":
            found.name = record.run.display_name or record.run.run_id or found.name
            _configure(found, record.run.config.update)
        elif kind == "config":
            _configure(found, record.config.update)
    precision = str(found.config.get(PRECISION, "float32"))
    return Run(found.name, tuple(_measurement(path, values, precision) for values in found.rows))


def _measurement(path: Path, values: dict[str, Any], precision: str) -> Measurement:
    try:
        return rows.measurement(values, precision=precision)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: a row of lossgap's has something else than numbers ({error})."
        ) from error


def _configure(found: _Found, items: Any) -> None:
    for item in items:
        path = list(item.nested_key) or [item.key]
        if path[0] != CONFIG:
            continue
        value = rows.value(item)
        if path == [CONFIG] and isinstance(value, dict):
            found.config = value
        elif path[1:] == [PRECISION]:
            found.config[PRECISION] = value


READER: Final = Reader("W&B run folders", accepts, read_runs)
