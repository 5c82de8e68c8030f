"""The tab's reading: of what TensorBoard may answer, and of log directories as it reads them."""

import json

from google.protobuf.message import DecodeError
from tensorboard import context
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.data import provider

import chart_samples
from lossgap.tensorboard import layout
from lossgap.tensorboard.plugin import drawing, overview
from lossgap.tensorboard.plugin.logs import Logs
from mutations import NAMES, NUMBERS
from targets import EventFiles

STEPS = (-(2**63), -1, 0, 1, 2, 3, 2**31, 2**53 + 1, 2**63 - 1)
FLOATS = tuple(n for n in NUMBERS if isinstance(n, float))
PREFIXES = ("lossgap/", "lossgap/gap_", "lossgap/true_", "lossgap_penalty/", "")


class Provider:
    """Answers as TensorBoard's data providers do, from a dictionary.

    It stands in for the two of TensorBoard, whose own reading of files isn't what is tried here.
    """

    def __init__(self, runs, markers):
        self._runs = runs
        self._markers = markers

    def list_scalars(self, _context, *, run_tag_filter=None, **_options):
        return self._chosen(run_tag_filter)

    def read_scalars(self, _context, *, downsample, run_tag_filter=None, **_options):
        return {
            run: {tag: data[-downsample:] for tag, data in tags.items()}
            for run, tags in self._chosen(run_tag_filter).items()
        }

    def read_last_scalars(self, _context, *, run_tag_filter=None, **_options):
        return {
            run: {tag: data[-1] for tag, data in tags.items() if data}
            for run, tags in self._chosen(run_tag_filter).items()
        }

    def list_tensors(self, _context, *, run_tag_filter=None, **_options):
        return {
            run: {
                layout.MARKER: provider.TensorTimeSeries(
                    max_step=0, max_wall_time=0.0, plugin_content=content, description="",
                    display_name="",
                )
            }
            for run, content in self._markers.items()
            if run_tag_filter.runs is None or run in run_tag_filter.runs
        }  # fmt: skip

    def _chosen(self, wanted):
        return {
            run: {tag: data for tag, data in tags.items() if _has(wanted.tags, tag)}
            for run, tags in self._runs.items()
            if _has(wanted.runs, run)
        }


def _has(wanted, name):
    return wanted is None or name in wanted


def answer(logs):
    """Ask all that the page asks, and write it as the JSON that it gets."""
    found = logs.last()
    _to_json(overview.overview(found))
    runs = logs.read([last.run.name for last in found][: overview.MOST_SELECTED], 60_000)
    _to_json(drawing.draw(runs))
    for run in runs:
        for question in (drawing.tell, drawing.fall):
            _to_json(question(run, 1))
        _to_json(drawing.listed(run))


def _to_json(found):
    json.dumps(found, allow_nan=False)


class Tab:
    """What the tab makes of odd tags, steps, numbers and names."""

    name = "the tab in TensorBoard"

    def __init__(self, _folder):
        self._measurements = chart_samples.training(3, standard_error=0.01)

    def make(self, choose, _cut):
        runs = {self._name(choose): self._tags(choose) for _ in range(choose.choice((1, 1, 2, 12)))}
        contents = (b"", b"[", b"[" * 100_000, b'{"unit": "step"}', b"\xff", b'{"unit": []}', b"7")
        return Logs(
            Provider(runs, {run: choose.choice(contents) for run in runs}),
            context.RequestContext(),
            "",
        )

    def _name(self, choose):
        model = choose.choice(("", "model", *NAMES))
        return choose.choice((f"{model}/gap", f"{model}\\gap", "gap", model))

    def _tags(self, choose):
        points = [layout.linked(m) for m in self._measurements]
        tags = {
            tag: [(step, row[tag]) for step, row in enumerate(points) if tag in row]
            for tag in dict.fromkeys(tag for row in points for tag in row)
        }
        for _ in range(choose.choice((0, 1, 3, 10))):
            tag = choose.choice(list(tags))
            if choose.randrange(3) == 0:
                tag = choose.choice(PREFIXES) + choose.choice(NAMES)
            many = choose.choice((0, 1, 3, 3))
            tags[tag] = [(choose.choice(STEPS), choose.choice(FLOATS)) for _ in range(many)]
        if choose.randrange(10) == 0:
            tags.pop(choose.choice(list(tags)))
        return {
            tag: [provider.ScalarDatum(step, 1e9, value) for step, value in data]
            for tag, data in tags.items()
        }

    def read(self, logs):
        answer(logs)
        return True

    def use(self, _read):
        """It was used while it was read."""


class TabOverFiles:
    """The tab over TensorBoard's own loader, on records whose contents are damaged.

    Where the framing is, TensorFlow's own reader ends the process: lossgap's isn't reached.
    """

    name = "the tab, on TensorBoard's loader"

    def __init__(self, folder):
        self.make = EventFiles(folder, framing=False).make

    def read(self, place):
        multiplexer = EventMultiplexer().AddRunsFromDirectory(str(place))
        try:
            multiplexer.Reload()
        except DecodeError:  # TensorBoard's own: it goes on without these files
            return None
        source = data_provider.MultiplexerDataProvider(multiplexer, str(place))
        answer(Logs(source, context.RequestContext(), ""))
        return True

    def use(self, _read):
        """It was used while it was read."""
