"""One extra alone: all that it names is there, and nothing of the others.

tox names this file, because what is installed decides the outcome: it doesn't match
``test_*.py``, so no other run collects it. ``LOSSGAP_EXTRA`` is the environment's name.
"""

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

import lossgap

EXTRA = os.environ["LOSSGAP_EXTRA"]
# `core` has the backend and nothing optional.
NAMED = "tensorflow" if EXTRA == "core" else EXTRA
# One distribution for each extra, which comes with no other distribution.
SIGNS = {
    "mlflow": "mlflow",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "charts": "altair",
    "cli": "typer",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "ray": "ray",
}


def required_by(extra):
    """Return what ``lossgap[extra]`` asks for beyond lossgap itself, nested extras resolved."""
    found = []
    for text in importlib.metadata.requires("lossgap"):
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == "lossgap":
            found += [entry for name in requirement.extras for entry in required_by(name)]
        else:
            found.append(requirement)
    return found


def installed(name):
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_the_tests_run_against_the_installed_wheel():
    assert Path(lossgap.__file__).is_relative_to(sys.prefix)


def test_what_the_extra_names_is_installed():
    requirements = required_by(NAMED)
    assert requirements
    for requirement in requirements:
        assert installed(requirement.name) in requirement.specifier


def test_nothing_of_the_others_is_installed():
    # An extra may bring another one: TensorBoard's tab draws charts.
    brought = {requirement.name for requirement in required_by(NAMED)}
    if EXTRA == "ray":  # it brings no backend and no command, and is tested with both
        brought |= {"jax", "typer"}
    others = set(SIGNS.values()) - brought
    assert {name for name in others if installed(name)} == set()


def test_no_other_accelerator_came_along():
    names = {distribution.name for distribution in importlib.metadata.distributions()}
    assert not [name for name in names if name.startswith("nvidia")]
    assert "torch" not in names


def test_the_package_of_the_extra_imports_alone():
    # Some extras have no package of their own, or not yet.
    for module in Path(lossgap.__file__).parent.glob("*/__init__.py"):
        if EXTRA in {module.parent.name, "all"}:
            program = f"import lossgap.{module.parent.name}"
            subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_the_command_line_helps_or_says_what_to_install():
    command = [str(Path(sys.executable).with_name("lossgap")), "--help"]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    if installed("typer"):
        assert process.returncode == 0
        assert "demo" in process.stdout
    else:
        assert process.returncode == 2
        assert process.stderr.rstrip().endswith('pip install "lossgap[cli]"')
