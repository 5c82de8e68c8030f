"""What a tracker doesn't have for good, kept on disk until it does."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from lossgap.trackers.backlog import Item
from lossgap.trackers.journal import Journal
from lossgap.trackers.protocol import ResumableTracker


class Keeper:
    """The journal of one training.

    Used by the thread that sends and by the one that keeps: what becomes safe while it is about
    to be written stays out of the journal.
    """

    def __init__(self, tracker: ResumableTracker) -> None:
        self._tracker = tracker
        self._lock = Lock()
        self._journal: Journal | None = None
        self._n_safe = 0

    @property
    def path(self) -> Path | None:
        """The journal's file, if there is one."""
        return self._journal.path if self._journal is not None else None

    def is_gone(self) -> bool:
        """Tell whether somebody removed the journal, and with it all that is in it.

        SQLite would go on to write into a file that has no name any more.
        """
        path = self.path
        return path is not None and not os.path.lexists(path)

    def renewed(self) -> bool:
        """Let go of a journal that is gone, and tell whether it was: the next record makes one."""
        with self._lock:
            if self._journal is None or not self.is_gone():
                return False
            with suppress(Exception):
                self._journal.close()
            self._journal = None
            return True

    def open(self) -> None:
        """Make the journal; whatever the disk or the tracker raises, passes."""
        with self._lock:
            self._opened()

    def keep(self, items: Sequence[Item]) -> None:
        """Write records under their numbers; whatever the disk or the tracker raises, passes."""
        with self._lock:
            missing = [
                (item.number, item.record.to_json())
                for item in items
                if item.number >= self._n_safe
            ]
            if missing:
                self._opened().write(missing)

    def attempted(self, n_safe: int) -> None:
        """Forget the records before ``n_safe``. Without the disk they may be sent again, not lost.

        A failed attempt, too, may have found out where the records go, which is noted.
        """
        with self._lock:
            self._n_safe = max(self._n_safe, n_safe)
            if self._journal is not None:
                with suppress(BaseException):
                    self._journal.attempted(self._tracker.destination(), n_delivered=self._n_safe)

    def close(self) -> None:
        """Close the journal, which goes if nothing waits in it."""
        with self._lock, suppress(Exception):
            if self._journal is not None:
                self._journal.close()

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = Journal.create(self._tracker.name, self._tracker.destination())
        return self._journal
