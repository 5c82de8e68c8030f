"""Datasets of the user's own, separate from the training's, that can be read again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import data_adapter_utils

from lossgap.core import backends, random_states
from lossgap.core.feeds import Chunk, Draw, Layout, Wish, flatten
from lossgap.core.feeds.batches import Batch, KeptUnits, chunked
from lossgap.core.feeds.reservoir import Reservoir
from lossgap.errors import DataError

_DRAW_BYTES = 64 * 2**20


class DatasetFeed:
    """All batches of a dataset, read anew for every measurement.

    Reading leaves the random states that the process shares as they were.
    """

    n_batches = None

    def __init__(self, dataset: Any, *, seed: int) -> None:
        """Check that the dataset can be read again and again.

        Args:
            dataset: A ``tf.data.Dataset``, ``keras.utils.PyDataset`` or PyTorch ``DataLoader``
                that yields ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.
            seed: Seed of the batches that the parts of the gap are measured on.

        Raises:
            DataError: It is something else, never ends, runs out, or draws at random from a
                state that the training may share.
        """
        self._dataset = dataset
        with random_states.kept(), _generators_kept(dataset):
            self._source = _source(dataset)
        self._spec = self._source.element_spec
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(self._spec)
        self.layout = Layout.of(x, y, sample_weight, None)
        self._reservoir = Reservoir(_DRAW_BYTES, seed)

    @property
    def has_targets(self) -> bool:
        """Whether there are targets."""
        return self.layout.template[1] is not None

    @property
    def n_total(self) -> int:
        """Samples that were read the last time."""
        return self._reservoir.n_samples

    def specs(self) -> list[Any]:
        """Return the specs that the dataset declares."""
        return [backends.active().any_length(spec) for spec in flatten(self._spec)]

    def chunks(self, batch_size: int | None) -> Iterator[Chunk]:
        """Yield the batches as they come, whatever ``batch_size`` is."""
        del batch_size
        with random_states.kept(), _generators_kept(self._dataset):
            yield from chunked(self._batches())

    def _batches(self) -> Iterator[Batch]:
        self._reservoir.clear()
        for structure in self._source:
            batch = Batch.of(structure)
            self._reservoir.add(batch)
            yield batch

    def draw(self, wish: Wish) -> Draw:
        """Draw batches from a sample of those that were read last."""
        return self._reservoir.draw(wish)

    def units(self, seed: int) -> KeptUnits:
        """Return batches in the random order of their keys, whatever ``seed`` is.

        The dataset is read once, and as many of its batches are kept as fit.
        """
        del seed
        if not self._reservoir.n_batches:
            with random_states.kept(), _generators_kept(self._dataset):
                for _ in self._batches():
                    pass
        return self._reservoir.units()


@contextmanager
def _generators_kept(dataset: Any) -> Iterator[None]:
    """Put the generators back that a ``DataLoader`` was given: the training's may be the same."""
    holders = [dataset, getattr(dataset, "sampler", None), getattr(dataset, "batch_sampler", None)]
    found = [getattr(holder, "generator", None) for holder in holders]
    is_loader = data_adapters.is_torch_dataloader(dataset)
    states = [(g, g.get_state()) for g in found if is_loader and g is not None]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


def _source(dataset: Any) -> Any:
    """Return the dataset as the backend reads it, after checking that it can be read again."""
    backend = backends.active()
    if data_adapters.is_tf_dataset(dataset):
        backend.check_readable(dataset)
        return backend.batches(data_adapters.get_data_adapter(dataset))
    if isinstance(dataset, keras.utils.PyDataset):
        if dataset.num_batches is None:
            raise DataError(
                "The PyDataset has no num_batches: it never ends. Pass one with an end, or "
                "leave it out to measure on the batches of fit as they pass."
            )
        adapter = data_adapters.get_data_adapter(dataset)
        adapter.enqueuer = None  # read in order, by one thread
        return backend.batches(adapter)
    if data_adapters.is_torch_dataloader(dataset):
        return backend.batches(data_adapters.get_data_adapter(dataset))
    raise DataError(
        "Expected data that can be read again: arrays, a tf.data.Dataset, a "
        f"keras.utils.PyDataset or a PyTorch DataLoader. Received: {type(dataset).__name__}. "
        "Leave the data out to measure on the batches of fit as they pass."
    )
