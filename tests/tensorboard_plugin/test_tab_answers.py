"""What live TensorBoards answer, with each of their two loaders."""

import gzip
import json

import pytest

import chart_samples
import tab_samples
from lossgap.charts import render
from lossgap.charts.panels import PANELS
from lossgap.core import verdict
from lossgap.tensorboard.plugin.overview import MOST_SELECTED
from tab_samples import IMAGE, MODELS, SWEEP

STATIC = "data/plugin/lossgap/static/"


def rows_of(table):
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def test_the_tab_is_active_and_has_its_name(server):
    status, _, content = server.get("data/plugins_listing")
    assert status == 200
    plugin = json.loads(content)["lossgap"]
    assert plugin["enabled"]
    assert plugin["tab_name"] == "True Loss"
    assert plugin["loading_mechanism"]["module_path"].endswith("/lossgap/static/index.js")


def test_the_table_has_every_model_and_nothing_else(server):
    models = server.models()
    assert list(models) == sorted(MODELS | SWEEP)
    for name, measurements in (MODELS | SWEEP).items():
        if name == "diverged":
            continue
        last, row = measurements[-1], models[name]
        assert row["true_loss"] == pytest.approx(last.true_loss, rel=1e-6)
        assert row["reported_loss"] == pytest.approx(last.reported_loss, rel=1e-6)
        assert row["regularization_gap"] == pytest.approx(last.regularization_gap, rel=1e-5)
    assert models["nested/deep/model"]["cause"] == "dropout"
    assert (models[""]["axis"], models[""]["place"]) == ("epoch", 8)
    assert (models["stepwise"]["axis"], models["stepwise"]["place"]) == ("step", 600)


def test_a_loss_that_is_nan_is_named(server):
    row = server.models()["diverged"]
    assert row["true_loss"] == row["reported_loss"] == row["regularization_gap"] == "NaN"
    told = server.ask("run", ("run", "diverged"))
    assert "NaN" in told["verdict"]
    assert server.ask("numbers", ("run", "diverged"))["rows"][-1][1:3] == ["NaN", "NaN"]
    assert told["fall"]["place"] == 3


def test_the_panels_of_one_run_are_those_of_the_charts(server):
    answer = server.ask("panels", ("run", "nested/deep/model"))
    wanted = MODELS["nested/deep/model"]
    rows = rows_of(answer["rows"])
    assert [row["x"] for row in rows] == list(range(1, 13))
    assert [row["true_loss"] for row in rows] == pytest.approx(
        [m.true_loss for m in wanted], rel=1e-6
    )
    assert list(answer["panels"]) == list(PANELS)
    for name, panel in answer["panels"].items():
        spec = dict(panel["spec"])
        data = rows_of(panel["rows"]) if "rows" in panel else rows
        data[-1].update(panel.get("last", {}))
        assert "<svg" in render.to_svg(spec | {"datasets": {"measurements": data}}), name
    assert "label_true_loss" in answer["panels"]["loss_comparison"]["last"]


def test_the_verdict_is_that_of_the_measurements(server):
    # In float32 the digits are those that the verdict writes.
    told = server.ask("run", ("run", "nested/deep/model"))
    assert told["verdict"] == verdict.tell(MODELS["nested/deep/model"])
    assert [tile["title"] for tile in told["tiles"]] == [
        "Reported loss",
        "True loss",
        "Gap",
        "True val loss",
    ]
    assert told["places"] == list(range(1, 13))


def test_steps_are_told_as_steps(server):
    told = server.ask("run", ("run", "stepwise"))
    assert told["verdict"].startswith("In step 600 ")
    assert told["places"] == [100, 200, 300, 400, 500, 600]


@pytest.mark.parametrize(("at", "place"), [("3", 3), ("12", 12), ("99", 12), ("-1", 12), ("x", 12)])
def test_the_waterfall_is_of_the_epoch_that_was_chosen(server, at, place):
    answer = server.ask("waterfall", ("run", "nested/deep/model"), ("at", at))
    assert answer["place"] == place
    assert answer["panel"]["spec"]["title"]["text"].endswith(f"in epoch {place}")
    first = rows_of(answer["panel"]["rows"])[0]
    wanted = MODELS["nested/deep/model"][place - 1].reported_loss
    assert first["end"] == pytest.approx(wanted, rel=1e-6)


def test_gaps_stay_gaps(server):
    rows = rows_of(server.ask("panels", ("run", "gaps"))["rows"])
    assert rows[2]["reported_loss"] is None
    assert rows[4]["val_loss"] is None
    assert rows[6]["true_loss"] is None
    assert server.ask("waterfall", ("run", "gaps"), ("at", "7"))["place"] == 8


def test_several_runs_share_the_panels(server):
    names = sorted(SWEEP)[:MOST_SELECTED]
    answer = server.ask("panels", *(("run", name) for name in names))
    assert {row["run"] for row in rows_of(answer["rows"])} == set(names)
    assert set(answer["panels"]) == set(PANELS)


