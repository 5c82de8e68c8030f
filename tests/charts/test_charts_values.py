"""What is plotted equals what was measured: read back from the drawn scene, in pixels.

vl-convert draws the panel; the axis's own tick labels tell what a pixel means.
"""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import vl_convert

import chart_samples
from lossgap import Measurement, Part, Penalty
from lossgap.charts import PANELS, Run, gap_by_cause, loss_comparison, penalty_by_layer, waterfall
from lossgap.charts.frames import frame
from lossgap.charts.panels import labels
from lossgap.charts.render import VEGA_LITE

ONE = chart_samples.training(8, standard_error=0.004)


class Scene:
    """The drawn marks of a specification, with pixels turned back into numbers."""

    def __init__(self, spec):
        drawn = vl_convert.vegalite_to_scenegraph(json.dumps(spec), vl_version=VEGA_LITE)
        self.marks = list(self._walk(drawn["scenegraph"]))
        self.x, self.y = self._axis(horizontal=True), self._axis(horizontal=False)

    def _walk(self, node, name=""):
        if "marktype" in node:
            yield node
        for item in node.get("items", ()):
            yield from self._walk(item)

    def _axis(self, *, horizontal):
        """Return the function from a pixel to the number there, from two tick labels."""
        for mark in self.marks:
            if mark.get("role") != "axis-label":
                continue
            ticks = [
                (item["x"], item["y"], item["text"].replace("\N{MINUS SIGN}", "-"))
                for item in mark["items"]
            ]
            ticks = [
                (x if horizontal else y, float(text.replace(",", "")))
                for x, y, text in ticks
                if re.match(r"-?[\d.]", text)
            ]
            flat = len({item["y"] for item in mark["items"]}) == 1
            if flat == horizontal and len(ticks) > 1:
                (p0, v0), (p1, v1) = ticks[0], ticks[-1]
                return lambda pixel: v0 + (pixel - p0) * (v1 - v0) / (p1 - p0)
        return None

    def named(self, name):
        return [mark for mark in self.marks if mark.get("name") == f"{name}_marks"]

    def descriptions(self):
        """Return what a screen reader says of each point: the same fields as the tooltip's.

        The tooltip itself needs a pointer: the tests in a browser have one.
        """
        return [
            dict(field.split(": ", 1) for field in item["description"].split("; "))
            for mark in self.named("points")
            for item in mark["items"]
        ]

    def curves(self, name):
        """Return the points of each line by what it shows; None where the line is broken."""
        found = {}
        for mark in self.named(name):
            first = mark["items"][0]["description"]
            key = re.search(r"quantity: (\w+)", first)[1]
            run = re.search(r"run: (.+?)(;|$)", first)
            key = (run[1], key) if run else key
            found[key] = [
                self.y(item["y"]) if item.get("defined", True) else None for item in mark["items"]
            ]
        return found


def near(values):
    # Pixels have a hundredth of a thousandth of the axis; the marks carry no fewer digits.
    return pytest.approx(values, abs=1e-9)


def test_each_loss_is_drawn_where_it_was_measured():
    curves = Scene(loss_comparison(ONE)).curves("lines")
    assert set(curves) == {"reported_loss", "true_loss", "val_loss", "true_val_loss"}
    for name, drawn in curves.items():
        assert drawn == near([getattr(m, name) for m in ONE])


def test_epochs_count_from_one():
    scene = Scene(loss_comparison(ONE))
    (line, *_) = scene.named("lines")
    assert [scene.x(item["x"]) for item in line["items"]] == near(list(range(1, 9)))


def test_the_band_is_the_95_percent_interval():
    scene = Scene(loss_comparison(ONE))
    (band,) = scene.named("band")
    half = 1.959963984540054 * 0.004
    assert [scene.y(i["y"]) for i in band["items"]] == near([m.true_loss + half for m in ONE])
    assert [scene.y(i["y2"]) for i in band["items"]] == near([m.true_loss - half for m in ONE])


def test_an_exact_true_loss_has_no_band():
    assert Scene(loss_comparison(chart_samples.training(4))).named("band") == []


def test_the_shade_reaches_from_true_to_reported():
    scene = Scene(loss_comparison(ONE))
    (shade,) = scene.named("gap_shade")
    assert [scene.y(i["y"]) for i in shade["items"]] == near([m.reported_loss for m in ONE])
    assert [scene.y(i["y2"]) for i in shade["items"]] == near([m.true_loss for m in ONE])


