"""A hook inside every ``fit`` of Keras, in whichever order other tools patch it from outside.

Keras wraps the ``fit`` of its trainers to shorten tracebacks, and the wrapper holds the
function in a closure. The hook goes there, not on the class: tools that patch the class
(MLflow's autologging does, and lets the last patch win) neither see it nor remove it, and it
runs inside their patches.
"""

import functools
import warnings
from collections.abc import Callable
from types import CellType
from typing import Any

import keras

from lossgap.errors import LossgapWarning

Around = Callable[..., Any]
"""Called with the ``fit`` of a model, and with the arguments that it is to be called with."""

_undo: Callable[[], None] | None = None
_around: Around | None = None


def install(around: Around) -> None:
    """Let ``around(fit, *args, **kwargs)`` stand for every ``model.fit(*args, **kwargs)``.

    Args:
        around: Gets the bound, untouched ``fit`` first.
    """
    global _undo, _around  # noqa: PLW0603 - Keras has one trainer class, and this is its one hook
    remove()
    owner = _trainer()
    cell = _closure(owner.fit)
    _around = around
    if cell is not None:
        original = cell.cell_contents
        cell.cell_contents = _hooked(original)
        _undo = functools.partial(setattr, cell, "cell_contents", original)
        return
    warnings.warn(
        f"lossgap: {owner.__name__}.fit isn't wrapped as Keras is known to wrap it. It was patched "
        "on the class instead: enable lossgap's autologging after all other autologging.",
        LossgapWarning,
        stacklevel=2,
    )
    _undo = _patch_class(owner)


def remove() -> None:
    """Leave Keras as it was; nothing happens without a hook."""
    global _undo, _around  # noqa: PLW0603
    if _undo is not None:
        _undo()
    _undo = _around = None


def _trainer() -> Any:
    """Return the class of the active backend that has Keras's ``fit``."""
    return next(
        owner
        for owner in keras.Model.__mro__
        if "fit" in vars(owner) and owner.__module__.startswith("keras.src.backend.")
    )


def _closure(function: Any) -> CellType | None:
    """Return the cell in which Keras's traceback filter holds the function that it wraps."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return function.__closure__[names.index("fn")] if "fn" in names else None


def _patch_class(owner: Any) -> Callable[[], None]:
    """Patch the class, and return how to undo it: not where another tool has patched it since."""
    original, patched = owner.fit, _hooked(owner.fit)
    owner.fit = patched

    def undo() -> None:
        if vars(owner).get("fit") is patched:
            owner.fit = original

    return undo


def _hooked(original: Any) -> Any:
    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _around is None:  # removed, while another tool holds on to this function
            return original(self, *args, **kwargs)
        return _around(functools.partial(original, self), *args, **kwargs)

    return fit
