"""Which weights validation sees: the model's own, or their moving averages."""

from typing import Any

import keras

from lossgap.core.forward import Weights
from lossgap.errors import UnsupportedModelError


def validated_weights(model: Any, callbacks: tuple[Any, ...]) -> Weights:
    """Pair the trainable variables with the variables that hold what validation measures.

    With ``SwapEMAWeights`` among the callbacks, Keras validates with the optimizer's moving
    averages and trains on with the weights themselves. True and validation loss are
    measured alike, so the true loss is measured with the averages too, without a swap.
    """
    averages = {}
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.SwapEMAWeights):
            if callback._ema_weights_in_model:
                break  # swapped already: the model holds the averages
            optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
            sources = getattr(optimizer, "_model_variables_moving_average", ())
            averages = {
                id(variable): average
                for variable, average in zip(optimizer._trainable_variables, sources, strict=False)
            }
    if averages:
        _check_modules(model)
    return [
        (variable, averages.get(id(variable), variable)) for variable in model.trainable_variables
    ]


def _check_modules(model: Any) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.TorchModuleWrapper):
            raise UnsupportedModelError(
                f"SwapEMAWeights validates with moving averages, but {layer.name!r} wraps a "
                "torch.nn.Module, which computes with its own parameters whatever it is given. "
                "Put SwapEMAWeights(swap_on_epoch=True) before TrueLoss in the callbacks of "
                "model.fit, so that the model holds the averages when it is measured."
            )
