"""What is in the event files, read back by TensorBoard's own loader. Without TensorFlow."""

import json
import math
import struct
from dataclasses import replace

import pytest
from tensorboard.plugins.custom_scalar import layout_pb2

import chart_samples
import event_logs
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def by_step(curve):
    """Return a curve as a dict, which has each step once and in order."""
    steps = [step for step, _ in curve]
    assert steps == sorted(set(steps))
    return dict(curve)


def test_every_number_is_read_back_as_it_was_measured(tmp_path):
    measured = chart_samples.training(6, standard_error=0.004)
    event_logs.write(tmp_path, measured)
    curves = {tag: by_step(curve) for tag, curve in event_logs.points(tmp_path / "gap").items()}
    for m in measured:
        expected = m.tracked() | {
            "lossgap/gap_dropout_stderr": 0.002,
            "lossgap/gap_batch_norm_stderr": 0.001,
            "lossgap/gap_drift_stderr": 0.002,
            "lossgap/n_samples": 1000,
            "lossgap/n_total": 60_000,
            "lossgap_penalty/l2:dense": m.penalties[0].value,
            "lossgap_penalty/l2:dense_1": m.penalties[1].value,
            "lossgap_penalty/l1:dense_1": m.penalties[2].value,
            "true_loss_ci/value": m.true_loss,
            "true_loss_ci/lower": m.true_loss - 1.959964 * 0.004,
            "true_loss_ci/upper": m.true_loss + 1.959964 * 0.004,
        }
        read = {tag: curve[m.epoch] for tag, curve in curves.items()}
        assert read == pytest.approx(expected, rel=1e-6)
        assert {tag: read[tag] for tag in m.tracked()} == {
            tag: float32(value) for tag, value in m.tracked().items()
        }


def test_the_four_losses_share_the_tag_of_keras(tmp_path):
    measured = chart_samples.training(3)
    event_logs.write(tmp_path, measured)
    assert event_logs.runs(tmp_path) == event_logs.SUB_RUNS
    sides = {
        "train": ("reported_loss", "reported"),
        "true": ("true_loss", "true"),
        "validation": ("val_loss", "val"),
        "validation_true": ("true_val_loss", None),
    }
    for run, (loss, metric) in sides.items():
        curves = event_logs.points(tmp_path / run)
        assert curves["epoch_loss"] == [(m.epoch, float32(getattr(m, loss))) for m in measured]
        wanted = metric and [
            (m.epoch, float32(getattr(m.metrics["accuracy"], metric))) for m in measured
        ]
        assert curves.get("epoch_accuracy") == wanted


def test_what_was_not_measured_has_no_file_and_no_tag(tmp_path):
    bare = [Measurement(true_loss=0.5, epoch=0, reported_loss=0.6)]
    event_logs.write(tmp_path, bare)
    assert event_logs.runs(tmp_path) == ["gap", "train", "true"]
    tags = event_logs.points(tmp_path / "gap")
    assert not [tag for tag in tags if "val" in tag or "gap_" in tag or "ci/" in tag]


def test_linked_tags_have_the_same_steps_whatever_is_absent(tmp_path):
    measured = chart_samples.training(6)
    some = [
        replace(m, val_loss=None, true_val_loss=None) if m.epoch % 2 == 0 else m for m in measured
    ]
    some[4] = replace(some[4], standard_error=0.1, parts={"noise": Part(0.1, 0.2)}, penalties=())
    event_logs.write(tmp_path, some)
    curves = event_logs.points(tmp_path / "gap")
    assert {tuple(step for step, _ in curve) for curve in curves.values()} == {(0, 1, 2, 3, 4, 5)}
    for m in some:
        wanted = m.tracked()
        for tag, curve in curves.items():
            if tag.startswith("lossgap/") and "n_" not in tag and not tag.endswith("_stderr"):
                value = dict(curve)[m.epoch]
                assert (value == float32(wanted[tag])) if tag in wanted else math.isnan(value)
    late = dict(curves["true_loss_ci/value"])
    assert [step for step in late if not math.isnan(late[step])] == [4]
    # Beside Keras's curves there is a point where there is a number: a line breaks at NaN.
    assert [s for s, _ in event_logs.points(tmp_path / "validation_true")["epoch_loss"]] == [
        1,
        3,
        5,
    ]


