"""A live MLflow server on loopback that can be killed, frozen and started again."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


def free_port():
    """Return a port that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Server:
    """``mlflow server`` with one worker, in a process group of its own."""

    def __init__(self, database, artifacts):
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{database}"),
            *("--artifacts-destination", str(artifacts)),
        ]
        self._log = database.with_suffix(".log")
        self._process = None

    def start(self):
        """Start, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Else nine more processes start, for jobs that no test here has.
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.2)
        raise TimeoutError(self._log.read_text())

    def signal(self, number):
        """Send a signal to the server and its workers."""
        os.killpg(self._process.pid, number)

    def kill(self):
        """End it at once."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self):
        """Let it hold connections and answer nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def limit_disk(self, n_bytes):
        """Let no write beyond so many bytes of a file succeed, as on a disk without space."""
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == self._process.pid:
                limits = (n_bytes, resource.RLIM_INFINITY)
                resource.prlimit(int(entry.name), resource.RLIMIT_FSIZE, limits)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_error):
        self.kill()
