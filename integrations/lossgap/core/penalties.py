"""The penalties in ``model.losses``, told apart by layer and kind."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras import ops, regularizers

from lossgap.core.mechanisms import replaced

# Layer and kind of one penalty.
Label = tuple[str, str]

L1 = "l1"
L2 = "l2"
ORTHOGONAL = "orthogonal"
ACTIVITY = "activity"
ADD_LOSS = "add_loss"
COMPUTE_LOSS = "compute_loss"


class PenaltyRecorder:
    """Collects the penalties of one traced call of a model, in the model's own way.

    Weight regularizers are found on the trainable variables, as in Keras: a frozen layer
    has none. Activity regularizers and ``add_loss`` are the losses that layers added to
    the scope during the call; what a layer adds inside its ``call`` is ``add_loss``, what
    Keras adds for it afterwards is its activity regularizer.
    """

    def __init__(self, model: Any) -> None:
        """Look at a built model; nothing is computed yet."""
        self._model = model
        self._layers = model._flatten_layers()
        self._inside_call: set[int] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note which losses are added inside ``call``, for layers that add both kinds."""
        self._inside_call = set()
        with ExitStack() as stack:
            for layer in self._layers:
                if layer.activity_regularizer is not None:
                    stack.enter_context(self._call_watched(layer))
            yield

    @contextmanager
    def _call_watched(self, layer: Any) -> Iterator[None]:
        original = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            before = set(layer._loss_ids)
            outputs = original(*args, **kwargs)
            self._inside_call |= layer._loss_ids - before
            return outputs

        with replaced(layer, "call", call):
            yield

    def collect(self) -> dict[Label, Any]:
        """Return the penalties by layer and kind, as scalar tensors.

        To be called inside the stateless scope that the model was called in.
        """
        found: dict[Label, Any] = {}
        for layer in self._layers:
            for loss in layer._get_own_losses():
                inside = layer.activity_regularizer is None or id(loss) in self._inside_call
                kind = ADD_LOSS if inside else ACTIVITY
                _add(found, (layer_path(self._model, layer), kind), _total(loss))
        owners = {id(v): layer for layer in self._layers for v in layer._trainable_variables}
        for variable in self._model.trainable_weights:
            if variable.regularizer is not None:
                layer = layer_path(self._model, owners[id(variable)])
                for kind, value in _weight_penalties(variable):
                    _add(found, (layer, kind), value)
        return found

    def may_mix_batch(self, labels: tuple[Label, ...]) -> bool:
        """Tell whether a penalty may be something else than a mean over the batch's samples."""
        free = (regularizers.L1, regularizers.L2, regularizers.L1L2)
        return any(kind == ADD_LOSS for _, kind in labels) or any(
            layer.activity_regularizer is not None and type(layer.activity_regularizer) not in free
            for layer in self._layers
        )


def _add(found: dict[Label, Any], label: Label, value: Any) -> None:
    found[label] = found[label] + value if label in found else value


def _total(loss: Any) -> Any:
    """Sum a loss the way ``Model.compute_loss`` does."""
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(loss.dtype)):
        loss = ops.cast(loss, keras.config.floatx())
    return ops.sum(loss)


def _weight_penalties(variable: Any) -> Iterator[tuple[str, Any]]:
    """Yield the kinds and values of one variable's regularizer; L1L2 is split in two."""
    regularizer = variable.regularizer
    weights = ops.convert_to_tensor(variable)
    if type(regularizer) in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        l1, l2 = getattr(regularizer, "l1", 0.0), getattr(regularizer, "l2", 0.0)
        if not _is_zero(l1):
            yield L1, ops.cast(l1, weights.dtype) * ops.sum(ops.abs(weights))
        if not _is_zero(l2):
            yield L2, ops.cast(l2, weights.dtype) * ops.sum(ops.square(weights))
    elif isinstance(regularizer, regularizers.OrthogonalRegularizer):
        yield ORTHOGONAL, _total(regularizer(weights))
    else:
        name = getattr(regularizer, "__name__", type(regularizer).__name__)
        yield name, _total(regularizer(weights))


def _is_zero(strength: Any) -> bool:
    try:
        return float(strength) == 0.0
    except TypeError:  # a variable, which may be anything later
        return False


def layer_path(model: Any, layer: Any) -> str:
    """Name a layer by its path inside the model: ``"encoder/dense_1"``.

    The model itself is named by its own name.
    """
    if layer is model:
        return str(model.name)
    path = layer.path or layer.name
    return str(path).removeprefix(f"{model.name}/")


@contextmanager
def hidden(model: Any) -> Iterator[None]:
    """Let ``model.losses`` hold a single zero, for the model and each of its layers.

    So a ``compute_loss`` of the user's own returns its loss on the data, whether it adds
    ``sum(self.losses)`` or not.
    """
    if not model.losses:  # a loss that isn't reduced has a shape that a zero hasn't
        yield
        return
    overrides = [layer._losses_override for layer in model._flatten_layers()]
    saved = [list(override) for override in overrides]
    for override in overrides:
        override[:] = [ops.zeros(())]
    try:
        yield
    finally:
        for override, before in zip(overrides, saved, strict=True):
            override[:] = before
