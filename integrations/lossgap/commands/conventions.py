"""What all commands share: how their help gives examples, and how they answer scripts."""

from typing import Annotated, Final

import typer

from lossgap.core.strict_json import dumps

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON value on standard output, for scripts.")
]
"""The type of a command's parameter ``as_json``, which is ``False`` by default."""

EXIT_CODES: Final = (
    "\b\nExit codes:\n"
    "  0    done\n"
    "  1    done in part: something waits, or was found\n"
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
