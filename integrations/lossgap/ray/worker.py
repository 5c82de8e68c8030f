"""What runs on each worker of a job: the compiled pass over the blocks that come to it."""

import pickle
from typing import Any

import numpy as np

from lossgap.core import inspection, random_states
from lossgap.core.averaging import validated_weights
from lossgap.core.evaluator import Evaluator
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.merging import Partial
from lossgap.core.meter import build
from lossgap.errors import LossgapError
from lossgap.ray.columns import Roles
from lossgap.ray.models import Recipe

FOUND = "found"
"""The only column of what a worker returns, pickled: a :class:`lossgap.core.merging.Partial`, or an
error of ours, which Ray would bring home without its type.
"""


def compiled(
    model: Any, feed: ArrayFeed, *, batch_size: int | None = None, metrics: bool
) -> Evaluator:
    """Compile the pass of a model, for samples like these.

    Raises:
        UnsupportedModelError: The model has no loss on the data that can be computed.
    """
    inspection.check(model)
    build(model, feed)
    weights = validated_weights(model, ())
    return Evaluator(model, feed, weights, batch_size=batch_size, metrics=metrics)


class Worker:
    """One model on one worker, measured on blocks of the data set."""

    def __init__(self, recipe: Recipe, roles: Roles, *, metrics: bool) -> None:
        """Make the model.

        Args:
            recipe: What to make it from.
            roles: The columns.
            metrics: Whether to compute the compiled metrics.
        """
        self._model = recipe.model()
        self._roles = roles
        self._metrics = metrics
        self._evaluator: Evaluator | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Measure some rows of the data set."""
        try:
            with random_states.kept():
                found: Partial | LossgapError = self._measured(batch)
        except LossgapError as error:
            found = error
        return {FOUND: [pickle.dumps(found)]}

    def _measured(self, batch: dict[str, np.ndarray]) -> Partial:
        feed = self._roles.feed(batch)
        if self._evaluator is None:
            self._evaluator = compiled(self._model, feed, metrics=self._metrics)
        return self._evaluator.partial(feed)
