"""The true loss of arrays from a sample of them, where each sample has a loss of its own."""

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from lossgap.core import backends, inspection
from lossgap.core.drawn import (
    NoSampleLossesError,
    Reference,
    Taken,
    check_losses,
    parts_of,
    sizes_of,
)
from lossgap.core.estimates.intervals import caveat, interval
from lossgap.core.estimates.means import Estimate, Moments, regression_mean, stratified_mean
from lossgap.core.estimates.planning import Plan
from lossgap.core.estimates.sampling import FRAME_SIZE, Frame, class_labels
from lossgap.core.estimates.sequences import ConfidenceSequence
from lossgap.core.evaluator import Evaluated, with_batch_errors
from lossgap.core.feeds import Chunk, splits
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.forward import Weights
from lossgap.core.passes import Pass, fast_batch_size
from lossgap.core.samplewise import CLASS_WEIGHTED, DATA_LOSS, Samplewise

_CAPACITY = 2**14  # samples in one call of the loop
_KEPT_BYTES = 64 * 2**20  # samples up to this size stay on the device
_METRIC_AGREES = 1e-4
_Z95 = 1.96
_MANY = 10**9  # batches in a set that is as good as endless


class Sampler:
    """Estimates the true loss of arrays, as often as asked, compiled once.

    Samples are drawn without replacement, in proportion to the classes where the targets are
    classes, and are the same from one measurement to the next as far as both go. Where it is
    worth its price, many samples, or all, are measured once as a reference; after it, a few of
    them measure how the loss has changed (:func:`~lossgap.core.estimates.means.regression_mean`).
    Of the estimates with and without a reference, the one with the smaller variance is taken.
    The first measurement is no reference, unless it takes all samples: no later losses move as far
    as those of the first epoch.
    Where a plan wants all samples, the pass is exact.

    Attributes:
        n_left: Measurements that will follow, which a reference would serve; ``None`` where
            unknown.
    """

    def __init__(
        self,
        model: Any,
        feed: ArrayFeed,
        weights: Weights,
        plan: Plan,
        *,
        batch_size: int | None,
        metrics: bool,
        seed: int,
        loss_range: tuple[float, float] | None = None,
    ) -> None:
        """Compile the pass, and put the samples into random order.

        Args:
            model: The built and compiled Keras model.
            feed: The samples.
            weights: The trainable variables and where their values are read from.
            plan: How many samples to take.
            batch_size: Batch size of the pass; ``None`` to choose.
            metrics: Whether to compute the compiled metrics too.
            seed: Seed of the order.
            loss_range: The smallest and largest loss that a sample can have, for an interval
                that holds at all sample sizes at once; ``None`` for one that holds at one.

        Raises:
            NoSampleLossesError: The loss isn't a mean over losses of the samples.
        """
        begin = time.perf_counter()
        self._feed = feed
        self._plan = plan
        self._range = loss_range
        capacity = max(_CAPACITY, feed.batch_size, batch_size or 0)
        self._evaluation = self._traced(model, weights, metrics=metrics, capacity=capacity)
        self._batch_size = batch_size or self._fast(model, metrics=metrics)
        self._warm_up()
        self.compile_seconds = time.perf_counter() - begin
        n_least = plan.least(feed.n_total)
        size = max(FRAME_SIZE, n_least)
        self._frame = Frame.drawn(
            feed.n_total, self._classes, n_least=n_least, size=size, seed=seed
        )
        self.n_left: int | None = None
        self._reference: Reference | None = None
        self._last: list[Estimate] = []
        self._per_sample = 0.0
        self._n_runs = 0
        self._kept: dict[tuple[int, int], list[Any]] = {}
        self._kept_bytes = 0
        self.setup_seconds = time.perf_counter() - begin - self.compile_seconds
        self.compile_seconds += self.setup_seconds

    def _classes(self, indices: np.ndarray) -> np.ndarray | None:
        return None if self._range is not None else class_labels(self._feed.targets(indices))

    def _traced(self, model: Any, weights: Weights, *, metrics: bool, capacity: int) -> Samplewise:
        if inspection.depends_on_batches(model, metrics=False):
            raise NoSampleLossesError("The loss isn't a mean over samples.")
        found = Samplewise(model, self._feed.layout, weights, metrics=metrics, capacity=capacity)
        self._pass = Pass(model, self._feed, found)
        self._pass.probe(*self._feed.first_batch())
        if not found.has_losses or self._pass.mixes(metrics=False):
            raise NoSampleLossesError("The loss isn't a mean over samples.")
        return found

    def _fast(self, model: Any, *, metrics: bool) -> int:
        if metrics and inspection.depends_on_batches(model, metrics=True):
            return self._feed.batch_size
        return fast_batch_size(model)

    def _warm_up(self) -> None:
        """Run a batch: backends finish their compilation with the first one."""
        rows = np.arange(min(self._batch_size, self._feed.n_total))
        self._pass.over([self._chunk(self._on_device(rows), len(rows))], self._begun())

    def _begun(self) -> list[Any]:
        return self._evaluation.initial_state()

    def run(self) -> Evaluated:
        """Measure the model as it is now."""
        begin = time.perf_counter()
        n_all = self._frame.n_frame
        taken = Taken(self._begun(), np.zeros(len(self._frame.places), np.int64))
        n, renewed = self._first(n_all)
        while True:
            if n >= self._feed.n_total:
                return self._all(taken)
            self._extend(taken, self._frame.allocated(n))
            estimates = self._estimates(taken)
            taken.seconds = time.perf_counter() - begin
            if not renewed:
                judged = self._widened(taken, estimates)
                n = self._plan.further(judged, taken.seconds, n_all)
            else:
                n = 0
            if not n and self._reference is None and not renewed and self._n_runs:
                per_sample = taken.seconds / taken.n_samples
                n = self._plan.reference(taken.n_samples, per_sample, self.n_left, n_all)
                renewed = n > 0
            if n <= taken.n_samples:
                break
        self._remember(taken, estimates, renewed=renewed)
        return self._found(taken, estimates[0])

    def _first(self, n_all: int) -> tuple[int, bool]:
        """Return how many samples to begin with, and whether they are a new reference.

        A reference is renewed when as many samples were measured since as it takes: what is
        paid for references is never more than what is paid for the rest.
        """
        reference = self._reference
        if reference is not None and reference.n_since >= reference.n_samples:
            size = reference.n_samples
            if self._plan.is_payable(size, self._per_sample):
                return size, True
        return self._plan.first(self._last, n_all), False

    def _remember(self, taken: Taken, estimates: list[Estimate], *, renewed: bool) -> None:
        self._last = [] if renewed else estimates  # what follows a reference takes fewer samples
        self._n_runs += 1
        self._per_sample = taken.seconds / taken.n_samples
        if renewed:
            self._refer(taken.places, taken.values[:, DATA_LOSS])
        elif self._reference is not None:
            since = self._reference.n_since + taken.n_samples
            self._reference = replace(self._reference, n_since=since)

    def _refer(self, places: np.ndarray, losses: np.ndarray) -> None:
        if not np.isfinite(losses).all():
            self._reference = None
            return
        values = np.full(self._frame.n_frame, np.nan)
        values[places] = losses
        found = Moments.of(losses, self._frame.strata[places], len(self._frame.places))
        self._reference = Reference(values, found)

    # From samples to numbers.

    def _estimates(self, taken: Taken) -> list[Estimate]:
        """Return the estimates, with and without a reference, that of the least variance first."""
        frame, losses = self._frame, taken.values[:, DATA_LOSS]
        strata, sizes = frame.strata[taken.places], frame.sizes
        n_total = self._feed.n_total
        plain = stratified_mean(losses, strata, sizes, n_total=n_total)
        reference = self._reference
        if reference is None or (taken.counts > reference.sizes).any() or self._range:
            return [plain]
        changed = regression_mean(
            losses,
            reference.values[taken.places],
            strata,
            sizes,
            reference=reference.moments,
            n_total=n_total,
        )
        if changed is None or not changed.variance < plain.variance:
            return [plain]
        return [changed, plain]

    def _widened(self, taken: Taken, estimates: list[Estimate]) -> list[Estimate]:
        """Return estimates whose error is that of the interval, which may be a wider one."""
        ends, _ = self._interval(taken, estimates[0])
        if self._range is None or ends is None:
            return estimates
        variance = ((ends[1] - ends[0]) / 2 / _Z95) ** 2
        return [replace(estimates[0], variance=variance, skewness=0.0, freedom=math.inf)]

    def _mean(self, taken: Taken, values: np.ndarray) -> Estimate:
        strata = self._frame.strata[taken.places]
        return stratified_mean(values, strata, self._frame.sizes, n_total=self._feed.n_total)

    def _found(self, taken: Taken, best: Estimate) -> Evaluated:
        """Put the numbers of a sample together."""
        rows = np.concatenate(taken.rows)
        _, _, penalties = self._pass.means(rows)
        metrics, errors = self._metrics(taken)
        weighted = error = None
        if self._feed.layout.has_class_weights:
            added = taken.values[:, CLASS_WEIGHTED] - taken.values[:, DATA_LOSS]
            estimate = self._mean(taken, added)
            weighted, error = best.value + estimate.value, estimate.standard_error
        found = Evaluated(best.value, weighted, penalties, metrics, taken.n_samples, None)
        found = with_batch_errors(found, rows, self._pass.penalties(rows), _MANY)
        ends, doubt = self._interval(taken, best)
        return replace(
            found,
            standard_error=best.standard_error,
            metric_errors=errors,
            class_weight_error=error,
            interval=ends,
            caveat=doubt,
        )

    def _interval(
        self, taken: Taken, best: Estimate
    ) -> tuple[tuple[float, float] | None, str | None]:
        if self._range is None:
            return interval(best), caveat(best)
        sequence = ConfidenceSequence(self._feed.n_total, *self._range)
        try:
            sequence.add(taken.values[np.argsort(taken.places), DATA_LOSS])
        except ValueError as error:
            return None, f"a loss isn't in `loss_range`, so there is no interval: {error}"
        return sequence.interval, None

    def _metrics(self, taken: Taken) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the metrics of the sample, those that are means with their errors.

        A mean counts the classes as large as they are, and not as rounding has it.
        """
        results = dict(self._evaluation.metrics(taken.state))
        errors = {}
        for name, column in self._evaluation.metric_columns().items():
            values, result = taken.values[:, column], results.get(name)
            if result is None or np.size(result) != 1:
                continue
            mean, scalar = float(values.mean()), float(result.reshape(()))
            if abs(mean - scalar) <= _METRIC_AGREES * max(abs(scalar), _METRIC_AGREES):
                estimate = self._mean(taken, values)
                results[name] = np.asarray(estimate.value)
                if estimate.standard_error is not None:
                    errors[name] = estimate.standard_error
        return results, errors

    # From the model to samples.

    def _extend(self, taken: Taken, counts: np.ndarray) -> None:
        """Measure further samples, up to these counts of each stratum."""
        counts = np.maximum(counts, taken.counts)
        places = self._frame.between(taken.counts, counts)
        for start in range(0, len(places), self._n_at_once()):
            some = places[start : start + self._n_at_once()]
            leaves = self._leaves(some)
            self._measure(taken, self._chunk(leaves, len(some)), some)
        taken.counts = counts

    def _measure(self, taken: Taken, chunk: Chunk, places: np.ndarray) -> None:
        rows, taken.state = self._pass.over([chunk], taken.state)
        values, taken.state = self._evaluation.taken(taken.state)
        check_losses(rows[0], values)
        taken.rows.append(rows[0])
        taken.add(places, values)

    def _n_at_once(self) -> int:
        per_sample = max(self._feed.n_bytes // self._feed.n_total, 1)
        fitting = max(_KEPT_BYTES // per_sample, 1)
        size = min(fitting, self._evaluation.capacity)
        return max(size // self._batch_size * self._batch_size, min(size, self._batch_size))

    def _leaves(self, places: np.ndarray) -> list[Any]:
        """Return samples on the device, where the same ones may still be from the last time."""
        key = (int(places[0]), hash(places.tobytes()))
        if key not in self._kept:
            leaves = self._on_device(self._frame.order[places])
            n_bytes = sum(backends.active().n_bytes(leaf) for leaf in leaves)
            if self._kept_bytes + n_bytes > _KEPT_BYTES:
                self._kept, self._kept_bytes = {}, 0
            self._kept[key] = leaves
            self._kept_bytes += n_bytes
        return self._kept[key]

    def _on_device(self, indices: np.ndarray) -> list[Any]:
        to_device = backends.active().to_device
        return [to_device(leaf) for leaf in self._feed.rows(indices)]

    def _chunk(self, leaves: list[Any], n_samples: int) -> Chunk:
        return Chunk(leaves, splits(sizes_of(n_samples, self._batch_size)))

    def _all(self, taken: Taken) -> Evaluated:
        """Measure all samples, in their order: an exact pass, and a reference."""
        taken.restart(self._begun())
        n_done = 0
        for chunk in self._feed.chunks(self._batch_size):
            for part in parts_of(chunk, self._evaluation.capacity):
                n = int(part.splits[-1] - part.splits[0])
                self._measure(taken, part, np.arange(n_done, n_done + n))
                n_done += n
        rows, losses = np.concatenate(taken.rows), taken.values[:, DATA_LOSS]
        data_loss, weighted, penalties = self._pass.means(rows)
        metrics = self._evaluation.metrics(taken.state)
        self._last = []
        if self._frame.n_frame == self._feed.n_total:
            places = np.arange(self._frame.n_frame)
            self._refer(places, losses[self._frame.order])
        return Evaluated(data_loss, weighted, penalties, metrics, n_done, None)
