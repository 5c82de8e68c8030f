"""A stand-in for an MLflow server whose answers are damaged, and stores that are.

A server of MLflow's own gives no damaged answers. With whole ones this one is read like it, which
a test holds.
"""

import json
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import chart_samples
from lossgap.charts import jsonl, readers
from lossgap.core import keys
from malformed import draw
from mutations import damage, disturb, to_json

RUN = "0123456789abcdef0123456789abcdef"
PATH = f"{keys.NAMESPACE}measurements.jsonl"


class Answers:
    """What the server answers, by the end of the address."""

    def __init__(self):
        measurements = chart_samples.training(3)
        self.lines = "\n".join(jsonl.to_line("digits", m) for m in measurements).encode()
        histories = {
            key: [
                {"key": key, "value": m.tracked()[key], "timestamp": 1000 + i, "step": i}
                for i, m in enumerate(measurements)
            ]
            for key in measurements[0].tracked()
        }
        info = {
            "run_id": RUN,
            "run_uuid": RUN,
            "run_name": "digits",
            "experiment_id": "0",
            "status": "FINISHED",
            "start_time": 1,
            "end_time": 2,
            "artifact_uri": f"mlflow-artifacts:/0/{RUN}/artifacts",
            "lifecycle_stage": "active",
        }
        data = {
            "metrics": [points[-1] for points in histories.values()],
            "params": [],
            "tags": [{"key": "lossgap.every", "value": "1 epoch"}],
        }
        run = {"info": info, "data": data, "inputs": {}}
        experiment = {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}
        listed = {"path": PATH.rpartition("/")[2], "is_dir": False, "file_size": len(self.lines)}
        self.whole = {
            "experiments/search": {"experiments": [experiment]},
            "runs/search": {"runs": [run]},
            "runs/get": {"run": run},
            "mlflow-artifacts/artifacts": {"files": [listed]},
            **{f"get-history {key}": {"metrics": points} for key, points in histories.items()},
        }
        self.damaged = {}

    def to(self, address):
        """Return the body that answers an address."""
        parts = urlsplit(address)
        place = parts.path.rstrip("/")
        if place.endswith("get-history"):
            place = f"get-history {parse_qs(parts.query)['metric_key'][0]}"
        elif place.endswith("measurements.jsonl"):
            return self.damaged.get("lines", self.lines)
        for end, record in self.whole.items():
            if place.endswith(end):
                return self.damaged.get(end) or json.dumps(record).encode()
        return b"{}"


@contextmanager
def serving(answers):
    """Serve answers on loopback, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = answers.to(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class MLflowAnswers:
    """The reader of MLflow, over answers of which one is damaged."""

    name = "answers of an MLflow server"

    def __init__(self, answers, uri):
        self._answers = answers
        self._uri = uri
        self._ends = [
            *list(answers.whole)[:4],
            "runs/search",
            f"get-history {keys.NAMESPACE}true_loss",
        ]

    def make(self, choose, cut):
        self._answers.damaged = {}
        end = choose.choice([*self._ends, "lines", "lines"])
        whole = self._answers.lines if end == "lines" else self._answers.whole[end]
        if end == "lines":
            body = damage(whole, choose) if cut is None else whole[: round(cut * len(whole))]
        elif cut is not None:
            body = json.dumps(whole).encode()
            body = body[: round(cut * len(body))]
        elif choose.randrange(4) == 0:
            body = damage(json.dumps(whole).encode(), choose)
        else:
            body = to_json(disturb(whole, choose), choose)
        self._answers.damaged[end] = body
        return self._uri

    def read(self, uri):
        return readers.read(uri)

    use = staticmethod(draw)


class MLflowStores:
    """The reader of MLflow, over a damaged SQLite store."""

    name = "SQLite stores of MLflow"

    def __init__(self, folder, data):
        self._folder = folder
        self._data = data
        self._n_made = 0

    def make(self, choose, cut):
        if cut is not None:
            data = self._data[: round(cut * len(self._data))]
        else:
            data = bytearray(self._data)
            for _ in range(choose.choice((1, 10, 200))):
                # Most of a store is empty pages: damage the others.
                at = choose.randrange(len(data))
                page = at - at % 4096
                if any(data[page : page + 4096]):
                    data[at] = choose.randrange(256)
        # Each in a place of its own: MLflow keeps a connection for each, and SQLite its pages.
        shutil.rmtree(self._folder / f"{self._n_made}", ignore_errors=True)
        self._n_made += 1
        place = self._folder / f"{self._n_made}"
        place.mkdir()
        (place / "mlflow.db").write_bytes(data)
        return place

    def read(self, place):
        return readers.read(str(place))

    use = staticmethod(draw)


def store(folder):
    """Let MLflow make a store with one run of lossgap's, and return the content of its file."""
    import mlflow

    from lossgap.core.observers import Training
    from lossgap.mlflow import MLflowTracker

    path = folder / "mlflow.db"
    uri = f"sqlite:///{path}"
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("odd", artifact_location=str(folder / "artifacts"))
    run = client.create_run(experiment)
    tracker = MLflowTracker(run.info.run_id, tracking_uri=uri, panels=False, view=False)
    tracker.start(Training({}))
    for index, measurement in enumerate(chart_samples.training(3)):
        tracker.log(measurement, 1e9 + index)
    tracker.finish(None, failed=False)
    return path.read_bytes()
