"""One event file in one directory: all that is written is in the file at once."""

import io
import itertools
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tensorboard.summary.writer.record_writer import RecordWriter

from lossgap.tensorboard import events

_numbers: Final = itertools.count()
_BEGUN: Final = re.compile(r"events\.out\.tfevents\.(\d{10})\.")


class EventWriter:
    """Writes to a new event file in a directory, which is made if it isn't there.

    Args:
        directory: The directory of the run.
        step: Step of the first point: of an earlier training that wrote here, the points from
            it on don't count any more.

    Raises:
        OSError: The file can't be made.
    """

    def __init__(self, directory: Path, step: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / _file_name(directory)
        self._file = self.path.open("xb", buffering=0)
        self._n_bytes = 0
        now = time.time()
        try:
            self.write([events.begin(now), events.start(step, now)])
        except OSError:
            self.close()
            self.path.unlink(missing_ok=True)
            raise

    def write(self, added: Iterable[Any]) -> None:
        """Write events, all or none, and hand them to the operating system.

        Raises:
            OSError: They can't be written, or the file was removed: without a look for it,
                writing to it would succeed.
        """
        if not self.path.exists():
            raise FileNotFoundError(
                f"The event file {self.path} is gone. Was the log directory removed? Nothing "
                "more is written to it in this training."
            )
        whole = io.BytesIO()
        records = RecordWriter(whole)
        for event in added:
            records.write(event.SerializeToString())
        try:
            self._append(whole.getbuffer())
        except OSError:  # a full disk takes a part: the next record must follow a whole one
            self._file.truncate(self._n_bytes)
            self._file.seek(self._n_bytes)
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, data: memoryview) -> None:
        left = data
        while left:
            left = left[self._file.write(left) or 0 :]
        self._n_bytes += len(data)


class LinkedWriter:
    """Writes tags that all have a point at every step.

    TensorBoard keeps a sample of the steps of a tag, with the same random numbers for every
    tag: it keeps the same steps of two tags only if both have a point at each of them. A number
    that is absent at a step is NaN there; a tag that comes later is NaN at the steps before.

    Args:
        writer: Where to.
        steps: Steps that are in the run already, with their wall times.
        tags: Tags that are in the run already.
    """

    def __init__(
        self,
        writer: EventWriter,
        steps: Mapping[int, float] | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        self._writer = writer
        self._steps = dict(steps or {})
        self._tags = dict.fromkeys(tags)

    def append(self, added: Iterable[Any]) -> None:
        """Write events that aren't points.

        Raises:
            OSError: They can't be written.
        """
        self._writer.write(added)

    def write(self, points: Mapping[str, float], step: int, wall_time: float) -> None:
        """Write the points of a step.

        Args:
            points: Values by tag.
            step: The step.
            wall_time: When it was measured, in seconds since the epoch of Unix.

        Raises:
            OSError: They can't be written.
        """
        late = [tag for tag in points if tag not in self._tags]
        nothing = dict.fromkeys(late, float("nan"))
        before = [events.scalars(nothing, *place) for place in self._steps.items() if late]
        whole = {tag: points.get(tag, float("nan")) for tag in (*self._tags, *late)}
        self._writer.write([*before, events.scalars(whole, step, wall_time)])
        self._steps[step] = wall_time
        self._tags |= dict.fromkeys(late)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _file_name(directory: Path) -> str:
    """Name a new event file behind those that are there, also after the clock was set back.

    TensorBoard reads the files of a run in the order of their names, which begin with the time.
    """
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    found = (_BEGUN.match(path.name) for path in directory.iterdir())
    latest = max((int(name[1]) for name in found if name), default=0)
    if latest > seconds:
        seconds = latest + 1
    host = socket.gethostname()
    return (
        f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}.{host}.{os.getpid()}."
        f"{next(_numbers):06d}"
    )
