"""The report in a real browser, from disk: pointing, switching curves, choosing runs, themes."""

from dataclasses import replace

import pytest

import chart_samples
from lossgap.charts import Run, palette, write_report

ONE = chart_samples.training(8, standard_error=0.004)
LOSSES = ["reported_loss", "true_loss", "true_val_loss", "val_loss"]
ROWS = "document.getElementById('loss_comparison').lossgapView.data('measurements')"
# The curves that are drawn, and where: read from Vega's own scene.
DRAWN = """
id => {
  const view = document.getElementById(id).lossgapView;
  const y = view.scale("y"), x = view.scale("x");
  const found = {};
  const walk = (node) => {
    if (node.name === "lines_marks" && node.items.length) {
      found[node.items[0].datum.quantity] = node.items.map((item) => [
        x.invert(item.x), item.defined === false ? null : y.invert(item.y)]);
    }
    (node.items || []).forEach(walk);
  };
  walk(view.scenegraph().root);
  return found;
}
"""


@pytest.fixture
def report(tmp_path, open_page):
    """Return a function that writes a report and opens it."""

    def show(source, **options):
        return open_page(write_report(tmp_path / "report.html", source), **options)

    return show


def drawn(page, figure="loss_comparison"):
    return page.evaluate(DRAWN, figure)


def legend(page, figure, name):
    """Return where the legend's entry stands on the canvas."""
    return page.evaluate(
        """([id, name]) => {
          const view = document.getElementById(id).lossgapView;
          let place = null;
          const walk = (node, x, y) => {
            if (node.role === "legend-label") {
              for (const item of node.items) {
                if (item.datum.value === name) place = [x + item.x + 5, y + item.y];
              }
            }
            for (const item of node.items || []) {
              const group = item.marktype === undefined;
              walk(item, x + (group ? item.x || 0 : 0), y + (group ? item.y || 0 : 0));
            }
          };
          walk(view.scenegraph().root, 0, 0);
          const origin = view.origin();
          return [place[0] + origin[0], place[1] + origin[1]];
        }""",
        [figure, name],
    )


def click_legend(page, name, figure="loss_comparison"):
    x, y = legend(page, figure, name)
    page.click(f"#{figure} canvas", position={"x": x, "y": y})
    page.wait_for_timeout(100)


def test_the_first_screen_says_which_loss_is_real_how_large_the_gap_is_and_why(report):
    page = report(Run("digits", ONE))
    last = ONE[-1]
    tiles = page.locator(".tile").all_inner_texts()
    assert f"{last.reported_loss:.4g}" in tiles[0]
    assert "what Keras prints" in tiles[0]
    assert f"{last.true_loss:.4g}" in tiles[1]
    assert "the real loss on your training data" in tiles[1]
    assert f"+{last.regularization_gap:.4g}" in tiles[2]
    assert "causes: penalties, dropout" in tiles[2]
    for name in ("#verdict", "#loss_comparison canvas", "#waterfall canvas"):
        box = page.locator(name).bounding_box()
        assert box["height"] > 20
        assert box["y"] + box["height"] <= 900


def test_the_curves_are_drawn_where_they_were_measured(report):
    found = drawn(report(ONE))
    assert sorted(found) == LOSSES
    for name, points in found.items():
        assert [x for x, _ in points] == pytest.approx(list(range(1, 9)))
        assert [y for _, y in points] == pytest.approx([getattr(m, name) for m in ONE])


def test_pointing_at_a_curve_shows_all_its_numbers(report):
    page = report(ONE)
    page.hover("#loss_comparison canvas", position={"x": 300, "y": 200})
    page.wait_for_selector("#vg-tooltip-element.visible")
    text = page.inner_text("#vg-tooltip-element")
    for name in ("epoch", "reported loss", "true loss", "gap (reported", "· dropout", "· drift"):
        assert name in text
    assert "(95 %)" in text


def test_the_legend_switches_a_curve_off_and_on_again(report):
    page = report(ONE)
    click_legend(page, "val_loss")
    assert sorted(drawn(page)) == ["reported_loss", "true_loss", "true_val_loss"]
    click_legend(page, "reported_loss")
    assert sorted(drawn(page)) == ["true_loss", "true_val_loss"]
    click_legend(page, "val_loss")
    click_legend(page, "reported_loss")
    assert sorted(drawn(page)) == LOSSES


