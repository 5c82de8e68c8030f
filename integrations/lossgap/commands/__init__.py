"""The commands of ``lossgap``, one module each, and the app that holds them.

A command's module imports nothing heavy at its top, so that ``--help`` answers at once.
"""

from typing import Annotated

import typer

from lossgap.commands.demo import demo
from lossgap.commands.report import report
from lossgap.commands.sync import sync
from lossgap.commands.wandb import wandb

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        import lossgap

        typer.echo(f"lossgap {lossgap.__version__}")
        raise typer.Exit


@app.callback(epilog="Example, which needs no data and no model of yours: lossgap demo")
def lossgap(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Show what a training loss really is, and what separates it from the reported one."""


app.command(epilog="Examples: lossgap demo, and shorter: lossgap demo --epochs 5 --seed 7")(demo)
app.command(
    epilog="Examples: lossgap report runs.jsonl -o page.html --open, and with pictures for print: "
    "lossgap report runs.jsonl --png pictures --dpi 300 --gif plot.gif"
)(report)
app.command(
    epilog="Examples: lossgap sync, to see first what waits: lossgap sync --list, and in scripts: "
    "lossgap sync --json"
)(sync)
app.add_typer(
    wandb,
    name="wandb",
    epilog="Example, which sends nothing: lossgap wandb install-panel me/digits --dry-run",
)

__all__ = ["app"]
