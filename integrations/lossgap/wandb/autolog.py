"""Autologging: every ``fit`` is measured and logged to the active W&B run."""

import warnings
from typing import Any

from lossgap.core.settings import MAX_BYTES, Settings
from lossgap.errors import LossgapError, LossgapWarning
from lossgap.extras import require
from lossgap.trackers import autolog as every_fit
from lossgap.wandb.tracker import WandbTracker

_NAME = "wandb"
_NO_RUN = (
    "lossgap: no W&B run is active, so this training isn't measured. Call wandb.init(project=...) "
    "before fit. To switch this off: lossgap.wandb.autolog(disable=True)"
)


def autolog(
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
    seed: int = 0,
    strict: bool = False,
    max_bytes: int = MAX_BYTES,
    notes: bool = False,
) -> None:
    """Measure every ``model.fit`` from now on, and log to the W&B run that is active then.

    May be called before Keras is imported, and again to change the options. A training
    without an active run goes on unmeasured; it is told once. A model or data that
    can't be measured are a warning.

    Args:
        disable: Whether to switch it off.
        silent: Whether to print nothing and warn of nothing.
        every: Measure every so many epochs or steps.
        unit: ``"epoch"``, or ``"step"`` to measure in mid-epoch.
        samples: Estimate the true loss from so many samples, a count or a fraction.
        precision: Estimate it to a relative half-width of its 95 % interval.
        budget: Estimate it within a fraction of the training's time.
        loss_range: Smallest and largest loss of a sample, for intervals that hold at all times.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with; left out, one is chosen.
        seed: Seed of samples and of the random masks.
        strict: Whether a measurement or a tracker that fails ends the training, see
            :class:`lossgap.TrueLoss`; and likewise what keeps a training from being measured.
        max_bytes: Memory for batches that are kept as they pass.
        notes: Whether the verdict goes to the run's notes.

    Raises:
        InvalidArgumentError: An argument is out of range.
        MissingDependencyError: wandb isn't installed.

    Example:
        ``lossgap.wandb.autolog(); wandb.init(project="digits"); model.fit(x, y, epochs=5)``
    """
    if disable:
        every_fit.disable(_NAME)
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
    wandb = require("wandb", extra="wandb")
    told = False

    def tracker(_callbacks: list[Any]) -> WandbTracker | None:
        nonlocal told
        if wandb.run is not None:
            return WandbTracker(notes=notes)
        if strict:
            raise LossgapError(_NO_RUN.removeprefix("lossgap: "))
        if not told and not silent:
            told = True
            warnings.warn(_NO_RUN, LossgapWarning, stacklevel=6)
        return None

    every_fit.enable(every_fit.Autolog(_NAME, settings, tracker, silent=silent))
