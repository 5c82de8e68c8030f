"""MLflow: measurements as linked metrics, the panels as artifacts, autologging of every fit."""

from lossgap.mlflow.autolog import autolog as autolog
from lossgap.mlflow.tracker import MLflowTracker as MLflowTracker

__all__ = ["MLflowTracker", "autolog"]
