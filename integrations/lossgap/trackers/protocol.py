"""What a tracker is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import LossgapError


@runtime_checkable
class Tracker(Protocol):
    """Where measurements are logged, one training after the other.

    The constructor stores and checks what it is given; :meth:`start` finds the run.
    :meth:`log` and :meth:`finish` are called on a thread of the outbox, one call at a time
    and in order: they may wait, and raise. What they raise is told to the user once, and the
    training goes on.
    """

    @property
    def name(self) -> str:
        """The tracker's name in warnings: that of its package."""
        ...

    def start(self, training: Training) -> None:
        """Find the run that is active, on the thread that trains.

        Never waits for a network. May be called again, for the next training.

        Raises:
            LossgapError: Nothing can be logged, and the user has to know before the training.
        """
        ...

    def log(self, measurement: Measurement, wall_time: float) -> None:
        """Log all numbers of a measurement together.

        Args:
            measurement: What was measured.
            wall_time: When, in seconds since the epoch of Unix.
        """
        ...

    def finish(self, summary: Summary | None, *, failed: bool) -> Sequence[str]:
        """End what :meth:`start` began, and nothing that the user began.

        Args:
            summary: The summary of the training; ``None`` if nothing was measured.
            failed: Whether the training ended with an exception.

        Returns:
            Lines for the user, such as the address of a page.
        """
        ...


@runtime_checkable
class ResumableTracker(Tracker, Protocol):
    """A tracker behind a network: what can't be delivered waits on disk.

    After a failure the same call is made again, so both must do no harm when their first
    attempt had succeeded unseen. Each training gets a copy (``copy.copy``), which is started: the
    delivery of one may still go on when the next begins.
    """

    def destination(self) -> Mapping[str, Any]:
        """Return what :meth:`resume` needs in another process, as plain values of JSON.

        Never a secret: it is written to disk.
        """
        ...

    @classmethod
    def resume(cls, destination: Mapping[str, Any]) -> Self:
        """Build the tracker again, started, to deliver what was left."""
        ...


@runtime_checkable
class BufferingTracker(ResumableTracker, Protocol):
    """A tracker that holds measurements in memory before it writes or sends them.

    What it took can be lost with its process, so a copy stays on disk until it is safe.
    """

    def n_safe(self) -> int:
        """Return how many of the measurements logged since :meth:`start` can't be lost any more.

        Called on a thread of the outbox, now and then, also after :meth:`finish`.
        """
        ...

    def has(self, measurement: Measurement) -> bool:
        """Tell, after :meth:`resume`, whether a measurement is safe already, without a network."""
        ...

    def close(self) -> Sequence[str]:
        """End what :meth:`resume` opened: all that was logged is safe then, or this raises.

        Returns:
            Lines for the user, such as how to upload it.
        """
        ...


class TroubleError(LossgapError):
    """Raised by a tracker that has a record, and something that the user has to know.

    The record isn't sent again.
    """


@runtime_checkable
class SettlingTracker(Tracker, Protocol):
    """A tracker whose run can end while the training goes on, by the user's own code.

    What was measured before that moment belongs into the run, and may still be on its way.
    """

    def settle_with(self, settle: Callable[[float], bool]) -> None:
        """Take the function that waits until the tracker has what was measured so far.

        Called once per training, after :meth:`start`. The function may be called more than once.

        Args:
            settle: Called with the most seconds to wait; returns whether all arrived.
        """
        ...
