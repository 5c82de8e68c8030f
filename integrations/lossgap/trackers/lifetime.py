"""What becomes of outboxes when their process ends, or is forked."""

import atexit
import os
import warnings
import weakref
from typing import TYPE_CHECKING

from lossgap import exits
from lossgap.errors import LossgapWarning
from lossgap.trackers.records import Finish

if TYPE_CHECKING:
    from lossgap.trackers.outbox import Outbox

_live: "weakref.WeakSet[Outbox]" = weakref.WeakSet()


def watch(outbox: "Outbox") -> None:
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
    for outbox in outboxes:
        outbox.keep_the_rest()
    told = [text for outbox in never_ended if not outbox.silent for text in outbox.troubles()]
    for text in told:  # last: the user may have made warnings errors
        warnings.warn(f"lossgap: {text}", LossgapWarning, stacklevel=1)


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
