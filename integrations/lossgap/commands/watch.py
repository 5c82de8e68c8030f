"""The command ``lossgap watch``: checkpoints measured as they appear, beside the training."""

import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from lossgap.redaction import shown

if TYPE_CHECKING:
    from lossgap.trackers.beside import Beside
    from lossgap.watch.ledger import Ledger

LEDGER = ".lossgap-watch.sqlite"


class Unit(StrEnum):
    """What the steps in the tracker count."""

    EPOCH = "epoch"
    STEP = "step"


def watch(
    *,
    checkpoints: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINTS",
            help="Folder with .keras or .weights.h5 files, or a pattern: 'run/*.keras'.",
        ),
    ],
    data: Data,
    trackers: Trackers = None,
    run_id: RunId = None,
    path: CodePath = Path(),
    model: Model = None,
    log: Log = None,
    pattern: Pattern = None,
    first_epoch: FirstEpoch = 1,
    unit: Annotated[
        Unit,
        typer.Option(
            help="Log at epochs, which are read from names, or at optimizer steps, which are read "
            "from the files."
        ),
    ] = Unit.EPOCH,
    once: Annotated[bool, typer.Option("--once", help="Measure what is there, and end.")] = False,
    poll: Annotated[
        float, typer.Option("--poll", min=0.05, help="Seconds between two looks at the folder.")
    ] = 5.0,
    settle: Annotated[
        float, typer.Option("--settle", min=0, help="Seconds that a file has to be still.")
    ] = 2.0,
    ledger: Annotated[
        Path | None,
        typer.Option(
            "--ledger",
            dir_okay=False,
            help=f"File that says what is done; {LEDGER} beside the checkpoints by default.",
        ),
    ] = None,
    no_parts: NoParts = False,
    batch_size: BatchSize = None,
    as_json: AsJson = False,
) -> None:
    """Measure each checkpoint once, as it appears, and log it to the training's run.

    The training pays nothing. Several watchers share the work. One that was killed is started
    again, and goes on. The exit code with --once is 1 if something is left.
    """
    from lossgap.trackers.beside import beside
    from lossgap.watch.checkpoints import Folder, Names
    from lossgap.watch.ledger import Ledger
    from lossgap.watch.watcher import Watcher, rounds

    folder = Folder(checkpoints, settle_seconds=settle)
    names = Names(pattern, first=first_epoch)
    besides = [beside(text, run_id=run_id, unit=unit) for text in trackers or ()]
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if not as_json:
            typer.echo(shown(line))

    signal.signal(signal.SIGTERM, _interrupt)
    with Ledger(ledger or folder.path / LEDGER) as book:
        _agree(book, unit)
        how = measuring(data, path, model, log, parts=not no_parts, batch_size=batch_size)
        watcher = Watcher(
            folder, names, unit=unit, ledger=book, measuring=how, besides=besides, tell=tell
        )
        try:
            for _ in rounds(watcher, once=once, poll_seconds=poll):
                pass
            n_left = watcher.n_left()
        finally:
            _close(besides)
            if as_json:
                print_json({"lines": lines, "measurements": book.measurements()})
    if n_left:
        typer.echo(f"{n_left} left. Start it again to go on.", err=True)
        raise typer.Exit(1)


def _interrupt(*_signal: Any) -> None:
    raise KeyboardInterrupt


def _agree(book: "Ledger", unit: Unit) -> None:
    before = book.agree("unit", unit)
    if before != unit:
        raise InvalidArgumentError(
            f"The checkpoints are being logged at {before}s, as {book.path} says. Received: --unit "
            f"{unit}. Leave it, or begin a new ledger with --ledger."
        )


def _close(besides: "list[Beside]") -> None:
    for place in besides:
        for line in place.close():
            typer.echo(line, err=True)
