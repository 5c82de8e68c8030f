"""TensorBoard starts, whatever is broken in lossgap; and what is shipped holds the tab."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import chart_samples
import lossgap
import tab_logs
from lossgap.tensorboard.plugin import assets
from lossgap.tensorboard.plugin.loader import Loader
from tab_server import broken, serving, without

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "integrations" / "lossgap" / "tensorboard" / "plugin" / "page"


@pytest.fixture
def one_model(tmp_path):
    """Return a log directory with one model."""
    return tab_logs.write(tmp_path / "logs" / "model", chart_samples.training(3)).parent


def answers(server):
    """Return whether TensorBoard itself works."""
    return server.get("data/environment")[0] == server.get("data/plugins_listing")[0] == 200


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("lossgap.tensorboard.plugin.app", "ImportError('broken')"),
        ("lossgap.charts", "RuntimeError('broken')"),
    ],
)
def test_a_broken_import_leaves_the_tab_out_and_tensorboard_running(
    tmp_path, one_model, name, error
):
    with serving(one_model, fast=False, environment=broken(tmp_path, name, error)) as server:
        assert answers(server)
        assert b"lossgap" not in server.get("data/plugins_listing")[2]
        assert any("The tab True Loss is left out" in line for line in server.lines)


@pytest.mark.parametrize("name", ["altair", "vl_convert"])
def test_without_the_charts_the_tab_has_its_table_and_says_what_to_install(
    tmp_path, one_model, name
):
    with serving(one_model, fast=False, environment=without(name, tmp_path)) as server:
        server.wait_for(lambda: "model" in server.models())
        assert "Keras reports" in server.ask("run", ("run", "model"))["verdict"]
        status, _, content = server.get("data/plugin/lossgap/library.js")
        assert status == 404
        assert b'pip install "lossgap[charts]"' in content
        if name == "altair":
            problem = server.ask("panels", ("run", "model"))["problem"]
            assert 'pip install "lossgap[charts]"' in problem


def test_the_loader_says_what_is_wrong_and_returns_nothing(caplog):
    assert Loader().load(None) is None
    assert "The tab True Loss is left out" in caplog.text


def loaded_by(statement):
    """Return the modules that a statement loads in a bare process."""
    program = f"import sys; {statement}; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(process.stdout.split())


def test_what_tensorboard_imports_at_its_start_is_next_to_nothing():
    modules = loaded_by("import lossgap.tensorboard.plugin.loader")
    assert {name for name in modules if name.partition(".")[0] == "lossgap"} == {
        "lossgap",
        "lossgap.exits",
        "lossgap.tensorboard",
        "lossgap.tensorboard.plugin",
        "lossgap.tensorboard.plugin.loader",
    }
    assert not modules & {"altair", "keras", "numpy", "tensorflow", "vl_convert"}


def test_the_plugin_imports_neither_keras_nor_a_chart_library():
    modules = loaded_by("import lossgap.tensorboard.plugin.app")
    assert not modules & {"altair", "keras", "vl_convert"}


def test_the_entry_point_is_registered():
    (point,) = importlib.metadata.entry_points(group="tensorboard_plugins", name="lossgap")
    assert point.load() is Loader


def test_every_file_of_the_page_is_served_and_shipped(tmp_path):
    names = {path.name for path in PAGE.iterdir()}
    assert set(assets.page_files()) == names
    assert {"index.js", "page.css"} <= names
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
        info = f"lossgap-{lossgap.__version__}.dist-info/entry_points.txt"
        points = archive.read(info).decode()
    assert {f"lossgap/tensorboard/plugin/page/{name}" for name in names} <= shipped
    assert "[tensorboard_plugins]\nlossgap = lossgap.tensorboard.plugin.loader:Loader" in points


@pytest.mark.parametrize("path", sorted(PAGE.glob("*.js")), ids=lambda path: path.name)
def test_the_page_writes_text_and_never_markup(path):
    source = path.read_text()
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in source
    # Relative addresses alone: TensorBoard may stand under any path.
    assert "http:" not in source
    assert "https:" not in source
