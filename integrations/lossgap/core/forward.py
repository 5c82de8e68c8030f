"""One batch through the model without side effects: what the compiled loops repeat.

Everything runs inside a stateless scope, as in ``Layer.stateless_call``: variables are
read from a mapping, updates land in the scope, and the model's own variables, metrics
and seed generators stay as they are.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend import get_keras_mask
from keras.src.backend.common import global_state

from lossgap.core import backends
from lossgap.core.feeds import Layout
from lossgap.core.inspection import overrides
from lossgap.core.mechanisms import Switches
from lossgap.core.merging import Partial, summed, unsummed_names
from lossgap.core.penalties import COMPUTE_LOSS, Label, PenaltyRecorder, hidden, layer_path
from lossgap.core.shapley import Setting

# Keras's name for the generator that draws without a seed come from.
_GLOBAL_SEED_GENERATOR = "global_seed_generator"

# Trainable variables, each with the variable that its value is read from.
Weights = list[tuple[Any, Any]]


class Evaluation:
    """Evaluation mode: data loss, penalties and metrics of one batch.

    The row of a batch holds the number of samples, the data loss, with class weights the
    data loss under them, the penalty that the model's ``compute_loss`` added, and the
    penalties by layer and kind, in the order of :attr:`labels`. The penalty of ``compute_loss``
    is given as its total, the data loss included: in float32 their difference has few digits.

    Attributes:
        reads: The variables that the step reads, besides its state.
        labels: Layers and kinds of the penalties, known once the step was traced.
        mixes_batch: The traced step has a mask on its outputs or penalties that may not be
            means over samples, so that the batch size matters.
    """

    def __init__(self, model: Any, layout: Layout, weights: Weights, *, metrics: bool) -> None:
        """Prepare for a built and compiled model, the structure of its data and its weights."""
        self._model = model
        self._layout = layout
        self._generator = _own_generator()
        self._metrics = list(_unique(model.metrics_variables)) if metrics else []
        fixed = [*model.non_trainable_variables, *_recurrent_states(model), *self._metrics]
        self._carried = _unique([*fixed, self._generator.state])
        self._read = _pairs_but(self._carried, weights, model.metrics_variables)
        self.reads = [source for _, source in self._read]
        self._penalties = PenaltyRecorder(model)
        self._moved: set[int] = set()
        self.labels: tuple[Label, ...] = ()
        self.mixes_batch = False

    @property
    def is_sequential(self) -> bool:
        """Whether a batch depends on those before it. Known once the step was traced."""
        return not self._moved <= set(map(id, self._metrics))

    def initial_state(self) -> list[Any]:
        """Return the state that the loop starts from: current variables, fresh metrics."""
        with keras.StatelessScope() as scope:
            if self._metrics:
                self._model.reset_metrics()
        state = [_value(scope.get_current_value(v), v) for v in self._carried]
        return state + backends.active().random_states(0)

    def step(self, leaves: list[Any], state: list[Any]) -> tuple[list[Any], list[Any]]:
        """Evaluate one batch. See the class for the row."""
        model = self._model
        x, y, sample_weight, class_weighted = self._layout.pack(leaves)
        mapping = [*_values(self._read), *zip(self._carried, state, strict=True)]
        scope = keras.StatelessScope(state_mapping=mapping, collect_losses=True)
        before = [scope.get_current_value(variable) for variable in self._carried]
        with scope, _losses_kept(model), _drawing_from(self._generator):
            with self._penalties.watching():
                y_pred = _call(model, x, training=False)
            penalties = self._penalties.collect()
            with hidden(model):
                row = [_n_samples(x), _loss(model, x, y, y_pred, sample_weight, training=False)]
            if self._metrics:
                model.compute_metrics(x, y, y_pred, sample_weight)
            after = [scope.get_current_value(v) for v in self._carried]
            new_state = [_value(value, v) for value, v in zip(after, self._carried, strict=True)]
            if class_weighted is not None:
                with hidden(model):
                    row.append(_loss(model, x, y, y_pred, class_weighted, training=False))
            if overrides(model, "compute_loss"):
                row.append(_loss(model, x, y, y_pred, sample_weight, training=False))
        triples = zip(self._carried, before, after, strict=True)
        self._moved.update(id(v) for v, old, new in triples if new is not old)
        self.labels = tuple(penalties)
        self.mixes_batch = any(
            get_keras_mask(leaf) is not None for leaf in keras.tree.flatten(y_pred)
        ) or self._penalties.may_mix_batch(self.labels)
        return row + list(penalties.values()), new_state

    def metrics(self, state: list[Any]) -> dict[str, np.ndarray]:
        """Return the results of the compiled metrics for the state after the last batch."""
        if not self._metrics:
            return {}
        mapping = list(zip(self._carried, state, strict=False))
        with keras.StatelessScope(state_mapping=mapping):
            results = self._model.get_metrics_result()
        idle = self._idle_metrics() | {"loss"}
        to_numpy = backends.active().to_numpy
        return {name: to_numpy(value) for name, value in results.items() if name not in idle}

    def moving(self) -> list[bool] | None:
        """Tell which carried states batches add to; ``None`` if batches can't be measured apart.

        Known once the step was traced.
        """
        if not self._moved <= summed(self._model):
            return None
        return [id(variable) in self._moved for variable in self._carried]

    def partial(self, rows: np.ndarray, state: list[Any]) -> Partial:
        """Return what some batches add to the whole: their rows, and the state after them."""
        to_numpy = backends.active().to_numpy
        pairs = zip(self._of_metrics(state), self._of_metrics(self.initial_state()), strict=True)
        return Partial.of(rows, [to_numpy(now) - to_numpy(fresh) for now, fresh in pairs])

    def joined(self, partials: Iterable[Partial]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Put the parts of a whole together.

        Returns:
            One row of means, and the metrics; those that aren't sums over batches are left out.
        """
        whole = Partial.joined(partials)
        state = dict(zip(map(id, self._carried), self.initial_state(), strict=False))
        for variable, total in zip(self._metrics, whole.sums, strict=True):
            fresh = backends.active().to_numpy(state[id(variable)])
            state[id(variable)] = ops.convert_to_tensor(fresh + total, dtype=variable.dtype)
        metrics = self.metrics(list(state.values()))
        for name in unsummed_names(self._model):
            metrics.pop(name, None)
        return whole.rows, metrics

    def _of_metrics(self, state: list[Any]) -> list[Any]:
        values = dict(zip(map(id, self._carried), state, strict=False))
        return [values[id(variable)] for variable in self._metrics]

    def _idle_metrics(self) -> set[str]:
        """Name the model's own trackers that no batch updates, and so hold no result.

        A ``train_step`` or a layer in training mode may be the only place that updates them.
        """
        compiled = self._model._compile_metrics
        return {
            metric.name
            for metric in self._model.metrics
            if metric is not compiled and not any(id(v) in self._moved for v in metric.variables)
        }

    def test_step_loss(self, leaves: list[Any], state: list[Any]) -> Any:
        """Return the loss that the model's own ``test_step`` reports for one batch.

        ``None`` where it reports none.
        """
        x, y, sample_weight, _ = self._layout.pack(leaves)
        mapping = [*_values(self._read), *zip(self._carried, state, strict=False)]
        with (
            keras.StatelessScope(state_mapping=mapping),
            _losses_kept(self._model),
            _drawing_from(self._generator),
        ):
            self._model.reset_metrics()
            data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
            logs = backends.active().test_step(self._model, data)
        return logs.get("loss") if isinstance(logs, dict) else None


