"""One training's curves: the writers of its sub-runs, opened with the first measurement."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossgap.core.measurement import Measurement
from lossgap.tensorboard import events, hparams, layout
from lossgap.tensorboard.places import Place, claim
from lossgap.tensorboard.writer import EventWriter, LinkedWriter


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a training before its first measurement.

    Attributes:
        log_dir: Without links, like the others.
        keras_dirs: Directories that Keras's own callbacks write to.
        marker: What the steps count.
        n_steps: Optimizer steps before the training; ``None`` where unknown.
        row: Hyperparameters for the HParams tab; ``None`` to leave the tab alone.
    """

    log_dir: Path
    keras_dirs: frozenset[Path] = frozenset()
    marker: events.Marker = events.Marker()  # noqa: RUF009 - frozen
    n_steps: int | None = None
    row: hparams.Values | None = None

    def step(self, measurement: Measurement) -> int:
        """Return the step at which a measurement stands."""
        counted = measurement.step if self.marker.unit == "step" else measurement.epoch
        return counted or 0

    def begins_anew(self, step: int) -> bool:
        """Tell from the step of the first measurement whether the training began with step 0."""
        if self.marker.unit == "epoch":
            return step < self.marker.every
        return step < 2 * self.marker.every if self.n_steps is None else self.n_steps == 0


class Session:
    """Writes one training; nothing is on disk before its first measurement."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._place: Place | None = None
        self._first_step = 0
        self._linked: LinkedWriter | None = None
        self._overlaid: dict[str, EventWriter] = {}
        self._has_heading = False

    def log(self, measurement: Measurement, wall_time: float) -> None:
        """Write a measurement to all sub-runs.

        Raises:
            OSError: It can't be written.
        """
        step = self._plan.step(measurement)
        if self._place is None:
            anew = self._plan.begins_anew(step)
            self._place = claim(self._plan.log_dir, self._plan.marker.unit, anew=anew)
            self._first_step = step
        self._log_linked(self._place, layout.linked(measurement), step, wall_time)
        keras_is_there = self._place.directory in self._plan.keras_dirs
        for run, points in layout.overlaid(measurement).items():
            if not (keras_is_there and run in layout.KERAS_RUNS):
                writer = self._writer(self._place, run)
                writer.write([events.scalars(points, step, wall_time)])

    def finish(self, *, failed: bool) -> bool:
        """Close the files, and tell whether there are any."""
        if self._place is None:
            return False
        try:
            if self._linked is not None and self._plan.row is not None:
                self._linked.append(hparams.end(failed=failed))
        finally:
            for writer in (self._linked, *self._overlaid.values()):
                if writer is not None:
                    writer.close()
            self._place.release()
        return True

    def _log_linked(self, place: Place, points: layout.Points, step: int, wall_time: float) -> None:
        if self._linked is None:
            earlier = place.earlier
            earlier.drop_from(step)
            tags = [tag for tag, values in earlier.tags.items() if values]
            writer = EventWriter(place.directory / layout.GAP, step)
            self._linked = LinkedWriter(writer, earlier.wall_times, tags)
        if not self._has_heading:
            self._linked.append(self._heading(wall_time))
            self._has_heading = True
        self._linked.write(points, step, wall_time)

    def _heading(self, wall_time: float) -> list[Any]:
        row = self._plan.row
        return [
            events.marker(self._plan.marker, wall_time),
            events.custom_layout(wall_time),
            *(() if row is None else hparams.begin(row)),
        ]

    def _writer(self, place: Place, run: str) -> EventWriter:
        if run not in self._overlaid:
            self._overlaid[run] = EventWriter(place.directory / run, self._first_step)
        return self._overlaid[run]
