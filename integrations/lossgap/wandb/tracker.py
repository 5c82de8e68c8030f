"""The tracker: one row per measurement, to the run that the user started."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import InvalidArgumentError, LossgapError
from lossgap.extras import require
from lossgap.wandb import faults, rows
from lossgap.wandb.about import CONFIG, about

_SETTLE_SECONDS = 15.0
_NO_RUN = (
    "There is no active W&B run to log to. Call wandb.init(project=...) before fit, or pass a run: "
    "WandbTracker(run)."
)


class WandbTracker:
    """Logs every measurement to a W&B run, as one row on a step axis of its own.

    The row has all numbers of the measurement, under ``lossgap/``. Neither ``step`` nor
    ``commit`` is passed to ``run.log``, so that the rows of other loggers stay where they are.
    How the numbers were had is in ``run.config["lossgap"]``; the last ones are in the run's
    summary. The run is neither started nor ended here.

    W&B writes rows to its own file before it sends them: what can't be delivered is on disk, and
    ``wandb sync`` delivers it later.

    Args:
        run: What ``wandb.init`` returned. Left out, it is the run that is active when a
            training begins.
        notes: Whether the verdict goes to the run's notes when the training ends, after what
            they hold already.

    Raises:
        InvalidArgumentError: ``run`` is no run.
        MissingDependencyError: wandb isn't installed.

    Example:
        ``lossgap.TrueLoss(trackers=lossgap.wandb.WandbTracker(notes=True))``
    """

    name: str = "wandb"

    def __init__(self, run: Any = None, *, notes: bool = False) -> None:
        self._wandb = require("wandb", extra="wandb")
        if run is not None and not callable(getattr(run, "log", None)):
            raise InvalidArgumentError(
                f"Expected `run` to be what wandb.init() returned. Received: {run!r}."
            )
        self._given = run
        self._notes = notes
        self._run: Any = None
        self._training = Training({})
        self._defined: set[str] = set()
        self._logged = 0
        self._hook: Any = None

    def start(self, training: Training) -> None:
        """Find the run. Nothing is sent yet, so that a broken W&B can't stop the training.

        Raises:
            LossgapError: There is none, or it is finished.
        """
        run = self._given or self._wandb.run
        if run is None:
            raise LossgapError(_NO_RUN)
        if getattr(run, "_is_finished", False):
            raise LossgapError(
                f"The W&B run {run.id} is finished. Pass one that is active, or none to log to "
                "the run of wandb.init()."
            )
        self._run = run
        self._training = training
        self._defined = set()
        self._logged = 0

    def settle_with(self, settle: Callable[[float], bool]) -> None:
        """Let ``run.finish()`` wait for what was measured before it."""
        with suppress(Exception):  # W&B's hooks are not public: without them a row may come late
            from wandb.sdk.wandb_run import TeardownHook, TeardownStage

            self._hook = TeardownHook(lambda: _settle(settle), TeardownStage.EARLY)
            self._run._teardown_hooks.append(self._hook)

    def log(self, measurement: Measurement, wall_time: float) -> None:
        """Log the row of a measurement.

        Raises:
            LossgapError: W&B refused; the text says how to deliver what it has on disk.
        """
        del wall_time
        values = rows.row(measurement)
        try:
            if not self._logged:
                config = {CONFIG: about(self._training.options, measurement)}
                self._run.config.update(config, allow_val_change=True)
            self._define(values)
            self._run.log(values)
        except Exception as error:
            raise faults.failed(self._run, error) from error
        self._logged += 1

    def finish(self, summary: Summary | None, *, failed: bool) -> Sequence[str]:
        """Write the notes if asked for, and say where the rows are. The run goes on.

        Raises:
            LossgapError: W&B's server doesn't take the rows; the text says how to deliver them.
        """
        del failed
        with suppress(Exception):
            self._run._teardown_hooks.remove(self._hook)
        self._hook = None
        if self._notes and summary is not None:
            try:
                self._run.notes = _with_verdict(self._run.notes, summary.verdict)
            except Exception as error:
                raise faults.failed(self._run, error) from error
        if not self._logged or getattr(self._run, "disabled", False):
            return []
        if getattr(self._run, "offline", False):
            return [
                f"W&B: {self._count()} on disk. To upload: wandb sync {faults.folder(self._run)}"
            ]
        trouble = faults.upload_trouble(self._run)
        if trouble is not None:
            raise LossgapError(trouble)
        return [f"W&B: {self._count()} in {self._run.url}"]

    def _define(self, values: dict[str, float]) -> None:
        """Give new keys their step axis, by exact names: W&B stores patterns unexpanded."""
        step = rows.STEP if self._training.options.get("unit") == "step" else rows.EPOCH
        for name in values:
            if name not in self._defined:
                # W&B would put a 0 into rows without their axis.
                bare = name in {rows.EPOCH, rows.STEP} or step not in values
                axis = None if bare else step
                self._run.define_metric(name, step_metric=axis, hidden=rows.is_hidden(name) or None)
                self._defined.add(name)

    def _count(self) -> str:
        return f"{self._logged} measurement{'s' * (self._logged != 1)}"


def _settle(settle: Callable[[float], bool]) -> None:
    settle(_SETTLE_SECONDS)


def _with_verdict(notes: str | None, verdict: str) -> str:
    text = f"lossgap: {verdict}"
    if notes and text in notes:
        return notes
    return f"{notes}\n\n{text}" if notes else text
