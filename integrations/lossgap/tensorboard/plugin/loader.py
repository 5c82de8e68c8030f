"""What TensorBoard imports at its start: a loader that can't fail.

An error while this module is imported would stop TensorBoard itself, so nothing but
TensorBoard's own base class is imported before :meth:`Loader.load`.
"""

import logging
from typing import Any

from tensorboard.plugins import base_plugin

_LOGGER = logging.getLogger(__name__)


class Loader(base_plugin.TBLoader):
    """Makes the plugin, or leaves it out where it can't be made."""

    def load(self, context: Any) -> Any:
        """Return the plugin, or ``None`` with a line in TensorBoard's log.

        Args:
            context: TensorBoard's ``TBContext``.
        """
        try:
            from lossgap.tensorboard.plugin.app import TrueLossPlugin

            return TrueLossPlugin(context)
        except Exception:  # whatever is broken in ours must not take TensorBoard along
            _LOGGER.exception("The tab True Loss is left out: lossgap can't be loaded.")
            return None
