"""What a tracker doesn't take in time, kept on disk until it does."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from lossgap.trackers.journal import Journal
from lossgap.trackers.protocol import ResumableTracker
from lossgap.trackers.records import Record


class Keeper:
    """The journal of one training, made when the first record has to be kept.

    Used by the thread that sends and by the one that keeps: what is delivered while it is
    about to be written stays out of the journal.
    """

    def __init__(self, tracker: ResumableTracker) -> None:
        self._tracker = tracker
        self._lock = Lock()
        self._journal: Journal | None = None
        self._n_delivered = 0

    @property
    def path(self) -> Path | None:
        """The journal's file, if there is one."""
        return self._journal.path if self._journal is not None else None

    def keep(self, items: Iterable[tuple[int, Record]]) -> None:
        """Write records under their numbers; whatever the disk or the tracker raises, passes."""
        with self._lock:
            missing = [(n, record.to_json()) for n, record in items if n >= self._n_delivered]
            if not missing:
                return
            if self._journal is None:
                self._journal = Journal.create(self._tracker.name, self._tracker.destination())
            self._journal.write(missing)

    def attempted(self, number: int, *, delivered: bool) -> None:
        """Note what came of an attempt. Without the disk a record may be sent again, not lost.

        A failed attempt, too, may have found out where the records go.
        """
        with self._lock:
            if delivered:
                self._n_delivered = number + 1
            if self._journal is not None:
                with suppress(Exception):
                    self._journal.attempted(
                        self._tracker.destination(), delivered=number if delivered else None
                    )

    def close(self) -> None:
        """Close the journal, which goes if nothing waits in it."""
        with self._lock, suppress(Exception):
            if self._journal is not None:
                self._journal.close()
