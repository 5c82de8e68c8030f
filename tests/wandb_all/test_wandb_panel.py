"""The panel: specifications that W&B can draw, and what is sent to a server, twice."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import vl_convert
from typer.testing import CliRunner

import chart_samples
import wandb_stub
from lossgap import LossgapError
from lossgap.commands import app
from lossgap.core import keys
from lossgap.errors import InvalidArgumentError
from lossgap.wandb import (
    create_report,
    install_panel,
    panel,
    panel_json,
    presets,
    report_json,
    rows,
)
from lossgap.wandb.hosted import Project, explained
from wandb_runs import PATIENCE, QUIET

# W&B's package for views uses what pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1:DeprecationWarning")

RUNNER = CliRunner()
PROJECT = f"{wandb_stub.ENTITY}/project"
RUNS = {
    "one": chart_samples.training(5),
    "two, longer": chart_samples.training(7, base=0.3),
}
DATA = [
    rows.row(measurement) | {"name": name} for name, whole in RUNS.items() for measurement in whole
]


# The custom charts.


def filled(name, unit="epoch", data=DATA):
    """Return a preset as W&B draws it: placeholders filled in, rows of the history as data."""
    fields = presets.fields(name, unit)
    spec = presets.substitute(presets.spec(name), fields, {presets.AXIS_TITLE: unit})
    # W&B's renderer forces this, which layered views alone can do.
    return spec | {"datasets": {"wandb": data}, "autosize": {"type": "fit"}}


def plotted(spec, mark):
    """Return what a screen reader says of each point of the marks of this name."""
    scene = vl_convert.vegalite_to_scenegraph(json.dumps(spec), vl_version="5.8")

    def walk(node):
        if node.get("name") == f"{mark}_marks":
            yield from node["items"]
        for item in node.get("items", ()):
            yield from walk(item)

    return [
        dict(field.split(": ", 1) for field in item["description"].split("; "))
        for item in walk(scene["scenegraph"])
    ]


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize(
    ("name", "mark", "value", "which"),
    [
        ("loss_comparison", "lines", "loss", "quantity"),
        ("generalization", "lines", "loss", "quantity"),
        ("gap_by_cause", "parts", "share of the loss", "part"),
    ],
)
def test_what_is_plotted_is_what_was_logged(name, mark, value, which, unit):
    found = {
        (point["run"], int(number(point[unit])), point[which]): number(point[value])
        for point in plotted(filled(name, unit), mark)
        if point[value] != "NaN"
    }
    expected = {
        (row["name"], row[keys.tracked(unit)], column): row[keys.tracked(column)]
        for row in DATA
        for column in presets.fields(name, unit)
        if column not in {"x", "run", keys.REGULARIZATION_GAP, "generalization_gap"}
        and keys.tracked(column) in row
    }
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_line_of_the_gap_is_the_gap():
    found = [
        number(point["regularization_gap"])
        for point in plotted(filled("gap_by_cause"), "total")
        if point["run"] == "one"
    ]
    assert found == pytest.approx([m.regularization_gap for m in RUNS["one"]], rel=1e-6)


@pytest.mark.parametrize("name", presets.NAMES)
@pytest.mark.parametrize("version", ["5.8", "5.20"])
def test_a_preset_compiles_before_and_after_substitution(name, version):
    for spec in (presets.spec(name), filled(name)):
        assert vl_convert.vegalite_to_vega(json.dumps(spec), vl_version=version)["marks"]


@pytest.mark.parametrize("name", presets.NAMES)
def test_every_placeholder_of_a_preset_has_a_column(name):
    text = json.dumps(filled(name, data=[]))
    left = {found for found in presets._PLACEHOLDER.findall(text) if found[0] == "string"}
    assert left == set()
    asked = {field for kind, field, _ in presets._PLACEHOLDER.findall(text) if kind == "field"}
    # What the preset of another panel draws: a gap in a tooltip.
    assert not asked & presets.fields(name, "epoch").keys()


def test_absent_numbers_are_gaps():
    bare = [rows.row(m) | {"name": "bare"} for m in chart_samples.training(3)]
    for row in bare:
        del row["lossgap/val_loss"], row["lossgap/true_val_loss"]
    shown = {
        (point["quantity"], point["loss"] == "NaN")
        for point in plotted(filled("loss_comparison", data=bare), "lines")
    }
    assert ("true_loss", False) in shown
    assert ("val_loss", False) not in shown


def test_text_from_outside_stays_text():
    field = '"]; alert(1); datum["'
    spec = presets.substitute(
        {"title": "${string:title:none}", "field": "${field:x}"}, {"x": field}, {"title": field}
    )
    assert spec == {"title": field, "field": field}


@pytest.mark.parametrize(
    "change",
    [
        {"layer": [{"mark": "lines"}]},
        {"layer": [{"mark": "line", "encoding": {"x": {"field": 3}}}]},
        {"data": {"values": []}},
        {"data": {"name": "mine"}},
        {"datasets": {"wandb": []}},
    ],
)
def test_a_specification_that_cannot_be_drawn_is_not_sent(change):
    with pytest.raises(InvalidArgumentError):
        presets.check(presets.spec("generalization") | change)


def test_a_view_without_layers_is_refused():
    spec = presets.spec("generalization")
    layers = spec.pop("layer")
    with pytest.raises(InvalidArgumentError, match="layered"):
        presets.check(spec | {"vconcat": layers})


# The view and the report, as JSON.


def round_trip(spec):
    """Read a view's JSON as W&B's package does, and write it again."""
    from wandb_workspaces.workspaces import Workspace, internal

    model = internal.View(
        entity="team",
        project="project",
        display_name=panel.VIEW,
        name="nw-abc-v",
        id="1",
        spec=internal.WorkspaceViewspec.model_validate(spec),
    )
    again = Workspace._from_model(model)._to_model()
    return json.loads(again.spec.model_dump_json(by_alias=True, exclude_none=True))


def section_of(spec):
    (section,) = spec["section"]["panelBankConfig"]["sections"]
    return section


def without_ids(value):
    if isinstance(value, dict):
        return {key: without_ids(member) for key, member in value.items() if key != "__id__"}
    return [without_ids(member) for member in value] if isinstance(value, list) else value


def test_the_view_survives_a_round_trip():
    spec = panel_json(PROJECT)["view"]["spec"]
    assert without_ids(section_of(round_trip(spec))) == without_ids(section_of(spec))


def test_the_section_has_the_losses_in_one_panel_and_pins_the_axis():
    spec = panel_json(PROJECT)["view"]["spec"]
    assert spec["section"]["settings"]["shouldAutoGeneratePanels"] is True
    section = section_of(spec)
    assert section["name"] == "True loss"
    lines = [p["config"] for p in section["panels"] if p["viewType"] == "Run History Line Plot"]
    assert lines[0]["metrics"] == [
        "lossgap/reported_loss",
        "lossgap/true_loss",
        "lossgap/val_loss",
        "lossgap/true_val_loss",
    ]
    assert lines[1]["metrics"][:2] == ["lossgap/regularization_gap", "lossgap/gap_penalty"]
    assert {config["xAxis"] for config in lines} == {"lossgap/epoch"}
    charts = [p["config"] for p in section["panels"] if p["viewType"] == "Vega2"]
    assert [c["panelDefId"] for c in charts] == [f"team/{n}" for n in presets.NAMES.values()]
    places = [(p["layout"]["x"], p["layout"]["y"]) for p in section["panels"]]
    assert len(set(places)) == len(places)


def test_the_custom_charts_ask_for_the_columns_that_they_draw():
    for config in (p["config"] for p in section_of(panel_json(PROJECT)["view"]["spec"])["panels"]):
        if "userQuery" in config:
            (query,) = config["userQuery"]["queryFields"]
            (history,) = [f for f in query["fields"] if f["name"] == "history"]
            (asked,) = [arg["value"] for arg in history["args"] if arg["name"] == "keys"]
            drawn = [key for field, key in config["fieldSettings"].items() if field != "run"]
            assert sorted(asked) == sorted(drawn)
            assert config["fieldSettings"]["run"] == "name"


def test_in_mid_epoch_the_axis_is_the_step():
    text = json.dumps(panel_json(PROJECT, unit="step")["view"])
    assert '"lossgap/step"' in text
    assert '"lossgap/epoch"' not in text


def test_the_report_survives_a_round_trip_and_compares_runs():
    from wandb_workspaces.reports.v2 import Report, internal

    found = report_json(PROJECT)
    model = internal.ReportViewspec(
        display_name=found["displayName"],
        description="",
        project=internal.Project(name="project", entity_name="team"),
        id="1",
        spec=internal.Spec.model_validate(found["spec"]),
    )
    again = Report._from_model(model)
    assert [type(block).__name__ for block in again.blocks] == [
        "P",
        "H2",
        "PanelGrid",
        "H2",
        "UnorderedList",
    ]
    (grid,) = [block for block in again.blocks if type(block).__name__ == "PanelGrid"]
    assert len(grid.panels) == 6
    assert len(grid.runsets) == 1
    text = json.dumps(found)
    assert "can't be compared by the reported loss" in text
    assert text.count("lossgap-loss-comparison-v1") == 1


# What a server gets.


def test_the_panel_is_installed_and_a_second_time_changes_nothing(server):
    address = install_panel(PROJECT)
    assert address.startswith(f"{server.url}/{PROJECT}?nw=")
    assert set(server.charts) == {f"team/{name}" for name in presets.NAMES.values()}
    for name, chart in zip(presets.NAMES, server.charts.values(), strict=True):
        assert json.loads(chart["spec"]) == presets.spec(name)
        assert (chart["chartType"], chart["access"]) == ("vega2", "PRIVATE")
    (view,) = server.views.values()
    assert view["displayName"] == panel.VIEW
    sent = json.loads(view["spec"])
    assert without_ids(sent) == without_ids(panel_json(PROJECT)["view"]["spec"])

    before = copy.deepcopy((server.charts, server.views))
    assert install_panel(PROJECT) == address
    assert (server.charts, server.views) == before
    assert len(server.named("UpsertView2")) == 1


def test_what_a_user_adds_to_the_view_stays(server):
    install_panel(PROJECT)
    (view,) = server.views.values()
    spec = json.loads(view["spec"])
    ours = section_of(spec)
    theirs = copy.deepcopy(ours) | {"name": "Mine", "panels": ours["panels"][:1]}
    spec["section"]["panelBankConfig"]["sections"] = [theirs, ours]
    view["spec"] = json.dumps(spec)
    install_panel(PROJECT)
    assert len(server.named("UpsertView2")) == 1  # the section is as it was
    install_panel(PROJECT, unit="step")
    (view,) = server.views.values()
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == ["True loss", "Mine"]
    assert without_ids(sections[1]) == without_ids(theirs)


def test_other_views_are_not_touched(server):
    other = {
        "id": "their-view",
        "name": "nw-their-v",
        "displayName": "Theirs",
        "type": "project-view",
        "projectName": "project",
        "spec": "{}",
    }
    server.views["their-view"] = dict(other)
    install_panel(PROJECT)
    assert server.views["their-view"] == other
    assert len(server.views) == 2


def test_keys_that_no_run_has_are_not_asked_for(server):
    logged = {"lossgap/epoch", "lossgap/true_loss", "lossgap/reported_loss", "loss"}
    server.run_keys = [{"loss"}, logged]
    install_panel(PROJECT)
    (view,) = server.views.values()
    for config in (p["config"] for p in section_of(json.loads(view["spec"]))["panels"]):
        asked = config.get("metrics") or list(config["fieldSettings"].values())
        assert set(asked) <= logged | {"name"}


def test_the_report_is_created_once(server):
    address = create_report(PROJECT)
    assert "/reports/" in address
    assert create_report(PROJECT) == address
    (sent,) = server.named("upsertView")
    assert sent["type"] == "runs"
    assert without_ids(json.loads(sent["spec"])).keys() == report_json(PROJECT)["spec"].keys()


@pytest.mark.parametrize("place", ["digits", "a/b/c", "/digits", "team/", ""])
def test_something_else_than_entity_and_project_is_refused(place):
    with pytest.raises(InvalidArgumentError, match="ENTITY/PROJECT"):
        panel_json(place)


def test_an_unknown_unit_is_refused():
    with pytest.raises(InvalidArgumentError, match="unit"):
        panel_json(PROJECT, unit="batch")


def test_an_unknown_project_is_an_error_with_the_way_out(server):
    with pytest.raises(LossgapError, match=r"no W&B project team/other.*spelling"):
        install_panel("team/other")


def test_no_right_to_write_is_an_error_with_the_way_out(server):
    server.may_write = False
    with pytest.raises(LossgapError, match=r"may not write to team/project.*right"):
        install_panel(PROJECT)


# The command.


def command(*arguments):
    return RUNNER.invoke(app, ["wandb", "install-panel", *arguments], catch_exceptions=False)


def test_the_help_gives_examples():
    assert "lossgap wandb install-panel" in command("--help").output.partition("Examples:")[2]


def test_a_dry_run_prints_json_without_a_key_or_a_server(offline):
    printed = json.loads(command(PROJECT, "--dry-run", "--report").output)
    assert printed["charts"].keys() == set(presets.NAMES.values())
    assert printed["view"]["displayName"] == panel.VIEW
    assert printed["report"]["spec"]["blocks"]


def test_the_command_installs_and_names_the_addresses(server):
    result = command(PROJECT, "--report")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith(("View:", "Report:"))]
    assert len(lines) == 2
    assert server.url in lines[0]


PROGRAM = str(Path(sys.executable).with_name("lossgap"))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("no key", "wandb login"),
        ("a wrong key", "wandb login --relogin"),
        ("no right", "may not write to team/project"),
        ("404", "WANDB_BASE_URL"),
    ],
)
def test_an_error_is_one_line(server, tmp_path, fault, told):
    environment = os.environ | QUIET | {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    if fault == "no key":
        environment.pop("WANDB_API_KEY")
    server.key_is_good = fault != "a wrong key"
    server.may_write = fault != "no right"
    server.fault = 404 if fault == "404" else None
    process = subprocess.run(
        [PROGRAM, "wandb", "install-panel", PROJECT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert process.returncode == 2
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("lossgap: ")]
    assert told in line
    assert "Traceback" not in process.stderr


def test_a_port_is_no_status():
    refusal = "Failed to verify credentials with http://127.0.0.1:40359: user is not logged in"
    with pytest.raises(LossgapError, match="wandb login --relogin"), explained(Project("a", "b")):
        raise RuntimeError(refusal)
