"""What is sent to MLflow, on the outbox's thread."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import mlflow
from mlflow.entities import Metric, Run, RunStatus, RunTag

from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.core.summary import Summary
from lossgap.mlflow import artifacts, links, runs, tags, view
from lossgap.mlflow.names import named, own_step

if TYPE_CHECKING:
    from lossgap.mlflow.tracker import Destination

MOST_METRICS: Final = 1_000
"""Metrics in one batch: MLflow's limit."""


class Session:
    """The run of one training, connected.

    Args:
        to: Where to; what is found out is written into it.
        unsure: Whether the first measurement may be there already: sent by a process that
            ended before it knew.
    """

    def __init__(self, to: "Destination", *, unsure: bool = False) -> None:
        self._to = to
        self._again = self._unsure = unsure
        self._client = mlflow.MlflowClient(tracking_uri=to.tracking_uri)
        self._tagged: dict[str, str] = {}

    def log(self, measurement: Measurement, wall_time: float) -> None:
        """Log all numbers of a measurement at one step, with one timestamp."""
        timestamp = round(wall_time * 1000)
        if self._to.offset is None:
            self._to.offset = self._first_offset(measurement, timestamp)
        if self._unsure and self._is_there(self.step(measurement), timestamp):
            self._unsure = False
            return
        self._unsure = True  # until the answer is here
        how = tags.method(measurement, self._to.settings)
        changed = [RunTag(key, text) for key, text in how.items() if self._tagged.get(key) != text]
        metrics = [
            Metric(name, value, timestamp, self.step(measurement))
            for name, value in named(measurement.tracked()).items()
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(
                self.run_id, metrics=metrics[start : start + MOST_METRICS], tags=changed
            )
        self._tagged.update(how)
        self._unsure = False

    def step(self, measurement: Measurement) -> int:
        """Return the step of a measurement in the run."""
        return (self._to.offset or 0) + own_step(measurement, self._to.settings)

    @property
    def run_id(self) -> str:
        """The id of the run, which is made if there is none."""
        if self._to.run_id is None:
            experiment = self._experiment_id()
            run = self._made_before(experiment)
            self._again = True  # an answer may be lost
            run = run or self._client.create_run(
                experiment, start_time=round(self._to.start_time * 1000), tags=self._to.tags
            )
            self._to.run_id = str(run.info.run_id)
        return self._to.run_id

    def _made_before(self, experiment: str) -> Run | None:
        """Return the run that an earlier attempt made for this training, if there is one."""
        token = self._to.tags.get(runs.TRAINING_TAG)
        if not self._again or token is None:
            return None
        found = self._client.search_runs([experiment], f"tags.`{runs.TRAINING_TAG}` = '{token}'")
        return found[0] if found else None

    def describe(self, summary: Summary, *, note: bool) -> None:
        """Write the verdict as a tag, and as the run's description where it has none."""
        run = self._client.get_run(self.run_id)
        written = tags.verdict(summary, run.data.tags, note=note)
        self._client.log_batch(self.run_id, tags=[RunTag(k, text) for k, text in written.items()])

    def link(self, summary: Summary, kept_epoch: int | None) -> None:
        """Link the last and the best measurement to the LoggedModel and the Dataset."""
        history = self._client.get_metric_history(self.run_id, keys.tracked(keys.TRUE_LOSS))
        metrics = links.snapshot(
            summary.measurements,
            kept_epoch,
            self.step,
            {metric.step: metric.timestamp for metric in history},
            links.find(self._client, self.run_id, since=self._to.start_time),
        )
        if metrics:
            self._client.log_batch(self.run_id, metrics=metrics)

    def end_run(self, *, failed: bool) -> None:
        """End the run, as MLflow's autologging ends its own."""
        status = RunStatus.FAILED if failed else RunStatus.FINISHED
        self._client.set_terminated(self.run_id, RunStatus.to_string(status))

    def draw(self, measurements: Sequence[Measurement]) -> list[str]:
        """Write the panels as artifacts; say so where MLflow, or a package, refuses."""
        return artifacts.write(self._client, self.run_id, measurements)

    def save_view(self) -> list[str]:
        """Write the saved view of the experiment, and return its address."""
        return view.save(self._client, self._to.tracking_uri, self.run_id)

    def _is_there(self, step: int, timestamp: int) -> bool:
        """Tell whether a measurement is in the run. Not every store takes one twice."""
        history = self._client.get_metric_history(self.run_id, keys.tracked(keys.TRUE_LOSS))
        return any((metric.step, metric.timestamp) == (step, timestamp) for metric in history)

    def _first_offset(self, measurement: Measurement, timestamp: int) -> int:
        """Let the steps go on where an earlier training in this run ended."""
        if self._to.own:
            return 0
        history = self._client.get_metric_history(self.run_id, keys.tracked(keys.TRUE_LOSS))
        step = own_step(measurement, self._to.settings)
        for metric in history:
            if metric.timestamp == timestamp:  # ours, written before an answer was lost
                return int(metric.step) - step
        last = max((int(metric.step) for metric in history), default=-1)
        return last + 1 - step if step <= last else 0

    def _experiment_id(self) -> str:
        """Return the experiment of a new run, as ``mlflow.start_run`` chooses it."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
        if self._to.experiment_id or not name:
            return self._to.experiment_id or "0"
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))
