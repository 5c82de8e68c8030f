"""The command ``lossgap demo``: three small models, and what their training loss really is."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from lossgap.commands import demo_places, digits
from lossgap.commands.conventions import AsJson, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lossgap.core.summary import Summary
    from lossgap.trackers.protocol import Tracker

_LARGEST_SEED: Final = 2**32 - 1
_REPORT: Final = "report.html"
_MEASUREMENTS: Final = "measurements.jsonl"


def demo(
    *,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Epochs for each model.")] = 10,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=_LARGEST_SEED, metavar="N", help="Seed of weights, order and masks."
        ),
    ] = 0,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the report and for what is logged."
        ),
    ] = Path("lossgap-demo"),
    show: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train three small models on scikit-learn's digits and show their true loss.

    Each model has another cause for the gap between the loss that Keras reports and the
    loss on the data: dropout, penalties, or batch normalization and augmentation.

    Writes a report page, and logs to those of MLflow, TensorBoard and Weights & Biases that
    are installed, all in one folder: nothing leaves this machine. At the end it prints the
    commands that show each.
    """
    digits.prepare()
    output.mkdir(parents=True, exist_ok=True)
    console = Console(quiet=as_json)
    there, absent = demo_places.installed()
    summaries = {}
    for number, example in enumerate(digits.EXAMPLES, start=1):
        title = f"{number}. {example.title}"
        with demo_places.opened(there, output, example.name) as trackers:
            summaries[example.title] = _train(title, example, epochs, seed, trackers)
        _show(title, summaries[example.title], console)
    report = _write(output, summaries)
    if as_json:
        print_json(_record(report, summaries, there))
    else:
        _tell(report, there, absent)
    if show and not webbrowser.open(report.absolute().as_uri()):
        typer.echo(f"No browser was found. Open {demo_places.shown(report)} in one.", err=True)


def _train(
    title: str, example: digits.Example, epochs: int, seed: int, trackers: "list[Tracker]"
) -> "Summary":
    import keras

    import lossgap

    x, y = digits.load()
    keras.utils.set_random_seed(seed)
    model, callback = example.build(), lossgap.TrueLoss(seed=seed, trackers=trackers)
    with progress_bar() as bar:
        task = bar.add_task(f"{title}: epoch", total=epochs)
        advance = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: bar.advance(task))
        lossgap.fit(
            model,
            x,
            y,
            epochs=epochs,
            validation_split=0.2,
            verbose=0,
            callbacks=[advance],
            true_loss=callback,
        )
    return callback.summary()


def _write(folder: Path, summaries: "Mapping[str, Summary]") -> Path:
    from lossgap.charts import Run, write_measurements, write_report

    runs = [Run(title, summary.measurements) for title, summary in summaries.items()]
    write_measurements(folder / _MEASUREMENTS, runs)
    return write_report(folder / _REPORT, runs, title="lossgap demo: three models, three causes")


def _show(title: str, summary: "Summary", console: Console) -> None:
    from lossgap.commands.tables import loss_table

    console.print(title, style="bold")
    console.print(loss_table(summary.measurements, console), "")
    console.print(_cost(summary), style="dim", highlight=False)
    console.print(summary.verdict, end="\n\n", highlight=False)


def _cost(summary: "Summary") -> str:
    seconds, fit_seconds = summary.measurement_seconds, summary.fit_seconds or 0.0
    share = f"{seconds / fit_seconds:.1%} of the fit's {fit_seconds:.1f} s; "
    n = len(summary.measurements)
    return (
        f"Cost: {seconds:.2f} s for {n} measurement{'s' if n > 1 else ''}, {share}"
        f"besides, {summary.compile_seconds or 0.0:.1f} s of compilation, once per fit."
    )


def _tell(report: Path, there: list[demo_places.Place], absent: list[demo_places.Place]) -> None:
    """Print how to look at what was written; lines that are too long for a terminal stay whole."""
    typer.echo("To look at it:\n\nReport")
    typer.echo(f"  open {demo_places.shown(report)} in a browser")
    for place in there:
        typer.echo(place.title)
        for command, what in place.commands(report.parent):
            typer.echo(f"  {command}\n    {what}")
    if absent:
        names = " and ".join(place.title for place in absent)
        extras = ",".join(place.extra for place in absent)
        typer.echo(f'\nNot installed, so left out: {names}. pip install "lossgap[{extras}]"')


def _record(
    report: Path, summaries: "Mapping[str, Summary]", there: list[demo_places.Place]
) -> dict[str, Any]:
    """Return what ``--json`` prints: all measurements, and the commands that show them."""
    return {
        "report": str(report),
        "models": [
            {
                "title": title,
                "verdict": summary.verdict,
                "measurements": [m.to_dict() for m in summary.measurements],
            }
            for title, summary in summaries.items()
        ],
        "commands": {
            place.extra: [command for command, _ in place.commands(report.parent)]
            for place in there
        },
    }
