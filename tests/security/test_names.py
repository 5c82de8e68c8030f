"""Names of models, layers, metrics and runs are text everywhere, whatever is in them."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import keras
import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

import event_logs
import lossgap
from lossgap.charts import Run, pictures, readers, render, report, write_measurements
from lossgap.commands import app
from lossgap.commands.report import _register
from lossgap.commands.tables import loss_table
from lossgap.core import keys
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.mlflow import MLflowTracker
from lossgap.mlflow.names import LONGEST_NAME, named
from lossgap.redaction import shown
from lossgap.trackers import journal
from lossgap.wandb import rows
from mutations import NAMES, SURROGATE
from small import regression

ALL = (*NAMES, SURROGATE)
ANY = st.text(max_size=200) | st.sampled_from(ALL)
MODERATELY = settings(max_examples=40)


def measurement(*names):
    """Return a measurement in which layers, kinds of penalty and metrics have these names."""
    return Measurement(
        0.5,
        epoch=0,
        reported_loss=0.6,
        val_loss=0.55,
        true_val_loss=0.52,
        parts={"penalty": Part(0.1)},
        penalties=tuple(Penalty(name, name, 0.1) for name in names),
        metrics={name: MetricValues(0.3, 0.2, 0.1) for name in names},
    )


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and the addresses that it loads."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.loaded, self.policy = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        found = dict(attrs)
        self.loaded += [found[a] for a in ("src", "href", "data", "action", "srcset") if a in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]


@MODERATELY
@given(ANY, ANY, ANY)
def test_a_page_has_the_same_elements_whatever_the_names(run, name, title):
    with mock.patch.object(render, "script", str):  # a megabyte that has no names in it
        plain = Page(report.to_html([Run("run", (measurement("name"),))], title="title"))
        page = report.to_html([Run(run, (measurement(name),))], title=title)
    found = Page(page)
    assert found.elements == plain.elements
    assert found.loaded == plain.loaded == ["data:,"]
    page.encode()  # what no file can hold isn't in it


def test_a_page_may_load_nothing():
    """The policy stands in the page; what is loaded in spite of it, the browser tests see."""
    policy = Page(report.to_html([Run("run", (measurement("name"),))])).policy
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    sources = [part.split()[1:] for part in policy.split(";")]
    assert {word for part in sources for word in part} <= {
        *("'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:")
    }


@MODERATELY
@given(ANY)
def test_names_are_literals_in_the_expressions_of_a_chart(name):
    from lossgap.charts.panels import base

    assert json.loads(base.text(name)) == name
    assert base.text(name).isascii()


@pytest.mark.parametrize(
    "name",
    ["<img src=x onerror=a>'\"\\", "]; a//", SURROGATE, "\\\0\x1f", "x" * 10_000, *NAMES[:3]],
)
def test_panels_are_drawn_whatever_the_names(name):
    runs = [Run(name, (measurement(name),)), Run("b", (measurement(name),))]
    for spec in (lossgap.charts.loss_comparison(runs), lossgap.charts.penalty_by_layer(runs[:1])):
        svg = render.to_svg(spec)
        assert "<img" not in svg
        assert "<script" not in svg


@pytest.mark.parametrize("name", NAMES)
def test_pictures_stay_in_their_folder(name, tmp_path):
    place = tmp_path / "a" / "b"
    runs = [Run(name, (measurement("m"),)), Run("other", (measurement("m"),))]
    for path in pictures.write_svg(place, runs):
        assert path.resolve().parent.parent == place
        assert re.fullmatch(r"00\d-[A-Za-z0-9_.-]+", path.parent.name)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@MODERATELY
@given(st.lists(ANY, max_size=4))
def test_a_verdict_which_is_read_as_markdown_has_none_of_the_names(names):
    odd = Summary((measurement(*names),)).verdict
    assert odd == Summary((measurement("plain"),)).verdict


def test_a_part_of_an_unknown_name_is_not_named_in_the_verdict():
    odd = Measurement(0.5, reported_loss=0.9, parts={"[a](http://x)": Part(0.4)})
    told = Summary((odd,)).verdict
    assert "a cause unknown to this version of lossgap" in told
    assert "http" not in told


@MODERATELY
@given(ANY)
def test_a_table_in_the_terminal_has_none_of_the_names(name):
    screen = Console(file=io.StringIO(), width=200, force_terminal=True)
    screen.print(loss_table([measurement(name)], screen))
    odd = screen.file.getvalue()
    screen.file = io.StringIO()
    screen.print(loss_table([measurement("plain")], screen))
    assert odd == screen.file.getvalue()


@given(ANY)
def test_what_is_shown_steers_no_terminal(name):
    text = shown(name)
    for steering in ("\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066", "\0"):
        assert steering not in text
    text.encode()


def test_names_in_a_file_steer_no_terminal_when_they_are_told(tmp_path, monkeypatch):
    from lossgap import cli

    evil = "\x1b]0;owned\x07[red]\x1b[2J"
    write_measurements(tmp_path / "x.jsonl", [Run(evil, (measurement("m"),))])
    path = str(tmp_path / "x.jsonl")
    written = io.StringIO()
    monkeypatch.setattr("sys.argv", ["lossgap", "report", path, "--run", "another"])
    monkeypatch.setattr("sys.stderr", written)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "owned" in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_the_name_of_a_journal_is_neither_markup_nor_an_escape_sequence():
    journal.folder().mkdir(parents=True)
    (journal.folder() / f"[red][x]\x1b[2J{journal.ENDING}").write_bytes(b"no journal")
    for arguments in (["sync"], ["sync", "--list"], ["sync", "--json"]):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 1
        assert "[red][x]" in result.output
        assert "\x1b" not in result.output


# Trackers.


@given(st.lists(ANY, max_size=6, unique=True))
def test_names_for_mlflow_are_those_that_it_takes(names):
    found = named({keys.tracked(keys.true_metric(name)): 1.0 for name in names})
    assert len(found) == len(names)
    for name in found:
        assert re.fullmatch(r"lossgap/[\w.\- :]+", name, flags=re.ASCII)
        assert len(name) <= LONGEST_NAME
        assert ".." not in name


def test_mlflow_takes_all_names_and_gives_the_numbers_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("odd", artifact_location=str(tmp_path / "artifacts"))
    for run_name in ("<img src=x onerror=a>", "[red]\x1b[2J", "x" * 10_000, "../../x"):
        run = client.create_run(experiment, run_name=run_name)
        tracker = MLflowTracker(run.info.run_id, tracking_uri=uri)
        tracker.start(Training({}))
        odd = measurement(*NAMES)
        tracker.log(odd, 1e9)
        tracker.finish(Summary((odd,)), failed=False)
        metrics = client.get_run(run.info.run_id).data.metrics
        assert len(metrics) >= len(NAMES) + 5
        page = client.download_artifacts(run.info.run_id, "lossgap/true_loss.html", tmp_path)
        assert "<img src=x" not in Path(page).read_text(encoding="utf-8")
    _register()
    assert len(readers.read(uri)) == 4


def test_event_files_take_all_names(tmp_path):
    event_logs.write(tmp_path, [measurement(*ALL)])
    (run,) = lossgap.tensorboard.reader.read(str(tmp_path))
    assert list(run.measurements[0].metrics) == [*NAMES, SURROGATE.replace("\ud800", "?")]
    assert sorted(path.name for path in tmp_path.iterdir()) == event_logs.SUB_RUNS


@given(st.lists(ANY, max_size=4, unique=True))
def test_rows_of_wandb_have_keys_that_it_takes(names):
    for key in rows.row(measurement(*names)):
        assert key.startswith(keys.NAMESPACE)
        key.encode()
        assert "*" not in key


@pytest.mark.parametrize("name", ["<img onerror=a>", "[red]x[/]", "\x1b[2J", "é" * 1000, "a*b"])
def test_a_training_goes_on_whatever_the_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = regression()
    # TensorFlow itself refuses most of them as names of layers.
    metric = keras.metrics.MeanSquaredError(name=name)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[metric])
    true_loss = lossgap.TrueLoss(x, y, trackers=lossgap.tensorboard.TensorBoardTracker("logs"))
    model.fit(x, y, epochs=1, verbose=0, callbacks=[true_loss])
    (measured,) = true_loss.measurements
    assert list(measured.metrics) == [name]
    report.to_html(true_loss.measurements)
