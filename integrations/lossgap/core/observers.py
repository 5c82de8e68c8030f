"""Who is told of a training's measurements as they are made.

The core knows no tracker: it tells an observer, which lives on a higher floor.
"""

from collections.abc import Mapping
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
    """

    options: Mapping[str, Any]
    callbacks: tuple[Any, ...] = ()
    n_epochs: int | None = None
    verbose: bool = False
    silent: bool = False


class Observer(Protocol):
    """Follows trainings, one at a time. Called on the thread that trains."""

    def begin(self, training: Training) -> None:
        """Follow a training that is about to begin.

        Raises:
            LossgapError: It can't be followed, and the user who asked for it has to know.
        """
        ...

    def measured(self, measurement: Measurement) -> None:
        """Take a measurement. Neither waits nor raises."""
        ...

    def end(self, summary: Summary | None, *, failed: bool = False) -> list[str]:
        """End what was begun; nothing happens if nothing was.

        Args:
            summary: The training's summary; ``None`` if nothing was measured.
            failed: Whether the training ended with an exception.

        Returns:
            Lines to print at the end of a fit that prints.
        """
        ...