class Switched:
    """One setting of the mechanisms: the total loss of one batch, penalties included.

    The seed generators start from given seeds and move on from batch to batch, so every
    batch gets masks of its own, and every setting the same ones. The states of stateful
    recurrent layers move on too. All else stays fixed.
    """

    def __init__(self, model: Any, layout: Layout, weights: Weights, switches: Switches) -> None:
        """Prepare for a built and compiled model, the structure of its data and its weights."""
        self._model = model
        self._layout = layout
        self._switches = switches
        self._generator = _own_generator()
        self._seeds = _unique([*_seed_states(model), self._generator.state])
        self._carried = [*self._seeds, *_recurrent_states(model)]
        fixed = [*model.non_trainable_variables, *model.metrics_variables]
        self._read = _pairs_but(self._carried, weights, fixed)
        self.reads = [source for _, source in self._read]
        self._penalties = PenaltyRecorder(model)

    def initial_state(self, seed: int) -> list[Any]:
        """Return the seed generators' states for ``seed``, and the recurrent states as they are."""
        sequence = np.random.SeedSequence(seed).generate_state(len(self._seeds))
        seeds = [
            ops.convert_to_tensor(np.array([word % 2**31, 0]), dtype=variable.dtype)
            for word, variable in zip(sequence, self._seeds, strict=True)
        ]
        states = [_value(None, state) for state in self._carried[len(seeds) :]]
        return seeds + states + backends.active().random_states(seed)

    def step(
        self, leaves: list[Any], state: list[Any], setting: Setting, *, root: bool, record: bool
    ) -> tuple[list[Any], list[Any]]:
        """Run one batch in a setting.

        Args:
            leaves: The batch.
            state: States of the seed generators.
            setting: The mechanisms in train mode.
            root: The ``training`` that the model itself is called with.
            record: Leave the layers alone and record what they receive, instead of
                switching them.

        Returns:
            The number of samples, the loss and the penalties that aren't in it; and the new
            states.
        """
        model = self._model
        x, y, sample_weight, class_weighted = self._layout.pack(leaves)
        weights = sample_weight if class_weighted is None else class_weighted
        mapping = [*_values(self._read), *zip(self._carried, state, strict=True)]
        scope = keras.StatelessScope(state_mapping=mapping, collect_losses=True)
        switched = (
            self._switches.recorded(training=root) if record else self._switches.set_to(setting)
        )
        own_loss = overrides(model, "compute_loss")
        with scope, _losses_kept(model), _drawing_from(self._generator):
            with switched:
                y_pred = _call(model, x, training=root)
            with nullcontext() if own_loss else hidden(model):
                row = [_n_samples(x), _loss(model, x, y, y_pred, weights, training=root)]
            if not own_loss:
                row += self._penalties.collect().values()
            new_state = [_value(scope.get_current_value(v), v) for v in self._carried]
        return row, new_state


