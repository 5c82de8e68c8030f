"""From the training to its trackers: each has an outbox of its own."""

import copy
import time
import warnings
from typing import Any

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import LossgapWarning, TrackerError
from lossgap.redaction import shown
from lossgap.trackers import leftovers, registry
from lossgap.trackers.outbox import Outbox
from lossgap.trackers.protocol import (
    BufferingTracker,
    ResumableTracker,
    SettlingTracker,
    Tracker,
)
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
        self._ended: list[Outbox] = []
        self._silent = self._strict = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave the outboxes out of copies, which are made for other trainings."""
        fresh = {"_outboxes": [], "_ended": [], "_silent": False, "_strict": False}
        return {"trackers": self.trackers} | fresh

    def begin(self, training: Training) -> None:
        """Start the trackers; one that can't start raises, and ends those before it."""
        self.end(None, failed=True)
        self._ended = []
        self._silent, self._strict = training.silent, training.strict
        try:
            for given in self.trackers:
                self._outboxes.append(self._started(given, training))
        except BaseException:
            self.end(None, failed=True)
            raise

    def _started(self, given: Tracker, training: Training) -> Outbox:
        # Of its own: what an earlier training couldn't deliver may still be on its way.
        tracker = copy.copy(given) if isinstance(given, ResumableTracker) else given
        tracker.start(training)
        outbox = Outbox(tracker, strict=training.strict, silent=training.silent)
        if isinstance(tracker, SettlingTracker):
            tracker.settle_with(outbox.settle)
        if isinstance(tracker, ResumableTracker):
            # To open a run that was ended again is for the user to decide.
            ended = isinstance(tracker, BufferingTracker)
            leftovers.send_in_background(tracker.name, only_look=ended)
        return outbox

    def measured(self, measurement: Measurement) -> None:
        """Put the measurement into the outboxes.

        Raises:
            TrackerError: The training is strict, and a tracker has failed since it began.
        """
        record = Log(measurement, time.time())
        for outbox in self._outboxes:
            outbox.put(record)
        self._tell(self._outboxes, strict=self._strict)

    def end(self, summary: Summary | None, *, failed: bool = False) -> list[str]:
        """Let the outboxes deliver what they hold, and return what the trackers have to say.

        Raises:
            TrackerError: The training is strict and has not failed, but a tracker has. What it
                didn't take is kept.
        """
        outboxes, self._outboxes = self._outboxes, []
        self._ended = outboxes or self._ended
        for outbox in outboxes:  # first all, so that they work side by side
            outbox.put(Finish(summary, failed))
        lines: list[str] = []
        for outbox in outboxes:
            lines += outbox.close()
        self._tell(outboxes, strict=self._strict and not failed)
        return lines

    def troubles(self) -> list[str]:
        """Return what failed in the last training, and what waits by now."""
        return [line for outbox in self._outboxes or self._ended for line in outbox.summed_up()]

    def _tell(self, outboxes: list[Outbox], *, strict: bool) -> None:
        """Warn of what is new, or raise it."""
        troubles = [trouble for outbox in outboxes for trouble in outbox.troubles()]
        if strict and troubles:
            error = TrackerError("\n".join(troubles))
            for outbox in outboxes:  # as notes: Keras takes the causes of exceptions away
                if outbox.traceback:
                    error.add_note(shown(outbox.traceback))
            raise error
        for trouble in () if self._silent else troubles:
            warnings.warn(f"lossgap: {trouble}", LossgapWarning, stacklevel=5)
