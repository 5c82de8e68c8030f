"""What becomes of outboxes when their process ends, or is forked."""

import atexit
import os
import warnings
import weakref
from typing import Protocol

from lossgap import exits
from lossgap.errors import LossgapWarning
from lossgap.trackers.records import Finish, Record


class Outbox(Protocol):
    """As much of an outbox as is needed here."""

    def put(self, record: Record) -> None:
        """Take a record."""
        ...

    def close(self) -> list[str]:
        """Wait for a tracker that works, and see that the rest is on disk."""
        ...

    def closed(self) -> bool:
        """Tell whether the end of the training was put in."""
        ...

    def keep_the_rest(self) -> None:
        """See that what waits is on disk."""
        ...

    def troubles(self) -> list[str]:
        """Return what the user has to know."""
        ...

    def abandon(self) -> None:
        """Do nothing any more."""
        ...


_live: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


def watch(outbox: Outbox) -> None:
    """Look after an outbox for as long as somebody uses it."""
    _live.add(outbox)


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


def _look_at_all() -> None:
    """When a tracker's own process has ended too, what it had in memory is on disk."""
    for outbox in list(_live):
        outbox.keep_the_rest()


def _abandon_all() -> None:
    for outbox in list(_live):
        outbox.abandon()
    _live.clear()


atexit.register(_close_all)
exits.at_the_very_end(_look_at_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
