"""Which samples an estimate looks at: without replacement, in proportion to the classes."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

FRAME_SIZE = 2**20
"""Samples that are set out in random order, out of a larger set."""

_MOST_CLASSES = 1000
_FEWEST_IN_A_STRATUM = 8  # of the smallest sample; smaller classes share a stratum
_ONE_HOT_RANK = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """Samples in a random order, so that the first few are a random sample, and stay it.

    A sample of ``n`` takes the first few of each stratum. So a larger sample holds a smaller
    one, and the samples of two measurements are the same as far as both go: their errors
    are alike, and a curve over epochs shows changes of the model alone.

    Attributes:
        order: Indices of the samples in random order, shape ``(n_frame,)``.
        strata: Stratum of each place in ``order``, shape ``(n_frame,)``.
        places: For each stratum, its places in ``order``, ascending.
        n_total: Samples in the whole set, of which the frame may be a part.
    """

    order: np.ndarray
    strata: np.ndarray
    places: tuple[np.ndarray, ...] = field(repr=False)
    n_total: int

    @classmethod
    def drawn(
        cls,
        n_total: int,
        labels: Callable[[np.ndarray], np.ndarray | None],
        *,
        n_least: int,
        size: int,
        seed: int,
    ) -> "Frame":
        """Put samples into random order and sort them into strata.

        Args:
            n_total: Samples in the set.
            labels: Gives the classes of the samples with these indices, numbers from 0, or
                ``None`` for one stratum.
            n_least: The smallest sample that will be taken. A class of which it holds fewer
                than 8 shares a stratum with the others like it.
            size: Samples in the frame, where there are as many.
            seed: Seed of the order.
        """
        rng = np.random.default_rng(seed)
        size = min(size, n_total)
        whole = size == n_total
        order = rng.permutation(n_total) if whole else rng.choice(n_total, size, replace=False)
        classes = labels(order)
        strata = np.zeros(size, np.int64) if classes is None else _merged(classes, n_least)
        by_stratum = np.argsort(strata, kind="stable")
        places = np.split(by_stratum, np.cumsum(np.bincount(strata))[:-1])
        return cls(order, strata, tuple(places), n_total)

    @property
    def n_frame(self) -> int:
        """Samples in the frame."""
        return len(self.order)

    @property
    def sizes(self) -> np.ndarray:
        """Samples in each stratum of the frame."""
        return np.array([len(places) for places in self.places])

    def allocated(self, n: int) -> np.ndarray:
        """Share ``n`` samples out over the strata in proportion to their sizes."""
        return proportional(n, self.sizes)

    def between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the places that a sample of ``after`` has and one of ``before`` has not."""
        chosen = [p[b:a] for p, b, a in zip(self.places, before, after, strict=True)]
        return np.sort(np.concatenate(chosen))


def proportional(n: int, sizes: np.ndarray) -> np.ndarray:
    r"""Share ``n`` out in proportion to ``sizes``, by the largest remainders.

    .. math:: n_h = n N_h / N

    rounded so that the sum is ``n``; at least 2 of each stratum, for a variance, and never more
    than it has. The least may make the sum larger than ``n``.

    Args:
        n: Samples in all.
        sizes: Samples that each stratum has, shape ``(n_strata,)``.

    References:
        W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, section 5.3.
    """
    n = min(n, int(sizes.sum()))
    shares = n * sizes / sizes.sum()
    counts = np.floor(shares).astype(np.int64)
    n_left = n - int(counts.sum())
    largest = np.argsort(counts - shares, kind="stable")[:n_left]
    counts[largest] += 1
    least = np.minimum(2, sizes)
    while (counts < least).any() and (counts > least).any():
        counts[np.argmin(counts - least)] += 1
        counts[np.argmax(counts - least)] -= 1
    return np.asarray(np.clip(counts, least, sizes))


def class_labels(y: np.ndarray | None) -> np.ndarray | None:
    """Return the class of each sample, where the targets are classes.

    Args:
        y: Targets: integers or booleans of shape ``(n,)`` or ``(n, 1)``, the same in floats, or
            one-hot rows of shape ``(n, n_classes)``.

    Returns:
        Integers of shape ``(n,)``; ``None`` where the targets are something else, are all of
        one class, or of more than 1,000.
    """
    if y is None or y.dtype.kind not in "biuf" or y.ndim not in (1, _ONE_HOT_RANK) or not len(y):
        return None
    if y.ndim == _ONE_HOT_RANK and y.shape[1] > 1:
        if not _is_one_hot(y):
            return None
        labels = y.argmax(1)
    else:
        labels = y.reshape(-1).astype(np.int64) if y.dtype.kind == "b" else y.reshape(-1)
        probe = labels[: 10 * _MOST_CLASSES]
        if labels.dtype.kind == "f" and not np.array_equal(probe, np.round(probe)):
            return None
        if not np.isfinite(labels).all():
            return None
    return _numbered(labels)


def _numbered(labels: np.ndarray) -> np.ndarray | None:
    """Number the classes that occur from 0, without sorting where they are small integers."""
    low, high = labels.min(), labels.max()
    if high - low <= 10 * _MOST_CLASSES and np.array_equal(labels, np.round(labels)):
        places = (labels - low).astype(np.int64)
        present = np.bincount(places) > 0
        n_classes = int(present.sum())
        classes = (np.cumsum(present) - 1)[places]
    else:
        kinds, classes = np.unique(labels, return_inverse=True)
        n_classes = len(kinds)
    return np.asarray(classes) if 1 < n_classes <= _MOST_CLASSES else None


def _is_one_hot(y: np.ndarray) -> bool:
    if y.shape[1] > _MOST_CLASSES:
        return False
    step = 2**16  # so that large targets take no second copy
    return all(
        bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())
        for rows in (y[start : start + step] for start in range(0, len(y), step))
    )


def _merged(classes: np.ndarray, n_least: int) -> np.ndarray:
    """Number the classes anew, those together that are too small to stand alone."""
    expected = np.bincount(classes) * min(n_least / len(classes), 1.0)
    small = expected < _FEWEST_IN_A_STRATUM
    if small.any() and expected[small].sum() < _FEWEST_IN_A_STRATUM and not small.all():
        small[np.argmin(np.where(small, np.inf, expected))] = True  # what is left over joins it
    numbers = np.cumsum(~small) - 1
    numbers[small] = np.count_nonzero(~small)
    return np.asarray(numbers[classes], np.int64)
