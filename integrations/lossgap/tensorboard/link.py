"""The address that opens TensorBoard on the losses, with nothing left to set up."""

import json
import shlex
from typing import Final
from urllib.parse import quote, urlencode

from lossgap.tensorboard import layout

_ADDRESS: Final = "http://localhost:6006/"


def deep_link(address: str = _ADDRESS) -> str:
    """Return the address of the Time Series tab with the card of the losses pinned.

    No smoothing, which would draw the curves where they aren't, and one colour for each kind of
    sub-run, however many models there are.

    Args:
        address: That of the server.
    """
    kinds = "|".join(layout.SUB_RUNS)
    settings = {
        "smoothing": "0",
        "runColorGroup": f"regex:(?:^|/)({kinds})$",
        "pinnedCards": json.dumps(
            [{"plugin": "scalars", "tag": layout.EPOCH_LOSS}], separators=(",", ":")
        ),
    }
    return f"{address}?{urlencode(settings, quote_via=quote)}#timeseries"


def line(log_dir: str) -> str:
    """Tell how to look at what is in a log directory."""
    return f"TensorBoard: tensorboard --logdir {shlex.quote(log_dir)}, then open {deep_link()}"
