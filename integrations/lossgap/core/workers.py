"""Processes that train one model together, and measure it together."""

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

from lossgap.core import backends
from lossgap.core.merging import Partial
from lossgap.errors import LossgapError, first_line


def number(model: Any) -> int:
    """Return how many processes share the work of measuring the model."""
    replicas = backends.active().replicas(model)
    return 1 if replicas is None else replicas.n_workers


def agree(model: Any) -> bool:
    """Tell whether all workers hold the same model, after asking them: each has to call this.

    Gradients are put together, so the weights agree. What layers count for themselves, such as
    the moving averages of batch normalization, each worker may have of its own batches alone.
    """
    replicas = backends.active().replicas(model)
    if replicas is None:
        return True
    digest = hashlib.sha256()
    for variable in model.non_trainable_variables:
        digest.update(backends.active().to_numpy(variable).tobytes())
    return len(set(replicas.exchange(digest.digest()))) == 1


def exchanged(model: Any, share: Callable[[int, int], Partial]) -> list[Partial]:
    """Measure this worker's share, and return the shares of all workers.

    A worker whose share fails still joins the exchange, and then all of them raise: none is
    left waiting.

    Args:
        model: The model, which several workers train.
        share: Measures a share, given the worker's rank and the number of workers.

    Raises:
        LossgapError: A share couldn't be measured, or a worker didn't come.
    """
    replicas = backends.active().replicas(model)
    if replicas is None:
        return [share(0, 1)]
    failure: Exception | None = None
    found: Partial | str
    try:
        found = share(replicas.rank, replicas.n_workers)
    except Exception as error:  # noqa: BLE001 - the others have to be told
        failure = error
        found = f"{type(error).__name__}: {first_line(error)}"
    received = [
        pickle.loads(message)  # noqa: S301 - from the workers that train this model with us
        for message in replicas.exchange(pickle.dumps(found))
    ]
    if failure is not None:
        raise failure
    for rank, other in enumerate(received):
        if isinstance(other, str):
            raise LossgapError(f"Worker {rank} couldn't measure its share. {other}")
    return received
