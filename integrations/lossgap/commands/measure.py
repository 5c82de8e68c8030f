"""The command ``lossgap measure``: the true loss of one saved model."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lossgap.commands.conventions import AsJson, print_json
from lossgap.commands.options import (
    BatchSize,
    CodePath,
    Data,
    FirstEpoch,
    Log,
    Model,
    NoParts,
    Pattern,
    RunId,
    Trackers,
    measuring,
)
from lossgap.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lossgap.core.measurement import Measurement
    from lossgap.watch.watcher import Measuring


class Engine(StrEnum):
    """What runs the pass over the data."""

    LOCAL = "local"
    RAY = "ray"


def measure(
    *,
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A .keras file, or weights: .weights.h5."),
    ],
    data: Data,
    path: CodePath = Path(),
    model: Model = None,
    reported_loss: Annotated[
        float | None, typer.Option("--reported-loss", help="The loss that the training reported.")
    ] = None,
    log: Log = None,
    pattern: Pattern = None,
    first_epoch: FirstEpoch = 1,
    trackers: Trackers = None,
    run_id: RunId = None,
    no_parts: NoParts = False,
    batch_size: BatchSize = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="What runs the pass. For ray the function returns (dataset, x, y): a "
            "ray.data.Dataset and the names of its columns."
        ),
    ] = Engine.LOCAL,
    as_json: AsJson = False,
) -> None:
    """Measure the true loss of a saved model on its training data."""
    from lossgap.trackers.beside import beside
    from lossgap.watch.checkpoints import Names, step_in

    check_file(checkpoint)
    besides = [beside(text, run_id=run_id, unit="epoch") for text in trackers or ()]
    how = measuring(data, path, model, log, parts=not no_parts, batch_size=batch_size)
    if reported_loss is not None:
        how.options["reported_loss"] = reported_loss
    epoch = Names(pattern, first=first_epoch).epoch(checkpoint.name)
    if besides and epoch is None:
        raise InvalidArgumentError(
            f"The name {checkpoint.name!r} tells no epoch to log at. Say how it is named: "
            "--pattern 'model-{epoch:02d}.keras'."
        )
    measured = _ENGINES[engine](how, checkpoint, epoch=epoch, step=step_in(checkpoint))
    show(measured, as_json=as_json)
    if besides:
        _send(measured, besides)


def check_file(path: Path) -> None:
    """Refuse what is no checkpoint before anything is imported.

    Raises:
        InvalidArgumentError: There is no such file, or it has another ending.
    """
    from lossgap.watch.checkpoints import ENDINGS

    if not path.is_file() or not path.name.endswith(ENDINGS):
        raise InvalidArgumentError(
            f"Expected a file that ends in {' or '.join(ENDINGS)}. Received: {str(path)!r}"
            f"{'' if path.exists() else ', which is not there'}. Save the model with "
            "model.save('model.keras')."
        )


def _locally(
    how: "Measuring", checkpoint: Path, *, epoch: int | None, step: int | None
) -> "Measurement":
    return how.measure(checkpoint, epoch=epoch, step=step)


def _on_ray(
    how: "Measuring", checkpoint: Path, *, epoch: int | None, step: int | None
) -> "Measurement":
    from dataclasses import replace

    from lossgap.core import keys
    from lossgap.ray import measure as measure_on_ray
    from lossgap.watch.reported import logs_of

    if how.data.validation is not None:
        raise InvalidArgumentError(
            "Expected the training data alone: --engine ray measures no validation data. "
            "Received a dict with 'validation'. Measure it by itself, with a function of its own."
        )
    dataset, *columns = how.data.train
    x, y = ("x", "y") if not columns else (*columns, None)[:2]
    options = {"reported_loss": logs_of(how.log, epoch).get(keys.LOSS), **how.options}
    measured = measure_on_ray(how.models.load(checkpoint), dataset, x=x, y=y, **options)
    return replace(measured, epoch=epoch, step=step)


_ENGINES: "Final[dict[Engine, Callable[..., Measurement]]]" = {
    Engine.LOCAL: _locally,
    Engine.RAY: _on_ray,
}


def show(measured: "Measurement", *, as_json: bool) -> None:
    """Print a measurement: a table, or what its ``to_dict`` returns."""
    from rich.console import Console

    from lossgap.commands.tables import loss_table

    if as_json:
        print_json(measured.to_dict())
        return
    console = Console()
    console.print(loss_table([measured], console))


def _send(measured: "Measurement", besides: list[Any]) -> None:
    import time

    now = time.time()
    for place in besides:
        place.put(measured, now, unsure=False)
        place.settle()
        for line in place.close():
            typer.echo(line, err=True)
