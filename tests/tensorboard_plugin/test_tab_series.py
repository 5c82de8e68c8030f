"""From scalars back to measurements: absent numbers, NaN, unknown parts, epochs and steps."""

import math
from dataclasses import replace

import numpy as np
import pytest

import chart_samples
import tab_logs
from lossgap import Measurement, Part
from lossgap.core import keys
from lossgap.tensorboard.plugin import series
from lossgap.tensorboard.plugin.logs import model_of, runs_of

ONE = chart_samples.training(8, standard_error=0.004)


def logged(measurements):
    """Return values by tag and step as they stand in the files: float32, all tags at all steps."""
    found = [tab_logs.scalars_of(m) for m in measurements]
    tags = dict.fromkeys(tag for values in found for tag in values)
    return {
        tag: {i: float(np.float32(values.get(tag, math.nan))) for i, values in enumerate(found)}
        for tag in tags
    }


def flat(measurement):
    """Return all numbers of a measurement by name."""
    return tab_logs.scalars_of(measurement)


def test_what_was_logged_comes_back():
    back = series.measurements(logged(ONE))
    assert [m.epoch for m in back] == [m.epoch for m in ONE]
    for found, wanted in zip(back, ONE, strict=True):
        assert flat(found) == pytest.approx(flat(wanted), rel=2e-7, abs=1e-7)
        assert list(found.parts) == list(wanted.parts)
        assert [(p.layer, p.kind) for p in found.penalties] == [
            (p.layer, p.kind) for p in wanted.penalties
        ]


def test_a_number_that_is_absent_stays_absent():
    bare = [Measurement(true_loss=0.5, epoch=i) for i in range(3)]
    (first, *_) = series.measurements(
        logged(bare) | {series.REPORTED: dict.fromkeys(range(3), math.nan)}
    )
    assert first.reported_loss is None
    assert first.true_val_loss is None
    assert first.parts == {}
    assert first.standard_error is None


def test_a_validation_every_other_epoch_is_absent_between():
    every_other = [
        m if i % 2 else replace(m, val_loss=None, true_val_loss=None) for i, m in enumerate(ONE)
    ]
    back = series.measurements(logged(every_other))
    assert [m.true_val_loss is None for m in back] == [i % 2 == 0 for i in range(8)]


def test_losses_that_became_nan_are_nan():
    broken = [*ONE[:-1], replace(ONE[-1], true_loss=math.nan, reported_loss=math.nan)]
    last = series.measurements(logged(broken))[-1]
    assert math.isnan(last.true_loss)
    assert math.isnan(last.reported_loss)


def test_infinity_is_kept():
    broken = [*ONE[:-1], replace(ONE[-1], true_loss=math.inf)]
    assert series.measurements(logged(broken))[-1].true_loss == math.inf


def test_a_part_of_a_later_version_is_told_with_its_error():
    later = replace(ONE[0], parts={"weather": Part(0.1, 0.01), keys.PENALTY: Part(0.2)})
    (back,) = series.measurements(logged([later]))
    assert list(back.parts) == [keys.PENALTY, "weather"]
    assert back.parts["weather"] == Part(pytest.approx(0.1), pytest.approx(0.01))


def test_steps_are_told_as_steps():
    back = series.measurements({series.TRUE: {100: 0.5, 50: 0.6}}, series.STEP)
    assert [(m.epoch, m.step) for m in back] == [(None, 50), (None, 100)]


def test_a_layer_may_be_called_anything():
    tag = f"{series.PENALTIES}l2:{chart_samples.INJECTION}:a/b"
    (back,) = series.measurements({series.TRUE: {0: 0.5}, tag: {0: 0.25}})
    (penalty,) = back.penalties
    assert (penalty.layer, penalty.kind) == (f"{chart_samples.INJECTION}:a/b", "l2")


def test_nothing_of_ours_is_no_measurement():
    assert series.measurements({"epoch_loss": {0: 1.0}}) == ()


@pytest.mark.parametrize(
    ("run", "model"),
    [
        ("gap", ""),
        ("a/gap", "a"),
        ("a/b/gap", "a/b"),
        ("a\\b\\gap", "a\\b"),
        ("gap/gap", "gap"),
        ("line\nbreak/gap", "line\nbreak"),
        ("train", None),
        ("stopgap", None),
        ("a/gap/train", None),
        ("", None),
    ],
)
def test_a_run_called_gap_holds_a_model(run, model):
    assert model_of(run) == model
    if model is not None:
        assert run in runs_of(model)


def test_a_gap_far_below_the_loss_keeps_its_digits():
    close = Measurement(true_loss=1234.5, reported_loss=1234.5 + 1.2345678e-5, epoch=0)
    (back,) = series.measurements(logged([close]))
    assert back.regularization_gap == pytest.approx(close.regularization_gap, rel=1e-6)
