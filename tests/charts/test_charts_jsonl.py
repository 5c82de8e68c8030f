"""JSON lines: strict JSON, read back to the last bit, and clear about lines that are wrong."""

import json
import math
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arbitrary
import chart_samples
from lossgap import LossgapError, Measurement, Penalty
from lossgap.charts import Run, jsonl, read_measurements, readers, write_measurements
from lossgap.errors import DataError, InvalidArgumentError

MEASUREMENTS = arbitrary.measurements(st.floats(), st.text(max_size=20))


@given(st.text(max_size=30), MEASUREMENTS)
def test_a_line_is_strict_json_and_reads_back_exactly(run, measurement):
    line = jsonl.to_line(run, measurement)
    assert len(line.splitlines()) == 1
    json.loads(line, parse_constant=pytest.fail)
    name, back = jsonl.from_line(line)
    assert name == run
    # repr tells -0.0 from 0.0 and holds NaN equal to itself.
    assert repr(back) == repr(measurement)


def test_a_layer_called_nan_stays_text():
    measurement = Measurement(math.nan, penalties=(Penalty("NaN", "Infinity", -math.inf),))
    _, back = jsonl.from_line(jsonl.to_line("NaN", measurement))
    assert back.penalties == (Penalty("NaN", "Infinity", -math.inf),)
    assert math.isnan(back.true_loss)


def test_runs_come_back_by_name_and_in_order(tmp_path):
    runs = [Run("b", chart_samples.training(3)), Run("a é\u2028\n", chart_samples.training(2))]
    write_measurements(tmp_path / "x.jsonl", runs)
    assert read_measurements(tmp_path / "x.jsonl") == runs


def test_lines_of_runs_may_be_mixed_and_empty_lines_are_passed_over(tmp_path):
    first, second = chart_samples.training(2)
    lines = [
        jsonl.to_line("a", first),
        "",
        jsonl.to_line("b", first),
        jsonl.to_line("a", second),
        "",
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    assert read_measurements(tmp_path / "x.jsonl") == [
        Run("a", (first, second)),
        Run("b", (first,)),
    ]


GOOD = json.loads(jsonl.to_line("r", chart_samples.measurement(0)))


def changed(**fields):
    return json.dumps(GOOD | fields)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "expected a JSON object, got list"),
        ("[" * 100_000, "not JSON"),
        (changed(lossgap=2), "expected 1 under 'lossgap', got 2"),
        ("{}", "got None"),
        (changed(run=7), "expected text under 'run', got the number 7"),
        (changed(true_loss="low"), "expected a number under 'true_loss', got text"),
        (changed(true_loss=None), "expected a number under 'true_loss', got null"),
        (changed(true_loss=True), "got truth value"),
        (changed(epoch=1.5), "from 0 to 9007199254740991 under 'epoch', got the number 1.5"),
        (changed(step=2**53), "under 'step', got the number 9007199254740992"),
        (changed(true_loss=10**400), "a number of 401 digits under 'true_loss'"),
        (changed(epoch=-1), "whole number from 0"),
        (changed(loss=1), "unknown field 'loss'"),
        (changed(parts=[1]), "expected object under 'parts', got list"),
        (changed(parts={"dropout": {}}), "'value' is missing or unknown"),
        (changed(parts={"dropout": {"value": 1, "more": 2}}), "'more' is missing or unknown"),
        (changed(parts={"luck": {"value": 1}}), "unknown part 'luck' of the gap"),
        (changed(penalties={}), "expected list under 'penalties', got object"),
        (changed(penalties=[{"layer": 1, "kind": "l2", "value": 1}]), "penalties.layer"),
        (changed(metrics={"a": {"true": []}}), "metrics['a'].true"),
        (json.dumps(GOOD | {"val_loss": math.nan}), 'a bare NaN; expected "NaN" in quotes'),
        (json.dumps({k: v for k, v in GOOD.items() if k != "true_loss"}), "no 'true_loss'"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line, words):
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_measurements(path)
    assert f"{path}, line 3: " in str(caught.value)
    assert words in str(caught.value)


def test_limits_hold(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_text((json.dumps(GOOD) + "\n") * 3)
    monkeypatch.setattr(jsonl, "MOST_LINES", 2)
    with pytest.raises(DataError, match="more than 2 lines"):
        read_measurements(path)
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 100)
    with pytest.raises(DataError, match="line 1: longer than 100 characters"):
        read_measurements(path)


def test_what_is_too_large_or_no_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_text("no JSON")
    monkeypatch.setattr(jsonl, "LARGEST_FILE", 6)
    with pytest.raises(DataError, match=r"larger than 0 MiB\. Split"):
        read_measurements(path)
    os.mkfifo(tmp_path / "pipe.jsonl")  # which nobody writes to
    with pytest.raises(DataError, match="not a regular file"):
        read_measurements(tmp_path / "pipe.jsonl")


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "no measurement"), (b"\xff\xfe\x00", "not text")]
)
def test_a_file_without_measurements_is_an_error(tmp_path, content, words):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_measurements(tmp_path / "x.jsonl")


def test_numbers_of_other_tools_are_taken():
    _, back = jsonl.from_line(changed(true_loss=1, val_loss="Infinity"))
    assert back.true_loss == 1
    assert back.val_loss == math.inf


# Readers.


def test_a_report_reads_json_lines(tmp_path):
    run = Run("r", chart_samples.training(2))
    write_measurements(tmp_path / "x.jsonl", [run])
    assert readers.read(str(tmp_path / "x.jsonl")) == [run]


@pytest.mark.parametrize("place", ["nowhere.jsonl", "folder", "http://host"])
def test_a_place_that_cannot_be_read_is_named(place):
    with pytest.raises(LossgapError, match=place):
        readers.read(place)


def test_another_package_registers_its_reader(monkeypatch):
    monkeypatch.setattr(readers, "_READERS", list(readers.readers()))
    run = Run("r", chart_samples.training(1))
    reader = readers.Reader("store", lambda place: place.startswith("store:"), lambda _: [run])
    readers.register(reader)
    assert readers.read("store:1") == [run]
    with pytest.raises(InvalidArgumentError, match="already a reader called 'store'"):
        readers.register(replace(reader))
