"""A training's W&B run, to which another process logs after the training, or offline."""

import glob
import os
from pathlib import Path

from lossgap.core.measurement import Measurement
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require
from lossgap.wandb.resuming import Destination
from lossgap.wandb.tracker import WandbTracker


def open_run(target: str | None, *, run_id: str | None, unit: str) -> "WandbBeside":
    """Open a run.

    Args:
        target: ``entity/project`` or ``project``; by default ``$WANDB_ENTITY``, ``$WANDB_PROJECT``.
        run_id: The run; by default ``$WANDB_RUN_ID``.
        unit: What steps count.

    Raises:
        InvalidArgumentError: There is no run id.
        MissingDependencyError: W&B isn't installed.
    """
    require("wandb", extra="wandb")
    found = run_id or os.environ.get("WANDB_RUN_ID")
    if not found:
        raise InvalidArgumentError(
            "Expected the id of the training's W&B run: --run-id ID, or WANDB_RUN_ID. In the "
            "training: wandb.run.id."
        )
    entity, _, project = (target or "").rpartition("/")
    to = Destination(
        entity=entity or os.environ.get("WANDB_ENTITY", ""),
        project=project or os.environ.get("WANDB_PROJECT", ""),
        run_id=found,
        offline=os.environ.get("WANDB_MODE") == "offline",
        base_url=os.environ.get("WANDB_BASE_URL", ""),
        options={"unit": unit},
    )
    return WandbBeside(to, Path(os.environ.get("WANDB_DIR", ".")) / "wandb")


class WandbBeside:
    """Opens the run again for the rows that it lacks, and closes it when they are on disk.

    Args:
        to: The run.
        folder: Where W&B keeps the folders of runs.
    """

    buffers = True

    def __init__(self, to: Destination, folder: Path) -> None:
        self._to = to
        self._folder = folder
        self._tracker: WandbTracker | None = None
        self._lines: list[str] = []
        self.place = f"wandb:{to.entity}/{to.project}/{to.run_id}"

    def put(self, measurement: Measurement, wall_time: float, *, unsure: bool) -> None:
        """Log a row, unless the run has it; that is looked up each time."""
        del unsure
        if self._tracker is None:
            # By the file: the folder's name has a number at its end where W&B had it already.
            files = self._folder.glob(f"*run-*/run-{glob.escape(self._to.run_id)}.wandb")
            folders = sorted(str(file.parent) for file in files)
            self._tracker = WandbTracker.resume(self._to.to_dict() | {"folders": folders})
        self._tracker.log(measurement, wall_time)

    def settle(self) -> None:
        """Close the run, and see that its rows are on disk."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            self._lines = list(tracker.close())

    def close(self) -> list[str]:
        """Say how to upload what isn't uploaded."""
        self._tracker = None
        return self._lines