def looped(
    model: Any,
    step: backends.Step,
    specs: list[Any],
    state: list[Any],
    reads: list[Any],
    *,
    moving: Callable[[], list[bool] | None] | None = None,
) -> backends.Loop:
    """Compile a step into a loop, or not, where Keras doesn't compile the model.

    With ``moving``, devices that have replicas of the model share the loop.
    """
    backend = backends.active()
    replicas = None if moving is None else backend.replicas(model)
    with backend.kept(model):
        if backend.runs_eagerly(model):
            loop = backend.eager_loop(step)
        elif replicas is not None and moving is not None:
            loop = replicas.compile_loop(step, specs, state, moving)
        else:
            loop = backend.compile_loop(step, specs, state, reads)

    def kept(
        leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        with backend.kept(model):
            return loop(leaves, splits, state)

    return kept


def compute_loss_label(model: Any) -> Label:
    """Label of the penalty that a ``compute_loss`` of the user's own adds."""
    return layer_path(model, model), COMPUTE_LOSS


def _call(model: Any, x: Any, *, training: bool) -> Any:
    return model(x, training=training) if model._call_has_training_arg else model(x)


def _loss(model: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, *, training: bool) -> Any:
    """Return the loss of a batch; the mean of one that isn't reduced, as Keras reports it."""
    loss = model._compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
    )
    return ops.mean(loss) if len(loss.shape) else loss


def _n_samples(x: Any) -> Any:
    first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    return ops.shape(first)[0]


def _value(value: Any, variable: Any) -> Any:
    return ops.convert_to_tensor(variable if value is None else value, dtype=variable.dtype)


def _values(weights: Weights) -> Iterator[tuple[Any, Any]]:
    return ((variable, ops.convert_to_tensor(source)) for variable, source in weights)


def _pairs_but(carried: list[Any], weights: Weights, variables: Any) -> Weights:
    """Pair further variables with themselves, and leave out those that are carried."""
    pairs = {id(variable): (variable, source) for variable, source in weights}
    pairs.update((id(variable), (variable, variable)) for variable in variables)
    left_out = set(map(id, carried))
    return [pair for key, pair in pairs.items() if key not in left_out]


def _unique(variables: Any) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def _seed_states(model: Any) -> list[Any]:
    """Return the states of all seed generators that the model owns."""
    return [
        generator.state for layer in model._flatten_layers() for generator in layer._seed_generators
    ]


def _recurrent_states(model: Any) -> list[Any]:
    """Return what stateful recurrent layers carry from batch to batch, which isn't a weight."""
    return _unique(
        state
        for layer in model._flatten_layers()
        if getattr(layer, "stateful", False)
        for state in keras.tree.flatten(getattr(layer, "states", None))
        if state is not None
    )


def _own_generator() -> Any:
    """Make a seed generator; its name is given, since Keras counts those that it makes up."""
    return keras.random.SeedGenerator(0, name="lossgap")


@contextmanager
def _drawing_from(generator: Any) -> Iterator[None]:
    """Let layers without a seed draw from ``generator`` in place of Keras's global one.

    The global one comes into being with its first draw, from Python's random state. Neither
    may happen here.
    """
    before = global_state.get_global_attribute(_GLOBAL_SEED_GENERATOR)
    global_state.set_global_attribute(_GLOBAL_SEED_GENERATOR, generator)
    try:
        yield
    finally:
        global_state.set_global_attribute(_GLOBAL_SEED_GENERATOR, before)


@contextmanager
def _losses_kept(model: Any) -> Iterator[None]:
    """Keep what ``model.losses`` holds from the user's last call of the model."""
    layers = model._flatten_layers()
    saved = [(list(layer._losses), set(layer._loss_ids)) for layer in layers]
    with ExitStack() as stack:
        stack.callback(_restore_losses, layers, saved)
        yield


def _restore_losses(layers: list[Any], saved: list[tuple[list[Any], set[int]]]) -> None:
    for layer, (losses, ids) in zip(layers, saved, strict=True):
        layer._losses[:] = losses
        layer._loss_ids.clear()
        layer._loss_ids.update(ids)
