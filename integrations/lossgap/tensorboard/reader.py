"""Runs out of a log directory, for ``lossgap report``."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lossgap.charts.frames import Run
from lossgap.charts.readers import Reader
from lossgap.core import keys
from lossgap.core.measurement import Measurement, MetricValues, Penalty
from lossgap.errors import DataError
from lossgap.extras import require
from lossgap.tensorboard import layout

if TYPE_CHECKING:
    from lossgap.tensorboard.curves import Curves

MOST_ENTRIES: Final = 200_000
"""Files and directories that are looked at below a log directory."""

MOST_BYTES: Final = 1_000_000_000
"""Size of the event files that are read together."""

MOST_BYTES_OF_KERAS: Final = 50_000_000
"""Size of a sub-run's event files beyond which the metrics of Keras's callback are left out."""


def accepts(place: str) -> bool:
    """Tell whether a place is a directory with event files below."""
    if not Path(place).is_dir():
        return False
    try:
        return any("tfevents" in path.name for path in _files(Path(place)))
    except DataError:
        return True  # and reading it says that there is too much


def read(place: str) -> list[Run]:
    """Read the models whose true loss was logged below a log directory.

    ``X/train``, ``X/true``, ``X/validation``, ``X/validation_true`` and ``X/gap`` are one run, X.

    Args:
        place: The log directory.

    Returns:
        The runs, in the order of their names.

    Raises:
        DataError: There is none, or there are too many to read.
        MissingDependencyError: TensorBoard isn't installed.
        OSError: A file can't be read.
    """
    require("tensorboard", extra="tensorboard")
    root = Path(place)
    models: dict[Path, list[Path]] = {}
    for path in _files(root):
        if "tfevents" in path.name and path.parent.name == layout.GAP:
            models.setdefault(path.parent.parent, []).append(path)
    _check_size(place, [path for files in models.values() for path in files])
    runs = [Run(_name(root, model), _measurements(model)) for model in sorted(models)]
    runs = [run for run in runs if run.measurements]
    if not runs:
        raise DataError(
            f"{place}: there are event files in it, and none has a true loss. Expected a log "
            "directory that lossgap.tensorboard writes, or one that holds some of them."
        )
    return runs


READER: Final = Reader("TensorBoard log directories", accepts, read)


def _files(root: Path) -> Iterator[Path]:
    """Yield the files below a directory; links to directories aren't followed.

    Raises:
        DataError: There are too many.
    """
    n_seen = 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in names:
            yield Path(folder, name)
        n_seen += len(names) + len(folders)
        if n_seen > MOST_ENTRIES:
            raise DataError(
                f"{root}: more than {MOST_ENTRIES} files and directories below it. Name one of its "
                "directories instead."
            )


def _check_size(place: str, files: list[Path]) -> None:
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        raise DataError(
            f"{place}: its runs are in event files of {size / 1e9:.1f} GB, expected up to "
            f"{MOST_BYTES / 1e9:.0f} GB. Name fewer of its directories instead."
        )


def _name(root: Path, model: Path) -> str:
    name = model.relative_to(root).as_posix()
    return root.resolve().name if name == "." else name


def _measurements(model: Path) -> tuple[Measurement, ...]:
    from lossgap.tensorboard import curves

    linked = curves.read(model / layout.GAP)
    keras = [curves.read(model / run, MOST_BYTES_OF_KERAS) for run in layout.KERAS_RUNS]
    true = linked.tags.get(keys.tracked(keys.TRUE_LOSS), {})
    return tuple(_measurement(linked, keras, step) for step in sorted(true))


def _measurement(linked: "Curves", keras: "list[Curves]", step: int) -> Measurement:
    row = linked.row(step)

    def number(name: str) -> float | None:
        return row.get(keys.tracked(name))

    true_loss = linked.tags[keys.tracked(keys.TRUE_LOSS)][step]
    by_step = linked.marker.unit == "step"
    found = Measurement.from_tracked(
        row | {keys.tracked(keys.TRUE_LOSS): true_loss},
        **({"step": step} if by_step else {"epoch": step}),
    )
    return replace(
        found,
        reported_loss=_sum(true_loss, number(keys.REGULARIZATION_GAP), found.reported_loss),
        true_val_loss=_sum(true_loss, number(keys.GENERALIZATION_GAP), found.true_val_loss),
        penalties=tuple(
            Penalty(layer, kind, value)
            for tag, value in row.items()
            for kind, layer in filter(None, [layout.parse_penalty(tag)])
        ),
        metrics=_metrics(row, [curves.row(step) for curves in keras]),
    )


def _sum(true_loss: float, gap: float | None, whole: float | None) -> float | None:
    """Return the other loss so that the difference is exactly the gap that was measured.

    Losses on disk have seven digits. Their difference has fewer, the gap beside them hasn't.
    """
    return whole if gap is None or whole is None else true_loss + gap


def _metrics(row: layout.Points, keras: list[layout.Points]) -> dict[str, MetricValues]:
    prefix = keys.tracked(keys.TRUE_PREFIX)
    known = {keys.tracked(n) for n in (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS, keys.STANDARD_ERROR)}
    names = [tag.removeprefix(prefix) for tag in row if tag.startswith(prefix) and tag not in known]
    train, validation = keras
    return {
        name: MetricValues(
            row[f"{prefix}{name}"],
            train.get(layout.epoch_metric(name)),
            validation.get(layout.epoch_metric(name)),
        )
        for name in names
    }
