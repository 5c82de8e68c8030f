"""What earlier trainings left in their journals, sent again."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from lossgap.errors import DataError, LossgapError, first_line
from lossgap.trackers import journal, records, registry
from lossgap.trackers.protocol import ResumableTracker

_once = Lock()
_begun: set[str] = set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one journal.

    Attributes:
        path: The journal's file.
        tracker: Name of the tracker; empty where the file can't be read.
        n_sent: Records that were sent.
        n_left: Records that wait on.
        trouble: Why they do; ``None`` if all were sent.
    """

    path: Path
    tracker: str
    n_sent: int
    n_left: int
    trouble: str | None


def send_all(
    *, only: str | None = None, progress: Callable[[Path, int, int], None] | None = None
) -> Iterator[Outcome]:
    """Send what waits in the journals, and yield what became of each.

    Args:
        only: The name of the one tracker to send to; all by default.
        progress: Called with a journal, the number of its records that are sent, and of all.
    """
    for path in journal.paths():
        outcome = _send(path, only, progress)
        if outcome is not None:
            yield outcome


def send_in_background(tracker: str) -> None:
    """Send what waits for ``tracker``, once in the life of a process; failures stay silent."""
    with _once:
        if tracker in _begun or not journal.paths():
            return
        _begun.add(tracker)
    Thread(target=lambda: list(send_all(only=tracker)), name="lossgap-resend", daemon=True).start()


def _send(
    path: Path, only: str | None, progress: Callable[[Path, int, int], None] | None
) -> Outcome | None:
    try:
        kept = journal.Journal(path)
    except sqlite3.OperationalError as error:
        busy = "locked" in str(error)
        reason = "its training is still running" if busy else first_line(error)
        return None if only else Outcome(path, "", 0, 0, reason)
    except (sqlite3.Error, OSError) as error:
        return Outcome(path, "", 0, 0, first_line(error))
    try:
        return _send_records(kept, only, progress)
    except (DataError, sqlite3.Error) as error:
        return Outcome(path, "", 0, 0, first_line(error))
    finally:
        kept.close()


def _send_records(
    kept: journal.Journal, only: str | None, progress: Callable[[Path, int, int], None] | None
) -> Outcome | None:
    name, destination = kept.origin()
    if only not in (None, name):
        return None
    n_all, n_sent = len(kept), 0
    try:
        tracker = _resume(name, destination)
        for number, text in kept:
            records.from_json(text).send(tracker)
            kept.set_destination(tracker.destination())
            kept.forget(number)
            n_sent += 1
            if progress is not None:
                progress(kept.path, n_sent, n_all)
    except Exception as error:  # noqa: BLE001 - what can't be sent stays, and says why
        return Outcome(kept.path, name, n_sent, n_all - n_sent, first_line(error))
    return Outcome(kept.path, name, n_sent, 0, None)


def _resume(name: str, destination: dict[str, Any]) -> ResumableTracker:
    resume = getattr(registry.tracker_class(name), "resume", None)
    if resume is None:
        raise LossgapError(f"{name} can't take up what an earlier training left.")
    tracker: ResumableTracker = resume(destination)
    return tracker
