"""The batches of a running training, kept as they pass.

A dataset that shuffles, draws at random, runs out or never ends can't be read a second
time without changing the training, or without reading other samples than were trained on.
So the pipeline of the running ``fit`` gets one more stage at its end, which hands each
batch on as it is and keeps it in a reservoir.
"""

from collections.abc import Iterator
from threading import Lock
from typing import Any

import keras
from keras.src.trainers.data_adapters import data_adapter_utils

from lossgap.core import backends
from lossgap.core.feeds import Chunk, Draw, Layout, Wish, flatten
from lossgap.core.feeds.batches import Batch, KeptUnits, chunked
from lossgap.core.feeds.reservoir import Reservoir
from lossgap.errors import DataError

# The share of the memory for the batches; the rest is for the copies that a measurement makes.
_KEPT = 0.9


def _specs(structure: Any) -> Any:
    spec = backends.active().spec
    return keras.tree.map_structure(lambda leaf: None if leaf is None else spec(leaf), structure)


class TapFeed:
    """The batches that this epoch was trained on so far, or a uniform sample of them."""

    def __init__(
        self, epoch_iterator: Any, *, class_weight: Any, max_bytes: int, seed: int
    ) -> None:
        """Put the tap into the pipeline of a ``fit`` that is about to begin.

        Args:
            epoch_iterator: Keras's iterator of the running ``fit``.
            class_weight: The class weights of the ``fit``: Keras has put them into the
                batches as sample weights.
            max_bytes: Memory for the kept batches.
            seed: Seed of the sample.

        Raises:
            DataError: The pipeline can't be tapped.
        """
        self._lock = Lock()
        self._reservoir = Reservoir(max(int(_KEPT * max_bytes), 1), seed)
        self._failure: Exception | None = None
        self._weighted = class_weight is not None
        self.reads_ahead = backends.active().reads_ahead(epoch_iterator)
        self._spec = backends.active().tap(epoch_iterator, self._receive)

    @property
    def layout(self) -> Layout:
        """The structure of a batch, known when one has passed."""
        x, y, weights = data_adapter_utils.unpack_x_y_sample_weight(self._structure())
        return Layout.of(
            x, y, None if self._weighted else weights, weights if self._weighted else None
        )

    def begin_epoch(self) -> None:
        """Forget the batches of the epoch before, and what went wrong with them."""
        with self._lock:
            self._reservoir.clear()
            self._failure = None

    @property
    def n_total(self) -> int:
        """Samples that were trained on in this epoch."""
        return self._reservoir.n_samples

    @property
    def n_batches(self) -> int | None:
        """Batches that were trained on in this epoch, if only a sample of them is kept."""
        return None if self._reservoir.is_complete else self._reservoir.n_batches

    def specs(self) -> list[Any]:
        """Return the specs that the pipeline declares, or those of its first batch."""
        return [backends.active().any_length(spec) for spec in flatten(self._structure())]

    def chunks(self, batch_size: int | None) -> Iterator[Chunk]:
        """Yield the kept batches as they were trained on, whatever ``batch_size`` is."""
        del batch_size
        return chunked(self._kept())

    def draw(self, wish: Wish) -> Draw:
        """Draw batches from those that are kept."""
        with self._lock:
            return self._reservoir.draw(wish)

    def units(self, seed: int) -> KeptUnits:
        """Return the kept batches in the random order of their keys, whatever ``seed`` is."""
        del seed
        self._check()
        with self._lock:
            return self._reservoir.units()

    def _receive(self, structure: Any) -> None:
        """Keep one batch. Runs inside of the training, where nothing may fail."""
        try:
            batch = Batch.of(structure)
            with self._lock:
                if self._spec is None:
                    self._spec = _specs(structure)
                self._reservoir.add(batch)
        except Exception as error:  # noqa: BLE001 - an error here would end the training
            self._failure = error

    def _structure(self) -> Any:
        self._check()
        if self._spec is None:
            raise DataError("No batch has passed since the training began.")
        return self._spec

    def _check(self) -> None:
        if self._failure is not None:
            raise DataError(f"The batches could not be kept: {self._failure}") from self._failure

    def _kept(self) -> list[Batch]:
        self._check()
        with self._lock:
            kept = self._reservoir.in_order()
        if not kept:
            raise DataError("No batch has passed since the epoch began.")
        return kept
