"""What makes a model's training mode differ from its evaluation mode, and the switches.

A *mechanism* is a group of layers whose ``call`` takes ``training``: dropout, noise,
batch normalisation, augmentation, or other. A *setting* is the set of mechanisms that
run in train mode while all else runs in evaluation mode.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras.src.layers.preprocessing.image_preprocessing.base_image_preprocessing_layer import (
    BaseImagePreprocessingLayer,
)
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

from lossgap.core import keys
from lossgap.core.shapley import Setting

_KINDS: dict[str, tuple[type, ...]] = {
    keys.DROPOUT: (
        keras.layers.Dropout,
        keras.layers.AlphaDropout,
        keras.layers.GaussianDropout,
        keras.layers.Attention,
        DropoutRNNCell,
    ),
    keys.NOISE: (keras.layers.GaussianNoise,),
    keys.BATCH_NORM: (keras.layers.BatchNormalization,),
    keys.AUGMENTATION: (BaseImagePreprocessingLayer, keras.layers.Pipeline),
}
# Attributes that say how strong a mechanism is: all zero means that it does nothing.
_STRENGTHS = ("rate", "stddev", "dropout", "recurrent_dropout")


def mechanism_of(layer: Any) -> str | None:
    """Name the mechanism that a layer belongs to; ``None`` where it has none.

    Keras's own containers hand ``training`` down and have none. A layer of the user's own
    whose ``call`` takes ``training`` is ``"other"``: whether it acts on the argument or
    only hands it down shows when it is switched.
    """
    if not layer._call_has_training_arg:
        return None
    if isinstance(layer, keras.layers.RNN):  # on a GPU it applies its cell's dropout itself
        return mechanism_of(layer.cell) if isinstance(layer.cell, DropoutRNNCell) else None
    for name, kinds in _KINDS.items():
        if isinstance(layer, kinds):
            return name if _can_act(layer) else None
    call = inspect.unwrap(type(layer).call)
    of_keras = call.__module__.startswith(("keras.src.layers.", "keras.src.models."))
    if isinstance(layer, keras.layers.Lambda):
        acts = bool(getattr(layer, "_fn_expects_training_arg", True))
    else:
        acts = not of_keras or isinstance(layer, keras.layers.SpectralNormalization)
    return keys.OTHER if acts else None


def _can_act(layer: Any) -> bool:
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.trainable)  # frozen, it uses its moving statistics in both modes
    strengths = [getattr(layer, name) for name in _STRENGTHS if hasattr(layer, name)]
    scheduled = any(not isinstance(strength, int | float) for strength in strengths)
    return not strengths or scheduled or any(strengths)


class Switches:
    """Runs a model's mechanisms in train or evaluation mode, one by one.

    While the model is traced, each mechanism layer's ``call`` is replaced by one that
    picks its ``training`` argument. The choice is between what the layer receives in a
    real training pass and in a real evaluation pass, which are recorded first: a layer
    that its caller pins to one mode (``base(x, training=False)``) receives the same in
    both, and is left alone.
    """

    def __init__(self, model: Any) -> None:
        """Find the mechanisms of a built model."""
        self._layers = [
            (layer, name)
            for layer in model._flatten_layers()
            if (name := mechanism_of(layer)) is not None
        ]
        self._seen: dict[bool, dict[int, list[Any]]] = {}

    @property
    def candidates(self) -> tuple[str, ...]:
        """Mechanisms that may act, in the order of :data:`lossgap.core.keys.MECHANISMS`.

        Layers that were recorded with one value of ``training`` in both modes don't count.
        """
        names = {name for layer, name in self._layers if self._switchable(layer)}
        return tuple(name for name in keys.MECHANISMS if name in names)

    def _switchable(self, layer: Any) -> bool:
        if len(self._seen) < len((False, True)):
            return True
        return self._seen[False].get(id(layer), []) != self._seen[True].get(id(layer), [])

    @contextmanager
    def recorded(self, *, training: bool) -> Iterator[None]:
        """Record what each layer receives while the whole model runs in one mode."""
        seen: dict[int, list[Any]] = {}

        def note(layer: Any) -> Callable[[Any], Any]:
            received = seen.setdefault(id(layer), [])

            def choose(value: Any) -> Any:
                received.append(value)
                return value

            return choose

        with self._patched(note):
            yield
        self._seen[training] = seen

    @contextmanager
    def set_to(self, setting: Setting) -> Iterator[None]:
        """Run the mechanisms of ``setting`` in train mode and the others in evaluation mode."""
        names = {id(layer): name for layer, name in self._layers}

        def pick(layer: Any) -> Callable[[Any], Any]:
            training = names[id(layer)] in setting
            recorded = self._seen[training].get(id(layer)) or [training]
            n_calls = 0

            def choose(_: Any) -> Any:
                nonlocal n_calls
                n_calls += 1
                return recorded[min(n_calls, len(recorded)) - 1]

            return choose

        with self._patched(pick):
            yield

    @contextmanager
    def _patched(self, chooser: Callable[[Any], Callable[[Any], Any]]) -> Iterator[None]:
        with ExitStack() as stack:
            for layer, _ in self._layers:
                stack.enter_context(_training_chosen(layer, chooser(layer)))
            yield


@contextmanager
def _training_chosen(layer: Any, choose: Callable[[Any], Any]) -> Iterator[None]:
    """Let ``choose`` map the ``training`` argument of every call of the layer."""
    original = layer.call
    signature = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        arguments.arguments["training"] = choose(arguments.arguments["training"])
        return original(*arguments.args, **arguments.kwargs)

    with replaced(layer, "call", call):
        yield


@contextmanager
def replaced(layer: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replace an attribute of one layer for a while, past Keras's attribute tracking."""
    missing = object()
    before = vars(layer).get(name, missing)
    object.__setattr__(layer, name, replacement)
    try:
        yield
    finally:
        if before is missing:
            object.__delattr__(layer, name)
        else:
            object.__setattr__(layer, name, before)
