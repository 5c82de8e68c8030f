"""Who is told of a training's measurements as they are made.

The core knows no tracker: it tells an observer, which lives on a higher floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lossgap.core.measurement import Measurement
from lossgap.core.summary import Summary


@dataclass(frozen=True, slots=True)
class Training:
    """A fit that begins, as far as an observer may know it.

    Attributes:
        options: How it is measured: ``every``, ``unit``, ``parts``, ``metrics``,
            ``batch_size``, ``seed``. Plain values.
        callbacks: All callbacks of the fit, in the order in which Keras calls them. An
            observer may read what they say of themselves, and leaves them alone.
        n_epochs: Index after the last planned epoch; ``None`` where unknown.
        verbose: Whether the fit prints.
        silent: Whether the user wants to be told of nothing.
        strict: Whether what fails is to be raised.
    """

    options: Mapping[str, Any]
    callbacks: tuple[Any, ...] = ()
    n_epochs: int | None = None
    verbose: bool = False
    silent: bool = False
    strict: bool = False


class Observer(Protocol):
    """Follows trainings, one at a time. Called on the thread that trains."""

    def begin(self, training: Training) -> None:
        """Follow a training that is about to begin.

        Raises:
            LossgapError: It can't be followed, and the user who asked for it has to know.
        """
        ...

    def measured(self, measurement: Measurement) -> None:
        """Take a measurement, and don't wait.

        Raises:
            TrackerError: The training is strict, and something failed since it began.
        """
        ...

    def end(self, summary: Summary | None, *, failed: bool = False) -> list[str]:
        """End what was begun; nothing happens if nothing was.

        Args:
            summary: The training's summary; ``None`` if nothing was measured.
            failed: Whether the training ended with an exception.

        Returns:
            Lines to print at the end of a fit that prints.

        Raises:
            TrackerError: The training is strict, did not fail by itself, and something else did.
        """
        ...

    def troubles(self) -> Sequence[str]:
        """Return what failed in the last training, as it is now; a line each."""
        ...
