"""Checkpoints measured beside a training: each once, however often a watcher is killed."""
