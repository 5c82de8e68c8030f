"""``lossgap.fit``: ``model.fit`` with the true loss in its logs."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from lossgap.core.callback import TrueLoss
from lossgap.errors import InvalidArgumentError


def fit(model: Any, *args: Any, true_loss: TrueLoss | None = None, **kwargs: Any) -> Any:
    """Train a model as ``model.fit`` does, and measure the true loss of every epoch.

    Takes the arguments of ``model.fit``, with the same defaults, and returns the same
    ``History``, with ``true_loss``, ``regularization_gap``, ``true_val_loss`` and
    ``true_<metric>`` in it. The training data are picked up from the call. Callbacks may
    monitor these names in any order: the measurement comes first.

    Args:
        model: A compiled Keras model.
        *args: Positional arguments of ``model.fit``.
        true_loss: The callback with the options of the measurement, and with the
            measurements afterwards. Left out, it is the ``TrueLoss`` among ``callbacks``,
            or a new one.
        **kwargs: Keyword arguments of ``model.fit``.

    Returns:
        What ``model.fit`` returns.

    Raises:
        InvalidArgumentError: ``true_loss`` is no ``TrueLoss``, or there are two of them.

    Example:
        ``history = lossgap.fit(model, x, y, epochs=5, validation_split=0.2)``
    """
    if true_loss is not None and not isinstance(true_loss, TrueLoss):
        raise InvalidArgumentError(
            "Expected `true_loss` to be a lossgap.TrueLoss, which holds the options: "
            f"lossgap.fit(model, x, y, true_loss=lossgap.TrueLoss(every=2)). Received: "
            f"{type(true_loss).__name__}."
        )
    signature = inspect.signature(model.fit)
    if "callbacks" not in signature.parameters:  # a fit of the model's own that hands all on
        signature = inspect.signature(partial(keras.Model.fit, model))
    bound = signature.bind(*args, **kwargs)
    callbacks = bound.arguments.get("callbacks")
    first = _first(true_loss, callbacks)
    with _put_first(first, callbacks) as ordered:
        bound.arguments["callbacks"] = ordered
        try:
            return model.fit(*bound.args, **bound.kwargs)
        finally:  # Keras calls no callback when a fit ends with an exception
            first.let_go()


def _listed(callbacks: Any) -> list[Any]:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(keras.tree.flatten(callbacks)) if callbacks else []


def _first(true_loss: TrueLoss | None, callbacks: Any) -> TrueLoss:
    present = [callback for callback in _listed(callbacks) if isinstance(callback, TrueLoss)]
    if true_loss is not None and any(callback is not true_loss for callback in present):
        raise InvalidArgumentError(
            "Received a TrueLoss among `callbacks` and another one as `true_loss`. Pass one."
        )
    return true_loss or next(iter(present), None) or TrueLoss()


@contextmanager
def _put_first(first: TrueLoss, callbacks: Any) -> Iterator[Any]:
    """Yield the callbacks with the measurement in front; the user's own list stays as it is."""
    ordered = [first, *(callback for callback in _listed(callbacks) if callback is not first)]
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        yield ordered
        return
    before = callbacks.callbacks
    callbacks.callbacks = ordered
    first.set_model(callbacks.model)
    first.set_params(callbacks.params)
    try:
        yield callbacks
    finally:
        callbacks.callbacks = before
