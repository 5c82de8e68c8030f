"""Measurements read back from log directories, for ``lossgap report``."""

import math
import struct
from dataclasses import replace

import pytest

import chart_samples
import event_logs
from lossgap.charts import readers
from lossgap.core.measurement import Measurement, MetricValues, Penalty
from lossgap.errors import DataError
from lossgap.tensorboard import curves, reader


def assert_alike(read, measured):
    """Compare within the precision of float32, which a gap of near losses has too."""
    assert read.tracked() == pytest.approx(measured.tracked(), rel=1e-6, abs=1e-9)
    assert {n: p.standard_error for n, p in read.parts.items()} == pytest.approx(
        {n: p.standard_error for n, p in measured.parts.items()}
    )
    assert [(p.layer, p.kind) for p in read.penalties] == [
        (p.layer, p.kind) for p in measured.penalties
    ]
    assert (read.epoch, read.n_samples, read.n_total) == (
        measured.epoch,
        measured.n_samples,
        measured.n_total,
    )


def test_measurements_are_rebuilt(tmp_path):
    measured = chart_samples.training(5, standard_error=0.01)
    event_logs.write(tmp_path / "model", measured)
    (run,) = reader.read(str(tmp_path))
    assert run.name == "model"
    assert len(run.measurements) == 5
    for read, m in zip(run.measurements, measured, strict=True):
        assert_alike(read, m)
        assert list(read.parts) == list(m.parts)
        assert read.metrics["accuracy"].reported == pytest.approx(0.85)
        assert read.metrics["accuracy"].val == pytest.approx(0.88)


def test_sub_runs_are_one_model_with_the_name_of_their_directory(tmp_path):
    for name in ("b/deep", "a"):
        event_logs.write(tmp_path / name, chart_samples.training(2))
    event_logs.write(tmp_path / "a", chart_samples.training(2))
    names = [run.name for run in reader.read(str(tmp_path))]
    assert names == ["a", "a/attempt_2", "b/deep"]
    assert [run.name for run in reader.read(str(tmp_path / "b" / "deep"))] == ["deep"]


def test_a_small_gap_between_large_losses_is_kept(tmp_path):
    measured = Measurement(true_loss=12345.678, reported_loss=12345.6789, epoch=0)
    event_logs.write(tmp_path, [measured])
    (run,) = reader.read(str(tmp_path))
    assert run.measurements[0].regularization_gap == pytest.approx(0.0009, rel=1e-4)


def test_what_was_absent_is_absent(tmp_path):
    event_logs.write(tmp_path, chart_samples.with_gaps())
    (run,) = reader.read(str(tmp_path))
    assert len(run.measurements) == 8
    assert run.measurements[4].val_loss is None
    assert list(run.measurements[4].parts) == ["dropout"]
    assert run.measurements[2].reported_loss is None  # NaN there, which stands for absent here
    assert math.isinf(run.measurements[6].true_loss)


def test_a_true_loss_that_was_nan_stays(tmp_path):
    event_logs.write(tmp_path, [replace(chart_samples.measurement(0), true_loss=math.nan)])
    (run,) = reader.read(str(tmp_path))
    assert math.isnan(run.measurements[0].true_loss)


def test_steps_are_read_as_steps(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(3), unit="step", every=100)
    (run,) = reader.read(str(tmp_path))
    assert [(m.epoch, m.step) for m in run.measurements] == [(None, 100), (None, 200), (None, 300)]


def test_a_later_attempt_replaces_what_it_measured_again(tmp_path):
    first, second = chart_samples.training(6), chart_samples.training(8, base=0.5)
    event_logs.write(tmp_path, first)
    event_logs.write(tmp_path, second[4::2])
    (run,) = reader.read(str(tmp_path))
    assert [m.epoch for m in run.measurements] == [0, 1, 2, 3, 4, 6]
    for read, m in zip(run.measurements, [*first[:4], *second[4::2]], strict=True):
        assert_alike(read, m)


