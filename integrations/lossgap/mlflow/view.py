"""The saved view "True loss" of an experiment: charts that MLflow's page shows after one click.

A saved view is a tag of the experiment (MLflow 3.15 and later read it; for older ones it is a
tag like any other). Its form isn't documented: where a server refuses it, everything else
works without.
"""

import json
import time
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lossgap import redaction
from lossgap.core import keys
from lossgap.mlflow import runs

NAME: Final = "True loss"
IDENTIFIER: Final = "lossgap-true-loss"
TAG: Final = f"mlflow.sharedViewState.{IDENTIFIER}"

_LOSSES: Final = (keys.REPORTED_LOSS, keys.TRUE_LOSS, keys.VAL_LOSS, keys.TRUE_VAL_LOSS)


def save(client: MlflowClient, tracking_uri: str, run_id: str) -> list[str]:
    """Write the view, unless it is there as it should be, and return a line with its address."""
    experiment_id = client.get_run(run_id).info.experiment_id
    present = client.get_experiment(experiment_id).tags.get(TAG)
    if present is None or _state_of(present) != state():
        content = {"name": NAME, "createdAt": round(time.time() * 1000), "state": state()}
        try:
            client.set_experiment_tag(experiment_id, TAG, json.dumps(content))
        except MlflowException as error:
            if error.get_http_status_code() not in range(400, 500):
                raise
            return []
    return [_address(tracking_uri, experiment_id)]


def _state_of(text: str) -> str | None:
    try:
        found: Any = json.loads(text)["state"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def page(experiment_id: str) -> str:
    """Return the part of an address, below that of a server, that shows the view."""
    return (
        f"#/experiments/{experiment_id}/runs?viewStateShareKey={IDENTIFIER}&compareRunsMode=CHART"
    )


def _address(tracking_uri: str, experiment_id: str) -> str:
    what = "Reported and true loss in one chart: "
    uri = redaction.address(tracking_uri).rstrip("/")
    if runs.is_remote(uri):
        return f"{what}{uri}/{page(experiment_id)}"
    return f"{what}mlflow ui --backend-store-uri {uri}, then http://127.0.0.1:5000/{page(experiment_id)}"


def state() -> str:
    """Return the charts of the view, as the page of MLflow stores them."""
    parts = [keys.REGULARIZATION_GAP, *(f"gap_{name}" for name in keys.PARTS)]
    charts = [
        _lines("losses", "loss", _LOSSES),
        _lines("generalization", "loss", (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS)),
        _lines("gap", "gap", parts),
        _scatter("final", "gap", keys.TRUE_LOSS, keys.REPORTED_LOSS),
    ]
    sections = [
        _section("loss", "True loss: reported, true and validation"),
        _section("gap", "The gap by cause, and the last reported against the last true loss"),
    ]
    return json.dumps(
        {
            "compareRunCharts": charts,
            "compareRunSections": sections,
            "isAccordionReordered": True,  # else the sections stand in alphabetical order
        }
    )


def _section(name: str, title: str) -> dict[str, Any]:
    return {
        "uuid": f"{IDENTIFIER}-{name}",
        "name": title,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 360,
    }


def _card(name: str, section: str, kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{IDENTIFIER}-chart-{name}",
        "runsCountToCompare": 10,
        "metricSectionId": f"{IDENTIFIER}-{section}",
        "deleted": False,
        "isGenerated": False,
    }


def _lines(name: str, section: str, metrics: tuple[str, ...] | list[str]) -> dict[str, Any]:
    keys_ = [keys.tracked(metric) for metric in metrics]
    return _card(name, section, "LINE") | {
        "metricKey": keys_[0],
        "selectedMetricKeys": keys_,
        "selectedXAxisMetricKey": "",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "useGlobalXaxisKey": False,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
    }


def _scatter(name: str, section: str, x: str, y: str) -> dict[str, Any]:
    return _card(name, section, "SCATTER") | {
        "xaxis": {"key": keys.tracked(x), "type": "METRIC"},
        "yaxis": {"key": keys.tracked(y), "type": "METRIC"},
        "runsCountToCompare": 100,
    }
