"""Where a training writes: which log directory, and which directory in it.

Two trainings never write to one directory at a time, and a training that begins anew never
writes over the steps of another. A training that goes on where an earlier one stood goes on
in its directory.
"""

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from lossgap.errors import DataError, InvalidArgumentError
from lossgap.redaction import shown
from lossgap.tensorboard import layout
from lossgap.tensorboard.curves import Curves, read

_ATTEMPT: Final = "attempt_"

_live: Final[set[Path]] = set()
_lock: Final = Lock()


@dataclass(frozen=True, slots=True)
class Place:
    """The directory that a training has to itself until it is released.

    Attributes:
        directory: Holds the sub-runs.
        earlier: What an earlier training left in its sub-run ``gap``, if this one goes on there.
    """

    directory: Path
    earlier: Curves

    def release(self) -> None:
        """Leave the directory to other trainings."""
        with _lock:
            _live.discard(self.directory)


def keras_log_dirs(callbacks: Iterable[Any]) -> list[str]:
    """Return the log directories of Keras's TensorBoard callbacks, in their order."""
    return [
        str(callback.log_dir)
        for callback in callbacks
        if comes_from(callback, "keras", name="TensorBoard")
    ]


def comes_from(callback: Any, package: str, *, name: str | None = None) -> bool:
    """Tell whether a callback's class, or a base of it, is of a package that isn't imported here.

    Args:
        callback: Any object.
        package: Dotted name of the package.
        name: Name that the class must have.
    """
    return any(
        f"{owner.__module__}.".startswith(f"{package}.") and name in (None, owner.__name__)
        for owner in type(callback).__mro__
    )


def prepared(log_dir: str) -> Path:
    """Make a log directory, and return its path without links.

    Raises:
        InvalidArgumentError: It is no local directory, or can't be written to.
    """
    if "://" in log_dir:
        raise InvalidArgumentError(
            f"Expected `log_dir` to be a directory of this machine. Received: {shown(log_dir)!r}. "
            "Log to a local or mounted directory, and copy it to the remote one."
        )
    path = Path(log_dir).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InvalidArgumentError(
            "Expected `log_dir` to be a directory that can be written to. Received: "
            f"{shown(log_dir)!r} ({type(error).__name__}: {error.strerror}). Choose another "
            "one, or change its permissions."
        ) from error
    return path


def claim(log_dir: Path, unit: str, *, anew: bool) -> Place:
    """Take a directory for a training.

    It is ``log_dir`` itself, or ``attempt_2`` and so on in it where the last one is taken: by a
    training that isn't over, or by an earlier one if this one begins anew.

    Args:
        log_dir: The log directory.
        unit: What the steps count; curves of the other unit aren't gone on with.
        anew: Whether the training began with step 0.

    Raises:
        OSError: The directory can't be made.
    """
    with _lock:
        last = _last_attempt(log_dir)
        directory = _attempt(log_dir, last)
        earlier = Curves()
        if not anew and last and directory not in _live:
            with suppress(DataError):  # too long to go on with
                earlier = read(directory / layout.GAP)
        if not earlier.tags or earlier.marker.unit != unit:
            earlier = Curves()
            directory = _new(log_dir, last + 1)
        _live.add(directory)
        return Place(directory, earlier)


def _attempt(log_dir: Path, number: int) -> Path:
    return log_dir if number <= 1 else log_dir / f"{_ATTEMPT}{number}"


def _last_attempt(log_dir: Path) -> int:
    """Return the number of the last attempt; 0 where there is none."""
    numbers = [int((log_dir / layout.GAP).is_dir())]
    for path in log_dir.glob(f"{_ATTEMPT}*/{layout.GAP}"):
        number = path.parent.name.removeprefix(_ATTEMPT)
        if number.isascii() and number.isdigit():
            numbers.append(int(number))
    return max(numbers)


def _new(log_dir: Path, number: int) -> Path:
    """Make the directory of an attempt; making it is how processes agree on whose it is."""
    while True:
        directory = _attempt(log_dir, number)
        try:
            (directory / layout.GAP).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return directory
