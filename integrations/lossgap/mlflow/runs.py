"""Which run to log to, found without asking the server."""

import os
import re
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import mlflow
from mlflow.tracking import fluent
from mlflow.tracking.context import registry

from lossgap import redaction

AUTOLOGGING_TAG: Final = "mlflow.autologging"
"""Set by MLflow on runs that its autologging made, and by us on ours."""

TRAINING_TAG: Final = "lossgap.training"
"""By this a run of our own is found again, where a process ended before it knew the run's id."""

CONNECTION_SECONDS: Final = 5.0


def tracking_uri() -> str:
    """Return the address of the current server or store."""
    return str(mlflow.get_tracking_uri())


def active_run_id(*, exclusive: bool) -> str | None:
    """Return the id of the active run.

    Args:
        exclusive: Whether a run that the user started doesn't count.
    """
    run = mlflow.active_run()
    if run is None or (exclusive and AUTOLOGGING_TAG not in run.data.tags):
        return None
    return str(run.info.run_id)


def active_experiment_id() -> str | None:
    """Return the experiment that the user set; ``None`` where only the server knows it."""
    found = getattr(fluent, "_active_experiment_id", None) or os.environ.get("MLFLOW_EXPERIMENT_ID")
    return str(found) if found else None


def own_tags(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that MLflow gives to a new run (user, source), with ours.

    An address among MLflow's own, such as that of the source, comes without its password.
    """
    tags = {str(k): redaction.address(str(v)) for k, v in registry.resolve_tags().items()}
    ours = {AUTOLOGGING_TAG: "lossgap", TRAINING_TAG: uuid.uuid4().hex}
    return tags | ours | {str(name): str(value) for name, value in extra.items()}


def absolute(uri: str) -> str:
    """Return the address of a local store as another working directory would need it."""
    if re.match(r"sqlite:///[^/]", uri):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    return str(Path(uri).absolute()) if "://" not in uri and ":" not in uri else uri


def is_remote(uri: str) -> bool:
    """Tell whether an address is that of a server with a page."""
    return bool(re.match(r"https?://", uri))


def check_reachable(uri: str) -> None:
    """Fail at once where nothing listens: MLflow's client would try for minutes.

    Raises:
        OSError: There is no connection to the host and port of the address.
    """
    parts = urlsplit(uri)
    host = parts.hostname
    if not is_remote(uri) or host is None:
        return
    if getproxies().get(parts.scheme) and not proxy_bypass(host):
        return  # who is to be reached is the proxy's business
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((host, port), timeout=CONNECTION_SECONDS).close()