def test_wall_times_are_those_of_the_measurements_also_of_steps_filled_in_later(tmp_path):
    first, second = chart_samples.training(2)
    event_logs.write(tmp_path, [replace(first, true_val_loss=None), second])
    times = {
        (event.step, value.tag): event.wall_time
        for event in event_logs.events(tmp_path / "gap")
        for value in event.summary.value
    }
    for tag in ("lossgap/true_loss", "lossgap/true_val_loss"):
        assert [times[step, tag] for step in (0, 1)] == [
            event_logs.WALL_TIME,
            event_logs.WALL_TIME + 1,
        ]


def test_steps_are_epochs_or_optimizer_steps_as_asked(tmp_path):
    measured = [replace(m, epoch=0) for m in chart_samples.training(3)]
    event_logs.write(tmp_path, measured, unit="step", every=100)
    steps = [step for step, _ in event_logs.points(tmp_path / "true")["epoch_loss"]]
    assert steps == [100, 200, 300]


def test_odd_numbers_stay_odd(tmp_path):
    values = [math.nan, math.inf, -math.inf, 1e300, 1e-300]
    event_logs.write(tmp_path, [Measurement(v, epoch=i) for i, v in enumerate(values)])
    read = [value for _, value in event_logs.points(tmp_path / "true")["epoch_loss"]]
    assert math.isnan(read[0])
    assert read[1:] == [math.inf, -math.inf, math.inf, 0.0]


ODD_NAMES = [
    "<img src=x onerror=alert(1)>",
    "../../etc/passwd",
    "with space/and:colon",
    "Zürich_漢字_🙂",
    "line\nbreak",
    "\udcff",
    "",
    "x" * 3000,
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_odd_names_are_kept(tmp_path, name):
    odd = Measurement(
        true_loss=0.5,
        epoch=0,
        reported_loss=0.7,
        metrics={name: MetricValues(0.9, 0.8, 0.7)},
        penalties=(Penalty(name, "l2", 0.2),),
    )
    event_logs.write(tmp_path, [odd])
    shown = name.replace("\udcff", "?")
    assert event_logs.points(tmp_path / "gap")[f"lossgap/true_{shown}"] == [(0, float32(0.9))]
    assert event_logs.points(tmp_path / "gap")[f"lossgap_penalty/l2:{shown}"] == [(0, float32(0.2))]
    assert event_logs.points(tmp_path / "train")[f"epoch_{shown}"] == [(0, float32(0.8))]
    assert event_logs.runs(tmp_path) == ["gap", "train", "true", "validation"]


def others(directory):
    """Return the values that aren't scalars, by plugin."""
    found = {}
    for event in event_logs.events(directory):
        for value in event.summary.value:
            found.setdefault(value.metadata.plugin_data.plugin_name, []).append(value)
    return found


def test_a_marker_tells_the_tab_what_the_steps_count(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(3), unit="step", every=50)
    (value,) = others(tmp_path / "gap")["lossgap"]
    assert value.tag == "lossgap_marker"
    told = json.loads(value.tensor.string_val[0])
    assert told == {"version": 1, "unit": "step", "every": 50}


def test_the_custom_layout_names_tags_that_are_there(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(2, standard_error=0.01))
    (value,) = others(tmp_path / "gap")["custom_scalars"]
    layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    assert [category.title for category in layout.category] == ["True loss"]
    comparison, causes, margin = layout.category[0].chart
    assert list(comparison.multiline.tag) == ["epoch_loss$"]
    assert causes.multiline.tag[0] == "lossgap/regularization_gap$"
    (series,) = margin.margin.series
    assert {series.value, series.lower, series.upper} <= set(event_logs.points(tmp_path / "gap"))


def test_hyperparameters_get_a_row_beside_the_true_loss(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(2), hparams={"rate": 0.1, "kind": "a"})
    tags = [value.tag for value in others(tmp_path / "gap")["hparams"]]
    assert tags == [
        "_hparams_/experiment",
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
    ]


def test_without_hyperparameters_there_is_no_row(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(2))
    assert "hparams" not in others(tmp_path / "gap")
