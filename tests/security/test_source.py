"""What the source doesn't do: run what it reads, start programs, or load from elsewhere."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "integrations" / "lossgap"

# What turns data into code, or code of others into ours.
MODULES = {
    *("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code"),
    *("subprocess", "pty", "xmlrpc", "telnetlib", "ftplib", "xml"),
}
CALLS = {
    *("eval", "exec", "compile", "__import__", "system", "popen", "execv", "spawnv", "mktemp"),
    *("unpickle", "Unpickler", "load_model", "load_weights", "from_config", "import_module"),
    *("extractall", "extract_tar", "allow_pickle", "memmap", "fromfile", "make_archive"),
}
# `load` of these would run what is in a file; `json.load` and a plugin's own don't.
LOADERS = {"np", "numpy", "torch", "pickle", "yaml", "joblib", "marshal", "jsonpickle"}

ALLOWED = {
    (
        "core/feeds/choose.py",
        "pickle",
    ): "tells whether data can be pickled, unpickles nothing",
    ("core/workers.py", "pickle"): "what the workers of one training tell each other",
    (
        "core/workers.py",
        "pickle.loads",
    ): "likewise; TensorFlow's cluster trusts its workers as much",
    ("ray/job.py", "pickle"): "what the workers of our own job return",
    ("ray/job.py", "pickle.loads"): "likewise; Ray itself pickles all that it moves",
    ("ray/models.py", "load_model"): "Keras's safe mode, which refuses code",
    ("ray/worker.py", "pickle"): "writes what a worker returns, unpickles nothing",
    ("extras.py", "import_module"): "the names of optional packages, spelled in our own source",
    ("commands/report.py", "import_module"): "our own packages, by a list in that module",
    ("core/callback.py", "import_module"): "our own package, by a constant",
    ("core/summary.py", "import_module"): "our own package, by a constant",
    ("core/backends/__init__.py", "import_module"): "one of three of our own modules",
    ("core/backends/iteration.py", "import_module"): "a backend of Keras's, by a constant",
    ("tensorboard/__init__.py", "import_module"): "our own modules, by a table",
    ("__init__.py", "import_module"): "our own packages, by a table",
    ("trackers/registry.py", "import_module"): "classes that the user's own code registered",
    ("trackers/beside.py", "import_module"): "our own packages, by a table",
    ("torch/__init__.py", "import_module"): "our own modules, by a table",
    ("watch/functions.py", "import_module"): "the user's code, from the folder that the user names",
    ("watch/models.py", "load_model"): "Keras's safe mode, which refuses code",
    ("watch/models.py", "load_weights"): "numbers alone, into a model that is there",
}


def found(source):
    """Yield the words in a module that need a reason."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[0] for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            top = (node.module or "").split(".")[0]
            if top in MODULES:
                yield top
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(node):
    attribute = getattr(node.func, "attr", None)
    name = attribute or getattr(node.func, "id", "")
    owner = getattr(getattr(node.func, "value", None), "id", "")
    of_re = owner == "re"
    if name in CALLS and not of_re and not (name == "compile" and attribute):
        yield name
    if name in {"load", "loads"} and owner in LOADERS:
        yield f"{owner}.{name}"
    for keyword in node.keywords:
        if keyword.arg in {"allow_pickle", "shell"}:
            yield keyword.arg


def in_the_package():
    return {
        (path.relative_to(PACKAGE).as_posix(), word)
        for path in PACKAGE.rglob("*.py")
        for word in found(path.read_text(encoding="utf-8"))
    }


def test_nothing_turns_data_into_code_but_for_a_reason():
    assert in_the_package() == ALLOWED.keys()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "import subprocess",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "eval(text)",
        "os.system(text)",
        "keras.models.load_model(path)",
        "importlib.import_module(name)",
        "run(text, shell=True)",
    ],
)
def test_what_would_is_seen(source):
    assert list(found(source))


@pytest.mark.parametrize("source", ["json.loads(text)", "re.compile(text)", "model.compile(x)"])
def test_what_would_not_is_left_alone(source):
    assert list(found(source)) == []


@pytest.mark.parametrize(
    "path",
    [*PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.html"), *PACKAGE.rglob("*.css")],
    ids=lambda path: path.name,
)
def test_pages_load_nothing_from_elsewhere_and_write_no_html(path):
    text = path.read_text(encoding="utf-8")
    addresses = re.findall(r"(?:https?:)?//[a-z0-9][\w.-]+\.[a-z]{2,}[^\s\"'`)]*", text)
    assert [a for a in addresses if "www.w3.org" not in a] == []
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
