"""What is shipped: the wheel, the sdist, the metadata, and the files that repeat each other.

Nothing here imports Keras, so that these tests run in every environment.
"""

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import lossgap

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def build(kind, source, target):
    """Build the "wheel" or "sdist" of the tree at ``source``, and return its path."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Return the folder of the unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder / "built")) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"lossgap-{PROJECT['version']}"


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Return the names in the wheel that the sdist builds."""
    with zipfile.ZipFile(build("wheel", sdist, tmp_path_factory.mktemp("wheel"))) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    info = f"lossgap-{PROJECT['version']}.dist-info"
    assert {name.partition("/")[0] for name in wheel} == {"lossgap", info}
    assert {"lossgap/py.typed", "lossgap/__init__.py", f"{info}/licenses/LICENSE"} <= wheel
    assert not [name for name in wheel if re.search(r"(^|/)tests?(/|$)|\.pyc$", name)]


def test_the_sdist_builds_the_same_wheel_as_the_tree(wheel, tmp_path):
    with zipfile.ZipFile(build("wheel", ROOT, tmp_path)) as archive:
        assert set(archive.namelist()) == wheel


def test_every_source_file_is_in_the_wheel(wheel):
    source = ROOT / "integrations"
    files = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= wheel


def test_the_sdist_holds_what_its_tests_need(sdist):
    for name in ["tox.ini", "constraints.txt", "README.md", "CHANGELOG.md", ".ci/run"]:
        assert (sdist / name).is_file()
    assert (sdist / "tests" / Path(__file__).name).is_file()


def test_the_installed_package_is_this_one():
    assert lossgap.__version__ == importlib.metadata.version("lossgap") == PROJECT["version"]
    metadata = importlib.metadata.metadata("lossgap")
    assert set(metadata.get_all("Provides-Extra")) == set(EXTRAS)
    assert metadata["License-Expression"] == "Apache-2.0"


# Keras runs on one backend at a time: `all` has TensorFlow. Ray is for those who have a cluster.
@pytest.mark.parametrize("name", sorted(set(EXTRAS) - {"all", "jax", "lightning", "ray", "torch"}))
def test_the_extra_all_holds(name):
    (everything,) = EXTRAS["all"]
    assert name in re.fullmatch(r"lossgap\[(.*)\]", everything)[1].split(",")


def test_keras_and_numpy_are_all_that_everybody_gets():
    assert {re.match(r"[\w-]+", entry)[0] for entry in PROJECT["dependencies"]} == {
        "keras",
        "numpy",
    }


def test_the_changelog_tells_this_version():
    assert f"\n## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation


def test_every_extra_is_tested_alone():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = set(re.split(r"[,\s]+", tox["tox"]["env_list"].strip()))
    # `core` tests TensorFlow's extra, and `all` the demo's.
    by_name = {"lightning", "ray"}
    assert environments >= set(EXTRAS) - {"tensorflow", "demo"} - by_name | {"core"}
    assert all(f"testenv:{name}" in tox for name in by_name)


def test_constraints_name_versions_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", pin)] == []


def test_constraints_name_every_direct_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines}
    direct = [*PROJECT["dependencies"], *(entry for extra in EXTRAS.values() for entry in extra)]
    assert {re.match(r"[\w-]+", entry)[0] for entry in direct} - pinned == {"lossgap"}


def test_the_oldest_versions_that_are_tested_are_those_that_are_declared():
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    # JAX, PyTorch and Lightning are supported in the versions of constraints.txt alone.
    extras = [EXTRAS[name] for name in EXTRAS if name not in {"jax", "lightning", "torch"}]
    direct = {entry for entries in extras for entry in entries if "[" not in entry}
    bounds = dict(entry.split(">=") for entry in {*PROJECT["dependencies"], *direct})
    assert {
        name for name in bounds if not f"{pinned.get(name)}.".startswith(f"{bounds[name]}.")
    } == set()


DEMO = 'python3 -m venv .venv && .venv/bin/pip install ".[demo]" && .venv/bin/lossgap demo --open'
TESTS = (
    'python3 -m venv .venv && .venv/bin/pip install "tox>=4.24" "tox-uv>=1.20" && .venv/bin/tox run'
)


@pytest.mark.parametrize("command", [DEMO, TESTS])
def test_the_readme_gives_one_command_to(command):
    assert command in (ROOT / "README.md").read_text().splitlines()


def test_the_gate_runs_the_command_of_the_readme():
    gate = ROOT / ".ci" / "run"
    assert TESTS in gate.read_text()
    assert os.access(gate, os.X_OK)


# What belongs to one machine: where its packages come from, and its folders.
PRIVATE = {
    "an index of packages": r"(?:index[-_]url|find[-_]links|trusted[-_]host|/simple)\b",
    "a host of packages": r"\b(?:pypi|pythonhosted|npmjs|debian|ubuntu)\.(?:org|com|net)\b",
    "an absolute path": r"(?<![\w.~*/-])/(?:root|home|work|Users|opt|mnt|srv|var)/\w",
    "a local address": r"\bfile:///\w",
}


@pytest.mark.parametrize("kind", PRIVATE)
def test_no_file_tells(kind, sdist):
    found = []
    for path in sdist.rglob("*"):
        # This file spells what it looks for; pictures and packed files tell nothing.
        packed = path.suffix in {".gif", ".gz", ".png"}
        if path.is_file() and path.name != Path(__file__).name and not packed:
            text = path.read_text(encoding="utf-8")
            found += [f"{path}: {match[0]}" for match in re.finditer(PRIVATE[kind], text)]
    assert found == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("an index of packages", "--extra-index-url"),
        ("an index of packages", "https://example.net/simple/"),
        ("a host of packages", "https://archive.ubuntu.com/"),
        ("an absolute path", 'cache = "/home/me/cache"'),
        ("a local address", "file:///etc"),
    ],
)
def test_a_private_word_is_seen(kind, text):
    assert re.search(PRIVATE[kind], text)
