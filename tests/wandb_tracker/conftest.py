"""Tests of the W&B tracker that need wandb alone: no backend, no charts."""

from wandb_runs import offline, server

__all__ = ["offline", "server"]
