"""The tab "True Loss": a dynamic plugin of TensorBoard, and its page.

TensorBoard imports :mod:`lossgap.tensorboard.plugin.loader` in every one of its processes where
lossgap is installed, so nothing is imported here.
"""
