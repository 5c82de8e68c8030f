"""The report page, the pictures, the animation and the notebook's display, without a browser."""

import base64
import json
import re
import sys
from html import escape
from html.parser import HTMLParser

import pytest
from PIL import Image, ImageSequence

import chart_samples
import lossgap
from lossgap import Measurement, Part
from lossgap.charts import Run, gif, headline, render, report, write_gif, write_report
from lossgap.charts.frames import frame
from lossgap.charts.methods import method, terms
from lossgap.charts.pictures import write_png, write_svg
from lossgap.core import keys, verdict
from lossgap.errors import DataError, MissingDependencyError

ONE = chart_samples.training(8, standard_error=0.004)


class Page(HTMLParser):
    """What a browser makes of a page: elements, their attributes, and the data in it."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self._open:
            tag, attributes = self._open[-1]
            key = attributes.get("id", tag)
            self.texts[key] = self.texts.get(key, "") + data

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    @property
    def data(self):
        return json.loads(self.texts["data"])

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def test_the_page_holds_the_measurements_as_they_are():
    run = Page(report.to_html(Run("a", ONE))).data["runs"][0]
    rows = [dict(zip(run["rows"]["columns"], row, strict=True)) for row in run["rows"]["rows"]]
    assert [row["true_loss"] for row in rows] == [m.true_loss for m in ONE]
    assert [row["reported_loss"] for row in rows] == [m.reported_loss for m in ONE]
    assert run["verdict"] == verdict.tell(ONE)
    assert set(run["panels"]) == {
        "loss_comparison",
        "gap_by_cause",
        "generalization",
        "penalty_by_layer",
        "waterfall",
    }


def test_the_page_loads_nothing():
    page = Page(report.to_html(Run("a", ONE)))
    loading = {"src", "href", "action", "data", "poster", "srcset"}
    for _, attributes in page.elements:
        for name in loading & attributes.keys():
            assert attributes[name].startswith("data:")
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "url(" not in page.texts["style"]


@pytest.mark.parametrize("name", [chart_samples.INJECTION, "<!--<script>", "]]>&amp;'\"\\u003c"])
def test_names_stay_text(name):
    measurements = chart_samples.with_injected_names()
    plain = Page(report.to_html(Run("a", ONE)))
    page = Page(report.to_html([Run(name, measurements), Run("b", ONE)], title=name))
    assert page.count("script") == plain.count("script") == 3
    assert page.count("img") == 0
    assert page.data["runs"][0]["name"] == name
    assert page.data["runs"][0]["metrics"]["names"] == [[chart_samples.INJECTION]]
    assert page.texts["title"] == name


def test_a_spec_as_svg_keeps_names_as_text():
    from lossgap.charts import penalty_by_layer

    drawn = render.to_svg(penalty_by_layer(chart_samples.with_injected_names()))
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert escape(chart_samples.INJECTION, quote=False) in drawn


def test_script_elements_cannot_be_broken_out_of():
    assert render.data_for_script_element("</script><!--&") == (
        '"\\u003c/script\\u003e\\u003c!--\\u0026"'
    )
    assert "</script" not in render.for_script_element("a('</script>')")
    with pytest.raises(ValueError, match="JSON"):
        render.data_for_script_element([float("nan")])


def test_what_is_not_finite_is_named_in_the_table():
    run = Page(report.to_html(Run("a", chart_samples.with_gaps()))).data["runs"][0]
    assert run["odd"]["2 reported_loss"] == "NaN"
    assert run["odd"]["6 true_loss"] == "∞"
    assert "4 val_loss" not in run["odd"]


def test_long_runs_are_thinned_and_the_page_says_so():
    content = Page(report.to_html(Run("a", chart_samples.training(5000)))).data
    (run,) = content["runs"]
    assert len(run["rows"]["rows"]) <= report.MOST_ROWS_OF_A_RUN
    assert run["total"] == 5000


def test_a_hundred_long_runs_share_their_specifications():
    runs = [Run(f"run {i}", chart_samples.training(1000, base=0.1 + i / 1000)) for i in range(100)]
    text = report.to_html(runs)
    content = Page(text).data
    assert len(content["specs"]) < 20
    assert sum(len(run["rows"]["rows"]) for run in content["runs"]) <= report.MOST_ROWS
    assert len(text) < 15_000_000


def test_runs_up_to_five_are_also_drawn_in_one_panel():
    runs = [Run(f"run {i}", chart_samples.training(3)) for i in range(6)]
    assert Page(report.to_html(runs[:2])).data["together"]
    assert Page(report.to_html(runs)).data["together"] is None
    assert Page(report.to_html(runs[:1])).data["together"] is None


def test_the_verdict_is_on_the_page_without_scripts_too():
    text = report.to_html(Run("a", ONE))
    assert escape(verdict.tell(ONE)) in text.partition("<noscript>")[2].partition("</noscript>")[0]


def test_a_bare_measurement_makes_a_page():
    run = Page(report.to_html([Measurement(0.5)])).data["runs"][0]
    assert list(run["panels"]) == ["loss_comparison"]
    assert [tile["title"] for tile in run["tiles"]] == ["Reported loss", "True loss"]
    assert run["tiles"][0]["number"] == "\N{EN DASH}"


def test_write_report_returns_its_path(tmp_path):
    path = write_report(tmp_path / "r.html", ONE)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


# The headline and the method.


def tile(title, **fields):
    measurement = Measurement(**({"true_loss": 0.4, "reported_loss": 0.8} | fields))
    return next(t for t in headline.headline(measurement) if t["title"] == title)


def test_the_gap_tile_says_how_large_the_gap_is_and_why():
    parts = {"dropout": Part(0.38, 0.01), "drift": Part(0.02, 0.01)}
    gap = tile("Gap", parts=parts)
    assert gap["number"] == "+0.4"
    assert gap["note"] == "50% of the reported loss isn't loss on your data; main cause: dropout"


def test_a_reported_loss_below_the_true_one_is_told_as_such():
    assert tile("Gap", reported_loss=0.3)["note"] == "the reported loss is 25% below the true one"


def test_losses_that_agree_have_no_causes():
    gap = tile("Gap", reported_loss=0.401, parts={"drift": Part(0.001)})
    assert gap["note"] == "reported and true loss agree"


def test_uncertain_or_opposed_causes_are_not_named():
    parts = {"dropout": Part(0.5, 0.3), "batch_norm": Part(-0.3), "penalty": Part(0.2)}
    assert headline.main_causes(Measurement(0.4, reported_loss=0.8, parts=parts)) == ["penalty"]


def test_an_estimate_has_its_interval():
    note = tile("True loss", standard_error=0.01)["note"]
    assert note == "the real loss on your training data, ± 0.02 (95 %)"


def test_the_method_says_exact_or_estimated():
    assert "exact: computed on all 60,000" in method(chart_samples.training(2))
    assert "estimate on 1,000 of 60,000 samples" in method(ONE)
    assert "wasn't recorded" in method([Measurement(0.5)])


def test_every_part_has_a_definition():
    assert len(terms(keys.PARTS)) == 6 + len(keys.PARTS)
    assert terms(["new"])[-1] == ("new", "a part that this version of lossgap doesn't know.")


# Pictures.


def test_each_panel_is_written_as_a_picture(tmp_path):
    written = write_png(tmp_path / "png", [Run("a", ONE)], dpi=72)
    assert {path.name for path in written} == {
        "loss_comparison.png",
        "gap_by_cause.png",
        "generalization.png",
        "penalty_by_layer.png",
        "waterfall.png",
    }
    for path in written:
        with Image.open(path) as picture:
            assert picture.width > 300


def test_several_runs_get_a_harmless_folder_each(tmp_path):
    runs = [Run("../../evil", ONE), Run("///", ONE)]
    written = write_svg(tmp_path, runs)
    assert {path.parent.name for path in written} == {"001-evil", "002-run"}
    assert all(path.parent.parent == tmp_path for path in written)


def test_the_animation_starts_with_the_standard_plot_and_ends_with_the_true_one(tmp_path):
    path = write_gif(tmp_path / "a.gif", Run("a", ONE), scale=0.5)
    with Image.open(path) as picture:
        frames = [f.convert("RGB").tobytes() for f in ImageSequence.Iterator(picture)]
        assert picture.info["loop"] == 0
    assert len(frames) == gif.STEPS + 1
    assert len(set(frames)) == len(frames)


def test_only_measured_numbers_are_labelled_in_the_animation():
    first, *middle, last = gif.stills(frame(ONE))
    assert [layer["name"] for layer in first["layer"]] == [
        "lines",
        "points",
        "label_reported_loss",
        "label_val_loss",
    ]
    assert not any(x["name"].startswith("label_true") for spec in middle for x in spec["layer"])
    rows = last["datasets"]["measurements"]
    assert [row["true_loss"] for row in rows] == [m.true_loss for m in ONE]
    assert "label_true_loss" in [layer["name"] for layer in last["layer"]]


def test_an_animation_needs_one_run_with_a_reported_loss(tmp_path):
    with pytest.raises(DataError, match="starts from the reported loss"):
        write_gif(tmp_path / "a.gif", [Measurement(0.5)])
    with pytest.raises(DataError, match="shows one run, got 2"):
        write_gif(tmp_path / "a.gif", [Run("a", ONE), Run("b", ONE)])


# Notebooks, and what can be missing.


def test_a_notebook_shows_the_verdict_and_the_panels():
    bundle = lossgap.summarize(ONE)._repr_mimebundle_()
    assert bundle["text/plain"] == verdict.tell(ONE)
    assert escape(verdict.tell(ONE)) in bundle["text/html"]
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', bundle["text/html"])
    assert len(pictures) == 3
    assert all(base64.b64decode(picture).startswith(b"<svg") for picture in pictures)
    assert "<script" not in bundle["text/html"]


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_without_the_charts_extra_a_notebook_shows_text_and_charts_say_what_to_install(
    package, monkeypatch, tmp_path
):
    from lossgap.charts.panels import curves, gap, steps

    for template in (curves.template, gap.template, steps.template):
        template.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    assert set(lossgap.summarize(ONE)._repr_mimebundle_()) == {"text/plain"}
    with pytest.raises(MissingDependencyError, match=r'pip install "lossgap\[charts\]"'):
        write_report(tmp_path / "r.html", ONE)
