"""Between a training and one tracker: a queue, a thread that sends, and one that keeps.

The training puts records in and goes on. One thread sends them in order. Where a tracker can
resume, a second thread writes them to disk first, so that they outlive the process, however it
ends, and takes them away again once the tracker has them for good.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from lossgap.trackers import lifetime, wording
from lossgap.trackers.backlog import Backlog, Item
from lossgap.trackers.keeper import Keeper
from lossgap.trackers.protocol import BufferingTracker, ResumableTracker, Tracker
from lossgap.trackers.records import Finish, Record, send
from lossgap.trackers.troubles import Troubles

MOST_WAITING: Final = 100_000
"""Records that may wait at one time."""

PUTTING_PATIENCE: Final = 0.005
"""Seconds that the training waits, at most, until a measurement is on disk."""

PUTTING_SHARE: Final = 0.005
"""Share of the training's time that it waits so, at most; a slow disk isn't waited for."""

PATIENCE: Final = 2.0
"""Seconds after which a tracker's call hangs."""

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
LOOK_SECONDS: Final = 2.0
"""How often a tracker that buffers is asked what is safe."""


class Outbox:
    """Sends the records of one training to one tracker.

    Args:
        tracker: Started. One that is a ``ResumableTracker`` gets a journal; for others a record
            that can't be sent is lost, with a warning.
        strict: Whether the training ends with what goes wrong.
        silent: Whether nobody wants to be told, not even when the process ends.
    """

    def __init__(self, tracker: Tracker, *, strict: bool = False, silent: bool = False) -> None:
        self.silent = silent
        self._tracker = tracker
        self._troubles = Troubles(tracker.name, strict=strict)
        self._changed = Condition()
        self._backlog = Backlog()
        self._began = time.monotonic()
        self._waited = 0.0
        self._sending_since: float | None = None
        self._tried_at_the_end = False
        self._closing = self._abandoned = False
        self._keeper = Keeper(tracker) if isinstance(tracker, ResumableTracker) else None
        self._buffering = tracker if isinstance(tracker, BufferingTracker) else None
        self._can_keep = self._keeper is not None
        self._tidy = self._answered = False
        self._n_asked = self._n_looked = 0
        self._lines: list[str] = []
        self._run("send", self._send_all)
        if self._keeper is not None:
            self._run("keep", self._keep_all)
        lifetime.watch(self)

    def _run(self, verb: str, work: Callable[[], None]) -> None:
        # Daemons: a server that never answers must not keep the process from ending.
        Thread(target=work, name=f"lossgap-{verb}-{self._tracker.name}", daemon=True).start()

    def put(self, record: Record) -> None:
        """Take a record.

        Waits a moment, until it is on disk or with the tracker, so that not even the sudden end
        of the process loses it: at most ``PUTTING_PATIENCE``, and not for a disk that is slow.
        """
        end = isinstance(record, Finish)
        with self._changed:
            if self._abandoned:
                return
            if not end and self._backlog.n_put - self._backlog.n_safe >= MOST_WAITING:
                text = wording.what_overflows(self._tracker.name, MOST_WAITING)
                self._troubles.tell(text, once="overflow")
                return
            number = self._backlog.put(record)
            self._closing = self._closing or end
            self._changed.notify_all()
            if not end:
                self._wait_for(number)

    def _wait_for(self, number: int) -> None:
        now = time.monotonic()
        if self._waited <= PUTTING_PATIENCE + PUTTING_SHARE * (now - self._began):
            self._changed.wait_for(
                lambda: self._backlog.secured(number) or not self._securing(), PUTTING_PATIENCE
            )
            self._waited += time.monotonic() - now

    def _securing(self) -> bool:
        return self._can_keep or (self._keeper is None and not self.failing)

    def troubles(self) -> list[str]:
        """Return what the user has to know, each thing once."""
        with self._changed:
            return self._troubles.take()

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._troubles.failing

    @property
    def traceback(self) -> str:
        """Where the tracker failed first in a training that is strict; else empty."""
        return self._troubles.traceback

    def summed_up(self) -> list[str]:
        """Return what the summary says of the tracker: what failed, and what waits by now."""
        with self._changed:
            waits = self._closing and not self._backlog.all_sent
            return self._troubles.summed_up(
                kept=self._keeper is not None,
                n_waiting=self._backlog.n_measurements() if waits else None,
                place=self._place(),
            )

    def close(self) -> list[str]:
        """Wait while the tracker takes what it is sent, and see that the rest is on disk.

        A tracker that fails or hangs is hardly waited for. Sending goes on for as long as the
        process lives.

        Returns:
            Lines for the user.
        """
        began = time.monotonic()
        with self._changed:
            while not self._backlog.all_sent and (
                (left := self._patience(began) - time.monotonic()) > 0
            ):
                self._changed.wait(left)
        self.keep_the_rest()
        return list(self._lines)

    def keep_the_rest(self) -> None:
        """See that what waits is on disk, and nothing else, without waiting for the tracker."""
        with self._changed:
            if self._keeper is not None and self._keeper.is_gone():
                self._backlog.lost()
            if not self._backlog.all_secured:
                self._can_keep = self._keeper is not None  # the disk gets a second chance
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._backlog.all_secured or not self._can_keep, WRITING_PATIENCE
                )
            self._look_again()
            if not self._backlog.all_sent:
                self._troubles.tell_of_disk()
                self._troubles.tell(self._what_waits())
            elif self._keeper is not None and self._closing and self._backlog.all_safe:
                self._changed.wait_for(lambda: self._tidy, WRITING_PATIENCE)

    def settle(self, seconds: float) -> bool:
        """Wait until all that was put in so far is with the tracker, and say whether it is.

        A tracker that fails isn't waited for.
        """
        with self._changed:
            last = self._backlog.n_put
            self._changed.wait_for(lambda: self.failing or self._backlog.n_sent >= last, seconds)
            return self._backlog.n_sent >= last

    def closed(self) -> bool:
        """Tell whether the end of the training was put in."""
        return self._closing

    def abandon(self) -> None:
        """Do nothing any more: in a forked process, which has neither the threads nor the file.

        Another thread may have held the lock when the process was forked.
        """
        self._changed = Condition()
        self._abandoned = self._closing = self._tidy = True
        self._backlog.clear()

    def _patience(self, began: float) -> float:
        """Return the time until which the end of a training waits."""
        if self.failing:
            return began if self._tried_at_the_end else began + FAILING_PATIENCE
        last = began + LAST_PATIENCE
        item = self._backlog.next()
        if self._sending_since is None or item is None:
            return last
        long = not self._answered or isinstance(item.record, Finish)
        return min(last, self._sending_since + (FIRST_PATIENCE if long else PATIENCE))

    def _what_waits(self) -> str:
        n = self._backlog.n_measurements()
        again = self._buffering is None
        return wording.what_waits(self._tracker.name, n, self._place(), sent_again=again)

    def _place(self) -> Path | None:
        """Return the journal if all that waits is in it."""
        return self._keeper.path if self._keeper and self._backlog.all_secured else None

    def _look_again(self) -> None:
        """Ask a tracker that buffers what is safe by now, on the thread that keeps."""
        if self._buffering is not None and not self._backlog.all_safe and not self._tidy:
            self._n_asked += 1
            asked = self._n_asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._n_looked >= asked or self._tidy, WRITING_PATIENCE)

    # On the thread that sends.

    def _send_all(self) -> None:
        delay = RETRY_SECONDS
        while (item := self._next()) is not None:
            try:
                lines, trouble = send(item.record, self._tracker)
            except BaseException as error:  # noqa: BLE001 - whatever a tracker does, all goes on
                self._note(error)
                if self._keeper is None:
                    self._sent(item, [])
                else:
                    self._keeper.attempted(self._backlog.n_safe)
                    self._rest(delay)
                    delay = min(2 * delay, MOST_RETRY_SECONDS)
            else:
                delay = RETRY_SECONDS
                self._troubles.failing = False
                self._answered = True
                self._sent(item, lines, trouble)

    def _next(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._backlog.next() or self._closing)
            item = self._backlog.next()
            if item is not None:
                self._sending_since = time.monotonic()
                self._changed.notify_all()
            return item

    def _sent(self, item: Item, lines: list[str], trouble: str | None = None) -> None:
        if self._keeper is not None and self._buffering is None:
            self._keeper.attempted(item.number + 1)
        with self._changed:
            self._sending_since = None
            self._lines += lines
            if trouble is not None:
                self._troubles.tell(trouble)
            self._backlog.sent()
            if self._buffering is None:
                self._backlog.safe(self._backlog.n_sent)
            self._changed.notify_all()

    def _note(self, error: BaseException) -> None:
        with self._changed:
            self._sending_since = None
            self._tried_at_the_end = self._closing and self._keeper is not None
            self._troubles.failed(error, kept=self._can_keep)
            if not self._can_keep:
                self._troubles.tell_of_disk()
            self._changed.notify_all()

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt; the end of the training is worth one at once."""
        with self._changed:
            open_before = not self._closing
            self._changed.wait_for(lambda: open_before and self._closing, seconds)

    # On the thread that keeps.

    def _keep_all(self) -> None:
        keeper = self._keeper
        assert keeper is not None  # noqa: S101 - else there is no such thread
        self._try(keeper.open)
        while (items := self._unkept()) is not None:
            if items and keeper.renewed():
                with self._changed:
                    self._backlog.lost()
                    items = self._backlog.unkept()
            if items and self._try(partial(keeper.keep, items)):
                with self._changed:
                    self._backlog.kept(items[-1].number + 1)
                    self._changed.notify_all()
            if self._buffering is not None:
                self._ask(self._buffering, keeper)
        keeper.close()
        with self._changed:
            self._tidy = True
            self._changed.notify_all()

    def _unkept(self) -> list[Item] | None:
        """Wait for records that aren't on disk, or for the time to ask what is safe."""
        with self._changed:
            while not (self._closing and self._backlog.all_safe):
                items = self._backlog.unkept() if self._can_keep else []
                if items or self._n_looked < self._n_asked:
                    return items
                pending = self._buffering and self._backlog.n_sent > self._backlog.n_safe
                if not self._changed.wait(LOOK_SECONDS if pending else None) and pending:
                    return []
            return None

    def _ask(self, tracker: BufferingTracker, keeper: Keeper) -> None:
        """Forget what a tracker that buffers can't lose any more."""
        with self._changed:
            n_sent, ended = self._backlog.n_sent, self._closing and self._backlog.all_sent
            asked = self._n_asked
        n_safe = 0
        with suppress(BaseException):
            n_safe = tracker.n_safe()
            if ended and n_safe >= n_sent - 1:
                n_safe = n_sent  # the end itself isn't a measurement
            keeper.attempted(n_safe)
        with self._changed:
            self._backlog.safe(n_safe)
            self._n_looked = asked
            self._changed.notify_all()

    def _try(self, work: Callable[[], None]) -> bool:
        """Do what needs the disk; whether it worked."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - of the disk, or whatever a tracker does
            with self._changed:
                self._can_keep = False
                self._troubles.disk_failed(error)
                self._changed.notify_all()
            return False
        return True
