"""How many samples a measurement takes: a count, a precision, or a fraction of the time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lossgap.core.estimates.intervals import half_width
from lossgap.core.estimates.means import Estimate
from lossgap.core.estimates.purse import Purse

PILOT: int = 512
"""Samples from which it is judged how many more it takes."""

REFERENCE_FACTOR: int = 3
"""How many times the samples of a measurement are measured once, to measure changes against."""

_FEWEST_BATCHES = 2  # that have a spread
_PILOT_BATCHES = 16
_Z95 = 1.96
_MARGIN = 1.05  # more samples than the variance asks for: it is itself estimated
_LEAST_GROWTH, _MOST_GROWTH = 1.1, 4.0
_WHOLE = 0.5  # of a set: from here on all of it is measured
_WORTHWHILE = 4  # further measurements that a reference serves
_ON_REFERENCES = 0.4  # of the time that is left


class Plan(Protocol):
    """Says how many units to take next: samples, or batches where only these have a loss.

    ``n_all`` are the units that there are, ``size`` the samples in each.
    """

    def least(self, n_all: int, size: float = 1.0) -> int:
        """Return the fewest that will be taken."""
        ...

    def first(self, last: Sequence[Estimate], n_all: int, size: float = 1.0) -> int:
        """Return how many to begin a measurement with, given the estimates of the last one."""
        ...

    def further(self, now: Sequence[Estimate], seconds: float, n_all: int) -> int:
        """Return how many it takes in all, or 0 where those that were taken are enough.

        Args:
            now: Estimates from the units so far, the best one first.
            seconds: Time that they took.
            n_all: Units that there are.
        """
        ...

    def is_payable(self, n: int, seconds: float) -> bool:
        """Tell whether a reference of ``n`` samples may be renewed, at a time for each."""
        ...

    def reference(self, n: int, seconds: float, n_left: int | None, n_all: int) -> int:
        """Return how many samples a reference takes, or 0 where it isn't worth it.

        Args:
            n: Samples of a plain measurement.
            seconds: Time for each sample.
            n_left: Measurements that follow; ``None`` where unknown.
            n_all: Samples that there are.
        """
        ...


@dataclass(frozen=True, slots=True)
class Count:
    """A number of samples, or a fraction of all; never a sample more."""

    samples: float

    def least(self, n_all: int, size: float = 1.0) -> int:
        """Return the number of samples, or of the batches that hold them."""
        n = self.samples / size if isinstance(self.samples, int) else self.samples * n_all
        return min(_few(round(n), size), n_all)

    def first(self, last: Sequence[Estimate], n_all: int, size: float = 1.0) -> int:
        """Return the same."""
        del last
        return self.least(n_all, size)

    def further(self, now: Sequence[Estimate], seconds: float, n_all: int) -> int:
        """Return 0."""
        del now, seconds, n_all
        return 0

    def is_payable(self, n: int, seconds: float) -> bool:
        """Return that it isn't."""
        del n, seconds
        return False

    def reference(self, n: int, seconds: float, n_left: int | None, n_all: int) -> int:
        """Return 0: it would take more samples than were asked for."""
        del n, seconds, n_left, n_all
        return 0


@dataclass(frozen=True, slots=True)
class Precision:
    """As many samples as it takes for a relative half-width of the 95 % interval."""

    relative: float

    def least(self, n_all: int, size: float = 1.0) -> int:
        """Return the size of a pilot sample."""
        return _pilot(n_all, size)

    def first(self, last: Sequence[Estimate], n_all: int, size: float = 1.0) -> int:
        """Return what would have been enough the last time."""
        pilot = self.least(n_all, size)
        return max(self._enough(last, n_all), pilot) if last else pilot

    def further(self, now: Sequence[Estimate], seconds: float, n_all: int) -> int:
        """Return 0 where the best interval is short enough, and else what should be enough."""
        del seconds
        best = now[0]
        half, n = half_width(best), best.n_samples
        if half is None or half <= self.relative * abs(best.value) or n >= n_all:
            return 0
        enough = max(self._enough(now, n_all), math.ceil(_LEAST_GROWTH * n))
        return min(enough, n_all if enough >= _WHOLE * n_all else int(_MOST_GROWTH * n), n_all)

    def is_payable(self, n: int, seconds: float) -> bool:
        """Return that it is."""
        del n, seconds
        return True

    def reference(self, n: int, seconds: float, n_left: int | None, n_all: int) -> int:
        """Return a few times the samples of a plain measurement, or all where these are fewer."""
        del seconds
        if n_left is not None and n_left < _WORTHWHILE:
            return 0
        size = REFERENCE_FACTOR * n
        return n_all if size >= _WHOLE * n_all else size

    def _enough(self, estimates: Sequence[Estimate], n_all: int) -> int:
        target = [(self.relative * abs(e.value) / _Z95) ** 2 for e in estimates]
        needs = [e.samples_for(v) for e, v in zip(estimates, target, strict=True)]
        need = min(_MARGIN * min(needs), float(n_all))
        return n_all if need >= _WHOLE * n_all else math.ceil(need)


def _few(n: int, size: float) -> int:
    return max(n, _FEWEST_BATCHES if size > 1 else 1)


def _pilot(n_all: int, size: float) -> int:
    return min(max(math.ceil(PILOT / size), _PILOT_BATCHES), n_all)


@dataclass(slots=True)
class Budget:
    """As many samples as a share of the training's time allows.

    Attributes:
        purse: The time for measuring.
        part: The part of it that is this measurement's; the rest is for the gap's causes.
    """

    purse: Purse
    part: float = 1.0

    def least(self, n_all: int, size: float = 1.0) -> int:
        """Return the size of a pilot sample."""
        return _pilot(n_all, size)

    def first(self, last: Sequence[Estimate], n_all: int, size: float = 1.0) -> int:
        """Return the pilot: its time tells what the rest may be."""
        del last
        return self.least(n_all, size)

    def further(self, now: Sequence[Estimate], seconds: float, n_all: int) -> int:
        """Return what the share of the time is enough for."""
        n = now[0].n_samples
        more = int(n * self.part * self.purse.share() / max(seconds, 1e-9))
        return min(n + more, n_all) if more > (_LEAST_GROWTH - 1) * n else 0

    def is_payable(self, n: int, seconds: float) -> bool:
        """Tell whether enough of the time is left."""
        return n * seconds <= _ON_REFERENCES * self.part * self.purse.left()

    def reference(self, n: int, seconds: float, n_left: int | None, n_all: int) -> int:
        """Return a few times the samples of a measurement, within what is left of the time."""
        if n_left is None or n_left < _WORTHWHILE:
            return 0
        size = min(REFERENCE_FACTOR * n, n_all)
        return size if size > n and self.is_payable(size, seconds) else 0
