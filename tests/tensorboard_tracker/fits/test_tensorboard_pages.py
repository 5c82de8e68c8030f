"""The default tabs of a live TensorBoard in a real browser, after a training with Keras."""

import keras
import pytest

import event_logs
import lossgap
from lossgap.tensorboard.link import deep_link
from small import linear, regression

FOUR = ["train", "true", "validation", "validation_true"]
# What stands on the card of a tag: the names in its table, and the colours beside them.
ON_CARD = """
(tag) => [...document.querySelectorAll("card-view")]
  .filter((card) => card.querySelector(".tag")?.textContent.trim() === tag)
  .map((card) => [...card.querySelectorAll("tb-data-table-content-row")].map((row) => [
    row.textContent.trim().split(/\\s+/)[0],
    getComputedStyle(row.querySelector(".row-circle span")).backgroundColor]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Train beside the callback of Keras, and show its log directory."""
    log_dir = tmp_path_factory.mktemp("logs")
    x, y = regression()
    callbacks = [
        lossgap.TrueLoss(trackers="tensorboard", parts=True),
        keras.callbacks.TensorBoard(log_dir),
    ]
    model = linear(run_eagerly=True)
    model.fit(x, y, epochs=4, validation_split=0.2, callbacks=callbacks, verbose=0)
    with event_logs.serving(log_dir, load_fast="true") as running:
        tags = "data/plugin/scalars/tags"
        running.wait_for(lambda s: set(s.get(tags)) == set(event_logs.SUB_RUNS))
        yield running


@pytest.fixture
def visit(server, browser):
    """Return a function that opens an address of the server; afterwards no error was told."""
    said = []
    context = browser.new_context(viewport={"width": 1440, "height": 1800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)

    def open_(address):
        page.goto(address)
        return page

    yield open_
    context.close()
    assert said == []


def cards(page, tag, n_rows):
    """Return what the cards of a tag show, once there is one with so many rows."""
    page.wait_for_function(
        f"tag => ({ON_CARD})(tag).some((rows) => rows.length >= {n_rows})", arg=tag
    )
    return page.evaluate(ON_CARD, tag)


def test_four_curves_stand_on_one_card_with_no_configuration(server, visit):
    page = visit(server.address)
    (card,) = cards(page, "epoch_loss", 4)
    assert sorted(name for name, _ in card) == FOUR
    page.locator(
        "metrics-card-group-toolbar", has_text="epoch_mae"
    ).first.click()  # closed: the third
    (metric,) = cards(page, "epoch_mae", 3)
    assert sorted(name for name, _ in metric) == ["train", "true", "validation"]


def test_the_link_pins_the_card_without_smoothing_and_in_four_colours(server, visit):
    page = visit(deep_link(server.address))
    shown = cards(page, "epoch_loss", 4)
    assert len(shown) == 2  # pinned, and in its place
    assert sorted(name for name, _ in shown[0]) == FOUR
    assert len({colour for _, colour in shown[0]}) == 4
    assert page.locator("input[aria-labelledby=scalars-smoothing-label]").input_value() == "0"
    assert page.locator("metrics-pinned-view card-view").count() == 1


def test_the_custom_scalars_tab_draws_the_three_charts(server, visit):
    page = visit(f"{server.address}#custom_scalars")
    page.get_by_text("Matches (4)").nth(1).wait_for()  # four losses; the gap and three causes
    page.get_by_text("True loss", exact=True).wait_for()
    for title in ("reported and true loss", "regularization gap by cause", "95 % band"):
        assert page.get_by_text(title).count() == 1
    assert page.locator("tf-custom-scalar-multi-line-chart-card").count() == 2
    assert page.locator("tf-custom-scalar-margin-chart-card").count() == 1
