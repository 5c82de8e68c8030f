"""The command ``lossgap demo``: three small models, and what their training loss really is."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossgap.commands import digits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lossgap.core.measurement import Measurement
    from lossgap.core.summary import Summary

_LARGEST_SEED = 2**32 - 1


def demo(
    epochs: Annotated[int, typer.Option(min=1, help="Epochs for each model.")] = 10,
    seed: Annotated[
        int, typer.Option(min=0, max=_LARGEST_SEED, help="Seed of weights, order and masks.")
    ] = 0,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The page to write; its measurements go beside it, as *.jsonl."
        ),
    ] = Path("lossgap-demo.html"),
) -> None:
    """Train three small models on scikit-learn's digits and show their true loss.

    Each model has another cause for the gap between the loss that Keras reports and the
    loss on the data: dropout, penalties, or batch normalization and augmentation.
    """
    digits.prepare()
    console = Console()
    measured = {}
    for number, example in enumerate(digits.EXAMPLES, start=1):
        title = f"{number}. {example.title}"
        summary = _train(title, example.build, epochs, seed)
        _show(title, summary, console)
        measured[example.title] = summary.measurements
    _write(output, measured)
    typer.echo(f"Report: {output}")


def _train(title: str, build: Callable[[], Any], epochs: int, seed: int) -> "Summary":
    import keras

    import lossgap

    x, y = digits.load()
    keras.utils.set_random_seed(seed)
    model, callback = build(), lossgap.TrueLoss(seed=seed)
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
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


def _write(output: Path, measured: "Mapping[str, tuple[Measurement, ...]]") -> None:
    from lossgap.charts import Run, write_measurements, write_report

    runs = [Run(title, measurements) for title, measurements in measured.items()]
    write_measurements(output.with_suffix(".jsonl"), runs)
    write_report(output, runs, title="lossgap demo: three models, three causes")


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
