"""What a loop adds to the loss on the data by itself."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

from lossgap.core.measurement import Penalty
from lossgap.core.shares import Shares
from lossgap.errors import InvalidArgumentError, LossgapWarning, first_line

OWN: Final = "penalty"
"""Kind of a penalty that is given as a function or a number."""


def found(model: Any, penalty: Any, *, l1: float, l2: float) -> tuple[Penalty, ...]:
    """Return the penalties: one of the user's own, and those of each parameter's module.

    Args:
        model: The module.
        penalty: A function of the model, or a number; ``None`` for none.
        l1: Strength of the sum of absolute values of all parameters.
        l2: Strength of the sum of their squares.

    Raises:
        InvalidArgumentError: The penalty isn't one number.
    """
    values = [*_own(model, penalty), *_norms(model, "l1", l1, torch.abs)]
    return (*values, *_norms(model, "l2", l2, torch.square))


def _own(model: Any, penalty: Any) -> Iterator[Penalty]:
    if penalty is None:
        return
    value = penalty(model) if callable(penalty) else penalty
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidArgumentError(
            "Expected `penalty` to be a number, or a function of the model that returns one. "
            f"Received: {type(value).__name__} ({first_line(error)})."
        ) from error
    yield Penalty(type(model).__name__, OWN, number)


def _norms(
    model: Any, kind: str, strength: float, function: Callable[[Any], Any]
) -> Iterator[Penalty]:
    if not strength:
        return
    sums: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        layer = name.rpartition(".")[0] or type(model).__name__
        value = float(function(parameter.detach()).sum(dtype=torch.float64))
        sums[layer] = sums.get(layer, 0.0) + strength * value
    for layer, value in sums.items():
        yield Penalty(layer.replace(".", "/"), kind, value)


def or_warn(run: Callable[[], Shares]) -> Shares | None:
    """Return the shares, or warn that they can't be had: the true loss is known all the same."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - of a model that can't run in one of the settings
        warnings.warn(
            "lossgap: the causes of the gap can't be had, because the model fails when a part of "
            f"it is in training mode ({type(error).__name__}: {first_line(error)}). The true loss "
            "is measured. parts=False leaves them out without a warning.",
            LossgapWarning,
            stacklevel=3,
        )
        return None
