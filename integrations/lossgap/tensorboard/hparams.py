"""Rows and columns of the HParams tab: a training's hyperparameters beside its true loss.

They go to the sub-run that has the true loss. From the directory above, TensorBoard wouldn't
find it where that is the log directory itself.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, summary_v2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

from lossgap.core import keys
from lossgap.tensorboard.places import comes_from

Values = Mapping[str, bool | float | str]
"""Hyperparameters by name."""

_COLUMNS: Final = (keys.TRUE_LOSS, keys.REGULARIZATION_GAP)


def logged_otherwise(callbacks: Iterable[Any]) -> bool:
    """Tell whether TensorBoard's own callback logs the hyperparameters of a fit.

    Then the tab shows all scalars beside them, ours too.
    """
    return any(comes_from(callback, "tensorboard.plugins.hparams") for callback in callbacks)


def of_fit(callbacks: Iterable[Any], n_epochs: int | None) -> dict[str, bool | float | str]:
    """Return what a fit tells of itself: its optimizer, the learning rate, the epochs."""
    values: dict[str, bool | float | str] = {} if n_epochs is None else {"epochs": n_epochs}
    for callback in callbacks:
        optimizer = getattr(getattr(callback, "model", None), "optimizer", None)
        if optimizer is None:
            continue
        values["optimizer"] = type(optimizer).__name__
        with suppress(Exception):
            rate = optimizer.get_config()["learning_rate"]
            if isinstance(rate, int | float):
                values["learning_rate"] = float(rate)
        break
    return values


def begin(values: Values) -> list[Event]:
    """Build the events of a training that begins: the columns, and its row."""
    now = time.time()
    kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=kinds.get(type(value), api_pb2.DATA_TYPE_FLOAT64))
            for name, value in values.items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(tag=keys.tracked(name)),
                display_name=name,
            )
            for name in _COLUMNS
        ],
    )
    row = summary_v2.hparams_pb(dict(values), start_time_secs=now)
    columns = _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))
    return [Event(wall_time=now, summary=columns), Event(wall_time=now, summary=row)]


def end(*, failed: bool) -> list[Event]:
    """Build the event of a training that ends."""
    now = time.time()
    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=now))
    return [Event(wall_time=now, summary=_summary(metadata.SESSION_END_INFO_TAG, data))]


def _summary(tag: str, data: HParamsPluginData) -> Summary:
    value = Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])