def test_what_is_missing_or_not_finite_breaks_the_line_and_is_never_zero():
    curves = Scene(loss_comparison(chart_samples.with_gaps())).curves("lines")
    assert [i for i, y in enumerate(curves["reported_loss"]) if y is None] == [2]
    assert [i for i, y in enumerate(curves["val_loss"]) if y is None] == [4]
    assert [i for i, y in enumerate(curves["true_loss"]) if y is None] == [6]
    assert all(y > 0.05 for drawn in curves.values() for y in drawn if y is not None)


def test_a_point_says_dash_where_there_is_no_number():
    scene = Scene(loss_comparison(chart_samples.with_gaps()))
    third = next(tip for tip in scene.descriptions() if tip["epoch"] == "3")
    assert third["reported loss"] == "\N{EN DASH}"
    assert third["gap (reported \N{MINUS SIGN} true)"] == "\N{EN DASH}"
    assert third["true loss"] != "\N{EN DASH}"


def test_a_point_tells_all_numbers():
    scene = Scene(loss_comparison(ONE))
    tip, first = scene.descriptions()[0], ONE[0]
    assert tip["epoch"] == "1"
    assert float(tip["reported loss"]) == pytest.approx(first.reported_loss, rel=1e-4)
    assert tip["true loss"] == "0.35 ± 0.008 (95 %)"
    assert float(tip["gap (reported \N{MINUS SIGN} true)"]) == pytest.approx(
        first.regularization_gap, rel=1e-4
    )
    assert tip["· dropout"] == "0.0875 ± 0.002"
    assert "· drift" in tip
    assert "generalization gap" in tip


def test_runs_are_told_apart_by_dashes_and_keep_their_quantities_colours():
    runs = [Run("a", ONE), Run("b", chart_samples.training(8, base=0.3))]
    scene = Scene(loss_comparison(runs))
    assert len(scene.curves("lines")) == 8
    for run in runs:
        drawn = scene.curves("lines")[run.name, "true_loss"]
        assert drawn == near([m.true_loss for m in run.measurements])
    looks = {
        (item["stroke"], tuple(item["strokeDash"]))
        for mark in scene.named("lines")
        for item in mark["items"]
    }
    assert len(looks) == 8
    assert len({stroke for stroke, _ in looks}) == 4


def test_losses_that_span_decades_are_drawn_on_a_log_scale():
    measurements = [Measurement(10.0**-k, epoch=k, reported_loss=2 * 10.0**-k) for k in range(4)]
    scene = Scene(loss_comparison(measurements))
    true = next(m for m in scene.named("lines") if "true_loss" in m["items"][0]["description"])
    steps = [b["y"] - a["y"] for a, b in pairwise(true["items"])]
    assert steps == pytest.approx([steps[0]] * 3)
    assert steps[0] > 0


def stacks(scene, name):
    """Return the bars by their horizontal middle: pairs of ends, as numbers."""
    found = {}
    for mark in scene.named(name):
        for item in mark["items"]:
            middle = round(scene.x(item["x"] + item["width"] / 2))
            ends = scene.y(item["y"] + item["height"]), scene.y(item["y"])
            found.setdefault(middle, {})[item["fill"]] = ends
    return found


def test_parts_of_both_signs_stack_away_from_zero():
    from lossgap.charts import palette

    for m, bars in zip(ONE, stacks(Scene(gap_by_cause(ONE)), "parts").values(), strict=True):
        sizes = {fill: high - low for fill, (low, high) in bars.items()}
        for name, part in m.parts.items():
            assert sizes[palette.PARTS[name].colour] == near(abs(part.value))
        positive = math.fsum(p.value for p in m.parts.values() if p.value > 0)
        negative = math.fsum(p.value for p in m.parts.values() if p.value < 0)
        assert max(high for _, high in bars.values()) == near(positive)
        assert min(low for low, _ in bars.values()) == near(negative)


def test_the_total_is_a_line_over_the_parts():
    scene = Scene(gap_by_cause(ONE))
    names = [mark for mark in scene.marks if (mark.get("name") or "").startswith("total")]
    (total,) = [mark for mark in names if mark["marktype"] == "line"]
    assert [scene.y(i["y"]) for i in total["items"]] == near([m.regularization_gap for m in ONE])


