"""Questions to a W&B server, and what its refusals mean."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from lossgap import redaction
from lossgap.errors import InvalidArgumentError, LossgapError, first_line
from lossgap.extras import require

# Views of a project by type, and the keys of the histories of its newest runs.
_VIEWS: Final = """
query Views($entity: String!, $project: String!, $type: String!) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: $type) { edges { node { id name displayName spec } } }
    runs(first: 20, order: "-created_at") { edges { node { historyKeys } } }
  }
}
"""
_SHAPE: Final = "ENTITY/PROJECT"


@dataclass(frozen=True, slots=True)
class Project:
    """A project, and the entity (a user or a team) that it belongs to."""

    entity: str
    name: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.name}"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a project has.

    Attributes:
        views: Its views of one type: dicts with id, name, displayName and spec.
        keys: The keys of the history of each of its newest runs.
    """

    views: tuple[dict[str, Any], ...]
    keys: tuple[frozenset[str], ...]


def project(place: str) -> Project:
    """Read ``ENTITY/PROJECT``.

    Raises:
        InvalidArgumentError: It isn't of this form.
    """
    entity, _, name = place.strip("/").partition("/")
    if not entity or not name or "/" in name:
        raise InvalidArgumentError(
            f"Expected {_SHAPE}, such as my-team/digits. Received: {place!r}. An address of W&B's "
            "page has both after the host."
        )
    return Project(entity, name)


def contents(where: Project, view_type: str) -> Contents:
    """Ask what a project has.

    Raises:
        LossgapError: There is no answer, or no such project; the text says the way out.
    """
    variables = {"entity": where.entity, "project": where.name, "type": view_type}
    execute = workspaces("_graphql").execute_graphql
    with explained(where):
        found = (execute(api(), _VIEWS, variables) or {}).get("project")
    if found is None:
        raise LossgapError(
            f"There is no W&B project {where}, or this key may not see it. Check the spelling, "
            "or log a run to it first."
        )
    return Contents(
        tuple(_nodes(found.get("allViews"))),
        tuple(_history_keys(node.get("historyKeys")) for node in _nodes(found.get("runs"))),
    )


def workspaces(module: str) -> Any:
    """Import a module of W&B's package for views and reports, which uses what is deprecated.

    Raises:
        MissingDependencyError: It isn't installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require(f"wandb_workspaces.{module}", extra="wandb")


def api() -> Any:
    """Return W&B's public API, which checks the key."""
    return require("wandb", extra="wandb").Api()


@contextmanager
def explained(where: Project) -> Iterator[None]:
    """Turn W&B's errors into one line with the way out."""
    try:
        yield
    except LossgapError:
        raise
    except Exception as error:
        raise LossgapError(_explain(first_line(error), where)) from error


def _explain(text: str, where: Project) -> str:
    """Say in a line what a refusal means, by the words in it: W&B's errors have no codes.

    Whole words: a status may stand in the port of the server's address, too.
    """
    server = redaction.address(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))

    def says(*words: str) -> bool:
        return any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in words)

    if says("no api key"):
        return f"No W&B API key was found for {server}. Run: wandb login, or set WANDB_API_KEY."
    if says("permissions?", "403", "forbidden"):
        return (
            f"This W&B key may not write to {where} ({text}). Ask its owner for the right, or "
            "choose another entity."
        )
    if says("not logged in", "401", "unauthorized"):
        return f"W&B at {server} doesn't accept the key ({text}). Run: wandb login --relogin"
    if says("404", "not found"):
        return f"W&B at {server} doesn't know {where} ({text}). Check both, and WANDB_BASE_URL."
    return (
        f"W&B at {server} can't be reached, or doesn't answer as expected ({text}). Try again "
        "later, or look at what would be sent: --dry-run"
    )


def _nodes(connection: Any) -> Iterator[dict[str, Any]]:
    for edge in (connection or {}).get("edges", []):
        yield edge["node"]


def _history_keys(found: Any) -> frozenset[str]:
    return frozenset((found or {}).get("keys", {}))
