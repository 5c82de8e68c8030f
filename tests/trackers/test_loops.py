"""Trackers for training loops of one's own."""

import pytest

from lossgap import Measurement
from lossgap.trackers import tracking


class Listed:
    """A tracker that keeps what it is called with."""

    name = "listed"

    def __init__(self):
        self.calls = []

    def start(self, training):
        self.calls.append(("start", dict(training.options)))

    def log(self, measurement, wall_time):
        del wall_time
        self.calls.append(("log", measurement))

    def finish(self, summary, *, failed):
        self.calls.append(("finish", summary and summary.measurements, failed))
        return []


def test_a_loop_logs_its_measurements():
    tracker, measurements = Listed(), [Measurement(1.0, epoch=0), Measurement(0.5, epoch=1)]
    with tracking(tracker, unit="step", every=10) as log:
        for measurement in measurements:
            log(measurement)
    assert tracker.calls == [
        ("start", {"unit": "step", "every": 10}),
        *(("log", measurement) for measurement in measurements),
        ("finish", tuple(measurements), False),
    ]


def test_a_loop_that_fails_is_told_as_failed():
    tracker = Listed()
    with pytest.raises(KeyError), tracking(tracker):
        raise KeyError
    assert tracker.calls[-1] == ("finish", None, True)
