"""``lossgap.fit``: ``model.fit`` with the true loss in its logs."""

import inspect
from collections.abc import Callable, Iterator, Sequence
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
    first = _first(true_loss, bound.arguments.get("callbacks"))
    with put_first([first], bound.arguments):
        return model.fit(*bound.args, **bound.kwargs)


def listed(callbacks: Any) -> list[Any]:
    """Return the callbacks that ``fit`` was given, in whichever form, as a list."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(keras.tree.flatten(callbacks)) if callbacks else []


def _first(true_loss: TrueLoss | None, callbacks: Any) -> TrueLoss:
    present = [callback for callback in listed(callbacks) if isinstance(callback, TrueLoss)]
    if true_loss is not None and any(callback is not true_loss for callback in present):
        raise InvalidArgumentError(
            "Received a TrueLoss among `callbacks` and another one as `true_loss`. Pass one."
        )
    return true_loss or next(iter(present), None) or TrueLoss()


@contextmanager
def put_first(
    first: Sequence[TrueLoss],
    arguments: dict[str, Any],
    arrange: Callable[[list[Any]], list[Any]] = list,
) -> Iterator[None]:
    """Put measurements in front of the callbacks in ``arguments`` of ``fit``, while it runs.

    The user's own list stays as it is. At the end, the measurements let go of their data:
    Keras calls no callback when a fit ends with an exception.

    Args:
        first: The callbacks that measure.
        arguments: Named arguments of ``fit``; ``callbacks`` is replaced.
        arrange: Has the last word on the list.
    """
    callbacks = arguments.get("callbacks")
    others = [callback for callback in listed(callbacks) if callback not in first]
    ordered = arrange([*first, *others])
    try:
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            arguments["callbacks"] = ordered
            yield
            return
        before, callbacks.callbacks = callbacks.callbacks, ordered
        for callback in ordered:
            if callback not in before:
                callback.set_model(callbacks.model)
                callback.set_params(callbacks.params)
        try:
            yield
        finally:
            callbacks.callbacks = before
    finally:
        for callback in first:
            callback.let_go()
