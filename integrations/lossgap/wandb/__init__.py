"""Weights & Biases: a row per measurement, the panel, autologging of every fit.

Nothing here imports wandb before it is used.
"""

from lossgap.wandb.autolog import autolog as autolog
from lossgap.wandb.panel import install_panel as install_panel
from lossgap.wandb.panel import panel_json as panel_json
from lossgap.wandb.reader import read_runs as read_runs
from lossgap.wandb.reports import create_report as create_report
from lossgap.wandb.reports import report_json as report_json
from lossgap.wandb.tracker import WandbTracker as WandbTracker

__all__ = [
    "WandbTracker",
    "autolog",
    "create_report",
    "install_panel",
    "panel_json",
    "read_runs",
    "report_json",
]
