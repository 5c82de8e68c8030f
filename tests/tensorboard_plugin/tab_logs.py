"""Log directories as lossgap's tracker lays them out, written by TensorBoard's own writer alone."""

import json
import math

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, DATA_CLASS_TENSOR, Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from lossgap.core import keys

START = 1_700_000_000.0


def scalars_of(measurement):
    """Return every number of a measurement by its tag in the run ``gap``."""
    values = measurement.tracked()
    for name, part in measurement.parts.items():
        if part.standard_error is not None:
            values[keys.tracked_part(f"{name}_stderr")] = part.standard_error
    values[keys.tracked("n_samples")] = measurement.n_samples
    values[keys.tracked("n_total")] = measurement.n_total
    for penalty in measurement.penalties:
        values[f"lossgap_penalty/{penalty.kind}:{penalty.layer}"] = penalty.value
    return values


def sub_runs(measurement):
    """Return what the five sub-runs hold of a measurement: values by run and tag."""
    one = {
        "train": measurement.reported_loss,
        "true": measurement.true_loss,
        "validation": measurement.val_loss,
        "validation_true": measurement.true_val_loss,
    }
    runs = {run: {"epoch_loss": value} for run, value in one.items() if value is not None}
    return runs | {"gap": scalars_of(measurement)}


def _value(tag, number):
    value = Summary.Value(tag=tag)
    value.metadata.plugin_data.plugin_name = "scalars"
    value.metadata.data_class = DATA_CLASS_SCALAR
    value.tensor.CopyFrom(tensor_util.make_tensor_proto(np.float32(number)))
    return value


def _marker(unit):
    value = Summary.Value(tag="lossgap/marker")
    value.metadata.plugin_data.plugin_name = "lossgap"
    value.metadata.plugin_data.content = (
        b"" if unit is None else json.dumps({"unit": unit}).encode()
    )
    value.metadata.data_class = DATA_CLASS_TENSOR
    value.tensor.CopyFrom(tensor_util.make_tensor_proto(np.float32(1)))
    return value


class Training:
    """Writes one model's measurements as they come."""

    def __init__(self, folder, tags=None, unit=None):
        self.folder, self.tags, self.unit = folder, tags, unit
        self.writers = {}

    def log(self, measurement, step=None):
        """Write one measurement; every tag of a run has a value at every step."""
        step = measurement.epoch if step is None else step
        for run, values in sub_runs(measurement).items():
            tags = self.tags if run == "gap" and self.tags else values
            if run not in self.writers:
                self.writers[run] = EventFileWriter(str(self.folder / run))
                if run == "gap":
                    self._write(run, step, [_marker(self.unit)])
            numbers = [_value(tag, values.get(tag, math.nan)) for tag in tags]
            self._write(run, step, numbers)

    def _write(self, run, step, values):
        event = Event(step=step, wall_time=START + 60 * step, summary=Summary(value=values))
        self.writers[run].add_event(event)
        self.writers[run].flush()

    def close(self):
        """End the files."""
        for writer in self.writers.values():
            writer.close()


def write(folder, measurements, unit=None):
    """Write a whole training, with all tags at all steps."""
    tags = [*dict.fromkeys(tag for m in measurements for tag in scalars_of(m))]
    training = Training(folder, tags, unit)
    for m in measurements:
        training.log(m, None if unit is None else m.step)
    training.close()
    return folder


def write_scalars(folder, curves):
    """Write curves that have nothing to do with lossgap."""
    writer = EventFileWriter(str(folder))
    for tag, numbers in curves.items():
        for step, number in enumerate(numbers):
            summary = Summary(value=[_value(tag, number)])
            writer.add_event(Event(step=step, wall_time=START + step, summary=summary))
    writer.close()
