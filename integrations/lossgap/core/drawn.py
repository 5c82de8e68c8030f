"""Samples as they are measured: how they are batched, checked and kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossgap.core.estimates.means import Moments
from lossgap.core.feeds import Chunk
from lossgap.core.samplewise import DATA_LOSS
from lossgap.errors import UnsupportedModelError

_AGREES = 1e-3  # relative; the mean of the samples' losses against the loss of their batch


class NoSampleLossesError(UnsupportedModelError):
    """The loss of the model isn't a mean over losses of the samples."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The losses of many samples at an earlier time.

    Attributes:
        values: By place in the frame; NaN where a sample wasn't measured.
        moments: Counts, means and spreads of the losses by stratum.
        n_since: Samples measured since, which a new reference has to be worth.
    """

    values: np.ndarray
    moments: Moments
    n_since: int = 0

    @property
    def sizes(self) -> np.ndarray:
        """Samples in each stratum."""
        return self.moments.counts

    @property
    def n_samples(self) -> int:
        """Samples that were measured for it."""
        return int(self.sizes.sum())


class Taken:
    """What was measured so far.

    Attributes:
        state: The state of the loop after the last batch.
        counts: Samples of each stratum.
        rows: The rows of each call of the loop.
        seconds: Wall-clock time since the measurement began.
    """

    def __init__(self, state: list[Any], counts: np.ndarray) -> None:
        """Begin with no samples."""
        self.counts = counts
        self.seconds = 0.0
        self.restart(state)

    def restart(self, state: list[Any]) -> None:
        """Forget the samples."""
        self.state = state
        self.rows: list[np.ndarray] = []
        self._places: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def add(self, places: np.ndarray, values: np.ndarray) -> None:
        """Take samples by their places, with the table of their values."""
        self._places.append(places)
        self._values.append(values)

    @property
    def n_samples(self) -> int:
        """Samples so far."""
        return sum(map(len, self._places))

    @property
    def places(self) -> np.ndarray:
        """Their places in the frame, in the order in which they were measured."""
        return np.concatenate(self._places)

    @property
    def values(self) -> np.ndarray:
        """Their values, shape ``(n_samples, n_columns)``."""
        return np.concatenate(self._values)


def check_losses(rows: np.ndarray, values: np.ndarray) -> None:
    """Make sure that the losses of the samples are those that the loss of a batch is the mean of.

    Raises:
        NoSampleLossesError: They aren't.
    """
    counts, losses = rows[:, 0], values[:, DATA_LOSS]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)
    with np.errstate(invalid="ignore"):
        means = np.add.reduceat(losses, starts) / counts
        sizes = np.add.reduceat(np.abs(losses), starts) / counts
        apart = np.abs(means - rows[:, 1]) > _AGREES * np.maximum(sizes, 1e-30)
    both_finite = np.isfinite(means) & np.isfinite(rows[:, 1])
    if (apart & both_finite).any() or (np.isfinite(means) != np.isfinite(rows[:, 1])).any():
        raise NoSampleLossesError("The loss of a batch isn't the mean over its samples.")


def sizes_of(n_samples: int, batch_size: int) -> list[int]:
    """Return sizes of batches, the rest in powers of two: a compiler sees few shapes."""
    n_full, rest = divmod(n_samples, batch_size)
    powers = [2**bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]
    return [batch_size] * n_full + powers


def parts_of(chunk: Chunk, capacity: int) -> Iterator[Chunk]:
    """Yield a chunk in pieces of whole batches, of ``capacity`` samples at the most."""
    places = chunk.splits
    first = 0
    while first < len(places) - 1:
        last = int(np.searchsorted(places, places[first] + capacity, side="right")) - 1
        last = max(last, first + 1)
        yield Chunk(chunk.leaves, places[first : last + 1])
        first = last
