"""Weights & Biases: a row per measurement, the panel, autologging of every fit."""

__all__: list[str] = []
