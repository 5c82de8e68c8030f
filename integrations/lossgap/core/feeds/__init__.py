"""Where the measured samples come from, and how they reach the compiled loops.

A feed hands out *chunks*: several batches laid end to end, so that one call of a
compiled loop works through many of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import keras
import numpy as np


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each leaf of a batch stands in ``(x, y, sample_weight, class_weighted)``.

    ``class_weighted`` are the sample weights that ``fit`` trains with when it is given
    class weights.

    Attributes:
        template: The structure, with ``None`` for what the data lack.
    """

    template: tuple[Any, Any, Any, Any]

    @classmethod
    def of(cls, x: Any, y: Any, sample_weight: Any, class_weighted: Any) -> Self:
        """Take the structure of a batch, or of all data."""
        structure = _by_key((x, y, sample_weight, class_weighted))
        return cls(keras.tree.map_structure(lambda leaf: None if leaf is None else 0, structure))

    @property
    def has_class_weights(self) -> bool:
        """Whether the data carry class weights."""
        return self.template[3] is not None

    def pack(self, leaves: list[Any]) -> tuple[Any, Any, Any, Any]:
        """Put leaves back into ``(x, y, sample_weight, class_weighted)``."""
        remaining = iter(leaves)
        packed = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(remaining), self.template
        )
        return tuple(packed)


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a structure in a fixed order, without the absent ones."""
    return [leaf for leaf in keras.tree.flatten(_by_key(structure)) if leaf is not None]


def _by_key(structure: Any) -> Any:
    """Sort the keys of dicts: on PyTorch, Keras visits them in one order or in another."""
    if type(structure) is dict:
        return {key: _by_key(structure[key]) for key in sorted(structure)}
    if type(structure) in (list, tuple):
        return type(structure)(map(_by_key, structure))
    return structure


@dataclass(frozen=True, slots=True)
class Chunk:
    """Batches laid end to end.

    Attributes:
        leaves: Device arrays of shape ``(n_samples, ...)``.
        splits: Where batches begin and end: batch ``i`` holds the rows from ``splits[i]``
            up to ``splits[i + 1]``. Shape ``(n_batches + 1,)``, int32.
    """

    leaves: list[Any]
    splits: np.ndarray

    def share(self, rank: int, n: int) -> "Chunk":
        """Return one of ``n`` runs of neighbouring batches, which may be empty."""
        n_batches = len(self.splits) - 1
        begin, end = (n_batches * i // n for i in (rank, rank + 1))
        start, stop = self.splits[begin], self.splits[end]
        leaves = [leaf[start:stop] for leaf in self.leaves]
        return Chunk(leaves, self.splits[begin : end + 1] - start)


@dataclass(frozen=True, slots=True)
class Wish:
    """How many samples a part of the gap wants to be measured on.

    Attributes:
        n_samples: Samples, where the feed has as many.
        min_batches: Batches at the least, whatever the samples.
        max_bytes: Memory at the most, unless ``min_batches`` take more.
        seed: Seed of the draw.
    """

    n_samples: int
    min_batches: int
    max_bytes: int
    seed: int


@dataclass(frozen=True, slots=True)
class Draw:
    """Batches of the training's size for a wish, and whether they are all there are."""

    chunks: list[Chunk]
    is_full: bool


class Units(Protocol):
    """Batches of the training's size in random order, from which a sample takes the first few."""

    @property
    def n_units(self) -> int:
        """Batches that can be had."""
        ...

    @property
    def n_all(self) -> int:
        """Batches that there are, of which those that can be had are a random part."""
        ...

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """Yield the batches from ``start`` up to ``stop``."""
        ...


class Feed(Protocol):
    """The samples of one epoch."""

    @property
    def layout(self) -> Layout:
        """The structure of a batch."""
        ...

    @property
    def n_total(self) -> int:
        """Samples in the epoch, of which the feed may keep a part. Known once they were read."""
        ...

    @property
    def n_batches(self) -> int | None:
        """Batches in the epoch, where the feed keeps a random part of them; else ``None``."""
        ...

    def specs(self) -> list[Any]:
        """Return what the backend knows each leaf by: shape and dtype, for any batch size.

        Where a shape has a batch size, it is the training's.
        """
        ...

    def chunks(self, batch_size: int | None) -> Iterator[Chunk]:
        """Yield all kept samples in order; in batches of the training where ``None``."""
        ...

    def draw(self, wish: Wish) -> Draw:
        """Draw batches of the training's size from the samples that were read last."""
        ...

    def units(self, seed: int) -> Units:
        """Return the batches in random order."""
        ...


def splits(sizes: Any) -> np.ndarray:
    """Return the splits of batches with these sizes."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def even_splits(n_samples: int, batch_size: int, n_replicas: int = 1) -> np.ndarray:
    """Return the splits of batches of one size, the last one with the rest.

    Replicas get a batch each from every batch, as ``tf.distribute`` has it: all of one size,
    and the last of them the rest.
    """
    ends = np.append(np.arange(0, n_samples, batch_size), n_samples)
    if n_replicas > 1:
        per_replica = -(-np.diff(ends) // n_replicas)
        within = ends[:-1, None] + np.arange(n_replicas) * per_replica[:, None]
        ends = np.unique(np.append(np.minimum(within, ends[1:, None]), n_samples))
    return ends.astype(np.int32)
