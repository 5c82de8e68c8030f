"""The plugin: which addresses the tab has, and what they answer."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from lossgap.errors import LossgapError
from lossgap.tensorboard.plugin import assets, drawing
from lossgap.tensorboard.plugin.logs import PLUGIN, Last, Logs
from lossgap.tensorboard.plugin.overview import MOST_SELECTED, overview

MOST_POINTS: Final = 30_000
"""Numbers that are read for one answer."""

HOUR: Final = 60 * 60


class TrueLossPlugin(base_plugin.TBPlugin):
    """Serves the tab "True Loss".

    The page asks for the overview first, which costs one last value per curve, and for curves
    of selected runs only.
    """

    plugin_name = PLUGIN

    def __init__(self, context: Any) -> None:
        self._data = context.data_provider
        self._files = assets.page_files()
        self._is_warm = self._is_ready = False

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        """Return what answers at which address."""
        apps: dict[str, Callable[..., Any]] = {
            f"/static/{name}": _application(partial(self._file, name=name)) for name in self._files
        }
        apps["/library.js"] = _application(_library)
        for name in ("overview", "panels", "run", "waterfall", "numbers"):
            apps[f"/{name}"] = _application(partial(self._answer, question=name))
        return apps

    def is_active(self) -> bool:
        """Leave the tab to TensorBoard, which shows it where it finds the marker."""
        return False

    def frontend_metadata(self) -> Any:
        """Return the tab's name and its page, which reloads by itself.

        TensorBoard asks when its own page is opened: time to get ready for ours.
        """
        if not self._is_ready:
            self._is_ready = True
            _in_background(_get_ready)
        return base_plugin.FrontendMetadata(
            es_module_path="/static/index.js", tab_name="True Loss", disable_reload=True
        )

    def _file(self, request: Any, *, name: str) -> Any:
        kind, content = self._files[name]
        return http_util.Respond(request, content, kind)

    def _answer(self, request: Any, *, question: str) -> Any:
        """Answer in JSON; what is missing here is said in words that the page shows."""
        logs = Logs(
            self._data,
            plugin_util.context(request.environ),
            plugin_util.experiment_id(request.environ),
        )
        names = [*dict.fromkeys(request.args.getlist("run"))][:MOST_SELECTED]
        try:
            answer = self._found(question, logs, names, request.args.get("at", type=int))
        except LossgapError as error:
            answer = {"problem": str(error)}
        return _json(request, answer)

    def _found(
        self, question: str, logs: Logs, names: Sequence[str], place: int | None
    ) -> dict[str, Any]:
        if question == "overview":
            last = logs.last()
            self._warm_up(logs, last)
            return overview(last)
        runs = logs.read(names, MOST_POINTS)
        if question == "panels":
            return drawing.draw(runs)
        if not runs:
            return {"gone": True}
        if question == "numbers":
            return drawing.listed(runs[0])
        answer = drawing.fall if question == "waterfall" else drawing.tell
        return answer(runs[0], place)

    def _warm_up(self, logs: Logs, last: Sequence[Last]) -> None:
        """Draw once what is likely to be asked for, while the user reads the table."""
        if not last or self._is_warm:
            return
        self._is_warm = True
        newest = max(last, key=lambda found: found.wall_time).run.name

        def draw() -> None:
            with suppress(LossgapError):
                assets.library()
                drawing.warm_up(*logs.read([newest], MOST_POINTS))

        _in_background(draw)


def _get_ready() -> None:
    with suppress(LossgapError):
        assets.library()
        assets.prepare()


def _in_background(work: Callable[[], object]) -> None:
    threading.Thread(target=work, name="lossgap-warm-up", daemon=True).start()


def _application(respond: Callable[[Any], Any]) -> Callable[..., Any]:
    def application(environ: Any, start_response: Any) -> Any:
        request = wrappers.Request(environ)
        if request.method not in {"GET", "HEAD"}:
            refused = http_util.Respond(request, "Only GET is answered.", "text/plain", code=405)
            return refused(environ, start_response)
        return respond(request)(environ, start_response)

    return application


def _json(request: Any, answer: dict[str, Any]) -> Any:
    text = json.dumps(answer, allow_nan=False, separators=(",", ":"))
    return http_util.Respond(request, text, "application/json")


def _library(request: Any) -> Any:
    try:
        assets.prepare()
        script = assets.library()
    except LossgapError as error:
        return http_util.Respond(request, str(error), "text/plain", code=404)
    return http_util.Respond(
        request, script, "text/javascript", content_encoding="gzip", expires=HOUR
    )
