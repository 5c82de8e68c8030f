"""The panels as artifacts of a run, under ``lossgap/``."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lossgap import charts
from lossgap.charts.pictures import write_png
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import MissingDependencyError, first_line
from lossgap.mlflow.names import named

FOLDER: Final = keys.NAMESPACE.rstrip("/")
REPORT: Final = "true_loss.html"
TABLE: Final = "measurements.json"
RECORDS: Final = "measurements.jsonl"
_TABLES: Final = "mlflow.loggedArtifacts"
"""The tag by which ``mlflow.load_table`` finds the tables of a run."""

_REFUSED: Final = range(400, 500)


def write(client: MlflowClient, run_id: str, measurements: Sequence[Measurement]) -> list[str]:
    """Write page, pictures and tables; those of before are replaced.

    Returns:
        Nothing, or a line that says why there are none: the metrics are there without them.

    Raises:
        MlflowException: The server isn't there.
    """
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            _draw(folder, client.get_run(run_id).info.run_name or run_id, measurements)
            client.log_artifacts(run_id, str(folder), artifact_path=FOLDER)
        _announce_table(client, run_id)
    except MissingDependencyError as error:
        return [f"MLflow has the metrics, but no panels. {error}"]
    except MlflowException as error:
        if error.get_http_status_code() not in _REFUSED:
            raise
        return [f"MLflow has the metrics, but took no artifacts: {first_line(error)}"]
    except PermissionError as error:
        return [f"MLflow has the metrics, but took no artifacts: {first_line(error)}"]
    return []


def _draw(folder: Path, name: str, measurements: Sequence[Measurement]) -> None:
    run = charts.Run(name, tuple(measurements))
    (folder / TABLE).write_text(json.dumps(table(measurements)), encoding="utf-8")
    charts.write_measurements(folder / RECORDS, [run])
    charts.write_report(folder / REPORT, [run], title=f"True loss of {name}")
    write_png(folder, [run])


def table(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return one row per measurement, as pandas splits a frame; absent numbers are null."""
    rows = [named(m.tracked()) for m in measurements]
    names = [*dict.fromkeys(name for row in rows for name in row)]
    return {
        "columns": ["epoch", "step", *names],
        "data": [
            [m.epoch, m.step, *(_finite(row.get(name)) for name in names)]
            for m, row in zip(measurements, rows, strict=True)
        ],
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or value - value != 0 else value


def _announce_table(client: MlflowClient, run_id: str) -> None:
    """Let ``mlflow.load_table`` find the table, beside the user's own."""
    entry = {"path": f"{FOLDER}/{TABLE}", "type": "table"}
    known = json.loads(client.get_run(run_id).data.tags.get(_TABLES, "[]"))
    if entry not in known:
        client.set_tag(run_id, _TABLES, json.dumps([*known, entry]))
