"""What a live TensorBoard makes of the files, with each of its two loaders."""

import math
from dataclasses import replace

import pytest

import chart_samples
import event_logs
from lossgap.core.measurement import Measurement


def float32_close(points, wanted):
    assert [step for step, _ in points] == [step for step, _ in wanted]
    assert [v for _, v in points] == pytest.approx([v for _, v in wanted], rel=1e-6, nan_ok=True)


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    """Return a log directory with all that a directory can hold."""
    root = tmp_path_factory.mktemp("logs")
    whole = chart_samples.training(8, standard_error=0.01)
    event_logs.write(root / "whole", whole, hparams={"rate": 0.1, "kind": "a", "deep": True})
    some = [replace(m, true_val_loss=None) if m.epoch % 2 == 0 else m for m in whole]
    event_logs.write(root / "some", some)
    event_logs.write(root / "again", whole[:6])
    event_logs.write(root / "again", chart_samples.training(8, base=0.5)[4:])
    event_logs.write(root / "on", whole[:5])
    event_logs.write(root / "on", whole[5:])
    event_logs.write(root / "odd <img onerror=x>", chart_samples.with_injected_names())
    long = [Measurement(1 / (i + 1), epoch=i, reported_loss=2 / (i + 1)) for i in range(1500)]
    late = replace(long[700], val_loss=1.0, true_val_loss=0.9)
    event_logs.write(root / "long", [*long[:700], late, *long[701:]])
    return root


@pytest.fixture(scope="module")
def server(log_dir, load_fast):
    with event_logs.serving(log_dir, load_fast=load_fast) as running:
        tags = "data/plugin/scalars/tags"
        running.wait_for(lambda s: len(s.get(tags)) == len(event_logs.runs(log_dir)))
        running.wait_for(lambda s: len(s.scalars("long/true", "epoch_loss")) == 1000)
        yield running


def test_all_points_are_served(server, log_dir):
    for run in event_logs.runs(log_dir / "whole"):
        for tag, curve in event_logs.points(log_dir / "whole" / run).items():
            float32_close(server.scalars(f"whole/{run}", tag), curve)


def test_a_training_that_went_on_is_one_curve(server, log_dir):
    for run, tag in [("true", "epoch_loss"), ("train", "epoch_loss"), ("gap", "lossgap/val_loss")]:
        curve = event_logs.points(log_dir / "on" / run)[tag]
        assert len(curve) == 8
        float32_close(server.scalars(f"on/{run}", tag), curve)


def test_a_training_that_was_repeated_in_part_does_not_zigzag(server):
    first, again = chart_samples.training(8), chart_samples.training(8, base=0.5)
    wanted = [(m.epoch, m.true_loss) for m in [*first[:4], *again[4:]]]
    float32_close(server.scalars("again/true", "epoch_loss"), wanted)
    float32_close(server.scalars("again/gap", "lossgap/true_loss"), wanted)


def test_the_same_sample_of_steps_is_kept_of_every_linked_tag(server):
    tags = server.get("data/plugin/scalars/tags")["long/gap"]
    assert "lossgap/true_val_loss" in tags  # which has one number among 1,499 NaN
    steps = {tuple(s for s, _ in server.scalars("long/gap", tag)) for tag in tags}
    steps.add(tuple(s for s, _ in server.scalars("long/true", "epoch_loss")))
    steps.add(tuple(s for s, _ in server.scalars("long/train", "epoch_loss")))
    assert len(steps) == 1
    assert len(next(iter(steps))) == 1000


def test_what_is_absent_comes_as_nan(server):
    values = [v for _, v in server.scalars("some/gap", "lossgap/true_val_loss")]
    assert [math.isnan(value) for value in values] == [True, False] * 4


def test_the_custom_scalars_layout_is_served_once(server):
    layout = server.wait_for(lambda s: s.get("data/plugin/custom_scalars/layout"))
    (category,) = layout["category"]
    assert category["title"] == "True loss"
    assert len(category["chart"]) == 3
    causes = category["chart"][1]["multiline"]["tag"][1]
    found = server.get("data/plugin/custom_scalars/scalars", run="whole/gap", tag=causes)
    parts = ["batch_norm", "drift", "dropout", "penalty"]
    assert sorted(found["tag_to_events"]) == [f"lossgap/gap_{part}" for part in parts]


def test_the_hparams_table_has_the_true_loss(server):
    body = {"allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 10}
    groups = server.post("data/plugin/hparams/session_groups", body)["sessionGroups"]
    (group,) = groups
    assert group["hparams"] == {"rate": 0.1, "kind": "a", "deep": True}
    last = chart_samples.training(8)[-1]
    values = {v["name"]["tag"]: v["value"] for v in group["metricValues"]}
    assert values == pytest.approx(
        {
            "lossgap/true_loss": last.true_loss,
            "lossgap/regularization_gap": last.regularization_gap,
        },
        rel=1e-6,
    )


def test_points_appear_while_the_training_goes_on(tmp_path, load_fast):
    measured = chart_samples.training(3)
    tracker = event_logs.write(tmp_path, measured[:1], end=False)
    with event_logs.serving(tmp_path, load_fast=load_fast) as live:
        for m in measured[1:]:
            tracker.log(m, event_logs.WALL_TIME + m.epoch)
            for run, tag in [("true", "epoch_loss"), ("gap", "lossgap/gap_dropout")]:
                live.wait_for(
                    lambda s, run=run, tag=tag, n=m.epoch + 1: (
                        run in s.get("data/plugin/scalars/tags") and len(s.scalars(run, tag)) == n
                    )
                )
    tracker.finish(None, failed=False)
