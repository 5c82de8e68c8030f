"""Rows that are brought to the calling process, to measure the parts of the gap on."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lossgap.core.feeds import Draw, Layout, Wish
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.ray.columns import Roles
from lossgap.ray.job import Job, in_order

_MARGIN = 1.2  # a sample by tosses of a coin is only about as large as wanted


class SampleFeed:
    """What a :class:`lossgap.core.feeds.Feed` has that draws samples and hands out nothing else."""

    n_batches = None

    def __init__(self, dataset: Any, roles: Roles, first: ArrayFeed, job: Job) -> None:
        """Take a data set, its columns, its first rows, and the job that counts its rows."""
        self._dataset = dataset
        self._roles = roles
        self._first = first
        self._job = job
        self._last: tuple[Wish, Draw] | None = None
        self.layout: Layout = first.layout

    @property
    def n_total(self) -> int:
        """Rows, known after the job has run."""
        return self._job.n_samples

    def specs(self) -> list[Any]:
        """Return the shapes and dtypes of the first rows."""
        return self._first.specs()

    def draw(self, wish: Wish) -> Draw:
        """Draw the same rows for the same wish: all of them, or a sample."""
        if self._last is None or self._last[0] != wish:
            self._last = (wish, self._drawn(wish))
        return self._last[1]

    def _drawn(self, wish: Wish) -> Draw:
        first, n = self._first, self.n_total
        fitting = wish.max_bytes * first.n_total // max(first.n_bytes, 1)
        wanted = max(min(wish.n_samples, fitting), wish.min_batches * first.batch_size)
        wanted = math.ceil(wanted / first.batch_size) * first.batch_size
        if wanted >= n:
            return self._feed(self._dataset).draw(wish)
        sample = self._dataset.random_sample(min(_MARGIN * wanted / n, 1.0), seed=wish.seed)
        return replace(self._feed(sample).draw(wish), is_full=False)

    def _feed(self, dataset: Any) -> ArrayFeed:
        with in_order(dataset, wanted=True):
            batches = list(dataset.iter_batches(batch_size=None, batch_format="numpy"))
        columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        return self._roles.feed(columns)
