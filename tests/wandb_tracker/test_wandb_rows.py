"""One measurement, one row: there and back, to the last bit."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chart_samples
from lossgap import Measurement, MetricValues, Part
from lossgap.core import keys
from lossgap.wandb import rows

NUMBER = st.floats(width=64)
MAYBE = st.none() | NUMBER
PARTS = st.dictionaries(st.sampled_from(keys.PARTS), st.builds(Part, NUMBER, MAYBE))
METRICS = st.dictionaries(
    st.sampled_from(["accuracy", "mae", "f1_score_0", "val", "loss_ratio"]),
    st.builds(MetricValues, NUMBER),
)
COUNT = st.integers(0, 2**40)


@given(
    st.builds(
        Measurement,
        true_loss=NUMBER,
        epoch=st.none() | COUNT,
        step=st.none() | COUNT,
        reported_loss=MAYBE,
        val_loss=MAYBE,
        true_val_loss=MAYBE,
        parts=PARTS,
        metrics=METRICS,
        n_samples=COUNT,
        n_total=COUNT,
        standard_error=MAYBE,
        seconds=st.floats(0, 1e6),
    )
)
def test_a_row_gives_its_measurement_back(measurement):
    assert repr(rows.measurement(rows.row(measurement)).to_dict()) == repr(in_order(measurement))


def in_order(measurement):
    """Return the record with its parts in the order in which they are told."""
    parts = {name: measurement.parts[name] for name in keys.PARTS if name in measurement.parts}
    return replace(measurement, parts=parts).to_dict()


def test_a_row_has_every_tracked_number_and_where_it_belongs():
    (measurement,) = chart_samples.training(1, standard_error=0.01)
    row = rows.row(measurement)
    assert measurement.tracked().items() <= row.items()
    assert row.keys() - measurement.tracked().keys() == {
        "lossgap/epoch",
        "lossgap/step",
        "lossgap/n_samples",
        "lossgap/n_total",
        "lossgap/gap_dropout_stderr",
        "lossgap/gap_batch_norm_stderr",
        "lossgap/gap_drift_stderr",
    }
    assert all(name.count("/") == 1 for name in row)


def test_absent_numbers_are_absent():
    assert set(rows.row(Measurement(0.5))) == {"lossgap/true_loss", "lossgap/seconds"}


def test_other_keys_of_a_row_do_not_matter():
    row = rows.row(Measurement(0.5, epoch=3)) | {"loss": "text", "_step": 7, "epoch/epoch": 3}
    assert rows.measurement(row) == Measurement(0.5, epoch=3)


@pytest.mark.parametrize(("text", "value"), [("NaN", math.nan), ("-Infinity", -math.inf)])
def test_numbers_that_json_does_not_have_are_read(text, value):
    row = {"lossgap/true_loss": text}
    assert repr(rows.measurement(row).true_loss) == repr(value)


def test_counts_and_errors_get_no_chart_of_their_own():
    (measurement,) = chart_samples.training(1, standard_error=0.01)
    shown = {name for name in rows.row(measurement) if not rows.is_hidden(name)}
    assert shown == {name for name in measurement.tracked() if not name.endswith("_stderr")}
