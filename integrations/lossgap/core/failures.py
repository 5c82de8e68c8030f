"""What failed in measuring one training, counted, and in words."""

from typing import Final

from lossgap.errors import LossgapError, first_line

MOST_IN_A_ROW: Final = 3
"""Measurements that may fail one after the other; then the training goes on without more."""


class Failures:
    """Counts the measurements of one training that were due, and what became of them.

    Attributes:
        gave_up: Whether no more measurements are tried.
    """

    def __init__(self) -> None:
        self.gave_up = False
        self._n_due = 0
        self._n_failed = 0
        self._in_a_row = 0
        self._n_skipped = 0
        self._first = ""
        self._others: list[str] = []

    def due(self) -> bool:
        """Count a measurement that is due, and tell whether to try it."""
        self._n_due += 1
        self._n_skipped += self.gave_up
        return not self.gave_up

    def measured(self) -> None:
        """Note that a measurement worked."""
        self._in_a_row = 0

    def failed(self, what: str, error: Exception, *, measuring: bool) -> None:
        """Count a failure.

        Args:
            what: What could not be done, such as "epoch 3 could not be measured".
            error: Why.
            measuring: Whether a measurement is lost with it.
        """
        text = f"{what}. {reason(error)}"
        if not measuring:
            self._others.append(text)
            return
        self._n_failed += 1
        self._in_a_row += 1
        self._first = self._first or text
        self.gave_up = self.gave_up or self._in_a_row >= MOST_IN_A_ROW

    def give_up(self, error: Exception) -> None:
        """Note why nothing can be measured in this training."""
        self.gave_up = True
        self._first = reason(error)

    def lines(self) -> tuple[str, ...]:
        """Return what the summary says of them: nothing where nothing failed."""
        counted = []
        if self._n_failed:
            counted.append(f"{self._n_failed} of {_measurements(self._n_due)} failed")
        if self._n_skipped:
            rest = "" if counted else f" of {_measurements(self._n_due)}"
            counted.append(f"{self._n_skipped}{rest} {_were(self._n_skipped)} not tried")
        lost = (f"{', '.join(counted)}: {self._first}",) if counted else ()
        return (*lost, *self._others[:1])


def reason(error: Exception) -> str:
    """Say in a line what failed; our own errors say the way out themselves."""
    if isinstance(error, LossgapError):
        return str(error)
    return (
        f"{type(error).__name__}: {first_line(error)} To see all of it, call "
        "lossgap.measure(model, x, y) on a few samples, or train with strict=True."
    )


def _measurements(n: int) -> str:
    return f"{n} measurement{'s' * (n != 1)}"


def _were(n: int) -> str:
    return "was" if n == 1 else "were"
