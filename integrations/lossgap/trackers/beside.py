"""Measurements that another process than the training sends to the training's run."""

import importlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from lossgap.core.measurement import Measurement
from lossgap.errors import InvalidArgumentError

_HOMES: Final[dict[str, str]] = {
    "mlflow": "lossgap.mlflow.beside",
    "tensorboard": "lossgap.tensorboard.beside",
    "wandb": "lossgap.wandb.beside",
}


class Beside(Protocol):
    """A run that somebody else began and ends.

    Measurements are put at their own steps. Whoever calls this calls it in one process at a time.
    """

    @property
    def buffers(self) -> bool:
        """Whether :meth:`settle` costs so much that it is called for many measurements at once."""
        ...

    @property
    def place(self) -> str:
        """Which run of which tracker this is; the same text in each process."""
        ...

    def put(self, measurement: Measurement, wall_time: float, *, unsure: bool) -> None:
        """Put a measurement into the run.

        Args:
            measurement: What was measured.
            wall_time: When, in seconds since the epoch of Unix.
            unsure: Whether it may be there already. If it is, nothing happens.

        Raises:
            Exception: It isn't sure to be there.
        """
        ...

    def settle(self) -> None:
        """Return when nothing that was put can be lost any more.

        Raises:
            Exception: It isn't sure.
        """
        ...

    def close(self) -> Sequence[str]:
        """Let go of the run, which goes on, and return lines for the user."""
        ...


def names() -> list[str]:
    """Return the trackers whose runs others can write to."""
    return sorted(_HOMES)


def beside(text: str, *, run_id: str | None, unit: str) -> Beside:
    """Open a run that ``text`` names: ``"mlflow"``, ``"tensorboard:logs/run_7"``.

    Args:
        text: Name of a tracker, and after a colon where its run is.
        run_id: The run.
        unit: What steps count: ``"epoch"`` or ``"step"``.

    Raises:
        InvalidArgumentError: There is no such tracker, or it needs to know more.
        MissingDependencyError: Its package isn't installed.
    """
    name, _, target = text.partition(":")
    if name not in _HOMES:
        raise InvalidArgumentError(
            f"Expected a tracker to be one of {', '.join(names())}, with :PLACE after it where it "
            f"has one. Received: {text!r}."
        )
    module = importlib.import_module(_HOMES[name])
    open_run = cast("Callable[..., Beside]", module.open_run)
    return open_run(target or None, run_id=run_id, unit=unit)
