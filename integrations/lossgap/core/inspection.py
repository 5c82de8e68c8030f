"""What kind of model this is: can it be measured, and does the batch size matter."""

import inspect
from typing import Any

import keras
from keras import losses

from lossgap.errors import UnsupportedModelError

# Losses of Keras whose mean over samples doesn't depend on how they are batched. Dice,
# Tversky and Circle are computed over the whole batch, and aren't here.
_SAMPLEWISE = frozenset(
    name
    for name, value in vars(losses).items()
    if name.lower() not in {"dice", "tversky", "circle", "loss", "get", "deserialize", "serialize"}
    and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, losses.Loss)))
)
_BATCH_FREE_REDUCTIONS = frozenset({"sum_over_batch_size", "mean"})


def overrides(model: Any, method: str) -> bool:
    """Tell whether the model has a ``method`` of its own in place of Keras's."""
    found = getattr(model, method)
    return getattr(found, "__func__", found) is not getattr(keras.Model, method)


def check(model: Any) -> None:
    """Make sure that the model has a loss on the data.

    Raises:
        UnsupportedModelError: It isn't a Keras model, isn't compiled, or computes its loss
            where lossgap can't reach it.
    """
    if not isinstance(model, keras.Model):
        raise UnsupportedModelError(
            f"Expected a keras.Model. Received: {type(model).__name__}. "
            "Wrap your layers in a keras.Model and compile it with a loss."
        )
    name = type(model).__name__
    if not model.compiled:
        raise UnsupportedModelError(
            f"The model {model.name!r} isn't compiled, so it has no loss to measure. "
            "Call model.compile(optimizer=..., loss=...) first."
        )
    if model._compile_loss is None and not overrides(model, "compute_loss"):
        steps = [m for m in ("train_step", "test_step") if overrides(model, m)]
        where = f", and computes its own in {name}.{' and '.join(steps)}" if steps else ""
        if not steps:
            raise UnsupportedModelError(
                f"The model {model.name!r} is compiled without a loss: all it minimizes are "
                "penalties from add_loss or regularizers, which are no loss on the data. Pass the "
                "loss on the data to model.compile(loss=...)."
            )
        raise UnsupportedModelError(
            f"The model {model.name!r} is compiled without a loss{where}; its loss on the "
            f"data can't be told from the rest. Pass it to model.compile(loss=...), or "
            f"override {name}.compute_loss(x, y, y_pred, sample_weight, training) and call "
            "self.compute_loss(...) in the step."
        )


def depends_on_batches(model: Any, *, metrics: bool) -> bool:
    """Tell whether the mean loss of a built model can depend on how samples are batched.

    It does for reductions other than the mean, for losses over a whole batch, and for
    functions of the user's own, about which nothing is known. Then the training batch
    size has to be kept. Masks and ``add_loss`` matter too; they show when the model is
    traced (:attr:`lossgap.core.forward.Evaluation.mixes_batch`).
    """
    return (
        overrides(model, "compute_loss")
        or (metrics and overrides(model, "compute_metrics"))
        or any(not _samplewise(entry.loss) for entry in model._compile_loss._flat_losses)
        or (metrics and any(not _of_keras(metric) for metric in _compiled_metrics(model)))
        or has_memory(model)
    )


def has_memory(model: Any) -> bool:
    """Tell whether a batch depends on the one before it: a recurrent layer is stateful."""
    return any(getattr(layer, "stateful", False) for layer in model._flatten_layers())


def _samplewise(loss: Any) -> bool:
    function = getattr(loss, "fn", None)
    name = getattr(function, "__name__", type(loss).__name__)
    return (
        _of_keras(loss)
        and loss.reduction in _BATCH_FREE_REDUCTIONS
        and name in _SAMPLEWISE
        and type(loss).__name__ in _SAMPLEWISE | {"LossFunctionWrapper"}
        and getattr(loss, "_fn_kwargs", {}).get("ignore_class") is None
    )


def _compiled_metrics(model: Any) -> list[Any]:
    return [] if model._compile_metrics is None else list(model._compile_metrics.metrics)


def _of_keras(thing: Any) -> bool:
    inner = getattr(thing, "_fn", None) or getattr(thing, "fn", None)
    named = thing if hasattr(thing, "__module__") and inspect.isroutine(thing) else type(thing)
    of_keras = str(named.__module__).startswith("keras.src.")
    return of_keras and (inner is None or _of_keras(inner))
