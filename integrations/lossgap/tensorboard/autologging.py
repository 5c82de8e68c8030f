"""Autologging: every fit of Keras is measured and written for TensorBoard."""

import os
from collections.abc import Mapping
from typing import Any, Final

from lossgap.core.settings import MAX_BYTES, Settings
from lossgap.tensorboard.tracker import TensorBoardTracker
from lossgap.trackers import autolog as every_fit
from lossgap.trackers.protocol import Tracker

NAME: Final = "tensorboard"


def autolog(
    log_dir: str | os.PathLike[str] | None = None,
    *,
    disable: bool = False,
    silent: bool = False,
    every: int = 1,
    unit: str = "epoch",
    samples: float | None = None,
    precision: float | None = None,
    budget: float | None = None,
    loss_range: tuple[float, float] | None = None,
    parts: bool = True,
    metrics: bool = True,
    batch_size: int | None = None,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
    strict: bool = False,
    hparams: bool | Mapping[str, bool | float | str] = False,
) -> None:
    """Measure every ``fit`` from here on, and write what is measured for TensorBoard.

    Beside a ``keras.callbacks.TensorBoard`` in the fit, it is written to that callback's log
    directory.

    Args:
        log_dir: The log directory of fits without such a callback; by default ``"logs"``. Each
            fit gets curves of its own there, see :class:`TensorBoardTracker`.
        disable: Switch it off again.
        silent: Print nothing, and warn of nothing.
        every: Measure every so many epochs or steps.
        unit: ``"epoch"`` or ``"step"``.
        samples: Estimate the true loss from so many samples, a count or a fraction.
        precision: Estimate it to a relative half-width of its 95 % interval.
        budget: Estimate it within a fraction of the training's time.
        loss_range: Smallest and largest loss of a sample, for intervals that hold at all times.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with.
        max_bytes: Memory for batches that are kept as they pass.
        seed: Seed of samples and of random masks.
        strict: Whether a measurement or a tracker that fails ends the training, see
            :class:`lossgap.TrueLoss`; and likewise what keeps a training from being measured.
        hparams: As in :class:`TensorBoardTracker`.

    Raises:
        MissingDependencyError: TensorBoard isn't installed.
        InvalidArgumentError: An argument is out of range.

    Example:
        ``lossgap.tensorboard.autolog("logs")``
    """
    if disable:
        every_fit.disable(NAME)
        return
    settings = Settings(
        every=every,
        unit=unit,
        parts=parts,
        metrics=metrics,
        batch_size=batch_size,
        max_bytes=max_bytes,
        seed=seed,
        samples=samples,
        precision=precision,
        budget=budget,
        loss_range=loss_range,
        strict=strict,
    )
    TensorBoardTracker(log_dir, hparams=hparams)  # what is wrong with it has to be known now

    def tracker(callbacks: list[Any]) -> Tracker:
        from lossgap.tensorboard.places import keras_log_dirs

        found = next(iter(keras_log_dirs(callbacks)), None)
        return TensorBoardTracker(found or log_dir, hparams=hparams)

    every_fit.enable(every_fit.Autolog(NAME, settings, tracker, silent=silent))
