"""What all commands share: how their help gives examples, and how they answer scripts."""

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossgap.core.strict_json import dumps

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON value on standard output, for scripts.")
]
"""The type of a command's parameter ``as_json``, which is ``False`` by default."""

EXIT_CODES: Final = (
    "\b\nExit codes:\n"
    "  0    done\n"
    "  1    not all is done: something waits, or is left\n"
    "  2    an error, told in one line on stderr\n"
    "  3    a defect of lossgap, with a traceback\n"
    "  130  interrupted"
)


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, each one line that can be pasted.

    Args:
        lines: Command lines, the simplest first. What follows two spaces and a ``#`` says why.
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def print_json(value: object) -> None:
    """Print the answer to ``--json``; NaN and infinities become text, which JSON needs."""
    typer.echo(dumps(value, indent=2))


def print_help(context: typer.Context) -> None:
    """Be the callback of a group: without a command, its help is what was asked for."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def progress_bar() -> Progress:
    """Return a bar on standard error, which is shown on a terminal alone and leaves nothing."""
    screen = Console(stderr=True)
    screen.quiet = not screen.is_terminal  # older versions of rich end with an empty line
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=screen, transient=True, disable=screen.quiet)
