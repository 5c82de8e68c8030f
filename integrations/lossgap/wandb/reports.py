"""A W&B Report that compares the runs of a project by their true loss."""

import json
from typing import Any, Final

from lossgap.charts.methods import LOSSES
from lossgap.core import keys
from lossgap.wandb import hosted, panel

TITLE: Final = "True loss: runs compared (lossgap)"

_VIEW_TYPE: Final = "runs"
_INTRO: Final = (
    "What Keras prints as loss mixes the loss on the data with penalties, dropout, class weights "
    "and an average over weights that kept moving. Compare runs by their true loss: it is the loss "
    "on the training data alone, with the weights at the end of the epoch."
)
_HOW: Final = (
    "A large regularization gap is no fault: it is what regularization costs while training.",
    "Runs with different penalties or dropout can't be compared by the reported loss.",
    "Overfitting shows in the generalization gap, where both sides are measured alike.",
)


def create_report(project: str, *, unit: str = "epoch") -> str:
    """Create a W&B Report that compares the runs of a project.

    It needs the custom charts of :func:`install_panel`. If the project has the report
    already, nothing changes.

    Args:
        project: ``"ENTITY/PROJECT"``.
        unit: ``"epoch"``, or ``"step"`` for runs that are measured in mid-epoch.

    Returns:
        The address of the report.

    Raises:
        InvalidArgumentError: An argument isn't as expected.
        LossgapError: W&B refuses or doesn't answer; the text says the way out.
        MissingDependencyError: wandb or wandb-workspaces isn't installed.
    """
    where = hosted.project(project)
    found = hosted.contents(where, _VIEW_TYPE)
    report = _report(where, unit, panel.logged_keys(found))
    with hosted.explained(where):
        before = next((node for node in found.views if node["displayName"] == TITLE), None)
        if before is None:
            report.save()
        else:
            report.id = before["id"]
        return str(report.url)


def report_json(project: str, *, unit: str = "epoch") -> dict[str, Any]:
    """Return what :func:`create_report` would send, without a server.

    Raises:
        InvalidArgumentError: An argument isn't as expected.
        MissingDependencyError: wandb or wandb-workspaces isn't installed.
    """
    model = _report(hosted.project(project), unit, None)._to_model()
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"displayName": TITLE, "spec": spec}


def _report(where: hosted.Project, unit: str, logged: frozenset[str] | None) -> Any:
    wr = hosted.workspaces("reports.v2")
    runset = wr.Runset(  # of the report's own project
        name="Runs with a true loss",
        order=[wr.OrderBy(wr.SummaryMetric(keys.tracked(keys.TRUE_LOSS)), ascending=True)],
    )
    terms = [f"{name}: {meaning}" for name, meaning in LOSSES]
    return wr.Report(
        entity=where.entity,
        project=where.name,
        title=TITLE,
        description="Made by lossgap.",
        width="fluid",
        blocks=[
            wr.P(_INTRO),
            wr.H2("The panels"),
            wr.PanelGrid(runsets=[runset], panels=panel.panels(where, unit, logged)),
            wr.H2("How to read them"),
            wr.UnorderedList(items=[*_HOW, *terms]),
        ],
    )
