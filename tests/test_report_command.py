"""``lossgap report``: from files of measurements to a page, pictures and an animation."""

import json
import webbrowser

import pytest
from typer.testing import CliRunner

import chart_samples
from lossgap.charts import Run, write_measurements
from lossgap.commands import app
from lossgap.errors import DataError

RUNNER = CliRunner()


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Return a file of two runs; the working directory is an empty one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs.jsonl"
    runs = [
        Run("first", chart_samples.training(4)),
        Run("second", chart_samples.training(4, base=0.3)),
    ]
    write_measurements(path, runs)
    return path


def report(*arguments):
    return RUNNER.invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)


def test_a_page_is_written_and_named(lines, tmp_path):
    result = report(lines)
    assert result.exit_code == 0
    assert result.output.split() == ["lossgap-report.html"]
    assert "True loss report" in (tmp_path / "lossgap-report.html").read_text(encoding="utf-8")


def test_several_files_make_one_page(lines, tmp_path):
    other = tmp_path / "other.jsonl"
    write_measurements(other, [Run("third", chart_samples.training(2))])
    assert report(lines, other, "-o", "page.html", "--title", "Three runs").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>Three runs</title>" in page
    assert all(f'"name":"{name}"' in page for name in ("first", "second", "third"))


def test_pictures_and_the_animation_are_written_and_named(lines, tmp_path):
    result = report(
        lines, "--png", "png", "--svg", "svg", "--gif", "plot.gif", "--dpi", 72, "--dark"
    )
    assert result.exit_code == 0
    named = result.output.split()
    assert all((tmp_path / name).stat().st_size for name in named)
    assert len(list(tmp_path.glob("png/*/*.png"))) == len(list(tmp_path.glob("svg/*/*.svg"))) == 10
    assert "plot.gif" in named


def test_the_page_is_opened_when_asked(lines, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    report(lines)
    assert opened == []
    report(lines, "--open")
    assert opened == [(tmp_path / "lossgap-report.html").as_uri()]


def test_runs_are_chosen_by_their_names(lines, tmp_path):
    assert report(lines, "--run", "sec", "--png", "png", "--dpi", 72).exit_code == 0
    assert len(list(tmp_path.glob("png/*.png"))) == 5
    with pytest.raises(DataError, match=r"No run has 'third' in its name.*'first', 'second'"):
        report(lines, "--run", "third")


@pytest.mark.parametrize("place", ["missing.jsonl", "runs.txt"])
@pytest.mark.usefixtures("lines")
def test_what_cannot_be_read_is_named_and_nothing_is_written(place, tmp_path):
    with pytest.raises(DataError, match=place):
        report(place)
    assert not (tmp_path / "lossgap-report.html").exists()


@pytest.mark.parametrize("arguments", [[], ["x.jsonl", "--dpi", "0"], ["x.jsonl", "--dpi", "9999"]])
def test_wrong_arguments_are_refused(arguments):
    assert report(*arguments).exit_code == 2


def test_scripts_get_the_files_and_the_last_measurement_of_each_run(lines):
    answer = json.loads(report(lines, "--json").output)
    assert answer["files"] == ["lossgap-report.html"]
    last = chart_samples.training(4)[-1]
    first, second = answer["runs"]
    assert (first["name"], second["name"]) == ("first", "second")
    assert first["n_measurements"] == 4
    assert first["last"]["true_loss"] == last.true_loss
    assert f"{last.true_loss:.4f}" in first["verdict"]
