"""Between a training and one tracker: a queue, a thread that sends, and one that keeps.

The training puts records in and goes on. One thread sends them in order. Where a tracker can
resume, a second thread writes to disk what waits for longer than a moment, so that it outlives
the process.
"""

import atexit
import os
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from threading import Condition, Thread
from typing import Final

from lossgap.errors import LossgapWarning
from lossgap.trackers import wording
from lossgap.trackers.keeper import Keeper
from lossgap.trackers.protocol import ResumableTracker, Tracker
from lossgap.trackers.records import Finish, Record

PATIENCE: Final = 2.0
"""Seconds that a record may wait for a tracker before it is written to disk."""

LAST_PATIENCE: Final = 15.0
"""Seconds that the end of a training waits for a tracker that works."""

FIRST_PATIENCE: Final = 15.0
"""Seconds after which a tracker's first call hangs, and likewise its last: a store may be made."""

FAILING_PATIENCE: Final = 1.0
"""Seconds that the end of a training waits for a tracker that has failed."""

WRITING_PATIENCE: Final = 5.0
"""Seconds that the end of a training waits for the disk."""

RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 60.0

_live: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class _Waiting:
    number: int
    since: float
    record: Record


class Outbox:
    """Sends the records of one training to one tracker.

    Args:
        tracker: Started. One that is a ``ResumableTracker`` gets a journal where needed; for
            others a record that can't be sent is lost, with a warning.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._changed = Condition()
        self._waiting: deque[_Waiting] = deque()
        self._n_put = 0
        self._n_kept = 0  # records before this one are on disk, or delivered
        self._sending_since: float | None = None
        self._tried_at_the_end = False
        self._failing = self._closing = self._abandoned = False
        self._keeper = Keeper(tracker) if isinstance(tracker, ResumableTracker) else None
        self._can_keep = self._keeper is not None
        self._keep_now = self._tidy = self._answered = False
        self._told = self._told_of_disk = False
        self._troubles: list[str] = []
        self._lines: list[str] = []
        self._run("send", self._send_all)
        if self._keeper is not None:
            self._run("keep", self._keep_all)
        _live.add(self)

    def _run(self, verb: str, work: Callable[[], None]) -> None:
        # Daemons: a server that never answers must not keep the process from ending.
        Thread(target=work, name=f"lossgap-{verb}-{self._tracker.name}", daemon=True).start()

    def put(self, record: Record) -> None:
        """Take a record, and return at once."""
        with self._changed:
            if self._abandoned:
                return
            self._waiting.append(_Waiting(self._n_put, time.monotonic(), record))
            self._n_put += 1
            self._closing = self._closing or isinstance(record, Finish)
            self._changed.notify_all()

    def troubles(self) -> list[str]:
        """Return what the user has to know, each thing once."""
        with self._changed:
            troubles, self._troubles = self._troubles, []
        return troubles

    def close(self) -> list[str]:
        """Wait while the tracker takes what it is sent, and see that the rest is on disk.

        A tracker that fails or hangs is hardly waited for. Sending goes on for as long as the
        process lives.

        Returns:
            Lines for the user.
        """
        began = time.monotonic()
        with self._changed:
            while self._waiting and (left := self._patience(began) - time.monotonic()) > 0:
                self._changed.wait(left)
        self.keep_the_rest()
        return list(self._lines)

    def keep_the_rest(self) -> None:
        """See that what waits is on disk, and nothing else, without waiting for the tracker."""
        with self._changed:
            if self._waiting:
                self._keep_now = True
                self._can_keep = self._keeper is not None  # the disk gets a second chance
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._all_kept() or not self._can_keep, WRITING_PATIENCE
                )
            if self._waiting:
                self._troubles.append(self._what_waits())
            elif self._keeper is not None and self._closing:
                self._changed.wait_for(lambda: self._tidy, WRITING_PATIENCE)

    def settle(self, seconds: float) -> bool:
        """Wait until all that was put in so far is with the tracker, and say whether it is."""
        with self._changed:
            last = self._n_put
            return self._changed.wait_for(
                lambda: not self._waiting or self._waiting[0].number >= last, seconds
            )

    def closed(self) -> bool:
        """Tell whether the end of the training was put in."""
        return self._closing

    def abandon(self) -> None:
        """Do nothing any more: in a forked process, which has neither the threads nor the file.

        Another thread may have held the lock when the process was forked.
        """
        self._changed = Condition()
        self._abandoned = self._closing = self._tidy = True
        self._waiting.clear()

    def _patience(self, began: float) -> float:
        """Return the time until which the end of a training waits."""
        if self._failing:
            return began if self._tried_at_the_end else began + FAILING_PATIENCE
        last = began + LAST_PATIENCE
        if self._sending_since is None:
            return last
        long = not self._answered or isinstance(self._waiting[0].record, Finish)
        return min(last, self._sending_since + (FIRST_PATIENCE if long else PATIENCE))

    def _all_kept(self) -> bool:
        return not self._waiting or self._n_kept > self._waiting[-1].number

    def _what_waits(self) -> str:
        n = sum(not isinstance(item.record, Finish) for item in self._waiting)
        place = self._keeper.path if self._keeper is not None and self._all_kept() else None
        return wording.what_waits(self._tracker.name, n, place)

    # On the thread that sends.

    def _send_all(self) -> None:
        delay = RETRY_SECONDS
        while (item := self._next()) is not None:
            try:
                lines = item.record.send(self._tracker)
            except BaseException as error:  # noqa: BLE001 - whatever a tracker does, all goes on
                self._note(error)
                if self._keeper is None:
                    self._drop([])
                else:
                    self._keeper.attempted(item.number, delivered=False)
                    self._rest(delay)
                    delay = min(2 * delay, MOST_RETRY_SECONDS)
            else:
                if self._keeper is not None:
                    self._keeper.attempted(item.number, delivered=True)
                delay = RETRY_SECONDS
                self._failing = False
                self._answered = True
                self._drop(lines)

    def _next(self) -> _Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            self._sending_since = time.monotonic()
            self._changed.notify_all()
            return self._waiting[0]

    def _drop(self, lines: list[str]) -> None:
        with self._changed:
            self._sending_since = None
            self._lines += lines
            self._waiting.popleft()
            self._changed.notify_all()

    def _note(self, error: BaseException) -> None:
        with self._changed:
            self._sending_since = None
            self._failing = True
            self._tried_at_the_end = self._closing and self._keeper is not None
            if not self._told:
                self._told = True
                self._troubles.append(
                    wording.what_failed(self._tracker.name, error, kept=self._can_keep)
                )
            self._changed.notify_all()

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt; the end of the training is worth one at once."""
        with self._changed:
            open_before = not self._closing
            self._changed.wait_for(lambda: open_before and self._closing, seconds)

    # On the thread that keeps.

    def _keep_all(self) -> None:
        assert self._keeper is not None  # noqa: S101 - else there is no such thread
        while (items := self._overdue()) is not None:
            try:
                self._keeper.keep((item.number, item.record) for item in items)
            except Exception as error:  # noqa: BLE001 - of the disk, or of the tracker
                self._keep_no_more(error)
            else:
                with self._changed:
                    self._n_kept = items[-1].number + 1
                    self._changed.notify_all()
        self._keeper.close()
        with self._changed:
            self._tidy = True
            self._changed.notify_all()

    def _overdue(self) -> list[_Waiting] | None:
        """Wait until a record has waited too long; ``None`` when all are delivered."""
        with self._changed:
            while self._waiting or not self._closing:
                left = self._seconds_to_keep()
                if left is not None and left <= 0:
                    return list(islice(self._waiting, self._n_kept_here(), None))
                self._changed.wait(left)
            return None

    def _n_kept_here(self) -> int:
        """Return how many of those that wait are on disk."""
        return max(self._n_kept - self._waiting[0].number, 0)

    def _seconds_to_keep(self) -> float | None:
        if not self._can_keep or self._all_kept():
            return None
        if self._failing or self._keep_now:
            return 0.0
        return self._waiting[self._n_kept_here()].since + PATIENCE - time.monotonic()

    def _keep_no_more(self, error: Exception) -> None:
        with self._changed:
            self._can_keep = False
            if not self._told_of_disk:
                self._told_of_disk = True
                self._troubles.append(wording.what_is_not_kept(self._tracker.name, error))
            self._changed.notify_all()


def _close_all() -> None:
    """At the end of the process: a training whose end was never told has failed."""
    outboxes = list(_live)
    never_ended = [outbox for outbox in outboxes if not outbox.closed()]
    for outbox in never_ended:  # first all, so that they work side by side
        outbox.put(Finish(None, failed=True))
    for outbox in never_ended:
        outbox.close()
        for trouble in outbox.troubles():
            warnings.warn(f"lossgap: {trouble}", LossgapWarning, stacklevel=1)
    for outbox in outboxes:
        outbox.keep_the_rest()


def _abandon_all() -> None:
    for outbox in list(_live):
        outbox.abandon()
    _live.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
