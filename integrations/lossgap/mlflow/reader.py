"""Measurements read back from MLflow, for ``lossgap report``."""

import re
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from lossgap.charts import Run, read_measurements
from lossgap.charts.readers import Reader
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError, LossgapError, first_line
from lossgap.extras import require
from lossgap.redaction import shown

MOST_RUNS: Final = 100
MOST_BYTES: Final = 64 * 2**20
"""Size of a run's records, beyond which its metrics are read instead."""

MOST_VALUES: Final = 5_000_000
"""Values of a run's metrics."""

_SCHEMES: Final = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
_RECORDS: Final = f"{keys.NAMESPACE}measurements.jsonl"


def accepts(place: str) -> bool:
    """Tell whether a place is a tracking URI, or ``runs:/<run id>``."""
    scheme = place.partition(":")[0].lower().partition("+")[0]
    if scheme == "runs" or (scheme in _SCHEMES and ":" in place):
        return True
    path = Path(place)
    return path.name == "mlflow.db" or (path / "mlflow.db").is_file() or path.name == "mlruns"


def read(place: str) -> list[Run]:
    """Read the runs in a place of MLflow that hold a true loss, newest first.

    Args:
        place: A tracking URI, with ``?experiment=<name or id>`` or ``?runs=<id>,<id>`` to
            choose; or ``runs:/<run id>`` for one run of the current tracking server.

    Raises:
        DataError: The server doesn't answer, or there is no such run.
        MissingDependencyError: MLflow isn't installed.
    """
    mlflow = require("mlflow", extra="mlflow")
    uri, wanted = _parsed(place)
    where = shown(place)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        runs = [_read_run(client, run) for run in _runs(client, wanted)]
    except LossgapError as error:
        raise DataError(f"MLflow at {where!r}: {error}") from error
    except mlflow.exceptions.MlflowException as error:
        raise DataError(f"MLflow at {where!r} says: {first_line(error)}") from error
    except Exception as error:  # whatever its client makes of a store that isn't whole
        raise DataError(
            f"MLflow can't read {where!r} ({type(error).__name__}: {first_line(error)}). Is it a "
            "store of MLflow's, and not damaged?"
        ) from error
    found = [run for run in runs if run.measurements]
    if not found:
        raise DataError(
            f"No run in {where!r} has {keys.tracked(keys.TRUE_LOSS)!r}. Log one with "
            "lossgap.mlflow.autolog(), or choose with ?experiment=NAME or ?runs=ID,ID."
        )
    return found


def _parsed(place: str) -> tuple[str | None, dict[str, str]]:
    """Return the tracking URI, ``None`` for the current one, and what to choose."""
    if place.startswith("runs:/"):
        return None, {"runs": place.removeprefix("runs:/").strip("/")}
    if "://" not in place:
        path = Path(place)
        store = path / "mlflow.db" if (path / "mlflow.db").is_file() else path
        return (f"sqlite:///{store}" if store.suffix == ".db" else str(path)), {}
    query = parse_qs(urlsplit(place).query)
    chosen: dict[str, str] = {
        name: query[name][-1] for name in ("experiment", "runs") if name in query
    }
    return (re.sub(r"\?(experiment|runs)=.*$", "", place) if chosen else place), chosen


def _runs(client: Any, wanted: dict[str, str]) -> list[Any]:
    if "runs" in wanted:
        return [client.get_run(run_id) for run_id in wanted["runs"].split(",")]
    experiments = client.search_experiments()
    if name := wanted.get("experiment"):
        experiments = [e for e in experiments if name in (e.name, e.experiment_id)]
        if not experiments:
            raise DataError(
                f"There is no experiment called {shown(name)!r}, and none with that id."
            )
    found: list[Any] = client.search_runs(
        [e.experiment_id for e in experiments],
        filter_string=f"metrics.`{keys.tracked(keys.TRUE_LOSS)}` > -1e300",
        order_by=["attributes.start_time DESC"],
        max_results=MOST_RUNS,
    )
    return found


def _read_run(client: Any, run: Any) -> Run:
    """Read the records that the tracker wrote; without these, its metrics."""
    name = run.info.run_name or run.info.run_id
    artifacts = client.list_artifacts(run.info.run_id, keys.NAMESPACE.rstrip("/"))
    sizes = {artifact.path: artifact.file_size or 0 for artifact in artifacts}
    metrics = _from_metrics(client, run)
    if 0 < sizes.get(_RECORDS, 0) <= MOST_BYTES:
        with tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(run.info.run_id, _RECORDS, folder)
            measurements = [m for found in read_measurements(path) for m in found.measurements]
        if len(measurements) >= len(metrics):
            return Run(name, tuple(measurements))
    return Run(name, metrics)


def _from_metrics(client: Any, run: Any) -> tuple[Measurement, ...]:
    by_step: dict[int, dict[str, float]] = {}
    n_values = 0
    for key in run.data.metrics:
        if key.startswith(keys.NAMESPACE):
            for metric in client.get_metric_history(run.info.run_id, key):
                by_step.setdefault(metric.step, {})[key] = metric.value
                n_values += 1
            if n_values > MOST_VALUES:
                raise DataError(
                    f"a run has more than {MOST_VALUES} values of lossgap's. Leave it out with "
                    "?runs=ID,ID."
                )
    in_steps = run.data.tags.get("lossgap.every", "").endswith("step")
    return tuple(
        Measurement.from_tracked(values, **({"step": step} if in_steps else {"epoch": step}))
        for step, values in sorted(by_step.items())
        if keys.tracked(keys.TRUE_LOSS) in values
    )


READER: Final = Reader("an MLflow tracking URI (http://…, sqlite:///…, runs:/ID)", accepts, read)
