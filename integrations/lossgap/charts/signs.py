"""Signs of the text that look like others, spelled out."""

from typing import Final

MINUS: Final = "\N{MINUS SIGN}"
ABSENT: Final = "\N{EN DASH}"
"""What stands for a number that can't be had."""


def signed(text: str) -> str:
    """Return the number in ``text`` with a minus sign as wide as a plus sign."""
    return text.replace("-", MINUS)
