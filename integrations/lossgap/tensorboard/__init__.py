"""TensorBoard: event files beside Keras's own, the tab, autologging of every fit."""

__all__: list[str] = []
