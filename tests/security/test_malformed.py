"""No malformed input makes a reader raise anything but a ``LossgapError``.

A small part of what ``python benchmarks/malformed.py`` tries, and numbers and names that
Hypothesis makes up.
"""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import arbitrary
import arsenal
import chart_samples
import event_logs
import malformed
import mlflow_answers
import targets
from lossgap.charts import Run, jsonl, readers, write_measurements
from lossgap.commands.report import _register
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.errors import DataError, LossgapError
from lossgap.tensorboard import TensorBoardTracker
from lossgap.wandb import rows
from mutations import NAMES, NUMBERS

ROUNDS = {
    "JSON lines": 300,
    "TensorBoard log directories": 250,
    "W&B run folders": 250,
    "the tab in TensorBoard": 40,
    "the tab, on TensorBoard's loader": 12,
    "records of a journal": 800,
    "SQLite journals": 120,
    "SQLite stores of MLflow": 20,
    "answers of an MLflow server": 16,
}


@pytest.fixture(autouse=True, scope="module")
def _all_readers():
    _register()


def test_a_full_run_has_fifty_thousand_inputs_for_all_readers():
    assert sum(arsenal.FULL.values()) >= 50_000
    assert arsenal.FULL.keys() == ROUNDS.keys() == arsenal._MAKERS.keys()


def test_every_reader_of_the_report_is_attacked():
    attacked = {"JSON lines", "TensorBoard log directories", "W&B run folders", "MLflow"}
    known = {"MLflow" if "MLflow" in reader.name else reader.name for reader in readers.readers()}
    assert known == attacked, "a new reader needs a target"
    assert all(any(name in target for target in arsenal.FULL) for name in attacked)


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.filterwarnings("ignore::Warning:tensorboard[.]")
def test_damaged_inputs_are_read_or_refused(name, tmp_path):
    with arsenal.target(name, tmp_path) as target:
        figures = malformed.attack(target, ROUNDS[name], seed=1)
    assert figures.faults == []
    assert figures.n_tried == ROUNDS[name]
    assert figures.n_read > 0  # else what lies behind the first check was never tried


def test_a_fault_of_a_reader_is_found_and_told_with_its_input(tmp_path):
    class Wrong(targets.JsonLines):
        def read(self, place):
            return json.loads(place.read_bytes())

    figures = malformed.attack(Wrong(tmp_path), 8)
    assert [number for number, _ in figures.faults] == [*range(8)]
    assert "JSONDecodeError" in figures.faults[0][1]


def test_an_input_on_which_a_reader_hangs_is_a_fault(tmp_path, monkeypatch):
    class Hanging(targets.JsonLines):
        def read(self, place):
            while place.exists():
                time.sleep(0.001)

    monkeypatch.setattr(malformed, "HANGING", 0.05)
    figures = malformed.attack(Hanging(tmp_path), 1)
    assert "TimeoutError" in figures.faults[0][1]


def test_an_input_is_the_same_each_time(tmp_path):
    target = targets.JsonLines(tmp_path)
    contents = [
        target.make(malformed.choosing(target, seed, 7), None).read_bytes() for seed in (0, 0, 1)
    ]
    assert contents[0] == contents[1] != contents[2]


def test_whole_inputs_are_read_by_every_reader(tmp_path):
    """Else damage would be done to what is refused anyway."""
    event_logs.write(tmp_path / "logs", chart_samples.training(3))
    write_measurements(tmp_path / "x.jsonl", [Run("x", chart_samples.training(3))])
    store = tmp_path / "store"
    store.mkdir()
    mlflow_answers.store(store)
    answers = mlflow_answers.Answers()
    with mlflow_answers.serving(answers) as uri:
        for place in (tmp_path / "logs", tmp_path / "x.jsonl", store, uri):
            (run,) = readers.read(str(place))
            assert len(run.measurements) == 3


# Numbers and names.

NUMBER = st.floats() | st.sampled_from([float(n) for n in NUMBERS if isinstance(n, float)])
# What a file in UTF-8 can hold.
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(NAMES)
MEASUREMENT = arbitrary.measurements(NUMBER, NAME, most=2**53 - 1, seconds=st.floats(0, 1e300))
MEASUREMENTS = st.lists(MEASUREMENT, min_size=1, max_size=4).map(tuple)
RUNS = st.lists(st.builds(Run, NAME, MEASUREMENTS), min_size=1, max_size=3)
MODERATELY = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@MODERATELY
@given(RUNS)
def test_any_numbers_and_names_are_drawn(runs):
    malformed.draw(runs)
    for run in runs:
        str(Summary(run.measurements))


@MODERATELY
@given(MEASUREMENT)
def test_any_measurement_goes_through_event_files(tmp_path_factory, measurement):
    place = tmp_path_factory.mktemp("logs")
    tracker = TensorBoardTracker(place)
    tracker.start(Training({}))
    tracker.log(measurement, 1e9)
    tracker.finish(None, failed=False)
    (run,) = readers.read(str(place))
    malformed.draw([run])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAME,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*jsonl._TYPES, "lossgap", "run"]
GOOD = json.loads(jsonl.to_line("r", chart_samples.measurement(0)))


@given(st.dictionaries(st.sampled_from(FIELDS) | NAME, JSON, max_size=4))
def test_any_value_in_any_field_of_a_line_is_read_or_refused(fields):
    try:
        name, measurement = jsonl.from_line(json.dumps(GOOD | fields))
    except DataError:
        return
    malformed.draw([Run(name, (measurement,))])


@given(st.dictionaries(st.sampled_from([*rows.row(chart_samples.measurement(0))]), JSON))
def test_any_value_in_a_row_of_wandb_is_read_or_refused(tmp_path_factory, values):
    from wandb.proto import wandb_internal_pb2

    whole = rows.row(chart_samples.measurement(0)) | values
    record = wandb_internal_pb2.Record()
    for key, value in whole.items():
        record.history.item.add(nested_key=[key], value_json=json.dumps(value))
    path = tmp_path_factory.mktemp("wandb") / "run-x.wandb"
    path.write_bytes(targets.chunked([record.SerializeToString()]))
    try:
        runs = readers.read(str(path))
    except LossgapError:
        return
    malformed.draw(runs)
