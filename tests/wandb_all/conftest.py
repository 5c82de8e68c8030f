"""Tests of the W&B package that need Keras, charts and the command line too."""

from wandb_runs import offline as offline
from wandb_runs import server as server
