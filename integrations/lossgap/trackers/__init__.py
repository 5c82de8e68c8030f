"""How measurements reach trackers: the protocol, the registry, the outbox and its journal.

A tracker's own package stands beside this one, and neither imports the other trackers.
"""

from lossgap.trackers.delivery import Delivery as Delivery
from lossgap.trackers.loops import tracking as tracking
from lossgap.trackers.protocol import ResumableTracker as ResumableTracker
from lossgap.trackers.protocol import Tracker as Tracker
from lossgap.trackers.registry import register as register

__all__ = ["Delivery", "ResumableTracker", "Tracker", "register", "tracking"]
