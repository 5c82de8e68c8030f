"""The docs: every public name, extra, command and message is in them, and their code runs."""

import ast
import configparser
import importlib
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import lossgap
from fences import blocks
from lossgap.commands import app
from program import check_arguments, commands

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "integrations" / "lossgap"
PAGES = sorted(DOCS.glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRACKERS = ("mlflow", "tensorboard", "wandb")

sys.path.insert(0, str(DOCS))

import check_site  # noqa: E402


def text_of(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


# Names.


def public_names():
    """Return the dotted names that users may write."""
    names = [f"lossgap.{name}" for name in lossgap.__all__]
    for package in (*TRACKERS, "charts", "trackers"):
        module = importlib.import_module(f"lossgap.{package}")
        names += [f"lossgap.{package}.{name}" for name in module.__all__]
    return sorted(set(names))


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_is_in_the_reference(name):
    reference = text_of("api")
    listed = re.findall(r"^::: (\S+)$", reference, re.MULTILINE)
    package = name.rpartition(".")[0]
    # A module may be listed as a whole.
    assert name in listed or package in listed or f"`{name}`" in reference


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_is_in_the_typed_usage(name):
    usage = (ROOT / "tests" / "typing" / "usage.py").read_text(encoding="utf-8")
    assert re.search(rf"\b{re.escape(name)}\b", usage)


@pytest.mark.parametrize("name", [name for name in public_names() if "__" not in name])
def test_a_public_name_has_a_docstring(name):
    module, _, last = name.rpartition(".")
    value = getattr(importlib.import_module(module), last)
    assert inspect.getdoc(value) or isinstance(value, Mapping)


def test_the_reference_lists_nothing_that_is_not_there():
    for name in re.findall(r"^::: (\S+)$", text_of("api"), re.MULTILINE):
        module, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(module), last), name


# Extras, commands, navigation.


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_an_extra_has_a_guide_and_an_example(extra):
    row = re.search(rf"^\| `{extra}` \|.*$", text_of("install"), re.MULTILINE)
    _, _, _, guide, example, _ = row[0].split("|")
    (page,) = re.findall(r"\(([\w-]+\.md|#[\w-]+)\)", guide)
    assert page.startswith("#") or (DOCS / page).is_file()
    files = re.findall(r"examples/[\w.]+", example)
    assert all((ROOT / file).is_file() for file in files)
    assert files or "lossgap" in example or extra == "all"


@pytest.mark.parametrize("path", dict(commands(get_command(app))), ids=" ".join)
def test_a_command_is_in_the_docs(path):
    assert f"| `{' '.join(['lossgap', *path])}` |" in text_of("cli")


def test_every_page_is_in_the_navigation():
    site = (ROOT / ".mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f" {page.name}\n" not in site] == []


def test_the_exit_codes_of_the_docs_are_those_of_the_help():
    helped = CliRunner().invoke(app, ["--help"]).output.partition("Exit codes:")[2]
    codes = re.findall(r"^ +(\d+) ", helped, re.MULTILINE)
    assert codes == re.findall(r"^\| (\d+) \|", text_of("cli"), re.MULTILINE)


# Messages.

RAISED = re.compile(
    r"(Lossgap|InvalidArgument|Data|Tracker|UnsupportedModel|UnsupportedBackend)Error$"
)
HOLE = "…"


def literal(node):
    """Return the text of an expression, with a hole for each part that isn't constant."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return literal(node.left) + literal(node.right)
    return HOLE


def messages():
    """Yield where the source makes an error or a warning, and its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if RAISED.search(name) or name in {"_warn", "MissingDependencyError"}:
                text = " ".join(literal(node.args[-1]).split())
                where = f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
                if len(re.sub(rf"[{HOLE}\W]", "", text)) >= 8:  # more than punctuation
                    yield where, text


def wordings():
    """Return the texts that are made apart from where they are raised."""
    path = PACKAGE / "trackers" / "wording.py"
    functions = ast.parse(path.read_text(encoding="utf-8")).body
    return [
        (f"trackers/wording.py:{function.name}", literal_of(function))
        for function in functions
        if isinstance(function, ast.FunctionDef) and function.name.startswith(("what_", "how_"))
    ]


def literal_of(function):
    """Return all texts in a function but its docstring."""
    docstring = function.body[0].value
    found = [node for node in ast.walk(function) if isinstance(node, ast.Constant | ast.JoinedStr)]
    return " ".join(literal(node) for node in found if node is not docstring)


def quoted():
    """Return the messages that the page quotes, as patterns."""
    found = []
    for line in text_of("troubleshooting").splitlines():
        if line.startswith("| `"):
            for span in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                parts = [re.escape(part) for part in span.split(HOLE)]
                found.append(re.compile(".*".join(parts)))
    return found


# Lines of a file: each stands behind "…, line …: ", which the page has.
OF_A_LINE = "charts/jsonl.py"


@pytest.mark.parametrize(
    ("where", "text"), [*messages(), *wordings()], ids=lambda value: value.partition(" ")[0]
)
def test_a_message_is_in_the_troubleshooting(where, text):
    plain = text.replace("`", "")
    known = any(pattern.search(plain) for pattern in quoted() if pattern.pattern != ", line .*: .*")
    assert known or where.startswith(OF_A_LINE), text


def test_a_quoted_message_is_one_that_can_come():
    texts = [text.replace("`", "") for _, text in [*messages(), *wordings()]]
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    joined = re.sub(r'"\s*\n?\s*f?"', "", source).replace("`", "")
    strange = [
        pattern.pattern
        for pattern in quoted()
        if not any(pattern.search(text) for text in texts)
        and not re.search(re.sub(r"\\(.)", r"\1", pattern.pattern).partition(".*")[0][:20], joined)
    ]
    assert strange == []


# Links and commands.


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    named = re.findall(r"`((?:examples|benchmarks|tests|docs)/[\w/.-]+\.\w+)`", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []


def shell_lines():
    """Yield the page and each command line of lossgap's in its blocks of shell."""
    for page in [*PAGES, ROOT / "README.md"]:
        for language, _, text in blocks(page.read_text(encoding="utf-8")):
            if language in {"", "sh", "bash", "console"}:
                for line in re.split(r"\n|\s&&\s", text):
                    words = shlex.split(line.removeprefix("$ "), comments=True)
                    while words and re.match(r"\w+=", words[0]):
                        words.pop(0)
                    if words and Path(words[0]).name == "lossgap":
                        yield page.name, shlex.join(words[1:])


@pytest.mark.parametrize(("page", "line"), sorted(set(shell_lines())))
def test_a_command_line_is_one_that_the_program_takes(page, line, tmp_path, monkeypatch):
    del page
    monkeypatch.setenv("HOME", str(tmp_path))
    check_arguments(shlex.split(line))


def test_an_environment_of_tox_that_a_page_names_is_there():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    for page in [*PAGES, ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]:
        for name in re.findall(r"tox run -e ([\w-]+)", page.read_text(encoding="utf-8")):
            assert f"testenv:{name}" in tox, f"{page.name}: {name}"


# The site.


@pytest.mark.parametrize(
    "source",
    [
        '<script src="https://example.com/a.js"></script>',
        "<link rel='stylesheet' href='//example.com/a.css'>",
        "@font-face{src:url(https://example.com/a.woff2)}",
        '<img alt="a" src="http://example.com/a.png">',
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_seen(source, tmp_path, capsys):
    (tmp_path / "index.html").write_text(f"<p>Fine.</p>{source}", encoding="utf-8")
    with pytest.raises(SystemExit):
        check_site.check(tmp_path)
    assert "example.com" in capsys.readouterr().out


def test_links_and_files_beside_a_page_are_fine(tmp_path):
    source = '<a href="https://example.com">there</a><script src="a.js"></script>'
    (tmp_path / "index.html").write_text(source, encoding="utf-8")
    check_site.check(tmp_path)


def test_the_reference_reads_as_plain_text():
    import griffe

    extensions = griffe.load_extensions(DOCS / "plain_docstrings.py")
    package = griffe.load("lossgap", search_paths=[PACKAGE.parent], extensions=extensions)
    texts = [member.docstring.value for member in walk(package) if member.docstring]
    assert len(texts) > 500
    marks = [re.search(r":\w+:`|\.\. math::", text) for text in texts]
    assert not any(marks)


def walk(found):
    yield found
    for member in found.members.values():
        if not member.is_alias:
            yield from walk(member)
