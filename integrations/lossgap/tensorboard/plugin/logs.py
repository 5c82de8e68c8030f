"""The only place that asks TensorBoard's data provider, the same for both of its loaders."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tensorboard.data import provider

from lossgap.charts.frames import Run
from lossgap.errors import DataError, first_line
from lossgap.tensorboard.plugin import series
from lossgap.tensorboard.plugin.series import EPOCH, STEP

PLUGIN: Final = "lossgap"
"""Name of the plugin, under which the marker is written that makes the tab active."""

SCALARS: Final = "scalars"
MOST_STEPS: Final = 1_000
"""TensorBoard keeps no more points of a curve than these."""

FEWEST_STEPS: Final = 50

# A run's name is a path: on Windows with the other separator.
_GAP_RUN: Final = re.compile(r"(?:(?P<model>.*)[/\\])?gap", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Last:
    """The last values of one model.

    Attributes:
        run: The model, its last measurement the only one.
        step: TensorBoard's step of it.
        wall_time: When it was logged, in seconds since 1970.
    """

    run: Run
    step: int
    wall_time: float


def model_of(run: str) -> str | None:
    """Return the model whose gap a run holds: ``"a/b"`` of ``"a/b/gap"``, ``""`` of ``"gap"``."""
    match = _GAP_RUN.fullmatch(run)
    return None if match is None else match["model"] or ""


def runs_of(model: str) -> tuple[str, ...]:
    """Return the names that the run with the gap of ``model`` may have."""
    return (f"{model}/gap", f"{model}\\gap") if model else ("gap",)


@dataclass(frozen=True, slots=True)
class Logs:
    """What was logged in one experiment.

    Attributes:
        data: TensorBoard's data provider.
        context: TensorBoard's context of the request.
        experiment: TensorBoard's name of the experiment; empty on one's own machine.
    """

    data: Any
    context: Any
    experiment: str

    def last(self) -> list[Last]:
        """Return the last values of all models, by name."""
        wanted = provider.RunTagFilter(tags=series.LAST_TAGS)
        with _asking():
            found = self.data.read_last_scalars(
                self.context,
                experiment_id=self.experiment,
                plugin_name=SCALARS,
                run_tag_filter=wanted,
            )
            axes = self._axes()
        models = []
        for run, tags in found.items():
            model = model_of(run)
            if model is None or series.TRUE not in tags:
                continue
            newest = tags[series.TRUE]
            values = {tag: {newest.step: datum.value} for tag, datum in tags.items()}
            measured = series.measurements(values, axes.get(run, EPOCH))
            models.append(Last(Run(model, measured), newest.step, newest.wall_time))
        return sorted(models, key=lambda last: last.run.name)

    def read(self, models: Sequence[str], most_points: int) -> list[Run]:
        """Read the curves of ``models``, those left out that have none.

        Args:
            models: Their names.
            most_points: Numbers to read at most, all tags together. TensorBoard draws the same
                steps of every tag, and always the last one.
        """
        runs = [run for model in models for run in runs_of(model)]
        if not runs:
            return []
        wanted = provider.RunTagFilter(runs=runs)
        asked = {"experiment_id": self.experiment, "plugin_name": SCALARS, "run_tag_filter": wanted}
        with _asking():
            listed = self.data.list_scalars(self.context, **asked)
            n_tags = sum(len(tags) for tags in listed.values()) or 1
            steps = min(MOST_STEPS, max(FEWEST_STEPS, most_points // n_tags))
            found = self.data.read_scalars(self.context, downsample=steps, **asked)
            axes = self._axes(runs)
        measured = defaultdict(
            tuple,
            {
                model_of(run): series.measurements(_by_step(tags), axes.get(run, EPOCH))
                for run, tags in found.items()
            },
        )
        return [Run(model, measured[model]) for model in models if measured[model]]

    def _axes(self, runs: Iterable[str] | None = None) -> dict[str, str]:
        """Return what the steps of a run count, where its marker says so."""
        listed = self.data.list_tensors(
            self.context,
            experiment_id=self.experiment,
            plugin_name=PLUGIN,
            run_tag_filter=provider.RunTagFilter(runs=runs),
        )
        return {
            run: _axis(marker.plugin_content)
            for run, tags in listed.items()
            for marker in tags.values()
        }


@contextmanager
def _asking() -> Iterator[None]:
    """Say in words that TensorBoard stumbles over a damaged event file."""
    try:
        yield
    except Exception as error:
        raise DataError(
            "TensorBoard can't read these runs, likely because an event file is damaged "
            f"({type(error).__name__}: {first_line(error)}). Remove it, or choose other runs."
        ) from error


def _by_step(tags: Any) -> dict[str, dict[int, float]]:
    return {tag: {datum.step: datum.value for datum in data} for tag, data in tags.items()}


def _axis(content: bytes) -> str:
    """Read ``{"unit": "step"}``, the content of a marker; anything else counts epochs."""
    try:
        return STEP if json.loads(content)["unit"] == STEP else EPOCH
    except (ValueError, TypeError, LookupError, RecursionError):
        return EPOCH
