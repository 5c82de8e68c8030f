"""The commands ``lossgap wandb ...``: the panel in a W&B project."""

from typing import Annotated

import typer

from lossgap.commands.conventions import AsJson, examples, print_help, print_json

wandb = typer.Typer(help="Weights & Biases: put the panel into a project.")


@wandb.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Weights & Biases: put the panel into a project."""
    print_help(context)


@wandb.command(
    epilog=examples(
        "lossgap wandb install-panel my-team/digits",
        "lossgap wandb install-panel my-team/digits --unit step  # measured in mid-epoch",
        "lossgap wandb install-panel my-team/digits --dry-run    # what would be sent",
        "lossgap wandb install-panel my-team/digits --report --json",
    )
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
    as_json: AsJson = False,
) -> None:
    """Create the charts and a saved view with a "True loss" section; twice changes nothing.

    Other views of the project stay as they are, and so does what you add to this one.
    """
    from lossgap.wandb import create_report, install_panel, panel_json, report_json

    if dry_run:
        sent = panel_json(project, unit=unit)
        if report:
            sent["report"] = report_json(project, unit=unit)
        print_json(sent)
        return
    addresses = {"view": install_panel(project, unit=unit)}
    if not as_json:
        typer.echo(f"View: {addresses['view']}")
    if report:
        addresses["report"] = create_report(project, unit=unit)
        if not as_json:
            typer.echo(f"Report: {addresses['report']}")
    if as_json:
        print_json(addresses)
