"""A training's log directory, to which another process writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require


def open_run(target: str | None, *, run_id: str | None, unit: str) -> "TensorBoardBeside":
    """Open a log directory.

    Args:
        target: The directory; by default ``"logs"``.
        run_id: Not used: a directory is a run.
        unit: What steps count.

    Raises:
        InvalidArgumentError: It can't be written to, or holds curves over another unit.
        MissingDependencyError: TensorBoard isn't installed.
    """
    del run_id
    require("tensorboard", extra="tensorboard")
    from lossgap.tensorboard import layout, places
    from lossgap.tensorboard.curves import read
    from lossgap.tensorboard.tracker import DEFAULT_LOG_DIR

    path = places.prepared(target or DEFAULT_LOG_DIR)
    before = read(path / layout.GAP)
    if before.tags and before.marker.unit != unit:
        raise InvalidArgumentError(
            f"The curves of lossgap in {path} are over {before.marker.unit}s. Received the unit "
            f"{unit!r}. Choose another log directory."
        )
    return TensorBoardBeside(path, unit)


class TensorBoardBeside:
    """Writes ``gap``, ``true`` and ``validation_true`` in the training's log directory.

    The sub-runs ``train`` and ``validation`` are left alone: they are those of Keras's callback.
    Event files are appended to as long as no other process writes to the sub-run.

    Args:
        log_dir: The log directory.
        unit: What steps count.
    """

    buffers = False

    def __init__(self, log_dir: Path, unit: str) -> None:
        self._log_dir = log_dir
        self._unit = unit
        self.place = f"tensorboard:{log_dir}"
        self._writers: dict[str, Any] = {}
        self._others: dict[str, dict[Path, int]] = {}
        self._own: dict[str, Path] = {}

    def put(self, measurement: Measurement, wall_time: float, *, unsure: bool) -> None:
        """Write a point to each sub-run, unless it is there."""
        from lossgap.tensorboard import layout

        counted = measurement.step if self._unit == "step" else measurement.epoch
        step = counted or 0
        points = {layout.GAP: layout.linked(measurement)}
        points |= {
            run: found
            for run, found in layout.overlaid(measurement).items()
            if run not in layout.KERAS_RUNS
        }
        for run, found in points.items():
            if not (unsure and self._has(run, step, wall_time)):
                self._write(run, found, step, wall_time)

    def settle(self) -> None:
        """Do nothing: what was put is with the operating system."""

    def close(self) -> list[str]:
        """Close the event files, and say how to look at the curves."""
        from lossgap.tensorboard.link import line

        self._close()
        return [line(str(self._log_dir))]

    def _close(self) -> None:
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.close()

    def _has(self, run: str, step: int, wall_time: float) -> bool:
        from lossgap.tensorboard.curves import read

        return read(self._log_dir / run).wall_times.get(step) == wall_time

    def _write(self, run: str, points: Mapping[str, float], step: int, wall_time: float) -> None:
        from lossgap.tensorboard import events, layout

        if run not in self._writers or self._others[run] != self._sizes(run):
            if run in self._writers:
                self._writers.pop(run).close()
            self._writers[run] = self._opened(run, wall_time)
        if run == layout.GAP:
            self._writers[run].write(points, step, wall_time)
        else:
            self._writers[run].write([events.scalars(points, step, wall_time)])

    def _sizes(self, run: str) -> dict[Path, int]:
        """Return the sizes of the event files that others wrote, or this wrote before."""
        from lossgap.tensorboard.records import event_files

        sizes = {path: path.stat().st_size for path in event_files(self._log_dir / run)}
        return {path: size for path, size in sizes.items() if path != self._own.get(run)}

    def _opened(self, run: str, wall_time: float) -> Any:
        from lossgap.tensorboard import events, layout
        from lossgap.tensorboard.curves import read
        from lossgap.tensorboard.writer import EventWriter, LinkedWriter

        directory = self._log_dir / run
        earlier = read(directory)
        # From its first step on, an event file makes earlier points void: here, from none.
        after = max(earlier.wall_times, default=-1) + 1
        writer = EventWriter(directory, after)
        self._own[run] = writer.path
        self._others[run] = self._sizes(run)
        if run != layout.GAP:
            return writer
        tags = [tag for tag, values in earlier.tags.items() if values]
        found = LinkedWriter(writer, earlier.wall_times, tags)
        if keys.tracked(keys.TRUE_LOSS) not in tags:
            marker = events.marker(events.Marker(self._unit, 1), wall_time)
            found.append([marker, events.custom_layout(wall_time)])
        return found
