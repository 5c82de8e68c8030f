"""The readers of files, with whole inputs to damage: as text or bytes, and inside their framing.

Damage to a file with checksums ends at the first of them. So most inputs are built anew around
damaged contents, with checksums that fit.
"""

import json
import struct
import zlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

import chart_samples
import event_logs
from lossgap.charts import jsonl, readers
from lossgap.core import strict_json
from lossgap.tensorboard import reader as tensorboard_reader
from lossgap.trackers import records
from lossgap.trackers.records import Log
from malformed import draw
from mutations import COUNTS, NAMES, NUMBERS, damage, disturb, odd, to_json


def cut_at(data, cut):
    """Return a part of ``data`` from its beginning; ``cut`` from 0 to 1."""
    return data[: round(cut * len(data))]


class JsonLines:
    """``read_measurements``, which also reads what MLflow's tracker writes as an artifact."""

    name = "JSON lines"

    def __init__(self, folder):
        self._place = folder / "runs.jsonl"
        samples = (*chart_samples.training(3, standard_error=0.01), *chart_samples.with_gaps())
        self._lines = [jsonl.to_line(f"run {i % 2}", m) for i, m in enumerate(samples)]
        self._records = [json.loads(line) for line in self._lines]
        self._data = "\n".join(self._lines).encode()

    def make(self, choose, cut):
        if cut is not None:
            data = cut_at(self._data, cut)
        elif choose.randrange(3) == 0:
            data = damage(self._data, choose)
        else:
            lines = [line.encode() for line in self._lines[: choose.randrange(4)]]
            record = disturb(choose.choice(self._records), choose)
            if choose.randrange(4):  # the numbers that JSON doesn't have, as lossgap writes them
                record = strict_json.strict(record)
            data = b"\n".join([*lines, to_json(record, choose)])
        self._place.write_bytes(data)
        return self._place

    def read(self, place):
        return readers.read(str(place))

    use = staticmethod(draw)


class Records:
    """One record of a journal."""

    name = "records of a journal"

    def __init__(self, _folder):
        self._data = Log(chart_samples.measurement(1), 1e9).to_json()
        self._record = json.loads(self._data)
        self._end = {"kind": "finish", "failed": False} | {
            "summary": {
                "measurements": [chart_samples.measurement(i).to_dict() for i in range(2)],
                "fit_seconds": 1.5,
                "compile_seconds": None,
            }
        }

    def make(self, choose, cut):
        if cut is not None:
            return cut_at(self._data, cut)
        whole = choose.choice((self._record, self._record, self._end))
        if choose.randrange(4) == 0:
            return damage(json.dumps(whole).encode(), choose).decode("utf-8", "replace")
        return to_json(disturb(whole, choose), choose).decode("utf-8", "replace")

    def read(self, text):
        return records.from_json(text)

    def use(self, record):
        """What can be read can be written again: it stays in the journal until it is sent."""
        record.to_json()


def framed(payload):
    """Return a record of an event file, with the checksums that belong to it."""
    length = struct.pack("<Q", len(payload))
    checks = (struct.pack("<I", masked_crc32c(data)) for data in (length, payload))
    return length + next(checks) + payload + next(checks)


def unframed(data):
    """Return the payloads of an event file."""
    found = []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


class EventFiles:
    """A log directory of TensorBoard's."""

    name = "TensorBoard log directories"

    def __init__(self, folder, *, framing=True):
        self._framing = framing
        self.place = folder / "logs"
        event_logs.write(self.place, chart_samples.training(3, standard_error=0.01))
        self._files = {run: next((self.place / run).iterdir()) for run in event_logs.SUB_RUNS}
        self._whole = {run: file.read_bytes() for run, file in self._files.items()}
        self._payloads = {run: unframed(data) for run, data in self._whole.items()}

    def make(self, choose, cut):
        for run, file in self._files.items():
            file.write_bytes(self._whole[run])
        run = choose.choice(("gap", "gap", "gap", "gap", "train", "validation"))
        if not self._framing:
            data = b"".join(map(framed, self._damaged(self._payloads[run], choose)))
        elif cut is not None:
            data = cut_at(self._whole["gap"], cut)
            run = "gap"
        elif choose.randrange(5) == 0:
            data = damage(self._whole[run], choose)
        elif choose.randrange(20) == 0:
            length = struct.pack("<Q", choose.choice(COUNTS))
            data = self._whole[run] + length + struct.pack("<I", masked_crc32c(length)) + b"x" * 99
        else:
            data = b"".join(map(framed, self._damaged(self._payloads[run], choose)))
        self._files[run].write_bytes(data)
        return self.place

    def _damaged(self, payloads, choose):
        events = [Event.FromString(payload) for payload in payloads]
        for _ in range(choose.choice((1, 1, 3))):
            event = Event()
            event.CopyFrom(choose.choice(events))
            disturb_event(event, choose)
            events.insert(choose.randrange(len(events) + 1), event)
        payloads = [event.SerializeToString() for event in events]
        if choose.randrange(3) == 0:
            at = choose.randrange(len(payloads))
            payloads[at] = damage(payloads[at], choose)
        return payloads

    def read(self, place):
        return tensorboard_reader.read(str(place))

    use = staticmethod(draw)


