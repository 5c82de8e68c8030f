"""What earlier trainings left in their journals, sent again."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from lossgap.errors import LossgapError, first_line
from lossgap.trackers import journal, records, registry
from lossgap.trackers.protocol import BufferingTracker, ResumableTracker

Progress = Callable[[Path, int, int], None]

_once = Lock()
_begun: set[str] = set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one journal.

    Attributes:
        path: The journal's file.
        tracker: Name of the tracker; empty where the file can't be read.
        n_sent: Records that were sent.
        n_left: Records that wait on; ``None`` where the file can't be read.
        trouble: Why they do; ``None`` if all were sent.
        lines: What the tracker has to say, such as how to go on.
    """

    path: Path
    tracker: str
    n_sent: int
    n_left: int | None
    trouble: str | None
    lines: tuple[str, ...] = ()


def waiting(*, only: str | None = None) -> Iterator[Outcome]:
    """Yield what waits in the journals, and send nothing.

    What a tracker that buffers has got in the meantime doesn't wait, and is forgotten.

    Args:
        only: The name of the one tracker to look for; all by default.
    """
    yield from _for_each(lambda kept: _look(kept, only))


def send_all(*, only: str | None = None, progress: Progress | None = None) -> Iterator[Outcome]:
    """Send what waits in the journals, and yield what became of each.

    Args:
        only: The name of the one tracker to send to; all by default.
        progress: Called with a journal, the number of its records that are sent, and of all.
    """
    yield from _for_each(lambda kept: _send(kept, only, progress))


def send_in_background(tracker: str, *, only_look: bool = False) -> None:
    """Send what waits for ``tracker``, once in the life of a process; failures stay silent.

    Args:
        tracker: Its name.
        only_look: Whether to send nothing, and forget what it has got in the meantime.
    """
    with _once:
        if tracker in _begun or not journal.paths():
            return
        _begun.add(tracker)
    work = waiting if only_look else send_all
    thread = Thread(target=lambda: list(work(only=tracker)), name="lossgap-resend", daemon=True)
    with suppress(RuntimeError):  # no more threads: the next training, or lossgap sync, sends it
        thread.start()


def _for_each(work: Callable[[journal.Journal], Outcome | None]) -> Iterator[Outcome]:
    """Open the journals, one after the other; whatever is wrong with one is its outcome."""
    for path in journal.paths():
        try:
            with _opened(path) as kept:
                outcome = work(kept) if len(kept) else None
        except Exception as error:  # noqa: BLE001 - a broken file must not stop the others
            outcome = Outcome(path, "", 0, None, _reason(error))
        if outcome is not None:
            yield outcome


@contextmanager
def _opened(path: Path) -> Iterator[journal.Journal]:
    kept = journal.Journal(path)
    try:
        yield kept
    finally:
        with suppress(sqlite3.Error, OSError):  # what is wrong was told
            kept.close()


def _reason(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and journal.is_locked(error):
        return "in use by a training, or by another process that sends it"
    if isinstance(error, sqlite3.Error):
        return f"can't be read: {first_line(error)}. Remove the file to give it up"
    if isinstance(error, LossgapError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def _look(kept: journal.Journal, only: str | None) -> Outcome | None:
    name, destination = kept.origin()
    if only not in (None, name):
        return None
    with suppress(LossgapError):
        if _has_all(name, destination, kept):
            kept.forget()
            return None
    return Outcome(kept.path, name, 0, len(kept), None)


def _has_all(name: str, destination: dict[str, Any], kept: journal.Journal) -> bool:
    """Tell whether a tracker that buffers has all measurements; others aren't even imported."""
    if not hasattr(registry.tracker_class(name), "has"):
        return False
    tracker = _resume(name, destination)
    found = (records.from_json(text) for _, text in kept)
    return isinstance(tracker, BufferingTracker) and all(
        tracker.has(r.measurement) for r in found if isinstance(r, records.Log)
    )


def _send(kept: journal.Journal, only: str | None, progress: Progress | None) -> Outcome | None:
    name, destination = kept.origin()
    if only not in (None, name):
        return None
    n_all, n_sent, lines = len(kept), 0, []
    try:
        tracker = _resume(name, destination)
        for number, text in kept:
            lines += _sent(kept, tracker, number, text)
            n_sent += 1
            if progress is not None:
                progress(kept.path, n_sent, n_all)
        if isinstance(tracker, BufferingTracker):
            lines += tracker.close()
            kept.forget()
    except Exception as error:  # noqa: BLE001 - what can't be sent stays, and says why
        n_left = len(kept)
        return Outcome(kept.path, name, n_all - n_left, n_left, _reason(error))
    return Outcome(kept.path, name, n_sent, 0, None, tuple(lines))


def _sent(kept: journal.Journal, tracker: ResumableTracker, number: int, text: str) -> list[str]:
    """Send a record, and forget it where the tracker has it for good."""
    n_delivered = 0
    try:
        lines, trouble = records.send(records.from_json(text), tracker)
        if not isinstance(tracker, BufferingTracker):
            n_delivered = number + 1
    finally:  # a failed attempt, too, may have found out where the records go
        kept.attempted(tracker.destination(), n_delivered=n_delivered)
    return lines if trouble is None else [*lines, trouble]


def _resume(name: str, destination: dict[str, Any]) -> ResumableTracker:
    resume = getattr(registry.tracker_class(name), "resume", None)
    if resume is None:
        raise LossgapError(f"{name} can't take up what an earlier training left.")
    tracker: ResumableTracker = resume(destination)
    return tracker


def _after_fork() -> None:
    global _once  # noqa: PLW0603 - another thread may have held it
    _once = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
