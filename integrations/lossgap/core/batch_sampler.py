"""The true loss from whole batches drawn at random, where only batches have a loss."""

import time
from typing import Any

import numpy as np

from lossgap.core.estimates.means import Estimate, ratio_mean
from lossgap.core.estimates.planning import Plan
from lossgap.core.evaluator import Evaluated, with_batch_errors
from lossgap.core.feeds import Feed, Units
from lossgap.core.forward import Evaluation, Weights
from lossgap.core.passes import Pass
from lossgap.errors import DataError

_MIN_BATCHES = 2  # the fewest that have a spread


class BatchSampler:
    """Estimates the true loss of any feed, as often as asked, compiled once.

    For losses that aren't means over samples, and for data that come in batches. The batches are
    those of the training, drawn without replacement; the estimate is that of
    :func:`~lossgap.core.estimates.means.ratio_mean`. Batches that weren't kept can't be drawn:
    where the plan wants more than there are, it gets those.
    """

    def __init__(
        self, model: Any, feed: Feed, weights: Weights, plan: Plan, *, metrics: bool, seed: int
    ) -> None:
        """Compile the pass.

        Args:
            model: The built and compiled Keras model.
            feed: The samples.
            weights: The trainable variables and where their values are read from.
            plan: How many samples to take.
            metrics: Whether to compute the compiled metrics too.
            seed: Seed of the draw.
        """
        begin = time.perf_counter()
        self._feed = feed
        self._plan = plan
        self._seed = seed
        self._evaluation = Evaluation(model, feed.layout, weights, metrics=metrics)
        self._pass = Pass(model, feed, self._evaluation)
        self._last: list[Estimate] = []
        self.compile_seconds = time.perf_counter() - begin

    def run(self) -> Evaluated:
        """Measure the model as it is now.

        Raises:
            DataError: There are no samples, or too few to tell how sure the estimate is.
        """
        units = self._feed.units(self._seed)
        if not units.n_units:
            raise DataError("The data are empty: no batch was read.")
        size = max(self._feed.n_total / units.n_all, 1.0)
        n = self._plan.first(self._last, units.n_all, size)
        taken = 0
        begin = time.perf_counter()
        parts: list[np.ndarray] = []
        state = self._evaluation.initial_state()
        while True:
            n = min(n, units.n_units)
            more, state = self._pass.over(units.chunks(taken, n), state)
            parts, taken = [*parts, *more], n
            rows = np.concatenate(parts)
            if taken == units.n_units or taken < _MIN_BATCHES:
                break
            self._last = [ratio_mean(rows[:, 1], rows[:, 0], units.n_all)]
            n = self._plan.further(self._last, time.perf_counter() - begin, units.n_all)
            if n <= taken:
                break
        return self._evaluated(rows, units, self._evaluation.metrics(state))

    def _evaluated(
        self, rows: np.ndarray, units: Units, metrics: dict[str, np.ndarray]
    ) -> Evaluated:
        is_all = len(rows) == units.n_all
        if not is_all and len(rows) < _MIN_BATCHES:
            raise DataError(
                "Only one batch fits into the memory for kept batches, too few to estimate from. "
                f"Raise max_bytes: TrueLoss(max_bytes=...). {int(rows[:, 0].sum())} of "
                f"{self._feed.n_total} samples were kept."
            )
        data_loss, weighted, penalties = self._pass.means(rows)
        found = Evaluated(data_loss, weighted, penalties, metrics, int(rows[:, 0].sum()), None)
        n_batches = None if is_all else units.n_all
        return with_batch_errors(found, rows, self._pass.penalties(rows), n_batches)
