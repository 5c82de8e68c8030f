"""The command ``lossgap report``: one page about one or many runs."""

import webbrowser
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lossgap.commands.conventions import AsJson, print_json
from lossgap.errors import DataError

READERS: Final = ("mlflow", "wandb", "tensorboard")
"""The trackers' packages whose places can be read."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lossgap.charts.frames import Run
    from lossgap.charts.render import Theme


def report(
    *,
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE...",
            help="Where the measurements are: files of JSON lines (*.jsonl), log directories of "
            "TensorBoard, run folders of W&B, or an MLflow tracking URI, with ?experiment=NAME or "
            "?runs=ID,ID to choose.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path(
        "lossgap-report.html"
    ),
    png: Annotated[
        Path | None, typer.Option("--png", help="Directory for the panels as PNG pictures.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Directory for the panels as SVG pictures.")
    ] = None,
    gif: Annotated[
        Path | None,
        typer.Option(
            "--gif",
            help="File for an animation of the first run: from the standard plot to the true one.",
        ),
    ] = None,
    dpi: Annotated[
        float, typer.Option("--dpi", min=1, max=720, help="Dots per inch of PNG pictures.")
    ] = 144,
    dark: Annotated[bool, typer.Option("--dark", help="Draw pictures for dark pages.")] = False,
    run: Annotated[
        str, typer.Option("--run", metavar="TEXT", help="Only runs with this text in their name.")
    ] = "",
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "True loss report",
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page about one or many runs: verdict, panels, table, method."""
    runs = _chosen(places, run)
    theme: Theme = "dark" if dark else "light"
    written = []
    for path in _written(runs, output, title, png=png, svg=svg, gif=gif, dpi=dpi, theme=theme):
        written.append(str(path))
        if not as_json:
            typer.echo(written[-1])
    if as_json:
        print_json({"files": written, "runs": [_record(run) for run in runs]})
    if show:
        webbrowser.open(output.resolve().as_uri())


def _record(run: "Run") -> dict[str, Any]:
    """Return what ``--json`` tells of a run: its last measurement, and the verdict."""
    from lossgap.core.summary import summarize

    return {
        "name": run.name,
        "n_measurements": len(run.measurements),
        "last": run.measurements[-1].to_dict(),
        "verdict": summarize(run.measurements).verdict,
    }


def _chosen(places: list[str], text: str) -> "list[Run]":
    from lossgap.charts import readers

    _register()
    found = [run for place in places for run in readers.read(place)]
    runs = [run for run in found if text in run.name]
    if not runs:
        names = ", ".join(repr(run.name) for run in found[:10])
        raise DataError(f"No run has {text!r} in its name. Some of those there are: {names}.")
    return runs


def _register() -> None:
    """Make the readers of the trackers' packages known, once."""
    from lossgap.charts import readers

    for package in READERS:
        reader = import_module(f"lossgap.{package}.reader").READER
        if reader not in readers.readers():
            readers.register(reader)


def _written(
    runs: "list[Run]",
    output: Path,
    title: str,
    *,
    png: Path | None,
    svg: Path | None,
    gif: Path | None,
    dpi: float,
    theme: "Theme",
) -> "Iterator[Path]":
    """Write what is asked for, and yield each path once its file is there."""
    from lossgap.charts.gif import write_gif
    from lossgap.charts.pictures import write_png, write_svg
    from lossgap.charts.report import write_report

    yield write_report(output, runs, title=title)
    if png is not None:
        yield from write_png(png, runs, dpi=dpi, theme=theme)
    if svg is not None:
        yield from write_svg(svg, runs, theme=theme)
    if gif is not None:
        yield write_gif(gif, runs[0], theme=theme)