def test_odd_names_are_read_back(tmp_path):
    names = ["a:b/c", "<img onerror=x>", "漢字", ""]
    odd = Measurement(
        true_loss=0.5,
        epoch=0,
        penalties=tuple(Penalty(name, "l1", 0.1) for name in names),
        metrics={name: MetricValues(0.3) for name in names},
    )
    event_logs.write(tmp_path, [odd])
    (run,) = reader.read(str(tmp_path))
    assert [p.layer for p in run.measurements[0].penalties] == names
    assert list(run.measurements[0].metrics) == names


def test_a_file_that_ends_in_mid_record_is_read_up_to_there(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(4))
    (path,) = (tmp_path / "gap").iterdir()
    path.write_bytes(path.read_bytes()[:-50])
    (run,) = reader.read(str(tmp_path))
    assert [m.epoch for m in run.measurements] == [0, 1, 2]


@pytest.mark.parametrize("position", [0, 5, 40, 400])
def test_a_broken_file_is_read_up_to_there(tmp_path, position):
    event_logs.write(tmp_path, chart_samples.training(4))
    (path,) = (tmp_path / "gap").iterdir()
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="none has a true loss"):
        reader.read(str(tmp_path))


def test_a_record_that_claims_to_be_huge_is_not_believed(tmp_path):
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    gap = tmp_path / "gap"
    gap.mkdir()
    length = struct.pack("<Q", 2**62)
    (gap / "events.out.tfevents.1").write_bytes(
        length + struct.pack("<I", masked_crc32c(length)) + b"x" * 100
    )
    with pytest.raises(DataError, match="none has a true loss"):
        reader.read(str(tmp_path))


def test_too_much_is_refused_with_a_way_out(tmp_path, monkeypatch):
    event_logs.write(tmp_path, chart_samples.training(2))
    monkeypatch.setattr(reader, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="Name fewer of its directories"):
        reader.read(str(tmp_path))


def test_too_many_files_and_values_are_refused_with_a_way_out(tmp_path, monkeypatch):
    event_logs.write(tmp_path, chart_samples.training(2))
    monkeypatch.setattr(curves, "MOST_VALUES", 20)
    with pytest.raises(DataError, match=r"more than 20 values\. Leave its directory out"):
        reader.read(str(tmp_path))
    monkeypatch.setattr(reader, "MOST_ENTRIES", 3)
    assert reader.accepts(str(tmp_path))
    with pytest.raises(DataError, match=r"more than 3 files and directories below it\. Name one"):
        reader.read(str(tmp_path))


def test_large_files_of_keras_are_left_out(tmp_path, monkeypatch):
    event_logs.write(tmp_path, chart_samples.training(2))
    monkeypatch.setattr(reader, "MOST_BYTES_OF_KERAS", 10)
    (run,) = reader.read(str(tmp_path))
    assert run.measurements[0].metrics["accuracy"].reported is None


def test_only_directories_with_event_files_are_accepted(tmp_path):
    event_logs.write(tmp_path / "logs" / "deep", chart_samples.training(1))
    (tmp_path / "empty").mkdir()
    assert reader.READER.accepts(str(tmp_path))
    assert reader.READER.accepts(str(tmp_path / "logs" / "deep" / "gap"))
    for other in ("empty", "missing", "runs.jsonl"):
        assert not reader.READER.accepts(str(tmp_path / other))


def test_a_log_directory_of_others_is_named(tmp_path):
    event_logs.write(tmp_path / "logs", chart_samples.training(1))
    with pytest.raises(DataError, match="train: there are event files in it, and none"):
        reader.read(str(tmp_path / "logs" / "train"))


def test_the_reader_can_be_registered(tmp_path, monkeypatch):
    event_logs.write(tmp_path / "model", chart_samples.training(2))
    monkeypatch.setattr(readers, "_READERS", list(readers.readers()))
    if reader.READER not in readers.readers():
        readers.register(reader.READER)
    (run,) = readers.read(str(tmp_path))
    assert run.name == "model"
