"""The commands of ``lossgap``, one module each, and the app that holds them.

A command's module imports nothing heavy at its top, so that ``--help`` answers at once.
:mod:`lossgap.commands.conventions` has what they share.
"""

from typing import Annotated

import typer

from lossgap.commands.conventions import EXIT_CODES, examples, print_help
from lossgap.commands.demo import demo
from lossgap.commands.measure import measure
from lossgap.commands.report import report
from lossgap.commands.sync import sync
from lossgap.commands.wandb import wandb
from lossgap.commands.watch import watch

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        import lossgap

        typer.echo(f"lossgap {lossgap.__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "lossgap demo                  # needs no data and no model of yours",
        "lossgap report --help         # every command has examples",
        "lossgap --install-completion  # completes commands and options in your shell",
    )
    + f"\n\n{EXIT_CODES}",
)
def lossgap(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Show what a training loss really is, and what separates it from the reported one."""
    print_help(context)


app.command(
    epilog=examples(
        "lossgap demo",
        "lossgap demo --open                   # and the report in your browser",
        "lossgap demo --epochs 5 --seed 7 -o demo-7",
        "lossgap demo --json > demo.json",
    )
)(demo)
app.command(
    epilog=examples(
        "lossgap report runs.jsonl -o page.html --open",
        "lossgap report logs --png pictures --dpi 300 --gif plot.gif",
        "lossgap report 'sqlite:///mlflow.db?experiment=digits'",
        "lossgap report wandb/offline-run-* --json",
    )
)(report)
app.command(
    epilog=examples(
        "lossgap measure model.keras --data my_data:training",
        "lossgap measure model.keras --data my_data:training --reported-loss 0.41 --json",
        "lossgap measure epoch-07.weights.h5 --data my_data:training --model my_data:model",
    )
)(measure)
app.command(
    epilog=examples(
        "lossgap watch run --data my_data:training --tracker tensorboard:logs/run",
        "lossgap watch run --data my_data:training --tracker mlflow --run-id 0123abc",
        "lossgap watch 'run/*.keras' --data my_data:training --once --json",
    )
)(watch)
app.command(
    epilog=examples(
        "lossgap sync",
        "lossgap sync --list  # what waits; nothing is sent",
        "lossgap sync --json",
    )
)(sync)
app.add_typer(
    wandb,
    name="wandb",
    epilog=examples("lossgap wandb install-panel me/digits --dry-run  # sends nothing"),
)

__all__ = ["app"]
