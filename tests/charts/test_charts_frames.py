"""Measurements become rows: what they are counted in, and how long curves are thinned."""

import math
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

import chart_samples
from lossgap import Measurement
from lossgap.charts import Run
from lossgap.charts.frames import as_runs, axis_of, edges, frame, numbers, part_column
from lossgap.charts.thin import thinned


def test_epochs_are_the_axis_where_they_rise():
    assert axis_of([Run("a", chart_samples.training(3))]) == "epoch"


def test_steps_are_the_axis_where_an_epoch_has_several_measurements():
    run = Run("a", tuple(replace(m, epoch=0) for m in chart_samples.training(3)))
    assert axis_of([run]) == "step"
    assert [row["x"] for row in frame(run).rows] == [100, 200, 300]


def test_measurements_are_counted_where_nothing_else_rises():
    run = Run("a", (Measurement(0.5), Measurement(0.4)))
    assert axis_of([run]) == "measurement"
    assert [row["x"] for row in frame(run).rows] == [1, 2]


def test_runs_of_the_same_name_are_told_apart():
    runs = as_runs(
        [Run("a", chart_samples.training(1))] * 2 + [Run("a (2)", chart_samples.training(1))]
    )
    assert [run.name for run in runs] == ["a", "a (2)", "a (2) (2)"]


def test_every_number_of_a_row_is_that_of_its_measurement():
    for m, row in zip(
        chart_samples.training(5), frame(chart_samples.training(5)).rows, strict=True
    ):
        assert row["true_loss"] == m.true_loss
        assert row["regularization_gap"] == m.regularization_gap
        assert row["gap_dropout"] == m.parts["dropout"].value
        assert row["gap_dropout_stderr"] == m.parts["dropout"].standard_error


def test_a_column_of_an_unknown_part_is_a_plain_name():
    assert part_column("dropout") == "gap_dropout"
    assert part_column("a.b['c']") == "gap_a_b__c__"


def test_bars_meet_half_way_between_distant_measurements():
    assert edges([1]) == [(0.56, 1.44)]
    places = [1, 2, 10]
    ends = edges(places)
    assert all(a[1] <= b[0] for a, b in pairwise(ends))
    many = edges(list(range(0, 1000, 2)))
    assert all(a[1] == b[0] for a, b in pairwise(many))


# Thinning.

VALUE = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))
CURVES = st.lists(st.tuples(VALUE, st.none() | VALUE), min_size=1, max_size=400)


def run_of(pairs):
    return Run(
        "r", tuple(Measurement(t, epoch=i, reported_loss=r) for i, (t, r) in enumerate(pairs))
    )


def finite(run, name):
    values = [numbers(m).get(name) for m in run.measurements]
    return [value for value in values if value is not None and math.isfinite(value)]


@given(CURVES, st.integers(2, 60))
def test_thinning_keeps_the_ends_and_the_extremes_of_every_curve(pairs, limit):
    run = run_of(pairs)
    thin = thinned(run, limit)
    assert thin.measurements[0] is run.measurements[0]
    assert thin.measurements[-1] is run.measurements[-1]
    for name in ("true_loss", "reported_loss", "regularization_gap"):
        if finite(run, name):
            assert min(finite(thin, name)) == min(finite(run, name))
            assert max(finite(thin, name)) == max(finite(run, name))


@given(CURVES, st.integers(2, 60))
def test_thinning_picks_measurements_in_order_and_stays_near_the_limit(pairs, limit):
    run = run_of(pairs)
    thin = thinned(run, limit)
    epochs = [m.epoch for m in thin.measurements]
    assert epochs == sorted(set(epochs))
    assert all(m is run.measurements[m.epoch] for m in thin.measurements)
    # Extremes and gaps of three curves in one stretch, and both ends.
    assert len(epochs) <= max(limit, 2 + 3 * 5)


def test_a_gap_stays_a_gap_and_a_spike_stays_a_spike():
    measurements = list(chart_samples.training(5000))
    measurements[1234] = replace(measurements[1234], reported_loss=math.nan)
    measurements[3456] = replace(measurements[3456], reported_loss=9.0)
    thin = thinned(Run("r", tuple(measurements)), 300)
    assert len(thin.measurements) <= 300
    kept = {m.epoch for m in thin.measurements}
    assert {1234, 3456} <= kept


def test_a_short_run_is_left_as_it_is():
    run = Run("r", chart_samples.training(50))
    assert thinned(run, 50) is run