def _number(choose, low, high):
    fitting = [n for n in NUMBERS if type(n) is int and low <= n <= high]
    return choose.choice((low, high, *fitting))


def disturb_event(event, choose):
    """Make one thing odd in an event: its step, its time, its status, or one of its values."""
    kind = choose.randrange(8)
    if kind == 0:
        event.step = _number(choose, -(2**63), 2**63 - 1)
    elif kind == 1:
        event.wall_time = choose.choice([n for n in NUMBERS if isinstance(n, float)])
    elif kind == 2:
        event.session_log.status = SessionLog.START
        event.step = _number(choose, -(2**63), 2**63 - 1)
    elif not event.summary.value:
        event.summary.value.append(_odd_value(choose, "lossgap/true_loss"))
    else:
        value = choose.choice(event.summary.value)
        if kind == 3:
            value.tag = choose.choice(("lossgap/gap_", "lossgap/true_", "lossgap_penalty/", ""))
            value.tag += choose.choice(NAMES)
        elif kind == 4:
            value.metadata.plugin_data.plugin_name = choose.choice(NAMES)
            value.metadata.plugin_data.content = choose.choice(NAMES).encode()
        elif kind == 5:
            value.tensor.string_val.append(json.dumps(odd(choose)).encode())
        else:
            value.CopyFrom(_odd_value(choose, value.tag))


def _odd_value(choose, tag):
    number = choose.choice([n for n in NUMBERS if isinstance(n, float)])
    shape = TensorShapeProto()
    for _ in range(choose.choice((0, 0, 0, 1, 2, 300))):
        shape.dim.add(size=_number(choose, -(2**63), 2**63 - 1))
    tensor = TensorProto(dtype=choose.choice((1, 1, 1, 2, 3, 7, 99)), tensor_shape=shape)
    tensor.float_val.extend([number] * choose.choice((0, 1, 1, 2)))
    tensor.tensor_content = b"x" * choose.choice((0, 0, 3, 4, 5))
    if choose.randrange(3) == 0:
        return Summary.Value(tag=tag, simple_value=number)
    return Summary.Value(tag=tag, tensor=tensor)


def chunked(payloads):
    """Return a file of W&B's with these records, whose checksums fit."""
    data = bytearray(b":W&B\x24\xbe\x00")
    for payload in payloads:
        kind = 1
        while True:
            left = 32_768 - len(data) % 32_768
            if left < 7:
                data += bytes(left)
                left = 32_768
            part, payload = payload[: left - 7], payload[left - 7 :]  # noqa: PLW2901
            kind = (3 if payload else 4) if kind in (2, 3) else (2 if payload else 1)
            data += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            if not payload:
                break
    return bytes(data)


class WandbFiles:
    """The file of a W&B run. Its whole input is one that W&B itself wrote."""

    name = "W&B run folders"

    def __init__(self, folder, data):
        from lossgap.wandb import datastore

        self._place = folder / "run-x.wandb"
        self._data = data
        self._place.write_bytes(data)
        self._records = list(datastore.records(self._place))

    def make(self, choose, cut):
        if cut is not None:
            data = cut_at(self._data, cut)
        elif choose.randrange(5) == 0:
            data = damage(self._data, choose)
        else:
            payloads = [record.SerializeToString() for record in self._records]
            at = choose.randrange(len(payloads))
            if choose.randrange(3) == 0:
                payloads[at] = damage(payloads[at], choose)
            else:
                payloads.insert(at, self._odd_record(choose).SerializeToString())
            data = chunked(payloads)
        self._place.write_bytes(data)
        return self._place

    def _odd_record(self, choose):
        record = type(self._records[0])()
        record.CopyFrom(
            choose.choice([r for r in self._records if r.WhichOneof("record_type") != "header"])
        )
        kind = record.WhichOneof("record_type")
        if kind == "history":
            for _ in range(choose.choice((1, 2))):
                item = choose.choice(record.history.item)
                if choose.randrange(2):
                    item.key = f"lossgap/true_{choose.choice(NAMES)}"
                item.value_json = to_json(odd(choose), choose).decode("utf-8", "replace")
        elif kind == "run":
            record.run.display_name = choose.choice(NAMES)
        else:
            record.ClearField(kind)
            item = record.config.update.add(key="lossgap")
            item.value_json = to_json({"precision": odd(choose)}, choose).decode("utf-8", "replace")
        return record

    def read(self, place):
        return readers.read(str(place))

    use = staticmethod(draw)


def wandb_file(folder):
    """Let W&B write the file of an offline run, and return its content."""
    import wandb

    import wandb_runs
    from lossgap.wandb import rows

    run = wandb.init(project="fuzz", mode="offline", dir=str(folder))
    run.config.update({"lossgap": {"precision": "float32"}})
    for measurement in chart_samples.training(3, standard_error=0.01):
        run.log(rows.row(measurement))
    run.finish()
    (place,) = folder.rglob("offline-run-*")
    wandb_runs.wait_for_end(place)
    (path,) = place.glob("run-*.wandb")
    return path.read_bytes()