def test_a_part_that_was_not_measured_has_no_bar():
    bars = stacks(Scene(gap_by_cause(chart_samples.with_gaps())), "parts")
    assert [len(bars[epoch]) for epoch in (4, 5, 6)] == [4, 1, 4]


def test_penalties_stack_by_layer_and_kind():
    for m, bars in zip(
        ONE, stacks(Scene(penalty_by_layer(ONE)), "penalties").values(), strict=True
    ):
        sizes = sorted(high - low for low, high in bars.values())
        assert sizes == near(sorted(p.value for p in m.penalties))


def test_beyond_seven_layers_the_smallest_are_added_up():
    names = [Penalty(f"layer {k}", "l2", 1.0 + k) for k in range(12)]
    spec = penalty_by_layer([Measurement(0.5, epoch=k, penalties=tuple(names)) for k in (0, 1)])
    for bars in stacks(Scene(spec), "penalties").values():
        assert len(bars) == 8
        assert sum(high - low for low, high in bars.values()) == near(sum(p.value for p in names))
    rest = [row for row in spec["datasets"]["measurements"] if row["share"].endswith("together")]
    assert [(row["share"], row["value"]) for row in rest] == [("5 others together", 15.0)] * 2


def test_the_waterfall_leads_from_reported_to_true():
    last = ONE[-1]
    scene = Scene(waterfall(last))
    (bars,) = scene.named("bars")
    ends = [(scene.x(i["x"]), scene.x(i["x"] + i["width"])) for i in bars["items"]]
    assert ends[0] == near((0, last.reported_loss))
    assert ends[-1] == near((0, last.true_loss))
    level = last.reported_loss
    ranked = ["penalty", "dropout", "batch_norm", "drift"]
    for name, (low, high) in zip(ranked, ends[1:-1], strict=True):
        after = level - last.parts[name].value
        assert (low, high) == near((min(level, after), max(level, after)))
        level = after
    assert level == near(last.true_loss)


def test_what_no_part_accounts_for_has_a_bar_of_its_own():
    bare = Measurement(0.3, epoch=0, reported_loss=0.5, parts={"dropout": Part(0.15)})
    rows = waterfall(bare)["datasets"]["measurements"]
    causes = [row["cause"] for row in rows]
    assert causes == ["reported loss", "dropout", "not told apart", "true loss"]
    assert rows[2]["start"] - rows[2]["end"] == near(0.05)


def test_a_small_gap_is_shown_on_an_axis_that_says_it_does_not_start_at_zero():
    close = replace(ONE[-1], true_loss=100.0, reported_loss=100.0 + ONE[-1].regularization_gap)
    spec = waterfall(close)
    title = spec["layer"][0]["encoding"]["x"]["title"]
    assert title == "loss (axis doesn't start at 0)"
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"][0] > 99
    assert waterfall(ONE[-1])["layer"][0]["encoding"]["x"]["title"] == "loss"


def test_the_labels_at_the_lines_ends_say_the_last_values_and_do_not_overlap():
    scene = Scene(loss_comparison(ONE))
    texts = [
        i for m in scene.marks if (m.get("name") or "").startswith("label_") for i in m["items"]
    ]
    last = ONE[-1]
    assert {item["text"] for item in texts} == {
        f"reported {last.reported_loss:.4g}",
        f"true {last.true_loss:.4g}",
        f"val {last.val_loss:.4g}",
        f"true val {last.true_val_loss:.4g}",
    }
    heights = sorted(item["y"] for item in texts)
    assert min(b - a for a, b in pairwise(heights)) >= labels.LINE_HEIGHT * 0.9


def test_a_label_that_would_have_to_move_far_is_left_out():
    heights = {f"curve {k}": 100.0 for k in range(9)}
    placed = labels.moved_apart(heights)
    assert 3 <= len(placed) < 9
    assert all(abs(place - 100) <= labels.FARTHEST for place in placed.values())


def test_a_curve_that_broke_off_has_no_label():
    broken = [*ONE[:-1], replace(ONE[-1], val_loss=math.nan)]
    rows = PANELS["loss_comparison"](frame(broken))["datasets"]["measurements"]
    assert "label_val_loss" not in rows[-1]
    assert "label_true_loss" in rows[-1]
