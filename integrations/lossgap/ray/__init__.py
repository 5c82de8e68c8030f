"""The true loss of a data set that no single machine should read: a pass as a Ray Data job."""

from lossgap.ray.measuring import measure

__all__ = ["measure"]
