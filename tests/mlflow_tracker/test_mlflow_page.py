"""MLflow's own page in a real browser: the saved view, and the page among the artifacts."""

import re

import mlflow
import pytest

import lossgap
from small import linear, regression

PLENTY = 120_000
"""Milliseconds that a slow machine may take to draw."""


@pytest.fixture
def logged(_current, server):
    """Train two models behind a live server, and return the printed address and the last run."""
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_experiment("page")
    x, y = regression()
    for seed in (1, 2):
        with mlflow.start_run() as run:
            callback = lossgap.TrueLoss(x, y, trackers="mlflow")
            linear(seed=seed).fit(
                x, y, epochs=6, validation_data=(x[:20], y[:20]), verbose=0, callbacks=[callback]
            )
    tags = mlflow.MlflowClient().get_experiment(run.info.experiment_id).tags
    assert "mlflow.sharedViewState.lossgap-true-loss" in tags
    yield server.uri, run
    mlflow.set_tracking_uri(None)


@pytest.fixture
def page(browser):
    """Return a page that is wide enough for two charts in a row."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    context.set_default_timeout(PLENTY)
    yield context.new_page()
    context.close()


def test_the_printed_address_shows_reported_and_true_loss_in_one_chart(logged, page, tmp_path):
    uri, run = logged
    address = (
        f"{uri}/#/experiments/{run.info.experiment_id}/runs"
        "?viewStateShareKey=lossgap-true-loss&compareRunsMode=CHART"
    )
    page.goto(address)
    page.get_by_text("True loss: reported, true and validation").wait_for()
    # Plotly draws a path per curve: two runs, and reported, true, val and true val of each.
    chart = page.locator(".js-plotly-plot").first
    chart.locator(".scatterlayer .trace").nth(7).wait_for(state="attached")
    legend = page.get_by_text(re.compile(r"\(lossgap/true_loss\)"))
    legend.first.wait_for()
    assert page.get_by_text(re.compile(r"\(lossgap/reported_loss\)")).count() >= 1
    page.screenshot(path=tmp_path / "view.png")


def test_the_html_artifact_draws_inside_mlflows_page(logged, page, tmp_path):
    uri, run = logged
    page.goto(
        f"{uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        "/artifacts/lossgap/true_loss.html"
    )
    frame = page.frame_locator("iframe").first
    frame.locator("svg, canvas").first.wait_for(state="attached")
    frame.get_by_text("true loss").first.wait_for()
    page.screenshot(path=tmp_path / "artifact.png")
