"""The house rules that can be read from the source, and what importing lossgap costs.

Nothing here imports Keras, so that these tests run in every environment.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "integrations" / "lossgap"

# A room imports itself and rooms of a lower floor, so neighbours never import each other.
FLOORS = {
    "redaction": -1,
    "errors": 0,
    "exits": 0,
    "extras": 0.5,
    "core": 1,
    "charts": 2,
    "trackers": 2,
    "mlflow": 3,
    "ray": 3,
    "wandb": 3,
    "tensorboard": 3,
    "torch": 3,
    "watch": 3,
    "testing": 4,
    "commands": 4,
    "cli": 5,
}
# The root's own names (`from lossgap import fit`) need all of the core: for the top floors.
ROOT_FLOOR = 2.5
# Which rooms may import what comes from an index. Everything else is the standard library.
GUESTS = {
    "keras": {"core", "commands", "mlflow", "ray", "testing", "watch"},
    "numpy": {"core", "charts", "commands", "ray", "testing", "torch"},
    "h5py": {"watch"},  # which Keras brings
    "lightning": {"torch"},
    "altair": {"charts"},
    "vl_convert": {"charts"},
    "mlflow": {"mlflow", "commands"},  # the demo starts runs as a user would
    "wandb": {"wandb", "commands"},
    "tensorboard": {"tensorboard"},
    "google": {"tensorboard"},  # protobuf, which TensorBoard brings
    "werkzeug": {"tensorboard"},
    "rich": {"commands", "cli"},
    "typer": {"commands", "cli"},
    "wrapt": {"trackers"},
    "sklearn": {"commands"},
}
# Keras has no backend-neutral way to compile a loop: the modules that are named after a backend
# import it, and no others do.
BACKENDS = {"tensorflow", "jax", "torch"}
BACKENDS_ROOM = Path("core", "backends")

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room(path):
    """Return the room of a module: the first part of its path in the package."""
    return path.parts[0].removesuffix(".py")


def imported(tree, path):
    """Yield the dotted name of each import in ``tree``, wherever it stands.

    ``from a import b`` counts as ``a.b``, relative imports are resolved, and
    ``import_module("a")`` with a literal name counts as well.
    """
    package = ["lossgap", *path.parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant):
                yield name.value


def called(node):
    """Return the last part of the name that a call calls."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def broken_rules(path, source):
    """Return what is wrong with the imports of the module at ``path``, a line each."""
    here = room(path)
    complaints = []
    for name in imported(ast.parse(source), path):
        top, *rest = name.split(".")
        if top in sys.stdlib_module_names:
            continue
        if top == "lossgap":
            there = rest[0] if rest else ""
            allowed = there == here or FLOORS.get(there, ROOT_FLOOR) < FLOORS[here]
        elif top in BACKENDS:
            of_backends = path.parent == BACKENDS_ROOM and path.stem.partition("_")[0] == top
            allowed = of_backends or here == top
        else:
            allowed = here in GUESTS.get(top, ())
        if not allowed:
            complaints.append(f"lossgap/{path.as_posix()} imports {name}")
    return complaints


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != Path("__init__.py")], ids=Path.as_posix
)
def test_imports_point_one_way(path):
    assert room(path) in FLOORS, f"{room(path)} needs a floor in this test"
    assert broken_rules(path, (PACKAGE / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/fit.py", "import tensorflow"),
        ("core/fit.py", "def f():\n  from lossgap.trackers import registry"),
        ("core/fit.py", "import importlib\nimportlib.import_module('mlflow')"),
        ("core/fit.py", "from ..charts import panels"),
        ("core/fit.py", "from lossgap import measure"),
        ("core/fit.py", "import scipy"),
        ("core/backends/jax.py", "import tensorflow as tf"),
        ("core/tensorflow_replicas.py", "import tensorflow as tf"),
        ("errors.py", "from lossgap.core import keys"),
        ("mlflow/autolog.py", "from lossgap.wandb import tracker"),
        ("mlflow/autolog.py", "import wandb"),
        ("torch/measuring.py", "import keras"),
        ("watch/watcher.py", "from lossgap.mlflow import beside"),
        ("charts/panels.py", "from lossgap.trackers import outbox"),
        ("trackers/outbox.py", "import numpy"),
        ("commands/demo.py", "from lossgap import cli"),
    ],
)
def test_a_wrong_import_is_seen(path, source):
    assert len(broken_rules(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/fit.py", "import json, numpy as np\nfrom keras import ops\nfrom . import keys"),
        ("core/backends/tensorflow.py", "import tensorflow as tf"),
        ("torch/measuring.py", "import torch\nfrom lossgap.core import shapley"),
        ("core/backends/tensorflow_replicas.py", "import tensorflow as tf"),
        ("ray/job.py", "import keras\nfrom lossgap.core import backends"),
        ("mlflow/autolog.py", "import mlflow\nfrom lossgap.charts import panels"),
        ("commands/demo.py", "import lossgap\nfrom sklearn import datasets"),
        ("cli.py", "from lossgap import __version__\nfrom lossgap.commands import demo"),
    ],
)
def test_a_right_import_is_left_alone(path, source):
    assert broken_rules(Path(path), source) == []


