"""Between a training and one tracker: a queue, a thread that sends, and a journal on disk.

The training puts records in and goes on. One thread sends them in order. Where a tracker can
resume, a second thread watches the first: what waits for longer than a moment is written to
the journal, so that it outlives the process.
"""

import atexit
import itertools
import sqlite3
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import Final

from lossgap.trackers import wording
from lossgap.trackers.journal import Journal
from lossgap.trackers.protocol import ResumableTracker, Tracker
from lossgap.trackers.records import Finish, Record

PATIENCE: Final = 2.0
"""Seconds that a record may wait for a tracker before it is written to disk."""

LAST_PATIENCE: Final = 15.0
"""Seconds that the end of a training waits for a tracker that works."""

FAILING_PATIENCE: Final = 1.0
"""Seconds that the end of a training waits for a tracker that has failed."""

RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 60.0
_WRITING_SECONDS: Final = 5.0

_live: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


class Outbox:
    """Sends the records of one training to one tracker.

    Args:
        tracker: Started. One that is a ``ResumableTracker`` gets a journal where needed; for
            others a record that can't be sent is lost, with a warning.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._resumable = tracker if isinstance(tracker, ResumableTracker) else None
        self._changed = Condition()
        self._numbers = itertools.count()
        self._pending: deque[tuple[int, Record]] = deque()
        self._written: set[int] = set()
        self._journal: Journal | None = None
        self._sending_since: float | None = None
        self._failing = False
        self._closing = False
        self._keeping = self._resumable is not None
        self._keep_now = False
        self._told = False
        self._troubles: list[str] = []
        self._lines: list[str] = []
        self._run("send", self._send_all)
        if self._keeping:
            self._run("keep", self._keep_all)
        _live.add(self)

    def _run(self, verb: str, work: Callable[[], None]) -> None:
        # Daemons: a server that never answers must not keep the process from ending.
        Thread(target=work, name=f"lossgap-{verb}-{self._tracker.name}", daemon=True).start()

    def put(self, record: Record) -> None:
        """Take a record, and return at once."""
        with self._changed:
            self._pending.append((next(self._numbers), record))
            self._closing = self._closing or isinstance(record, Finish)
            self._changed.notify_all()

    def troubles(self) -> list[str]:
        """Return what the user has to know, each thing once."""
        if not self._troubles:
            return []
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
            while self._pending and (left := self._patience(began) - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._pending:
                self._keep_now = True
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: not (self._keeping and self._unwritten()), _WRITING_SECONDS
                )
                self._troubles.append(self._what_waits())
        return self._lines

    def settle(self, seconds: float) -> bool:
        """Wait until all that was put in so far is with the tracker, and say whether it is."""
        with self._changed:
            last = self._pending[-1][0] if self._pending else -1
            return self._changed.wait_for(
                lambda: not self._pending or self._pending[0][0] > last, seconds
            )

    def closed(self) -> bool:
        """Tell whether the end of the training was put in."""
        return self._closing

    def _patience(self, began: float) -> float:
        """Return the time until which the end of a training waits."""
        if self._failing:
            return began + FAILING_PATIENCE
        last = began + LAST_PATIENCE
        finishing = isinstance(self._pending[0][1], Finish)
        if self._sending_since is None or finishing:
            return last
        return min(last, self._sending_since + PATIENCE)

    def _what_waits(self) -> str:
        n = sum(not isinstance(record, Finish) for _, record in self._pending)
        kept = self._journal is not None and not self._unwritten()
        place = self._journal.path if self._journal and kept else None
        return wording.what_waits(self._tracker.name, n, place)

    # On the thread that sends.

    def _send_all(self) -> None:
        delay = RETRY_SECONDS
        while (head := self._next()) is not None:
            try:
                lines = head[1].send(self._tracker)
            except Exception as error:  # noqa: BLE001 - whatever a tracker does, training goes on
                self._note(error)
                if self._resumable is None:
                    self._done(head[0], [])
                else:
                    self._rest(delay)
                    delay = min(2 * delay, MOST_RETRY_SECONDS)
            else:
                self._failing = False
                delay = RETRY_SECONDS
                self._done(head[0], lines)

    def _next(self) -> tuple[int, Record] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing)
            if not self._pending:
                return None
            self._sending_since = time.monotonic()
            self._changed.notify_all()
            return self._pending[0]

    def _done(self, number: int, lines: list[str]) -> None:
        with self._changed:
            self._sending_since = None
            self._lines += lines
            self._forget(number)
            self._pending.popleft()
            self._changed.notify_all()

    def _note(self, error: Exception) -> None:
        with self._changed:
            self._sending_since = None
            self._failing = True
            if not self._told:
                self._told = True
                self._troubles.append(
                    wording.what_failed(self._tracker.name, error, kept=self._keeping)
                )
            self._changed.notify_all()

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt; the end of the training is worth one at once."""
        with self._changed:
            open_before = not self._closing
            self._changed.wait_for(lambda: open_before and self._closing, seconds)

    # On the thread that keeps.

    def _keep_all(self) -> None:
        while (items := self._overdue()) is not None:
            for number, record in items:
                self._keep(number, record)
        if self._journal is not None:
            with suppress(sqlite3.Error, OSError):
                self._journal.close()

    def _overdue(self) -> list[tuple[int, Record]] | None:
        """Wait until records have waited too long; ``None`` when all are delivered."""
        with self._changed:
            while self._pending or not self._closing:
                left = None
                if self._keeping and (items := self._unwritten()):
                    left = self._seconds_to_keep()
                    if left <= 0:
                        return items
                self._changed.wait(left)
            return None

    def _unwritten(self) -> list[tuple[int, Record]]:
        return [item for item in self._pending if item[0] not in self._written]

    def _seconds_to_keep(self) -> float:
        if self._failing or self._keep_now:
            return 0.0
        if self._sending_since is None:
            return PATIENCE
        return self._sending_since + PATIENCE - time.monotonic()

    def _keep(self, number: int, record: Record) -> None:
        try:
            if self._journal is None and self._resumable is not None:
                self._journal = Journal.create(self._tracker.name, self._resumable.destination())
            if self._journal is not None:
                self._journal.write(number, record.to_json())
        except (sqlite3.Error, OSError) as error:
            with self._changed:
                self._keeping = False
                self._troubles.append(wording.what_is_not_kept(self._tracker.name, error))
                self._changed.notify_all()
            return
        with self._changed:
            self._written.add(number)
            if all(number != waiting for waiting, _ in self._pending):  # delivered meanwhile
                self._forget(number)
            self._changed.notify_all()

    def _forget(self, number: int) -> None:
        """Drop a delivered record from the journal, which may be sent again, but not lost."""
        if number in self._written and self._journal is not None and self._resumable is not None:
            with suppress(sqlite3.Error):
                self._journal.set_destination(self._resumable.destination())
                self._journal.forget(number)


def _close_all() -> None:
    """At the end of the process: a training whose end was never told has failed."""
    for outbox in list(_live):
        if not outbox.closed():
            outbox.put(Finish(None, failed=True))
            outbox.close()


atexit.register(_close_all)
