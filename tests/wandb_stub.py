"""A stand-in for a W&B server on loopback: takes what real clients send, and remembers it.

It validates nothing, so it shows what is sent and never how the hosted page draws it.
"""

import contextlib
import gzip
import json
import re
import socket
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "team"
STREAM = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream$")


class Stub:
    """A server that can be stopped, started again on its port, and told to answer with errors."""

    def __init__(self):
        self.operations = []
        self.rows = defaultdict(dict)
        self.summaries = {}
        self.configs = {}
        self.notes = {}
        self.files = {}
        self.complete = set()
        self.runs = set()
        self.views = {}
        self.charts = {}
        self.projects = {"project"}
        self.run_keys = []
        self.fault = None
        self.stream_fault = None
        self.key_is_good = True
        self.may_write = True
        self.refused = threading.Event()
        self.changed = threading.Condition()
        self._server = None
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Listen, on the same port as before."""

        class Handler(_Handler):
            stub = self

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Die: nothing listens any more, and open connections break."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None

    def history(self, run):
        """Return the rows of a run in order, as the page would get them."""
        return [row for _, row in sorted(self.rows[run].items())]

    def wait_for(self, condition, seconds=60):
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    def named(self, name):
        """Return the variables of each operation of this name."""
        return [variables for found, variables in self.operations if found == name]

    # What the operations answer.

    def answer(self, query, variables):
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = name[1] if name else "?"
        with self.changed:
            self.operations.append((name, variables))
            self.changed.notify_all()
        reply = {
            "UpsertBucket": self.upsert_bucket,
            "CreateRunFiles": self.create_run_files,
            "Viewer": self.viewer,
            "GetDefaultEntity": lambda _: {"viewer": {"id": "viewer-id", "entity": ENTITY}},
            "RunResumeStatus": self.resume_status,
            "Run": self.run,
            "RunHistoryKeys": self.history_keys,
            "RunParquetHistory": self.parquet_history,
            "HistoryPage": self.history_page,
            "CreateCustomChart": self.create_custom_chart,
            "Views": self.views_of_project,
            "UpsertView2": self.upsert_view,
            "upsertView": self.upsert_view,
            "GetProjects": self.list_projects,
        }.get(name)
        return reply(variables) if reply else {}

    def upsert_bucket(self, variables):
        run = variables.get("name") or "a-run"
        self.runs.add(run)
        if variables.get("config"):
            self.configs[run] = json.loads(variables["config"])
        if variables.get("notes") is not None:
            self.notes[run] = variables["notes"]
        project = variables.get("project") or "uncategorized"
        self.projects.add(project)
        bucket = {
            "id": f"id-{run}",
            "name": run,
            "displayName": variables.get("displayName") or run,
            "description": "",
            "config": "{}",
            "sweepName": variables.get("sweep"),
            "historyLineCount": 0,
            "project": {
                "id": "project-id",
                "name": project,
                "entity": {"id": "entity-id", "name": variables.get("entity") or ENTITY},
            },
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def resume_status(self, variables):
        run = variables["name"]
        rows = self.history(run)
        bucket = {
            "id": f"id-{run}",
            "name": run,
            "displayName": run,
            "summaryMetrics": json.dumps(self.summaries.get(run, {})),
            "logLineCount": 0,
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
            "eventsTail": "[]",
            "config": json.dumps(self.configs.get(run, {})),
            "tags": [],
            "notes": self.notes.get(run),
            "wandbConfig": json.dumps({"t": {}}),
        }
        entity = {"id": "entity-id", "name": ENTITY}
        model = {"id": "project-id", "name": variables["project"], "entity": entity}
        return {"model": model | {"bucket": bucket if run in self.runs else None}}

    def run(self, variables):
        run = variables["name"]
        if run not in self.runs:
            return {"project": {"run": None}}
        found = {
            "id": f"id-{run}",
            "projectId": "7",
            "tags": [],
            "name": run,
            "displayName": run,
            "sweepName": None,
            "state": "crashed",
            "config": json.dumps(self.configs.get(run, {})),
            "group": None,
            "jobType": None,
            "commit": None,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "description": "",
            "notes": self.notes.get(run),
            "systemMetrics": "{}",
            "summaryMetrics": json.dumps(self.summaries.get(run, {})),
            "historyLineCount": len(self.rows[run]),
            "user": {"name": "someone", "username": "someone"},
            "historyKeys": {"lastStep": self.last_step(run), "keys": {}},
        }
        return {"project": {"run": found}}

    def last_step(self, run):
        return max((row["_step"] for row in self.history(run)), default=-1)

    def history_keys(self, variables):
        last = self.last_step(variables["name"])
        return {"project": {"run": {"historyKeys": {"lastStep": last, "keys": {}}}}}

    def parquet_history(self, variables):
        steps = [{"_step": row["_step"]} for row in self.history(variables["runName"])]
        live = {"parquetUrls": [], "liveData": steps}
        return {"project": {"run": {"parquetHistory": live}}}

    def history_page(self, variables):
        rows = [
            json.dumps(row)
            for row in self.history(variables["run"])
            if variables["minStep"] <= row["_step"] < variables["maxStep"]
        ]
        return {"project": {"run": {"history": rows}}}

    def create_run_files(self, variables):
        run = variables.get("run") or variables.get("runName")
        files = [
            {"name": name, "uploadUrl": f"{self.url}/put/{run}/{name}"}
            for name in variables["files"]
        ]
        return {
            "createRunFiles": {"runID": f"id-{run}", "uploadHeaders": [], "files": files},
        }

    def viewer(self, variables):
        viewer = {
            "id": "viewer-id",
            "entity": ENTITY,
            "username": "someone",
            "flags": "{}",
            "admin": False,
            "teams": {"edges": [{"node": {"name": ENTITY}}]},
        }
        return {"viewer": viewer}

    def create_custom_chart(self, variables):
        name = f"{variables['entity']}/{variables['chartName']}"
        if name in self.charts:
            raise LookupError("Duplicate entry: a chart of this name exists already")
        self.charts[name] = variables
        return {"createCustomChart": {"chart": {"id": name}}}

    def views_of_project(self, variables):
        if variables["project"] not in self.projects:
            return {"project": None}
        nodes = [
            {
                "node": {
                    "id": view["id"],
                    "name": view["name"],
                    "displayName": view["displayName"],
                    "spec": view["spec"],
                }
            }
            for view in self.views.values()
            if view["type"] == variables["type"] and view["projectName"] == variables["project"]
        ]
        runs = [{"node": {"historyKeys": {"keys": {key: {} for key in k}}}} for k in self.run_keys]
        return {"project": {"allViews": {"edges": nodes}, "runs": {"edges": runs}}}

    def upsert_view(self, variables):
        if not self.may_write:
            raise PermissionError("permission denied")
        view = dict(variables)
        view["id"] = variables.get("id") or f"view-{len(self.views)}"
        inserted = view["id"] not in self.views
        self.views[view["id"]] = view
        project = {
            "id": "project-id",
            "name": variables["projectName"],
            "entityName": variables["entityName"],
        }
        return {"upsertView": {"view": view | {"project": project}, "inserted": inserted}}

    def list_projects(self, variables):
        nodes = [
            {
                "node": {
                    "id": name,
                    "name": name,
                    "entityName": ENTITY,
                    "createdAt": "",
                    "isBenchmark": False,
                    "user": None,
                }
            }
            for name in self.projects
        ]
        page = {"endCursor": None, "hasNextPage": False}
        return {"models": {"edges": nodes, "pageInfo": page}}

    # What runs stream.

    def stream(self, run, body):
        with self.changed:
            for name, chunk in body.get("files", {}).items():
                if name == "wandb-history.jsonl":
                    for number, line in enumerate(chunk["content"], chunk["offset"]):
                        self.rows[run][number] = json.loads(line)
                elif name == "wandb-summary.json" and chunk["content"]:
                    self.summaries[run] = json.loads(chunk["content"][-1])
            if body.get("complete"):
                self.complete.add(run)
            self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments):
        self.connections = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """Clients that are killed leave broken connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub = None

    def do_POST(self):
        body = self.body()
        if self.stub.fault:
            return self.reply({"error": "told to fail"}, self.stub.fault)
        if self.path == "/graphql":
            return self.graphql(json.loads(body))
        match = STREAM.search(self.path)
        if match is None:
            return self.reply({})
        if self.stub.stream_fault:
            with self.stub.changed:
                self.stub.refused.set()
                self.stub.changed.notify_all()
            return self.reply({"error": "told to fail"}, self.stub.stream_fault)
        self.stub.stream(match[3], json.loads(body))
        return self.reply({"limits": {}})

    def do_PUT(self):
        body = self.body()
        with self.stub.changed:
            self.stub.files[self.path.removeprefix("/put/")] = body
            self.stub.changed.notify_all()
        self.reply({})

    def do_GET(self):
        self.reply({})

    def graphql(self, request):
        if not self.stub.key_is_good:
            return self.reply({"errors": [{"message": "user is not logged in"}]}, 401)
        try:
            data = self.stub.answer(request["query"], request.get("variables") or {})
        except PermissionError as error:
            return self.reply({"errors": [{"message": str(error)}], "data": None}, 403)
        except LookupError as error:
            return self.reply({"errors": [{"message": str(error)}], "data": None}, 409)
        return self.reply({"data": data})

    def body(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return body

    def reply(self, content, status=200):
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass
