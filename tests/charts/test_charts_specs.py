"""The specifications: the same as the golden ones, valid, drawable, and in colours all can tell."""

import gzip
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import altair as alt
import jsonschema
import numpy as np
import pytest
import vl_convert

import chart_samples
from lossgap.charts import PANELS, Run, palette, to_png, to_svg, waterfall
from lossgap.charts.frames import frame
from lossgap.charts.panels import base, panels_of
from lossgap.charts.template import template
from lossgap.core import keys
from lossgap.errors import DataError, InvalidArgumentError

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
# LOSSGAP_UPDATE_GOLDEN=1 writes them anew: look at the difference before you keep it.
UPDATE = os.environ.get("LOSSGAP_UPDATE_GOLDEN") == "1"
# Vega-Lite's own schema, version 5.20.1 (BSD-3-Clause).
SCHEMA = json.loads(gzip.decompress((HERE / "vega-lite-v5.20.1-schema.json.gz").read_bytes()))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

ONE = chart_samples.training(8, standard_error=0.004)
SOURCES = {
    "one_run": ONE,
    "two_runs": [Run("first", ONE), Run("second", chart_samples.training(8, base=0.2))],
    "gaps": chart_samples.with_gaps(),
    "injected": chart_samples.with_injected_names(parts=True),
    "long": chart_samples.training(300),
    "six_runs": [Run(f"run {i}", chart_samples.training(4, base=0.1 * i)) for i in range(1, 7)],
    "one_epoch": chart_samples.training(1),
}


def all_specs():
    for (source, measurements), (name, draw) in itertools.product(SOURCES.items(), PANELS.items()):
        yield pytest.param(lambda m=measurements, d=draw: d(frame(m)), id=f"{name}-{source}")
    yield pytest.param(lambda: waterfall(ONE[-1]), id="waterfall-one_run")
    yield pytest.param(
        lambda: waterfall(chart_samples.measurement(3, base=50.0)), id="waterfall-cut"
    )
    for name in PANELS:
        if name != "penalty_by_layer":
            yield pytest.param(
                lambda n=name: template(n, lambda c: f"lossgap/{c}"), id=f"{name}-template"
            )


@pytest.mark.parametrize("make", list(all_specs()))
def test_a_panel_is_a_layered_single_view_of_vega_lite_5(make):
    spec = make()
    assert spec["$schema"] == "https://vega.github.io/schema/vega-lite/v5.json"
    assert "layer" in spec
    assert not {"vconcat", "hconcat", "concat", "facet", "repeat"} & spec.keys()
    errors = [error.message for error in VALIDATOR.iter_errors(spec)]
    assert errors == []


@pytest.mark.parametrize("make", list(all_specs()))
# The oldest is the nearest to what W&B draws with.
@pytest.mark.parametrize("version", ["5.8", "5.14", "5.20", "5.21"])
def test_every_version_of_vega_lite_compiles_a_panel(make, version):
    compiled = vl_convert.vegalite_to_vega(json.dumps(make()), vl_version=version)
    assert compiled["marks"]


@pytest.mark.parametrize(
    ("name", "source"), [*itertools.product(PANELS, ["one_run", "two_runs", "gaps"])]
)
def test_a_panel_is_the_golden_one(name, source):
    check_golden(f"{name}-{source}", PANELS[name](frame(SOURCES[source])))


def test_the_waterfall_is_the_golden_one():
    check_golden("waterfall-one_run", waterfall(ONE[-1]))


def test_the_template_is_the_golden_one():
    check_golden("loss_comparison-template", template("loss_comparison", lambda c: f"lossgap/{c}"))


def check_golden(name, spec):
    path = GOLDEN / f"{name}.json"
    text = json.dumps(rounded(spec), indent=1, sort_keys=True, ensure_ascii=True) + "\n"
    if UPDATE:
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; LOSSGAP_UPDATE_GOLDEN=1 writes it anew"


