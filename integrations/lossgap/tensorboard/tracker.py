"""The tracker: a training's measurements as event files, without TensorFlow."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require

if TYPE_CHECKING:
    from lossgap.tensorboard.session import Session

DEFAULT_LOG_DIR = "logs"
"""Where Keras's own TensorBoard callback writes by default."""


class TensorBoardTracker:
    """Writes event files that TensorBoard overlays with Keras's own curves.

    In the log directory, next to the sub-runs ``train`` and ``validation`` of Keras's callback,
    ``true`` and ``validation_true`` have the true losses under the same tags, so that all four
    share one card. ``gap`` has all numbers together: the gap, its parts and their standard
    errors, the penalties. Where Keras's callback doesn't write to the directory, ``train`` and
    ``validation`` are written, too.

    A training that begins anew in a directory with an earlier one writes to ``attempt_2`` in it,
    and so on. One that goes on (``initial_epoch``) goes on there, over what an earlier attempt
    had measured from that epoch on.

    Args:
        log_dir: The log directory. By default that of the ``keras.callbacks.TensorBoard`` in the
            same fit, and ``"logs"`` without one, as Keras has it.
        hparams: Hyperparameters for a row of the HParams tab, with the columns ``true_loss`` and
            ``regularization_gap``: numbers, texts or truth values by name. ``True`` takes the
            optimizer, its learning rate and the number of epochs.

    Raises:
        MissingDependencyError: TensorBoard isn't installed.
        InvalidArgumentError: An argument has a value that can't be logged.

    Example:
        ``lossgap.TrueLoss(trackers=lossgap.tensorboard.TensorBoardTracker("logs/run_7"))``
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        *,
        hparams: bool | Mapping[str, bool | float | str] = False,
    ) -> None:
        require("tensorboard", extra="tensorboard")
        self._log_dir = None if log_dir is None else os.fspath(log_dir)
        self._hparams = hparams if isinstance(hparams, bool) else _checked(hparams)
        self._shown = DEFAULT_LOG_DIR
        self._session: Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the running training out of copies, which are made for other trainings."""
        return self.__dict__ | {"_session": None}

    @property
    def name(self) -> str:
        """The tracker's name in warnings."""
        return "tensorboard"

    def start(self, training: Training) -> None:
        """Find the log directory, and see that it can be written to.

        Args:
            training: The fit that begins.

        Raises:
            InvalidArgumentError: It can't, or it isn't on this machine.
        """
        from lossgap.tensorboard import hparams, places
        from lossgap.tensorboard.events import Marker
        from lossgap.tensorboard.session import Plan, Session

        self._close(failed=True)
        found = places.keras_log_dirs(training.callbacks)
        self._shown = self._log_dir or next(iter(found), DEFAULT_LOG_DIR)
        options = training.options
        row: Mapping[str, bool | float | str] | None = None
        if self._hparams is not False and not hparams.logged_otherwise(training.callbacks):
            row = (
                hparams.of_fit(training.callbacks, training.n_epochs)
                if self._hparams is True
                else self._hparams
            )
        plan = Plan(
            places.prepared(self._shown),
            frozenset(Path(path).resolve() for path in found),
            Marker(options.get("unit", "epoch"), options.get("every", 1)),
            _steps_before(training.callbacks),
            row,
        )
        self._session = Session(plan)

    def log(self, measurement: Measurement, wall_time: float) -> None:
        """Write all numbers of a measurement, and hand them to the operating system.

        Args:
            measurement: What was measured.
            wall_time: When, in seconds since the epoch of Unix.

        Raises:
            OSError: They can't be written.
        """
        if self._session is not None:
            self._session.log(measurement, wall_time)

    def finish(self, summary: Summary | None, *, failed: bool) -> Sequence[str]:
        """Close the event files.

        Args:
            summary: Not written.
            failed: Whether the training ended with an exception.

        Returns:
            How to look at the curves, if there are any.
        """
        from lossgap.tensorboard.link import line

        del summary
        return [line(self._shown)] if self._close(failed=failed) else []

    def _close(self, *, failed: bool) -> bool:
        session, self._session = self._session, None
        return session is not None and session.finish(failed=failed)


def _checked(hparams: Any) -> dict[str, bool | float | str]:
    if not isinstance(hparams, Mapping) or not all(
        isinstance(name, str) and isinstance(value, bool | int | float | str)
        for name, value in hparams.items()
    ):
        raise InvalidArgumentError(
            "Expected `hparams` to be True, or to have numbers, texts or truth values by name, "
            f'such as {{"learning_rate": 0.1}}. Received: {hparams!r}.'
        )
    return dict(hparams)


def _steps_before(callbacks: Sequence[Any]) -> int | None:
    """Return the optimizer steps that were taken before this training."""
    for callback in callbacks:
        optimizer: Any = getattr(getattr(callback, "model", None), "optimizer", None)
        with suppress(AttributeError, TypeError, ValueError):
            return int(optimizer.iterations.numpy())
    return None
