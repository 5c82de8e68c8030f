"""What users are told when a tracker doesn't take a measurement."""

from pathlib import Path

from lossgap.errors import first_line
from lossgap.trackers.journal import FOLDER_VARIABLE


def reason(error: BaseException) -> str:
    """Say in a line what was raised."""
    return f"{type(error).__name__}: {first_line(error)}"


def what_failed(tracker: str, error: BaseException, *, kept: bool, goes_on: bool) -> str:
    """Tell of the first failure of a training."""
    way_out = (
        "What is measured is kept, and sent again until it arrives."
        if kept
        else "The measurements themselves are in the callback's `measurements`."
    )
    then = ", and the training goes on" * goes_on
    return f"{tracker} failed{then}. {reason(error)} {way_out}"


def what_waits(tracker: str, n_measurements: int, place: Path | None, *, sent_again: bool) -> str:
    """Tell what wasn't delivered when the training ended.

    Args:
        tracker: Its name.
        n_measurements: How many measurements.
        place: The journal; ``None`` where they aren't on disk.
        sent_again: Whether later trainings send them without being asked.
    """
    intro = f"{tracker} did not take everything: {_rest(n_measurements)} not delivered yet."
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
        f"({reason(error)}). Set {FOLDER_VARIABLE} to a folder that "
        "can be written."
    )


def how_often_it_failed(tracker: str, n: int, first: str, *, kept: bool) -> str:
    """Say in the summary how many deliveries failed, and why the first did."""
    times = f"{n} {'delivery' if n == 1 else 'deliveries'}"
    lost = "" if kept else " What it doesn't have is in the callback's `measurements`."
    return f"{tracker}: {times} failed, first with {first}{lost}"


def how_much_waits(tracker: str, n_measurements: int, place: Path | None) -> str:
    """Say in the summary what is not delivered yet."""
    where = "in memory alone" if place is None else f"in {place}. To send it: lossgap sync"
    return f"{tracker}: {_rest(n_measurements)} waiting {where}"


def _rest(n_measurements: int) -> str:
    """Name measurements and the end of a training, with their verb."""
    if not n_measurements:
        return "the end of the training is"
    return (
        f"{n_measurements} measurement{'s' * (n_measurements != 1)} and the end of the training are"
    )
