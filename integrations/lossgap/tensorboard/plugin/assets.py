"""What the page is made of: its own files, and the chart library.

The files are listed once, from the package. An address names one of them or nothing: no path
is ever put together from a request.
"""

import gzip
import threading
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from lossgap.charts import render
from lossgap.extras import require

KINDS: Final[Mapping[str, str]] = {".css": "text/css", ".js": "text/javascript"}
"""Content types by the ending of a file's name."""

_LOCK: Final = threading.Lock()


def page_files() -> dict[str, tuple[str, bytes]]:
    """Return the page's files by name: content type and content."""
    found = {}
    for item in files("lossgap.tensorboard.plugin").joinpath("page").iterdir():
        kind = KINDS.get(item.name[item.name.rfind(".") :])
        if kind is not None:
            found[item.name] = (kind, item.read_bytes())
    return found


def library() -> bytes:
    """Return the script with Vega, Vega-Lite and vega-embed, packed by gzip.

    It is built once per process, which takes a second or two.

    Raises:
        MissingDependencyError: The extra ``charts`` isn't installed.
    """
    with _LOCK:  # the page asks more than once while it is being built
        return _packed_library()


@cache
def _packed_library() -> bytes:
    return gzip.compress(render.script().encode(), compresslevel=6, mtime=0)


def prepare() -> None:
    """Import what draws the panels, so that the first selection doesn't wait for it.

    Raises:
        MissingDependencyError: The extra ``charts`` isn't installed.
    """
    require("altair", extra="charts")
