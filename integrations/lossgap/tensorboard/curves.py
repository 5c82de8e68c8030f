"""The scalars of one sub-run, read back from its event files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.util.tensor_util import make_ndarray

from lossgap.errors import DataError
from lossgap.tensorboard import layout
from lossgap.tensorboard.events import Marker, parse_marker
from lossgap.tensorboard.records import event_files, events

MOST_VALUES: Final = 20_000_000
"""Values in one sub-run; in memory they take two gigabytes."""


@dataclass(slots=True)
class Curves:
    """The scalars of a sub-run, as TensorBoard counts them after a training that went on.

    Attributes:
        tags: Values by tag and step; NaN where others have a value.
        wall_times: By step.
        marker: What the steps count.
        n_values: How many values were read.
    """

    tags: dict[str, dict[int, float]] = field(default_factory=dict)
    wall_times: dict[int, float] = field(default_factory=dict)
    marker: Marker = field(default_factory=Marker)
    n_values: int = 0

    def row(self, step: int) -> layout.Points:
        """Return the values of a step by tag, without NaN: it stands for what is absent."""
        found = ((tag, values.get(step)) for tag, values in self.tags.items())
        return {tag: value for tag, value in found if value is not None and value == value}  # noqa: PLR0124

    def drop_from(self, step: int) -> None:
        """Forget the points from a step on: a later attempt began there."""
        for values in (self.wall_times, *self.tags.values()):
            for late in [s for s in values if s >= step]:
                del values[late]

    def take(self, event: Any) -> None:
        """Add what an event of an event file says."""
        if event.HasField("session_log"):
            self.drop_from(event.step)
        self.n_values += len(event.summary.value)
        if self.n_values > MOST_VALUES:
            raise DataError(f"a run has more than {MOST_VALUES} values. Leave its directory out.")
        for value in event.summary.value:
            self.marker = parse_marker(value) or self.marker
            number = _scalar(value.tensor)
            if number is not None:
                self.tags.setdefault(value.tag, {})[event.step] = number
                self.wall_times[event.step] = event.wall_time


def read(directory: Path, most_bytes: int | None = None) -> Curves:
    """Read the event files of a sub-run, in order.

    Args:
        directory: That of the sub-run; without event files there are no curves.
        most_bytes: Size of all its files beyond which nothing is read.

    Raises:
        DataError: There are too many values.
        OSError: A file can't be read.
    """
    curves = Curves()
    paths = event_files(directory)
    if most_bytes is not None and sum(path.stat().st_size for path in paths) > most_bytes:
        return curves
    for path in paths:
        for event in events(path):
            curves.take(event)
    return curves


def _scalar(tensor: Any) -> float | None:
    if tensor.dtype != DT_FLOAT or tensor.tensor_shape.dim:
        return None
    if len(tensor.float_val) == 1:
        return float(tensor.float_val[0])
    return float(make_ndarray(tensor)) if len(tensor.tensor_content) == 4 else None  # noqa: PLR2004