def test_more_runs_than_fit_are_cut(server):
    names = [*SWEEP, *MODELS]
    answer = server.ask("panels", *(("run", name) for name in names))
    assert len({row["run"] for row in rows_of(answer["rows"])}) == MOST_SELECTED


def test_a_long_run_is_sent_in_few_points_with_its_spike(server):
    names = ["long", *sorted(SWEEP)[:9]]
    answer = server.ask("panels", *(("run", name) for name in names))
    rows = [row for row in rows_of(answer["rows"]) if row["run"] == "long"]
    assert 20 < len(rows) < 300
    assert answer["n_measured"] > answer["n_drawn"]
    alone = rows_of(server.ask("panels", ("run", "long"))["rows"])
    assert max(row["reported_loss"] for row in alone) == tab_samples.SPIKE


def test_answers_are_small(server):
    names = ["long", *sorted(SWEEP)[:9]]
    for question in ("overview", "panels", "run", "waterfall", "numbers"):
        assert len(json.dumps(server.ask(question, *(("run", name) for name in names)))) < 1e6


@pytest.mark.parametrize(
    "name", ["unknown", "..", "../../etc", "foreign", "nested/deep", "\0", "é" * 300]
)
def test_a_run_that_is_not_there_is_gone(server, name):
    assert server.ask("run", ("run", name)) == {"gone": True}
    assert server.ask("waterfall", ("run", name)) == {"gone": True}
    assert server.ask("numbers", ("run", name)) == {"gone": True}
    assert server.ask("panels", ("run", name))["panels"] == {}
    both = server.ask("panels", ("run", name), ("run", ""))
    assert set(both["panels"]) == set(PANELS)


def test_no_run_is_no_panel(server):
    assert server.ask("panels")["panels"] == {}


def test_names_arrive_as_they_are(server):
    assert server.models()[IMAGE]["name"] == IMAGE
    told = server.ask("run", ("run", IMAGE))
    assert told["name"] == IMAGE
    headings = server.ask("numbers", ("run", IMAGE))["headings"]
    assert f"true {chart_samples.INJECTION}" in headings
    penalties = server.ask("panels", ("run", IMAGE))["panels"]["penalty_by_layer"]
    assert {row["layer"] for row in rows_of(penalties["rows"])} >= {chart_samples.INJECTION}


def test_answers_are_json_that_no_browser_takes_for_a_page(fast_server):
    for question in ("overview", "panels?run=", "run?run=", "waterfall?run=", "numbers?run="):
        _, headers, content = fast_server.get(f"data/plugin/lossgap/{question}")
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Content-Type-Options"] == "nosniff"
        json.loads(content, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_page_s_files_are_served_by_kind(fast_server):
    for name, kind in [("index.js", "text/javascript"), ("page.css", "text/css")]:
        status, headers, _ = fast_server.get(STATIC + name)
        assert status == 200
        assert headers["Content-Type"] == f"{kind}; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "..",
        "../app.py",
        "../loader.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "..\\app.py",
        "..%5capp.py",
        "....//app.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "file:%2f%2f%2fetc%2fpasswd",
        "index.js/../../app.py",
        "index.js%00.css",
        "index.js%2f..%2f..%2fapp.py",
        "INDEX.JS",
        "index.html",
        "__init__.py",
        "page/index.js",
        "%2e%2e%2f%2e%2e%2fapp.py",
        "..%252fapp.py",
        "%c0%ae%c0%ae/app.py",
        "..;/app.py",
        "..%00/app.py",
        "./../../plugin/app.py",
        "~root/.bashrc",
        "~root%2f.ssh%2fid_rsa",
        "C:%5cWindows%5cwin.ini",
        "%5c%5chost%5cshare",
        "proc/self/environ",
        "address.js.map",
        "page.css~",
        "index.js.",
        "index.js%20",
    ],
)
def test_only_the_page_s_own_files_are_served(fast_server, path):
    status, _, content = fast_server.get(STATIC + path)
    assert status in {301, 400, 404}
    for secret in (b"root:", b"import ", b"class "):
        assert secret not in content


def test_a_packed_question_mark_begins_a_query_and_no_path(fast_server):
    status, _, content = fast_server.get(f"{STATIC}index.js%3f/../app.py")
    assert status == 200
    assert content == fast_server.get(f"{STATIC}index.js")[2]


def test_the_library_is_one_packed_script(fast_server):
    address = "data/plugin/lossgap/library.js"
    status, headers, packed = fast_server.get(address, **{"Accept-Encoding": "gzip"})
    assert status == 200
    assert headers["Content-Type"].startswith("text/javascript")
    assert headers["Content-Encoding"] == "gzip"
    script = gzip.decompress(packed).decode()
    assert "vegaEmbed" in script
    _, _, plain = fast_server.get(address)
    assert plain.decode() == script


def test_the_frame_allows_no_script_from_elsewhere(fast_server):
    _, headers, _ = fast_server.get("data/plugin_entry.html?name=lossgap")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
