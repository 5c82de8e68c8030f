"""The tracker: one row per measurement, to the run that the user started."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import InvalidArgumentError, LossgapError
from lossgap.extras import require
from lossgap.trackers.protocol import TroubleError
from lossgap.wandb import faults, rows, written
from lossgap.wandb.about import CONFIG, about
from lossgap.wandb.resuming import Destination, Resumed

_SETTLE_SECONDS: Final = 15.0
_NO_RUN: Final = (
    "There is no active W&B run to log to. Call wandb.init(project=...) before fit, or pass a run: "
    "WandbTracker(run)."
)


class WandbTracker:
    """Logs every measurement to a W&B run, as one row on a step axis of its own.

    The row has all numbers of the measurement, under ``lossgap/``. Neither ``step`` nor
    ``commit`` is passed to ``run.log``, so that the rows of other loggers stay where they are.
    How the numbers were had is in ``run.config["lossgap"]``; the last ones are in the run's
    summary. The run is neither started nor ended here.

    W&B writes rows to its own file: what it can't deliver is on disk, and ``wandb sync`` delivers
    it later. What it hasn't written yet, or doesn't take, lossgap keeps, and ``lossgap sync``
    adds it to the run.

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
        self._logged: list[tuple[str, ...]] = []
        self._n_safe = 0
        self._written: written.Written | None = None
        self._to = Destination()
        self._resumed: Resumed | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the training out of copies, which are made for others.

        Raises:
            InvalidArgumentError: A run was given: it belongs to this process.
        """
        if self._given is not None:
            raise InvalidArgumentError(
                "A WandbTracker with a run can't be copied or pickled: a run belongs to its "
                "process. Leave the run out, and the tracker takes the one that is active when a "
                "training begins."
            )
        return {"notes": self._notes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(notes=state["notes"])  # type: ignore[misc]

    def __copy__(self) -> Self:
        """Return a tracker for one training in this process, which may share the run."""
        return type(self)(self._given, notes=self._notes)

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
        self._to = Destination.of(run, training.options, notes=self._notes)
        self._defined = set()
        self._logged, self._n_safe = [], 0
        file = written.file_of(run)
        self._written = written.Written(file) if file is not None else None
        self._resumed = None

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
        if self._resumed is not None:
            if not self._resumed.lacks(values):
                return
            self._run = self._resumed.opened()
        try:
            if not self._logged:
                config = {CONFIG: about(self._training.options, measurement)}
                self._run.config.update(config, allow_val_change=True)
            self._define(values)
            self._run.log(values)
        except Exception as error:
            raise faults.failed(self._run, error) from error
        self._logged.append(rows.identity(values))
        if self._resumed is not None:
            self._resumed.added(values)

    def finish(self, summary: Summary | None, *, failed: bool) -> Sequence[str]:
        """Write the notes if asked for, and say where the rows are. The run goes on.

        Raises:
            LossgapError: W&B is gone.
            TroubleError: Its server doesn't take the rows, or its folder was removed; the text
                says how to deliver them.
        """
        del failed
        with suppress(Exception):
            self._run._teardown_hooks.remove(self._hook)
        self._hook = None
        if self._resumed is not None and self._resumed.run is None:
            return []
        if self._notes and summary is not None:
            try:
                self._run.notes = _with_verdict(self._run.notes, summary.verdict)
            except Exception as error:
                raise faults.failed(self._run, error) from error
        if self._resumed is not None or not self._logged or getattr(self._run, "disabled", False):
            return []
        if self._written is not None and not self._written.file.exists():
            raise TroubleError(faults.what_is_gone(self._written.file.parent))
        if getattr(self._run, "offline", False):
            return [
                f"W&B: {self._count()} on disk. To upload: wandb sync {faults.folder(self._run)}"
            ]
        trouble = faults.upload_trouble(self._run)
        if trouble is not None:
            raise TroubleError(trouble)
        return [f"W&B: {self._count()} in {self._run.url}"]

    def n_safe(self) -> int:
        """Return how many measurements are in the run's file, where W&B's process can't lose them.

        A run without a file, such as a disabled one, has nothing to lose.

        Raises:
            LossgapError: The file can't be understood.
            OSError: It can't be read.
        """
        if self._written is None:
            self._n_safe = len(self._logged)
        else:
            for found in self._written.more():
                if found in self._logged[self._n_safe : self._n_safe + 1]:
                    self._n_safe += 1
        return self._n_safe

    def destination(self) -> Mapping[str, Any]:
        """Return the run, its folders and the settings: no secrets."""
        to = self._resumed.to if self._resumed is not None else self._to
        return to.to_dict()

    @classmethod
    def resume(cls, destination: Mapping[str, Any]) -> Self:
        """Take up what an earlier training left. W&B's key is that of this process."""
        to = Destination(**destination)
        tracker = cls(notes=to.notes)
        tracker._training = Training(to.options)
        tracker._resumed = Resumed(to)
        return tracker

    def has(self, measurement: Measurement) -> bool:
        """Tell whether the row of a measurement is in the folders of the run that was resumed."""
        return self._resumed is not None and self._resumed.has(rows.row(measurement))

    def close(self) -> Sequence[str]:
        """End the run that was resumed.

        Raises:
            LossgapError: A row isn't there.
        """
        return self._resumed.close() if self._resumed is not None else []

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
        n = len(self._logged)
        return f"{n} measurement{'s' * (n != 1)}"


def _settle(settle: Callable[[float], bool]) -> None:
    settle(_SETTLE_SECONDS)


def _with_verdict(notes: str | None, verdict: str) -> str:
    text = f"lossgap: {verdict}"
    if notes and text in notes:
        return notes
    return f"{notes}\n\n{text}" if notes else text
