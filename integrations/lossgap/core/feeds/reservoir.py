"""A uniform random sample of a stream of batches, within a limit of memory."""

import heapq
from itertools import count

import numpy as np

from lossgap.core.feeds import Draw, Wish
from lossgap.core.feeds.batches import Batch, KeptUnits, chunked


class Reservoir:
    """Keeps batches of a stream: all of them while they fit, and a uniform sample beyond.

    Every batch draws a random key, and those with the smallest keys are kept: as many as
    would fit if they were the largest ones of the stream. So their number doesn't depend on
    the keys, and at any time each batch of the stream so far has the same chance of being
    among the kept ones, whatever its size and the length of the stream.

    References:
        J. S. Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical
        Software 11(1), 1985; by random keys: P. Efraimidis and P. Spirakis, "Weighted
        random sampling with a reservoir", Information Processing Letters 97(5), 2006.
    """

    def __init__(self, max_bytes: int, seed: int) -> None:
        """Start empty.

        Args:
            max_bytes: Memory for the kept batches. One batch is always kept.
            seed: Seed of the keys.
        """
        self._max_bytes = max_bytes
        self._rng = np.random.default_rng(seed)
        self.clear()

    def clear(self) -> None:
        """Forget the stream. The keys go on, so that each stream gets a sample of its own."""
        self._heap: list[tuple[float, int, Batch]] = []  # largest key first: keys are negated
        self._arrivals = count()
        self._largest: list[int] = []  # sizes of the largest batches that fit together
        self._n_bytes = 0  # their sum, which those that are kept don't exceed
        self._overflowed = False
        self.n_batches = 0
        self.n_samples = 0

    def add(self, batch: Batch) -> None:
        """Offer the next batch of the stream."""
        self.n_batches += 1
        self.n_samples += batch.n_samples
        heapq.heappush(self._heap, (-self._rng.random(), next(self._arrivals), batch))
        capacity = self._capacity_with(batch.n_bytes)
        while len(self._heap) > capacity:
            heapq.heappop(self._heap)

    def _capacity_with(self, n_bytes: int) -> int:
        """Return how many batches fit whichever they are, with one more in the stream."""
        if self._overflowed:  # one in, one out: what once didn't fit never does
            self._n_bytes += n_bytes - heapq.heappushpop(self._largest, n_bytes)
        else:
            self._n_bytes += n_bytes
            heapq.heappush(self._largest, n_bytes)
        while self._n_bytes > self._max_bytes and len(self._largest) > 1:
            self._n_bytes -= heapq.heappop(self._largest)
            self._overflowed = True
        return len(self._largest)

    @property
    def is_complete(self) -> bool:
        """Whether all batches of the stream so far are kept."""
        return len(self._heap) == self.n_batches

    def in_order(self) -> list[Batch]:
        """Return the kept batches in the order of the stream."""
        return [batch for _, _, batch in sorted(self._heap, key=lambda entry: entry[1])]

    def units(self) -> KeptUnits:
        """Return the kept batches by their keys: the first few are a uniform sample too."""
        kept = [batch for _, _, batch in sorted(self._heap, reverse=True)]
        return KeptUnits(kept, self.n_batches)

    def draw(self, wish: Wish) -> Draw:
        """Draw kept batches, the first few by their keys."""
        kept = self.units().batches
        chosen: list[Batch] = []
        n_samples = n_bytes = 0
        for batch in kept:
            enough = n_samples >= wish.n_samples or n_bytes + batch.n_bytes > wish.max_bytes
            if len(chosen) >= wish.min_batches and enough:
                break
            chosen.append(batch)
            n_samples += batch.n_samples
            n_bytes += batch.n_bytes
        is_full = self.is_complete and len(chosen) == len(kept)
        return Draw(list(chunked(chosen)), is_full)
