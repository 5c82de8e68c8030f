"""The loss of every sample, and its share in every metric that is a mean, from one forward pass."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from lossgap.core import backends
from lossgap.core.feeds import Layout
from lossgap.core.forward import Evaluation, Weights
from lossgap.core.mechanisms import replaced

DATA_LOSS, CLASS_WEIGHTED = 0, 1
"""Columns of the values: the data loss, and with class weights the loss under them."""


class Samplewise(Evaluation):
    """Evaluation mode that also writes down the loss of each sample.

    Keras's own losses are called a second time without their reduction, so sample weights,
    loss weights and several outputs count as they do in the loss of the batch, whose mean
    over the samples it is. Metrics that wrap a function of the samples are written down by
    what that function returns.

    The values travel in the state of the loop, in a table of ``capacity`` rows: the
    row of scalars for each batch is that of :class:`Evaluation`.

    Attributes:
        capacity: Samples between two calls of :meth:`taken`, at the most.
        metric_names: Names of the metrics in the further columns.
        has_losses: Whether each sample has a loss, known once the step was traced.
    """

    def __init__(
        self, model: Any, layout: Layout, weights: Weights, *, metrics: bool, capacity: int
    ) -> None:
        """Prepare for a built and compiled model, the structure of its data and its weights."""
        super().__init__(model, layout, weights, metrics=metrics)
        self.capacity = capacity
        self.has_losses = True
        named = _mean_metrics(model, weighted=layout.template[2] is None) if metrics else {}
        self.metric_names = tuple(named)
        self._means = list(named.values())
        self._n_losses = 1 + layout.has_class_weights
        self._n_columns = self._n_losses + len(self._means)

    def initial_state(self) -> list[Any]:
        """Return the state that the loop starts from, with an empty table at its end."""
        state = super().initial_state()
        table = [
            ops.zeros((self.capacity, self._n_columns), "float32"),
            ops.convert_to_tensor(0, "int32"),
        ]
        n_carried = len(self._carried)
        return [*state[:n_carried], *table, *state[n_carried:]]

    def step(self, leaves: list[Any], state: list[Any]) -> tuple[list[Any], list[Any]]:
        """Evaluate one batch, and write down its samples."""
        *carried, table, place = state
        losses: list[Any] = []
        metrics: dict[int, Any] = {}
        with self._recorded(losses, metrics):
            row, new_state = super().step(leaves, carried)
        columns = self._columns(losses, metrics, row[0])
        rows = place + ops.arange(row[0], dtype="int32")
        table = ops.scatter_update(table, ops.expand_dims(rows, 1), ops.stack(columns, axis=1))
        return row, [*new_state, table, place + ops.cast(row[0], "int32")]

    def moving(self) -> None:
        """Tell that the table has to be filled in one place."""

    def taken(self, state: list[Any]) -> tuple[np.ndarray, list[Any]]:
        """Return the values since the last time, and the state with an empty table.

        Returns:
            Shape ``(n_samples, n_columns)``, float64; NaN in a column that can't be had.
        """
        i = len(self._carried)
        n_samples = int(backends.active().to_numpy(state[i + 1]))
        values = np.asarray(backends.active().to_numpy(state[i])[:n_samples], np.float64)
        emptied = list(state)
        emptied[i + 1] = ops.convert_to_tensor(0, "int32")
        return values, emptied

    def metric_columns(self) -> dict[str, int]:
        """Return the column of each metric that is a mean over samples."""
        return {name: self._n_losses + i for i, name in enumerate(self.metric_names)}

    @contextmanager
    def _recorded(self, losses: list[Any], metrics: dict[int, Any]) -> Iterator[None]:
        """Write down what the losses and the metrics make of each sample."""
        compiled = self._model._compile_loss
        with ExitStack() as stack:
            flat = [
                entry._replace(loss=_recording(entry.loss, entry.loss_weights, losses))
                for entry in compiled._flat_losses
            ]
            stack.enter_context(replaced(compiled, "_flat_losses", flat))
            for metric in self._means:
                noted = _noting(metric._fn, metrics, id(metric))
                stack.enter_context(replaced(metric, "_fn", noted))
            yield

    def _columns(self, losses: list[Any], metrics: dict[int, Any], n_samples: Any) -> list[Any]:
        """Return the columns of the table: one for each loss, one for each metric."""
        per_call = len(losses) // self._n_losses
        unknown = ops.full((n_samples,), float("nan"), "float32")
        columns = []
        for first in range(0, per_call * self._n_losses, max(per_call, 1)):
            terms = [_by_sample(value) for value in losses[first : first + per_call]]
            if any(term is None for term in terms):
                self.has_losses = False
                columns.append(unknown)
            else:
                columns.append(sum(terms[1:], start=terms[0]))
        if len(columns) != self._n_losses:
            self.has_losses = False
            columns = [unknown] * self._n_losses
        for metric in self._means:
            value = _by_sample(metrics.get(id(metric)))
            columns.append(unknown if value is None else value)
        return columns


def _recording(loss: Any, weight: Any, found: list[Any]) -> Any:
    """Return a loss that also writes down what it is for each sample."""

    def record(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        reduction = loss.reduction
        loss.reduction = "none"
        try:
            values = loss(y_true, y_pred, sample_weight)
        finally:
            loss.reduction = reduction
        found.append(values if weight is None else values * weight)
        return loss(y_true, y_pred, sample_weight)

    return record


def _noting(function: Any, found: dict[int, Any], key: int) -> Any:
    def note(*args: Any, **kwargs: Any) -> Any:
        found[key] = function(*args, **kwargs)
        return found[key]

    return note


def _by_sample(values: Any) -> Any:
    """Average over all but the first dimension; ``None`` where there is none."""
    if values is None:
        return None
    values = ops.cast(values, "float32")
    rank = len(values.shape)
    if rank < 2:  # noqa: PLR2004
        return values if rank else None
    return ops.mean(values, axis=tuple(range(1, rank)))


def _mean_metrics(model: Any, *, weighted: bool) -> dict[str, Any]:
    """Return the compiled metrics that are means over samples, as Keras names them.

    Args:
        model: The model.
        weighted: Whether those count that sample weights weigh: there are no weights.
    """
    compiled = model._compile_metrics
    if compiled is None or not compiled.built:
        return {}
    lists = [*compiled._flat_metrics, *(compiled._flat_weighted_metrics if weighted else ())]
    found: dict[str, Any] = {}
    ambiguous = set()
    for entry in filter(None, lists):
        for metric in entry.metrics:
            name = f"{entry.output_name}_{metric.name}" if entry.output_name else metric.name
            if name in found or name in ambiguous:  # Keras numbers them
                ambiguous.add(name)
                found.pop(name, None)
            elif type(metric).update_state is keras.metrics.MeanMetricWrapper.update_state:
                found[name] = metric
            else:
                ambiguous.add(name)
    return found
