"""Comparison panels: measurements in, Vega-Lite specifications, pictures and pages out.

The panels are written once, here, and used by every tracker, the report and notebooks.
"""

from lossgap.charts.frames import Run as Run
from lossgap.charts.gif import write_gif as write_gif
from lossgap.charts.jsonl import read_measurements as read_measurements
from lossgap.charts.jsonl import write_measurements as write_measurements
from lossgap.charts.panels import PANELS as PANELS
from lossgap.charts.panels import gap_by_cause as gap_by_cause
from lossgap.charts.panels import generalization as generalization
from lossgap.charts.panels import loss_comparison as loss_comparison
from lossgap.charts.panels import penalty_by_layer as penalty_by_layer
from lossgap.charts.panels import waterfall as waterfall
from lossgap.charts.render import to_png as to_png
from lossgap.charts.render import to_svg as to_svg
from lossgap.charts.report import write_report as write_report

__all__ = [
    "PANELS",
    "Run",
    "gap_by_cause",
    "generalization",
    "loss_comparison",
    "penalty_by_layer",
    "read_measurements",
    "to_png",
    "to_svg",
    "waterfall",
    "write_gif",
    "write_measurements",
    "write_report",
]