def rounded(value):
    """Return ``value`` with numbers as all platforms compute them: to twelve digits."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: rounded(member) for key, member in value.items()}
    return [rounded(member) for member in value] if isinstance(value, list) else value


def test_no_golden_file_is_left_over():
    tests = {f"{n}-{s}" for n, s in itertools.product(PANELS, ["one_run", "two_runs", "gaps"])}
    tests |= {"waterfall-one_run", "loss_comparison-template"}
    assert {path.stem for path in GOLDEN.glob("*.json")} == tests


@pytest.mark.parametrize("make", list(all_specs()))
def test_every_panel_renders(make):
    spec = make()
    assert to_png(spec, scale=0.5).startswith(b"\x89PNG")
    assert "<svg" in to_svg(spec)


@pytest.mark.parametrize("n", [1, 8])
def test_panels_of_a_training_without_parts_render(n):
    """Measured with ``parts=False``: a gap, and no causes of it."""
    measurements = [replace(m, parts={}, penalties=()) for m in chart_samples.training(n)]
    specs = panels_of(frame(measurements), measurements)
    assert "gap_by_cause" in specs
    assert all("<svg" in to_svg(spec) for spec in specs.values())


def test_a_picture_for_print_has_300_dots_per_inch():
    from io import BytesIO

    from PIL import Image

    spec = waterfall(ONE[-1])
    screen, printed = (Image.open(BytesIO(to_png(spec, dpi=dpi))) for dpi in (72, 300))
    assert printed.width == pytest.approx(screen.width * 300 / 72, abs=3)
    assert printed.info["dpi"] == pytest.approx((300, 300), abs=0.5)


@pytest.mark.parametrize("scale", [0, -1, 1000])
def test_a_picture_without_a_sensible_size_is_refused(scale):
    with pytest.raises(InvalidArgumentError, match="scale above 0"):
        to_png(waterfall(ONE[-1]), scale=scale)


def test_a_drawn_panel_shares_nothing_with_the_next_one():
    first, second = (PANELS["loss_comparison"](frame(ONE)) for _ in range(2))
    assert first == second
    first["layer"].clear()
    assert second["layer"]
    assert PANELS["loss_comparison"](frame(ONE)) == second


def test_losses_that_span_decades_get_a_log_scale():
    assert base.scale_of([0.001, 1.0]) == "log"
    assert base.scale_of([0.0, 1.0]) == "zero"
    assert base.scale_of([-0.1, 100.0]) == "free"
    assert base.scale_of([0.9, 1.0]) == "free"
    assert base.scale_of([]) == "free"


def test_panels_without_numbers_are_left_out():
    from lossgap import Measurement

    bare = [Measurement(0.5, epoch=0), Measurement(0.4, epoch=1)]
    assert list(panels_of(frame(bare), bare)) == ["loss_comparison"]
    assert list(panels_of(frame(ONE), ONE)) == [*PANELS, "waterfall"]


def test_nothing_to_draw_is_an_error():
    for nothing in ([], [Run("empty", ())]):
        with pytest.raises(DataError, match="nothing to draw"):
            frame(nothing)
    with pytest.raises(DataError, match="needs a reported and a true loss"):
        waterfall(chart_samples.with_gaps()[2])


# Colours.

SEEN_BY = {
    "normal": np.eye(3),
    # Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
COLOURS = {
    "losses": [look.colour for look in palette.LOSSES.values()],
    "parts": [
        *(look.colour for look in palette.PARTS.values()),
        palette.LOSSES["reported_loss"].colour,
        palette.LOSSES["true_loss"].colour,
    ],
    "layers": [*palette.LAYERS, palette.REST],
}


def linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb):
    matrix = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = matrix @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("page", palette.PAGES.values())
def test_every_colour_stands_out_from_light_and_dark_pages(page):
    for colour in {*itertools.chain(*COLOURS.values()), palette.INK}:
        assert contrast(colour, page) >= 3, colour


@pytest.mark.parametrize("theme", palette.PAGES)
def test_text_can_be_read_in_its_theme(theme):
    assert contrast(palette.INKS[theme][0], palette.PAGES[theme]) >= 7


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("group", COLOURS)
def test_colours_that_meet_in_a_panel_can_be_told_apart(eyes, group):
    seen = [lab(SEEN_BY[eyes] @ linear(colour)) for colour in COLOURS[group]]
    for (a, first), (b, second) in itertools.combinations(
        zip(COLOURS[group], seen, strict=True), 2
    ):
        assert np.linalg.norm(first - second) >= 14, (a, b)


def test_every_quantity_has_one_colour():
    assert list(palette.PARTS) == list(keys.PARTS)
    looks = [*palette.LOSSES.values(), *palette.PARTS.values()]
    assert len({look.colour for look in looks}) == len(looks)
    assert len({look.short for look in looks}) == len(looks)


def test_altair_brings_the_schema_that_the_layers_are_checked_with():
    assert alt.SCHEMA_VERSION.startswith(("v5.", "v6."))
