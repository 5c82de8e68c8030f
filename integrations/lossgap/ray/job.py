"""The pass over a data set as a job of Ray Data."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from lossgap.core.evaluator import Evaluated, Evaluator
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.merging import Partial
from lossgap.errors import LossgapError
from lossgap.extras import require
from lossgap.ray.columns import Roles
from lossgap.ray.models import Recipe
from lossgap.ray.worker import FOUND, Worker

_BYTES_AT_ONCE = 16 * 2**20  # of rows that a worker measures in one call
_MOST_ROWS = 2**16


class Job:
    """Measures a model on all rows of a data set, by workers that each have a copy of it.

    Attributes:
        n_samples: Rows, known after a run.
        compile_seconds: What was compiled here.
    """

    def __init__(
        self,
        dataset: Any,
        recipe: Recipe,
        roles: Roles,
        evaluator: Evaluator,
        *,
        first: ArrayFeed,
        workers: int | None,
        resources: dict[str, float],
        metrics: bool,
    ) -> None:
        """Prepare the job.

        Args:
            dataset: A ``ray.data.Dataset``.
            recipe: What workers make the model from.
            roles: The columns.
            evaluator: The pass of the same model here, which puts the parts together.
            first: The first rows.
            workers: Workers at the most.
            resources: What a worker takes, as Ray names it.
            metrics: Whether to compute the compiled metrics.
        """
        self._dataset = dataset
        self._evaluator = evaluator
        self._made_by = (recipe, roles)
        self._workers = workers
        self._resources = resources
        self._metrics = metrics
        self._keeps_batches = evaluator.mixes(metrics=metrics)
        per_batch = max(first.n_bytes * first.batch_size // first.n_total, 1)
        at_once = min(_BYTES_AT_ONCE // per_batch, _MOST_ROWS // first.batch_size)
        self._n_rows = first.batch_size * max(at_once, 1)
        self.n_samples = 0
        self.compile_seconds = evaluator.compile_seconds

    def run(self) -> Evaluated:
        """Run the job on the model as it was when the job was prepared.

        Raises:
            LossgapError: What a worker raised.
        """
        dataset = self._dataset
        if self._keeps_batches:  # blocks of whole batches, in the order of the data set
            dataset = dataset.repartition(target_num_rows_per_block=self._n_rows, strict=True)
        pool = require("ray.data", extra="ray").ActorPoolStrategy
        found = dataset.map_batches(
            Worker,
            batch_size=self._n_rows,
            batch_format="numpy",
            zero_copy_batch=False,
            compute=pool(min_size=1, max_size=self._workers),
            fn_constructor_args=self._made_by,
            fn_constructor_kwargs={"metrics": self._metrics},
            runtime_env={"env_vars": {"KERAS_BACKEND": keras.config.backend()}},
            **self._resources,
        )
        with in_order(found, wanted=self._keeps_batches):
            evaluated = self._evaluator.joined(_received(found))
        self.n_samples = evaluated.n_samples
        return evaluated


def _received(found: Any) -> Iterator[Partial]:
    for row in found.iter_rows():
        partial = pickle.loads(row[FOUND])  # noqa: S301 - written by our own workers
        if isinstance(partial, LossgapError):
            raise partial
        yield partial


@contextmanager
def in_order(dataset: Any, *, wanted: bool) -> Iterator[None]:
    """Let Ray keep the order of the rows for a while."""
    options = dataset.context.execution_options
    before = options.preserve_order
    options.preserve_order = before or wanted
    try:
        yield
    finally:
        options.preserve_order = before
