"""What goes wrong between a training and one tracker: told once each, and counted."""

import traceback
from pathlib import Path

from lossgap.trackers import wording


class Troubles:
    """What the user has to know of one tracker in one training.

    Not for two threads at once: whoever uses it holds a lock.

    Args:
        tracker: Its name.
        strict: Whether the training ends with what is told.

    Attributes:
        failing: Whether the last attempt failed.
        traceback: Of the first failure, as text; empty if there was none.
    """

    def __init__(self, tracker: str, *, strict: bool = False) -> None:
        self.failing = False
        self.traceback = ""
        self._tracker = tracker
        self._strict = strict
        self._n_failed = 0
        self._first = ""
        self._disk: str | None = None
        self._told: set[str] = set()
        self._texts: list[str] = []

    def failed(self, error: BaseException, *, kept: bool) -> None:
        """Note that an attempt failed; ``kept`` tells whether it is made again."""
        self.failing = True
        self._n_failed += 1
        self._first = self._first or wording.reason(error)
        if self._strict and not self.traceback:
            self.traceback = "".join(traceback.format_exception(error))
        text = wording.what_failed(self._tracker, error, kept=kept, goes_on=not self._strict)
        self.tell(text, once="failure")

    def disk_failed(self, error: BaseException) -> None:
        """Note that the journal can't be written; it is told where something needs it."""
        self._disk = wording.what_is_not_kept(self._tracker, error)
        if self.failing:
            self.tell_of_disk()

    def tell_of_disk(self) -> None:
        """Tell that the disk failed, if it did: something needs it."""
        if self._disk is not None:
            self.tell(self._disk, once="disk")

    def tell(self, text: str, *, once: str = "") -> None:
        """Leave a text for the user; of those of one topic the first alone."""
        if once not in self._told:
            self._texts.append(text)
        self._told |= {once} - {""}

    def take(self) -> list[str]:
        """Return what is to be told now."""
        texts, self._texts = self._texts, []
        return texts

    def summed_up(
        self, *, kept: bool, n_waiting: int | None, place: Path | None = None
    ) -> list[str]:
        """Return what the summary says of the tracker, nothing where all is well.

        Args:
            kept: Whether an attempt that failed is made again.
            n_waiting: Measurements that wait, after the end of the training; ``None`` if not
                even its end does.
            place: The journal in which they do.
        """
        lines = []
        if self._n_failed:
            lines.append(
                wording.how_often_it_failed(self._tracker, self._n_failed, self._first, kept=kept)
            )
        if n_waiting is not None:
            lines.append(wording.how_much_waits(self._tracker, n_waiting, place))
        elif self._n_failed and kept:
            lines[-1] += " All has arrived since."
        return lines
