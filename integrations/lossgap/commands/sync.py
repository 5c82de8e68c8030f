"""The command ``lossgap sync``: what earlier trainings could not deliver, sent now."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossgap.commands.conventions import AsJson, print_json, progress_bar
from lossgap.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import TaskID

    from lossgap.trackers.leftovers import Outcome


def sync(
    *,
    only_list: Annotated[
        bool, typer.Option("--list", help="Show what waits, and send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send what earlier trainings could not deliver to their trackers.

    It waits in $LOSSGAP_OUTBOX, by default ~/.lossgap/outbox. The exit code is 0 if nothing
    is left, and 1 otherwise.
    """
    from lossgap.trackers import leftovers

    outcomes = _shown(leftovers.waiting() if only_list else _sent(), as_json=as_json)
    if any(outcome.n_left != 0 for outcome in outcomes):
        raise typer.Exit(1)


def _sent() -> "Iterable[Outcome]":
    """Send with a bar for each journal, where somebody watches."""
    from lossgap.trackers import leftovers

    with progress_bar() as bar:
        tasks: dict[Path, TaskID] = {}

        def progress(path: Path, n_sent: int, n_all: int) -> None:
            if path not in tasks:
                tasks[path] = bar.add_task(path.name, total=n_all)
            bar.update(tasks[path], completed=n_sent)

        yield from leftovers.send_all(progress=progress)


def _shown(outcomes: "Iterable[Outcome]", *, as_json: bool) -> "list[Outcome]":
    """Print each outcome when it is known; JSON at the end, as a whole."""
    shown = []
    for outcome in outcomes:
        shown.append(outcome)
        if not as_json:
            typer.echo(_line(outcome))
            for line in outcome.lines:
                typer.echo(f"  {line}")
    if as_json:
        records = [asdict(outcome) | {"path": str(outcome.path)} for outcome in shown]
        print_json(records)
    elif not shown:
        typer.echo("Nothing waits.")
    return shown


def _line(outcome: "Outcome") -> str:
    """Say what was sent of a journal, what is left, and why."""
    tracker = f"{outcome.tracker}: " if outcome.tracker else ""
    sent = f"{outcome.n_sent} sent, " if outcome.n_sent or outcome.n_left == 0 else ""
    left = "not sent" if outcome.n_left is None else f"{outcome.n_left} left"
    why = f" ({outcome.trouble})" if outcome.trouble else ""
    return shown(" ".join(f"{outcome.path}: {tracker}{sent}{left}{why}".split()))
