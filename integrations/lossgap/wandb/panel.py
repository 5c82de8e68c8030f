"""The panel: custom charts of an entity, and a workspace view with a "True loss" section."""

import json
from collections.abc import Collection
from typing import Any, Final

from lossgap.charts import palette
from lossgap.core import keys
from lossgap.core.settings import UNITS
from lossgap.errors import InvalidArgumentError
from lossgap.wandb import hosted, presets, rows

VIEW: Final = "True loss (lossgap)"
SECTION: Final = "True loss"

_VIEW_TYPE: Final = "project-view"
_LOSSES: Final = tuple(keys.tracked(name) for name in palette.LOSSES)
_GAPS: Final = (
    keys.tracked(keys.REGULARIZATION_GAP),
    *(keys.tracked_part(name) for name in keys.PARTS),
)
_GENERALIZATION: Final = keys.tracked(palette.GENERALIZATION_GAP)


def install_panel(project: str, *, unit: str = "epoch") -> str:
    """Put the panel into a W&B project: three custom charts and a saved view.

    The view is called "True loss (lossgap)". Its section "True loss" is ours; whatever else a
    user puts into the view stays, and W&B's own panels are generated as usual. Other
    views aren't touched. A second time changes nothing.

    Args:
        project: ``"ENTITY/PROJECT"``.
        unit: ``"epoch"``, or ``"step"`` for runs that are measured in mid-epoch.

    Returns:
        The address of the view.

    Raises:
        InvalidArgumentError: An argument isn't as expected.
        LossgapError: W&B refuses or doesn't answer; the text says the way out.
        MissingDependencyError: wandb, wandb-workspaces, altair or vl-convert-python is missing.

    Example:
        ``lossgap.wandb.install_panel("my-team/digits")``
    """
    where = hosted.project(project)
    _check(unit)
    specs = {panel: presets.spec(panel) for panel in presets.NAMES}
    found = hosted.contents(where, _VIEW_TYPE)
    with hosted.explained(where):
        for panel, spec in specs.items():
            _create_chart(where, panel, spec)
        view = _view(where, unit, logged_keys(found))
        return _save(where, view, found)


def panel_json(project: str, *, unit: str = "epoch") -> dict[str, Any]:
    """Return what :func:`install_panel` would send to an empty project, without a server.

    Args:
        project: ``"ENTITY/PROJECT"``.
        unit: ``"epoch"`` or ``"step"``.

    Returns:
        ``{"charts": {name: specification}, "view": {"displayName": ..., "spec": ...}}``.

    Raises:
        InvalidArgumentError: An argument isn't as expected.
        MissingDependencyError: wandb, wandb-workspaces, altair or vl-convert-python is missing.
    """
    where = hosted.project(project)
    _check(unit)
    charts = {name: presets.spec(panel) for panel, name in presets.NAMES.items()}
    model = _view(where, unit, None)._to_model()
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"charts": charts, "view": {"displayName": VIEW, "spec": spec}}


def logged_keys(found: hosted.Contents) -> frozenset[str] | None:
    """Return the keys of the newest run with measurements; ``None`` where there is none yet."""
    for logged in found.keys:
        if rows.TRUE_LOSS in logged:
            return logged
    return None


def panels(where: hosted.Project, unit: str, logged: Collection[str] | None) -> list[Any]:
    """Build the section's panels: W&B's own line plots first, then the custom charts.

    Args:
        where: The project.
        unit: What is on the horizontal axis.
        logged: The keys that the runs have; ``None`` for all that there may be. A query
            for a key that no row has may come back empty.
    """
    wr = hosted.workspaces("reports.v2")
    x = rows.STEP if unit == "step" else rows.EPOCH

    def there(names: Collection[str]) -> list[str]:
        return [name for name in names if logged is None or name in logged]

    lines = {
        "Reported, true, val and true val loss": there(_LOSSES),
        "Regularization gap and its parts": there(_GAPS),
        "Generalization gap": there([_GENERALIZATION]),
    }
    built = [
        wr.LinePlot(title=title, x=x, y=y, title_x=unit, layout=_layout(wr, index))
        for index, (title, y) in enumerate(lines.items())
        if y
    ]
    for panel, name in presets.NAMES.items():
        fields = {
            field: key
            for field, key in presets.fields(panel, unit).items()
            if field == "run" or there([key])
        }
        history = [key for field, key in fields.items() if field != "run"]
        built.append(
            wr.CustomChart(
                query={"history": {"keys": history}, "name": None},
                chart_name=f"{where.entity}/{name}",
                chart_fields=fields,
                chart_strings={presets.AXIS_TITLE: unit},
                layout=_layout(wr, len(built)),
            )
        )
    return built


def _layout(wr: Any, index: int) -> Any:
    """Put two panels beside each other, twelve of W&B's columns wide."""
    return wr.Layout(x=12 * (index % 2), y=8 * (index // 2), w=12, h=8)


def _view(where: hosted.Project, unit: str, logged: Collection[str] | None) -> Any:
    ws = hosted.workspaces("workspaces")
    section = ws.Section(
        name=SECTION, panels=panels(where, unit, logged), is_open=True, pinned=True
    )
    section.layout_settings.columns = 2
    return ws.Workspace(
        entity=where.entity,
        project=where.name,
        name=VIEW,
        sections=[section],
        # W&B's default for a new view is to show nothing but its sections.
        auto_generate_panels=True,
    )


def _create_chart(where: hosted.Project, panel: str, spec: presets.Spec) -> None:
    """Create a preset; one of its name is there already with the same content."""
    try:
        hosted.api().create_custom_chart(
            entity=where.entity,
            name=presets.NAMES[panel],
            display_name=presets.TITLES[panel],
            spec_type="vega2",
            access="private",
            spec=spec,
        )
    except Exception as error:
        text = str(error).lower()
        if not any(word in text for word in ("already", "duplicate", "409", "conflict")):
            raise


def _save(where: hosted.Project, view: Any, found: hosted.Contents) -> str:
    """Save the view, or its section into the one that is there; return its address."""
    internal = hosted.workspaces("workspaces.internal")
    before = next((node for node in found.views if node["displayName"] == VIEW), None)
    if before is not None:
        (section,) = view.sections
        model = internal.View(
            entity=where.entity,
            project=where.name,
            display_name=VIEW,
            name=before["name"],
            id=before["id"],
            spec=internal.WorkspaceViewspec.model_validate_json(before["spec"]),
        )
        view = type(view)._from_model(model)
        if section_content(section) in map(section_content, view.sections):
            return str(view.url)
        view.sections = [section, *(kept for kept in view.sections if kept.name != SECTION)]
    return str(view.save().url)


def section_content(section: Any) -> str:
    """Return what a section shows as text, without W&B's random ids."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(member) for key, member in value.items() if key != "__id__"}
        return [plain(member) for member in value] if isinstance(value, list) else value

    dumped = section._to_model().model_dump_json(by_alias=True, exclude_none=True)
    return json.dumps(plain(json.loads(dumped)), sort_keys=True)


def _check(unit: str) -> None:
    if unit not in UNITS:
        raise InvalidArgumentError(
            f"Expected `unit` to be one of {', '.join(map(repr, UNITS))}. Received: {unit!r}."
        )
