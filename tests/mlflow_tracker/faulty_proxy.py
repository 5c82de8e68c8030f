"""A proxy on loopback in front of a server, which can be told to misbehave."""

import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """Hands requests on, or does to them what ``fault`` says.

    ``fault`` is a status to answer with instead, ``"lost"`` to hand on and lose the answer, a
    number of seconds as a float to wait before handing on, or ``None``.
    """

    def __init__(self, target, port=0):
        self.target = target
        self.fault = None
        self.n_requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _handler(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self):
                proxy.n_requests += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if isinstance(proxy.fault, int):
                    self._answer(proxy.fault, b"{}")
                    return
                if isinstance(proxy.fault, float):
                    time.sleep(proxy.fault)
                status, answer = proxy.forward(self.command, self.path, self.headers, body)
                if proxy.fault == "lost":
                    self.close_connection = True
                    self.connection.close()
                else:
                    self._answer(status, answer)

            def _answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, *_arguments):
                pass

        return Handler

    def forward(self, method, path, headers, body):
        kept = {k: v for k, v in headers.items() if k.lower() not in {"host", "connection"}}
        request = urllib.request.Request(
            self.target + path, data=body or None, headers=kept, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 503, b"{}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._server.shutdown()
        self._server.server_close()
