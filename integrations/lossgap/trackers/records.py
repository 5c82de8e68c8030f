"""What passes through an outbox, and its form on disk."""

import json
from dataclasses import dataclass
from typing import Any, Final

from lossgap.core.measurement import Measurement
from lossgap.core.summary import Summary
from lossgap.errors import DataError
from lossgap.trackers.protocol import Tracker, TroubleError

_LOG: Final = "log"
_FINISH: Final = "finish"


@dataclass(frozen=True, slots=True)
class Log:
    """A measurement, and when it was made: seconds since the epoch of Unix."""

    measurement: Measurement
    wall_time: float

    def send(self, tracker: Tracker) -> list[str]:
        """Hand it to the tracker."""
        tracker.log(self.measurement, self.wall_time)
        return []

    def to_json(self) -> str:
        """Return the form on disk."""
        return json.dumps(
            {
                "kind": _LOG,
                "wall_time": self.wall_time,
                "measurement": self.measurement.to_dict(),
            }
        )


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a training."""

    summary: Summary | None
    failed: bool

    def send(self, tracker: Tracker) -> list[str]:
        """Hand it to the tracker, and return its lines for the user."""
        return list(tracker.finish(self.summary, failed=self.failed) or ())

    def to_json(self) -> str:
        """Return the form on disk."""
        summary = self.summary and {
            "measurements": [m.to_dict() for m in self.summary.measurements],
            "fit_seconds": self.summary.fit_seconds,
            "compile_seconds": self.summary.compile_seconds,
        }
        return json.dumps({"kind": _FINISH, "failed": self.failed, "summary": summary})


Record = Log | Finish


def send(record: Record, tracker: Tracker) -> tuple[list[str], str | None]:
    """Hand a record to a tracker, which then has it.

    Returns:
        Lines for the user, and a trouble that the user has to know of; ``None`` for none.
    """
    try:
        return record.send(tracker), None
    except TroubleError as trouble:
        return [], str(trouble)


def from_json(text: str) -> Record:
    """Read the form on disk.

    Raises:
        DataError: It isn't one that lossgap wrote.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields["kind"] == _LOG:
            return Log(Measurement.from_dict(fields["measurement"]), float(fields["wall_time"]))
        return Finish(_summary(fields["summary"]), bool(fields["failed"]))
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DataError(
            f"Expected a record of lossgap's outbox. Received: {text[:80]!r} ({error})."
        ) from error


def _summary(fields: dict[str, Any] | None) -> Summary | None:
    if fields is None:
        return None
    measurements = tuple(Measurement.from_dict(m) for m in fields["measurements"])
    return Summary(measurements, fields["fit_seconds"], fields["compile_seconds"])
