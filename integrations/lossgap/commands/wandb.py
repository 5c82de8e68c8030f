"""The commands ``lossgap wandb ...``: the panel in a W&B project."""

import json
from typing import Annotated

import typer

wandb = typer.Typer(no_args_is_help=True, help="Weights & Biases: put the panel into a project.")


@wandb.callback()
def group() -> None:
    """Weights & Biases: put the panel into a project."""


@wandb.command(
    epilog="Examples: lossgap wandb install-panel my-team/digits, for runs measured in mid-epoch: "
    "lossgap wandb install-panel my-team/digits --unit step, and to see what would be sent: "
    "lossgap wandb install-panel my-team/digits --dry-run"
)
def install_panel(
    *,
    project: Annotated[
        str, typer.Argument(metavar="ENTITY/PROJECT", help="The project, such as my-team/digits.")
    ],
    unit: Annotated[
        str, typer.Option("--unit", help='The horizontal axis: "epoch" or "step".')
    ] = "epoch",
    report: Annotated[
        bool, typer.Option("--report", help="Create a W&B Report that compares the runs, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the JSON that would be sent, and send nothing.")
    ] = False,
) -> None:
    """Create the charts and a saved view with a "True loss" section; twice changes nothing.

    Other views of the project stay as they are, and so does what you add to this one.
    """
    from lossgap.wandb import create_report, install_panel, panel_json, report_json

    if dry_run:
        sent = panel_json(project, unit=unit)
        if report:
            sent["report"] = report_json(project, unit=unit)
        typer.echo(json.dumps(sent, indent=2))
        return
    typer.echo(f"View: {install_panel(project, unit=unit)}")
    if report:
        typer.echo(f"Report: {create_report(project, unit=unit)}")