# Whole values, as these stand in logs and trackers. Longer texts may name them.
KEYS = {"true_loss", "regularization_gap", "true_val_loss"}
NAMESPACE = "lossgap/"
# Calls that take the name of an attribute, which a record's field may share with a key.
BY_ATTRIBUTE = {"getattr", "hasattr", "attrgetter"}


def keys_spelled(source):
    """Return the literals in ``source`` that spell a metric key, docstrings left out."""
    tree = ast.parse(source)
    # A string that stands alone is documentation.
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in BY_ATTRIBUTE:
            apart |= {id(argument) for argument in node.args}
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id in {"__all__", "__slots__"}
            for target in node.targets
        ):
            apart |= {id(child) for child in ast.walk(node.value)}
    return [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in apart
        and (node.value in KEYS or node.value.startswith(NAMESPACE))
    ]


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != Path("core", "keys.py")], ids=Path.as_posix
)
def test_metric_keys_are_spelled_in_one_module(path):
    assert keys_spelled((PACKAGE / path).read_text()) == []


def test_the_one_module_spells_every_metric_key():
    spelled = " ".join(keys_spelled((PACKAGE / "core" / "keys.py").read_text()))
    assert all(repr(key) in spelled for key in {*KEYS, NAMESPACE})


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('logs["true_loss"] = 1.0', 1),
        ('name = f"lossgap/{name}"', 1),
        ('"""The key true_loss."""\n"""true_loss"""', 0),
        ('getattr(record, "true_loss") + record.true_val_loss', 0),
        ('raise ValueError("no true_loss yet")', 0),
    ],
)
def test_a_spelled_key_is_seen(source, count):
    assert len(keys_spelled(source)) == count


def modules_loaded_by(statement):
    """Return the modules that ``statement`` adds to those of a bare Python process."""
    program = f"import sys; bare = set(sys.modules); {statement}; print(*set(sys.modules) - bare)"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(process.stdout.split())


def test_importing_lossgap_costs_a_handful_of_modules():
    # `typing` and what it imports are most of them: 29 on Python 3.11. Counted, because the
    # time depends on the machine; benchmarks/import_time.py measures it.
    assert len(modules_loaded_by("import lossgap")) <= 40


@pytest.mark.parametrize(
    "statement",
    [
        "import lossgap",
        "import lossgap; dir(lossgap); lossgap.__version__",
        "from lossgap import LossgapError, LossgapWarning",
        # Charts and trackers read records in processes that have no backend.
        "from lossgap import Measurement; Measurement(1.0).to_dict()",
    ],
)
def test_the_standard_library_is_enough_for(statement):
    tops = {name.partition(".")[0] for name in modules_loaded_by(statement)}
    assert tops - sys.stdlib_module_names == {"lossgap"}
