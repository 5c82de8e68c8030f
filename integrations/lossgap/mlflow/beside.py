"""A training's MLflow run, to which another process logs."""

import os
from typing import TYPE_CHECKING

from lossgap import redaction
from lossgap.core.measurement import Measurement
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require
from lossgap.mlflow.tracker import Destination

if TYPE_CHECKING:
    from lossgap.mlflow.session import Session


def open_run(target: str | None, *, run_id: str | None, unit: str) -> "MLflowBeside":
    """Open a run.

    Args:
        target: Tracking URI; by default the current one of MLflow.
        run_id: The run; by default ``$MLFLOW_RUN_ID``.
        unit: What steps count.

    Raises:
        InvalidArgumentError: There is no run id.
        MissingDependencyError: MLflow isn't installed.
    """
    require("mlflow", extra="mlflow")
    from lossgap.mlflow import runs

    found = run_id or os.environ.get("MLFLOW_RUN_ID")
    if not found:
        raise InvalidArgumentError(
            "Expected the id of the training's MLflow run: --run-id ID, or MLFLOW_RUN_ID. In the "
            "training: mlflow.active_run().info.run_id."
        )
    uri = runs.absolute(target or runs.tracking_uri())
    return MLflowBeside(Destination(uri, run_id=found, offset=0, settings={"unit": unit}))


class MLflowBeside:
    """Logs to a run at the steps of the measurements, and neither begins nor ends it.

    Args:
        to: The run. Its offset is known.
    """

    buffers = False

    def __init__(self, to: Destination) -> None:
        self._to = to
        self._session: Session | None = None
        self.place = f"mlflow:{redaction.address(to.tracking_uri)}:{to.run_id}"

    def put(self, measurement: Measurement, wall_time: float, *, unsure: bool) -> None:
        """Log all numbers in one batch, unless they are there."""
        from lossgap.mlflow import runs
        from lossgap.mlflow.session import Session

        runs.check_reachable(self._to.tracking_uri)
        if self._session is None or unsure:
            self._session = Session(self._to, unsure=unsure)
        self._session.log(measurement, wall_time)

    def settle(self) -> None:
        """Do nothing: what MLflow has taken is in its store."""

    def close(self) -> list[str]:
        """Let go of the run."""
        self._session = None
        return []
