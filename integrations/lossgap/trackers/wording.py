"""What users are told when a tracker doesn't take a measurement."""

from pathlib import Path

from lossgap.errors import first_line
from lossgap.trackers.journal import FOLDER_VARIABLE


def what_failed(tracker: str, error: BaseException, *, kept: bool) -> str:
    """Tell of the first failure of a training."""
    way_out = (
        "What is measured is kept, and sent again until it arrives."
        if kept
        else "The measurements themselves are in the callback's `measurements`."
    )
    return (
        f"{tracker} failed, and the training goes on. {type(error).__name__}: "
        f"{first_line(error)} {way_out}"
    )


def what_waits(tracker: str, n_measurements: int, place: Path | None, *, sent_again: bool) -> str:
    """Tell what wasn't delivered when the training ended.

    Args:
        tracker: Its name.
        n_measurements: How many measurements.
        place: The journal; ``None`` where they aren't on disk.
        sent_again: Whether later trainings send them without being asked.
    """
    what = f"{n_measurements} measurement{'s' * (n_measurements != 1)} and " * bool(n_measurements)
    are = "are" if n_measurements else "is"
    intro = (
        f"{tracker} did not take everything: {what}the end of the training {are} not delivered yet."
    )
    if place is None:
        return f"{intro} It is lost if this process ends before {tracker} takes it."
    by_itself = (
        "by this process, by the next training that logs there, or by the command"
        if sent_again
        else "by this process, or later by the command"
    )
    return (
        f"{intro} Nothing is lost: it waits in {place}, and is sent when {tracker} takes it, "
        f"{by_itself}: lossgap sync"
    )


def what_overflows(tracker: str, most: int) -> str:
    """Tell that more waits than the outbox holds."""
    return (
        f"{most:,} measurements wait for {tracker}, and no more are taken until it answers. Those "
        "that it doesn't get are in the callback's `measurements`."
    )


def what_is_not_kept(tracker: str, error: BaseException) -> str:
    """Tell that the journal can't be written."""
    return (
        f"what {tracker} doesn't take waits in memory alone, because it can't be written to disk "
        f"({type(error).__name__}: {first_line(error)}). Set {FOLDER_VARIABLE} to a folder that "
        "can be written."
    )