def test_a_part_is_switched_off_and_the_stack_closes(report):
    page = report(ONE)
    heights = "() => document.getElementById('gap_by_cause').lossgapView.scale('y').domain()"
    before = page.evaluate(heights)
    click_legend(page, "gap_batch_norm", "gap_by_cause")
    after = page.evaluate(heights)
    assert before[0] < 0 <= after[0]


def test_the_wheel_zooms_with_ctrl_and_a_double_click_goes_back(report):
    page = report(ONE)
    domain = "() => document.getElementById('loss_comparison').lossgapView.scale('x').domain()"
    whole = page.evaluate(domain)
    page.hover("#loss_comparison canvas", position={"x": 300, "y": 250})
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    assert page.evaluate(domain) == whole
    page.mouse.move(720, 450)
    page.evaluate("scrollTo(0, 0)")
    page.hover("#loss_comparison canvas", position={"x": 300, "y": 250})
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_timeout(200)
    low, high = page.evaluate(domain)
    assert high - low < whole[1] - whole[0]
    page.dblclick("#loss_comparison canvas", position={"x": 300, "y": 250})
    page.wait_for_timeout(200)
    assert page.evaluate(domain) == whole


def test_names_from_attackers_are_shown_as_text(report):
    page = report(Run(chart_samples.INJECTION, chart_samples.with_injected_names()))
    assert page.inner_text("#name") == chart_samples.INJECTION
    assert chart_samples.INJECTION in page.inner_text("#epochs")
    box = page.locator("#penalty_by_layer canvas").bounding_box()
    page.hover("#penalty_by_layer canvas", position={"x": 150, "y": box["height"] - 80})
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert chart_samples.INJECTION in page.inner_text("#vg-tooltip-element")
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_readers_theme(report, scheme):
    page = report(ONE, color_scheme=scheme)
    r, g, b = (int(palette.PAGES[scheme][i : i + 2], 16) for i in (1, 3, 5))
    painted = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert painted == f"rgb({r}, {g}, {b})"
    other = "dark" if scheme == "light" else "light"
    page.emulate_media(color_scheme=other)
    page.wait_for_timeout(500)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != painted


def test_choosing_a_run_changes_everything(report):
    runs = [Run("first", ONE), Run("second", chart_samples.training(5, base=0.4))]
    page = report(runs)
    assert page.locator("#together canvas").count() == 1
    page.select_option("#run", label="second")
    page.wait_for_function(f"{ROWS}.length === 5")
    assert [y for _, y in drawn(page)["true_loss"]] == pytest.approx(
        [m.true_loss for m in runs[1].measurements]
    )
    assert page.locator("#epochs tbody tr").count() == 5
    assert f"{runs[1].measurements[-1].true_loss:.4g}" in page.inner_text("#headline")
    page.click("#runs button:has-text('first')")
    page.wait_for_function(f"{ROWS}.length === 8")


def test_gaps_stay_gaps_and_the_table_names_them(report):
    measurements = chart_samples.with_gaps()
    page = report(measurements)
    found = drawn(page)
    assert [y is None for _, y in found["reported_loss"]] == [i == 2 for i in range(8)]
    rows = page.locator("#epochs tbody tr").all_inner_texts()
    assert "NaN" in rows[2]
    assert "∞" in rows[6]
    assert "\N{EN DASH}" in rows[4]


def test_a_hundred_long_runs_can_be_used(report):
    runs = [Run(f"run {i}", chart_samples.training(1000, base=0.1 + i / 1000)) for i in range(100)]
    spiky = list(runs[7].measurements)
    spiky[500] = replace(spiky[500], reported_loss=3.0)
    runs[7] = Run("spiky", tuple(spiky))
    page = report(runs)
    assert "of 1000 measurements" in page.inner_text("#thinned")
    assert page.locator("#runs tbody tr").count() == 100
    page.select_option("#run", label="spiky")
    page.wait_for_function(f"{ROWS}.some((row) => row.reported_loss === 3)")
    page.locator("#multiples figure").last.scroll_into_view_if_needed()
    page.wait_for_selector("#multiples figure:last-child canvas")


def test_the_method_can_be_unfolded(report):
    page = report(ONE)
    assert not page.locator("#terms").is_visible()
    page.click("summary:has-text('How these numbers were measured')")
    assert "estimate on 1,000 of 60,000 samples" in page.inner_text("#method")
    assert "Shapley" in page.inner_text("#terms")


def test_a_narrow_window_shows_one_panel_beside_none(report):
    page = report(ONE)
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_timeout(800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
