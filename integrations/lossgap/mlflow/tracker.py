"""The tracker: one ``log_batch`` per measurement, to a run that exists or to one of its own."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from lossgap import redaction
from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require

if TYPE_CHECKING:
    from lossgap.mlflow.session import Session

NAME: Final = "mlflow"
SECONDS_BETWEEN_PANELS: Final = 60.0


@dataclass(slots=True)
class Destination:
    """Where a training's measurements go; all of it may be written to disk.

    Attributes:
        tracking_uri: Address of the tracking server or store.
        run_id: The run; ``None`` until one of our own is made.
        experiment_id: Experiment of a run of our own; ``None`` for the active one.
        own: Whether the run is ours to make and to end.
        start_time: When the training began, in seconds since the epoch of Unix.
        offset: What is added to the steps of this training in the run; ``None`` until known.
        kept_epoch: The epoch whose weights the model is left with; ``None`` for the last.
        settings: How it is measured.
        tags: Tags of a run of our own.
    """

    tracking_uri: str
    run_id: str | None = None
    experiment_id: str | None = None
    own: bool = False
    start_time: float = 0.0
    offset: int | None = None
    kept_epoch: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class MLflowTracker:
    """Logs measurements to an MLflow run.

    Without ``run_id``, to the run that is active when the training begins; without one, to a
    run of its own, which it ends. All numbers of a measurement go out in one ``log_batch``,
    at one step and with one timestamp. At the end, the last measurement, and the best by
    true validation loss, are linked to the LoggedModel and to the training Dataset, and the
    panels are written as artifacts under ``lossgap/``.

    Nothing here is called on the thread that trains but the constructor and :meth:`start`,
    which don't touch the network.

    Args:
        run_id: The run to log to.
        tracking_uri: Address of the tracking server; by default the current one of MLflow.
        exclusive: Whether to keep away from runs that the user started.
        panels: Whether to write the panels as artifacts, at the end and at most once a minute
            before.
        view: Whether to write the saved view "True loss" of the experiment (MLflow 3.15 and
            later show it).
        note: Whether the verdict becomes the run's description, where the run has none.
        extra_tags: Tags of a run of our own.

    Raises:
        MissingDependencyError: MLflow isn't installed.
        InvalidArgumentError: ``run_id`` or ``extra_tags`` isn't what MLflow takes.

    Example:
        ``lossgap.TrueLoss(x, y, trackers=lossgap.mlflow.MLflowTracker())``
    """

    name = NAME

    def __init__(
        self,
        run_id: str | None = None,
        *,
        tracking_uri: str | None = None,
        exclusive: bool = False,
        panels: bool = True,
        view: bool = True,
        note: bool = True,
        extra_tags: Mapping[str, str] | None = None,
    ) -> None:
        require("mlflow", extra="mlflow")
        if run_id is not None and not isinstance(run_id, str):
            raise InvalidArgumentError(
                "Expected `run_id` to be the id of an MLflow run, such as run.info.run_id. "
                f"Received: {run_id!r}."
            )
        if extra_tags is not None and not isinstance(extra_tags, Mapping):
            raise InvalidArgumentError(
                f"Expected `extra_tags` to map names to texts. Received: {extra_tags!r}."
            )
        self._run_id = run_id
        self._tracking_uri = tracking_uri
        self._exclusive = exclusive
        self._panels = panels
        self._view = view
        self._note = note
        self._extra_tags = dict(extra_tags or {})
        self._to = Destination("")
        self._callbacks: tuple[Any, ...] = ()
        self._session: Session | None = None
        self._measurements: list[Measurement] = []
        self._drawn_at = 0.0
        self._resumed = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave the running training out of copies, which are made for other trainings."""
        return {
            **self.__dict__,
            "_to": Destination(""),
            "_callbacks": (),
            "_session": None,
            "_measurements": [],
            "_resumed": False,
        }

    def start(self, training: Training) -> None:
        """Find the run, without asking the server."""
        from lossgap.mlflow import runs

        # What is active is so in the current store; another one doesn't know it.
        elsewhere = self._tracking_uri not in (None, runs.tracking_uri())
        active = None if elsewhere else runs.active_run_id(exclusive=self._exclusive)
        run_id = self._run_id or active
        self._to = Destination(
            tracking_uri=runs.absolute(self._tracking_uri or runs.tracking_uri()),
            run_id=run_id,
            experiment_id=None if run_id or elsewhere else runs.active_experiment_id(),
            own=run_id is None,
            start_time=time.time(),
            settings=dict(training.options),
            tags={} if run_id else runs.own_tags(self._extra_tags),
        )
        self._callbacks = training.callbacks
        self._session = None
        self._resumed = False
        self._measurements = []
        self._drawn_at = time.monotonic()

    def log(self, measurement: Measurement, wall_time: float) -> None:
        """Log all numbers in one batch, and now and then the panels."""
        session = self._connected()
        session.log(measurement, wall_time)
        self._measurements.append(measurement)
        if self._panels and time.monotonic() - self._drawn_at >= SECONDS_BETWEEN_PANELS:
            self._drawn_at = time.monotonic()
            session.draw(self._measurements)

    def finish(self, summary: Summary | None, *, failed: bool) -> Sequence[str]:
        """Link the snapshots, write panels, note and view, and end a run of our own."""
        if summary is None and self._to.own and self._to.run_id is None:
            return []  # no run was made for a training without a measurement
        session = self._connected()
        lines: list[str] = []
        if summary is not None:
            session.describe(summary, note=self._note)
            if not failed:
                session.link(summary, self._kept_epoch())
        if self._to.own:
            session.end_run(failed=failed)
        if summary is not None:
            if self._panels:
                lines += session.draw(summary.measurements)
            if self._view:
                lines += session.save_view()
        self._session, self._callbacks, self._measurements = None, (), []
        return lines

    def destination(self) -> Mapping[str, Any]:
        """Return the run, the server's address and the settings: no secrets."""
        self._to.kept_epoch = self._kept_epoch()
        options = {"panels": self._panels, "view": self._view, "note": self._note}
        place = asdict(self._to)
        place["tracking_uri"] = redaction.address(place["tracking_uri"])
        return place | options

    @classmethod
    def resume(cls, destination: Mapping[str, Any]) -> Self:
        """Take up what an earlier training left.

        A password isn't on disk: it is that of the current tracking URI, if this is the same.
        """
        from lossgap.mlflow import runs

        place = dict(destination)
        if redaction.address(runs.tracking_uri()) == place["tracking_uri"]:
            place["tracking_uri"] = runs.tracking_uri()
        tracker = cls(**{name: place.pop(name) for name in ("panels", "view", "note")})
        tracker._to = Destination(**place)
        tracker._resumed = True
        tracker._drawn_at = time.monotonic()
        return tracker

    def _connected(self) -> "Session":
        from lossgap.mlflow import runs
        from lossgap.mlflow.session import Session

        runs.check_reachable(self._to.tracking_uri)
        if self._session is None:
            self._session = Session(self._to, unsure=self._resumed)
        return self._session

    def _kept_epoch(self) -> int | None:
        """Return the epoch whose weights an ``EarlyStopping`` puts back, if there is one."""
        for callback in self._callbacks:
            if getattr(callback, "restore_best_weights", False) and (
                getattr(callback, "best_weights", None) is not None
            ):
                return int(callback.best_epoch)
        return self._to.kept_epoch
