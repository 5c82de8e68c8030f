"""A tracker whose run ends early gets what was measured before: its outbox settles."""

from threading import Event

from lossgap import Measurement
from lossgap.core.observers import Training
from lossgap.trackers import Delivery
from lossgap.trackers.outbox import Outbox
from lossgap.trackers.records import Log


class Slow:
    """Takes measurements when it is let."""

    name = "slow"

    def __init__(self):
        self.go = Event()
        self.taken = []
        self.settle = None

    def start(self, training):
        pass

    def settle_with(self, settle):
        self.settle = settle

    def log(self, measurement, wall_time):
        self.go.wait(60)
        self.taken.append(measurement.epoch)

    def finish(self, summary, *, failed):
        return []


def test_a_tracker_is_given_the_way_to_wait():
    tracker = Slow()
    delivery = Delivery(tracker)
    delivery.begin(Training({}))
    for epoch in range(3):
        delivery.measured(Measurement(0.5, epoch=epoch))
    assert not tracker.settle(0.01)
    tracker.go.set()
    assert tracker.settle(60)
    assert tracker.taken == [0, 1, 2]
    delivery.end(None)


def test_settling_waits_for_what_came_before_and_not_for_what_comes_later():
    tracker = Slow()
    tracker.go.set()
    outbox = Outbox(tracker)
    assert outbox.settle(0)  # nothing is on its way
    outbox.put(Log(Measurement(0.5, epoch=0), 0.0))
    assert outbox.settle(60)
    assert tracker.taken == [0]
    outbox.close()
