"""The command ``lossgap report``: one page about one or many runs."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lossgap.charts.render import Theme


def report(
    *,
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Where the measurements are: files of JSON lines (*.jsonl)."
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
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "True loss report",
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write one self-contained page about one or many runs: verdict, panels, table, method."""
    from lossgap.charts import readers
    from lossgap.charts.gif import write_gif
    from lossgap.charts.pictures import write_png, write_svg
    from lossgap.charts.report import write_report

    runs = [run for place in places for run in readers.read(place)]
    theme: Theme = "dark" if dark else "light"
    written = [write_report(output, runs, title=title)]
    if png is not None:
        written += write_png(png, runs, dpi=dpi, theme=theme)
    if svg is not None:
        written += write_svg(svg, runs, theme=theme)
    if gif is not None:
        written.append(write_gif(gif, runs[0], theme=theme))
    for path in written:
        typer.echo(str(path))
    if show:
        webbrowser.open(output.resolve().as_uri())
