"""The events that go into event files, built without TensorFlow.

Scalars are tensors with one float32 and the metadata of the scalars plugin, as TensorFlow 2
writes them: one of TensorBoard's two loaders drops float64.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.scalar import metadata as scalar_metadata

from lossgap.core import keys
from lossgap.tensorboard import layout

_SCALAR: Final = scalar_metadata.create_summary_metadata("", "")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Marker:
    """What the marker tensor tells of a training, besides that there is one.

    Attributes:
        unit: What the steps of the curves count: ``"epoch"``, from 0, or ``"step"``.
        every: A measurement was made every so many of them.
    """

    unit: str = "epoch"
    every: int = 1


def begin(wall_time: float) -> Event:
    """Build the event that every event file begins with."""
    return Event(wall_time=wall_time, file_version="brain.Event:2")


def start(step: int, wall_time: float) -> Event:
    """Build the event from which on points of an earlier attempt don't count any more.

    TensorBoard drops the points of the run from ``step`` on that it has read before.
    """
    return Event(step=step, wall_time=wall_time, session_log=SessionLog(status=SessionLog.START))


def scalars(points: Mapping[str, float], step: int, wall_time: float) -> Event:
    """Build one event with all points of a step: it is in the file as a whole, or not at all."""
    values = [
        Summary.Value(
            tag=tag,
            metadata=_SCALAR,
            tensor=TensorProto(
                dtype=DT_FLOAT, tensor_shape=TensorShapeProto(), float_val=[float(value)]
            ),
        )
        for tag, value in points.items()
    ]
    return Event(step=step, wall_time=wall_time, summary=Summary(value=values))


def marker(what: Marker, wall_time: float) -> Event:
    """Build the event that makes the tab active; the tab reads it from the metadata."""
    text = json.dumps({"version": _VERSION} | asdict(what)).encode()
    plugin = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=layout.PLUGIN, content=text),
        data_class=DATA_CLASS_TENSOR,
    )
    return _text(layout.MARKER, text, plugin, wall_time)


def parse_marker(value: Any) -> Marker | None:
    """Return what a summary value tells, if it is the marker."""
    if value.tag != layout.MARKER or not value.tensor.string_val:
        return None
    try:
        fields = json.loads(value.tensor.string_val[0])
        unit, every = fields["unit"], fields["every"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return Marker(unit, every) if unit in {"epoch", "step"} and isinstance(every, int) else None


def custom_layout(wall_time: float) -> Event:
    """Build the layout of the Custom Scalars tab: comparison, gap by cause, margin."""
    content = _charts().SerializeToString()
    metadata = custom_scalars.create_summary_metadata()
    return _text(custom_scalars.CONFIG_SUMMARY_TAG, content, metadata, wall_time)


def _text(tag: str, content: bytes, metadata: SummaryMetadata, wall_time: float) -> Event:
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[content])
    value = Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
    return Event(step=0, wall_time=wall_time, summary=Summary(value=[value]))


def _charts() -> layout_pb2.Layout:
    """Lay the charts out; a tag there is a regular expression that matches from the beginning."""
    causes = "|".join(keys.PARTS)
    margin = layout_pb2.MarginChartContent.Series(
        value=layout.CI_VALUE, lower=layout.CI_LOWER, upper=layout.CI_UPPER
    )
    charts = [
        _lines("reported and true loss, training and validation", f"{layout.EPOCH_LOSS}$"),
        _lines(
            "regularization gap by cause",
            f"{keys.tracked(keys.REGULARIZATION_GAP)}$",
            f"{keys.tracked_part(f'({causes})')}$",
        ),
        layout_pb2.Chart(
            title="true loss with its 95 % band, where it is an estimate",
            margin=layout_pb2.MarginChartContent(series=[margin]),
        ),
    ]
    return layout_pb2.Layout(category=[layout_pb2.Category(title="True loss", chart=charts)])


def _lines(title: str, *tags: str) -> layout_pb2.Chart:
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
