"""The tracker."""


class MLflowTracker:
    """Log to a run."""
