"""Tests of the W&B package that need Keras, charts and the command line too."""

from wandb_runs import offline, server

__all__ = ["offline", "server"]
