"""Tests of the W&B tracker that need wandb alone: no backend, no charts."""

from wandb_runs import offline as offline
from wandb_runs import server as server
