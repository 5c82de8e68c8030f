"""From the training to its trackers: each has an outbox of its own."""

import copy
import time
import warnings
from typing import Any

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import LossgapWarning
from lossgap.trackers import leftovers, registry
from lossgap.trackers.outbox import Outbox
from lossgap.trackers.protocol import BufferingTracker, ResumableTracker, SettlingTracker
from lossgap.trackers.records import Finish, Log


class Delivery:
    """Tells trackers of one training after the other, without making the training wait.

    Args:
        trackers: A tracker or the name of one, or several of them.

    Raises:
        InvalidArgumentError: Something is neither, or stands there twice.
        MissingDependencyError: The package of a tracker isn't installed.
    """

    def __init__(self, trackers: Any) -> None:
        self.trackers = registry.resolve(trackers)
        self._outboxes: list[Outbox] = []
        self._silent = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave the outboxes out of copies, which are made for other trainings."""
        return {"trackers": self.trackers, "_outboxes": [], "_silent": False}

    def begin(self, training: Training) -> None:
        """Start the trackers; one that can't start raises, and ends those before it."""
        self.end(None, failed=True)
        self._silent = training.silent
        for given in self.trackers:
            # Of its own: what an earlier training couldn't deliver may still be on its way.
            tracker = copy.copy(given) if isinstance(given, ResumableTracker) else given
            try:
                tracker.start(training)
            except BaseException:
                self.end(None, failed=True)
                raise
            outbox = Outbox(tracker)
            self._outboxes.append(outbox)
            if isinstance(tracker, SettlingTracker):
                tracker.settle_with(outbox.settle)
            if isinstance(tracker, ResumableTracker):
                # To open a run that was ended again is for the user to decide.
                ended = isinstance(tracker, BufferingTracker)
                leftovers.send_in_background(tracker.name, only_look=ended)

    def measured(self, measurement: Measurement) -> None:
        """Put the measurement into the outboxes."""
        record = Log(measurement, time.time())
        for outbox in self._outboxes:
            outbox.put(record)
            self._tell(outbox)

    def end(self, summary: Summary | None, *, failed: bool = False) -> list[str]:
        """Let the outboxes deliver what they hold, and return what the trackers have to say."""
        outboxes, self._outboxes = self._outboxes, []
        for outbox in outboxes:  # first all, so that they work side by side
            outbox.put(Finish(summary, failed))
        lines: list[str] = []
        for outbox in outboxes:
            lines += outbox.close()
            self._tell(outbox)
        return lines

    def _tell(self, outbox: Outbox) -> None:
        for trouble in () if self._silent else outbox.troubles():
            warnings.warn(f"lossgap: {trouble}", LossgapWarning, stacklevel=5)
