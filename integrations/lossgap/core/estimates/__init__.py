"""Estimates of means over a training set from a part of it: statistics alone, without Keras."""
