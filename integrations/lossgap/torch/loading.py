"""The batches of a loader, read without a trace, and a sample of them that is kept."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch.utils.data import DataLoader

from lossgap.errors import DataError
from lossgap.torch.states import Generators

_PARTS: Final = ("sampler", "batch_sampler", "dataset")
_MOST_NESTED: Final = 5


@contextmanager
def untouched(loader: Any) -> Iterator[None]:
    """Put back the random generators of a loader, its samplers and its data sets."""
    kept = Generators([vars(part) for part in _parts(loader) if hasattr(part, "__dict__")])
    try:
        yield
    finally:
        kept.put_back()


def _parts(holder: Any, depth: int = 0) -> Iterator[Any]:
    yield holder
    for name in _PARTS:
        part = getattr(holder, name, None)
        if part is not None and depth < _MOST_NESTED:
            yield from _parts(part, depth + 1)


def batches(loader: Any) -> Iterator[Any]:
    """Yield the batches of a loader, once more from the beginning.

    Raises:
        DataError: It is no loader, or it would be used up.
    """
    if not isinstance(loader, Iterable) or isinstance(loader, torch.Tensor | Mapping | str):
        raise DataError(
            "Expected `loader` to be a DataLoader, or something else that yields batches, such as "
            f"a list of (inputs, targets). Received: {type(loader).__name__}. For tensors: "
            "DataLoader(TensorDataset(x, y), batch_size=32)."
        )
    if isinstance(loader, Iterator):
        raise DataError(
            f"Received an iterator as `loader` ({type(loader).__name__}): measuring would use up "
            "batches that the training needs. Pass the DataLoader itself, or a list of batches."
        )
    # Workers that live on belong to an iterator that the training may be in the middle of.
    source: Any = loader
    is_shared = isinstance(source, DataLoader) and source.persistent_workers
    yield from source._get_iterator() if is_shared else iter(source)


def moved(value: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on a device; what knows how to move itself does so."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    found = _mapped(value, lambda item: moved(item, device))
    return value.to(device) if found is value and hasattr(value, "to") else found


def _copied(value: Any) -> Any:
    """Return a batch whose tensors nobody writes to: a loader may use its memory again."""
    return value.clone() if isinstance(value, torch.Tensor) else _mapped(value, _copied)


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    if type(value) is dict:
        return {key: function(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(function, value))
    if isinstance(value, tuple) and hasattr(value, "_fields") and not hasattr(value, "to"):
        return type(value)(*map(function, value))
    return value


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a batch, or in a part of it."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


class Sample:
    """A random sample of the batches of a pass, as large as its memory allows.

    Args:
        n_samples: Samples that are enough.
        n_batches: Batches at the least.
        max_bytes: Memory at the most, unless the least take more.
        seed: Seed of the choice.
    """

    def __init__(self, *, n_samples: int, n_batches: int, max_bytes: int, seed: int) -> None:
        self._limits = (n_samples, n_batches, max_bytes)
        self._random = random.Random(seed)  # noqa: S311 - a sample, no secret
        self._room = 0
        self.n_seen = 0
        self.batches: list[Any] = []

    @property
    def is_full(self) -> bool:
        """Whether these are all batches."""
        return self.n_seen == len(self.batches)

    def offer(self, batch: Any, n_samples: int) -> None:
        """Take a batch, in the place of another where there is no room left, or leave it."""
        if not self._room:
            wanted, least, max_bytes = self._limits
            size = sum(t.numel() * t.element_size() for t in tensors(batch))
            fitting = max_bytes // max(size, 1)
            self._room = max(least, min(fitting, -(-wanted // max(n_samples, 1))))
        self.n_seen += 1
        if len(self.batches) < self._room:
            self.batches.append(_copied(batch))
        elif (place := self._random.randrange(self.n_seen)) < self._room:
            self.batches[place] = _copied(batch)
