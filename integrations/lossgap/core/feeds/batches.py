"""Batches as they come, kept as they are, and laid end to end for the compiled loops."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from lossgap.core import backends
from lossgap.core.feeds import Chunk, flatten, splits

_CHUNK_BYTES = 2**20  # a copy of this size is held beside the batches; larger ones stand alone


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: its leaves in order, its samples, its size in bytes."""

    leaves: list[Any]
    n_samples: int
    n_bytes: int

    @classmethod
    def of(cls, structure: Any) -> Self:
        """Take the batch that a pipeline yields."""
        backend = backends.active()
        leaves = [backend.own(leaf) for leaf in flatten(structure)]
        size = backend.n_bytes
        return cls(leaves, int(leaves[0].shape[0]), sum(size(leaf) for leaf in leaves))

    @property
    def shape(self) -> tuple[Any, ...]:
        """What has to agree for two batches to be laid end to end."""
        return tuple(tuple(leaf.shape[1:]) for leaf in self.leaves)


def chunked(batches: Iterable[Batch]) -> Iterator[Chunk]:
    """Lay neighbouring batches of one shape end to end, up to a size."""
    group: list[Batch] = []
    n_bytes = 0
    for batch in batches:
        full = n_bytes + batch.n_bytes > _CHUNK_BYTES
        if group and (full or batch.shape != group[0].shape):
            yield _joined(group)
            group, n_bytes = [], 0
        group.append(batch)
        n_bytes += batch.n_bytes
    if group:
        yield _joined(group)


@dataclass(frozen=True, slots=True)
class KeptUnits:
    """Batches that were kept, in random order, and how many there were."""

    batches: list[Batch]
    n_all: int

    @property
    def n_units(self) -> int:
        """Batches that were kept."""
        return len(self.batches)

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """Yield the batches from ``start`` up to ``stop``."""
        return chunked(self.batches[start:stop])


def _joined(group: list[Batch]) -> Chunk:
    join = backends.active().concatenate
    columns = zip(*(batch.leaves for batch in group), strict=True)
    return Chunk([join(list(column)) for column in columns], splits([b.n_samples for b in group]))
