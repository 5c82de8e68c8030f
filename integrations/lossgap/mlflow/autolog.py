"""The autolog extension."""


def autolog() -> None:
    """Switch on."""
