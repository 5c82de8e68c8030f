"""What may be shown of a text from outside: no secret, and nothing that steers a terminal.

Addresses of stores hold passwords, and the errors of their clients hold addresses. Names in a
foreign file may hold escape sequences, which a terminal obeys.
"""

import os
import re
import unicodedata
from typing import Final

HIDDEN: Final = "***"
LONGEST: Final = 2_000
"""Characters of a text that is shown: a name or an error of a library may have millions."""

SHORTEST_SECRET: Final = 8
"""Characters of a secret in the environment; what is shorter may be any word."""

# Up to the last @ before the path; or a password that has a slash in it, as SQLAlchemy takes it.
# All lengths are bounded, so that no text makes the search slow.
_USER: Final = re.compile(
    r"(?<=://)(?:[^\s/?#]{0,2000}@|[^\s/?#@:]{0,200}:(?!\d+(?:[/?#\s]|$))[^\s@]{0,2000}@)"
)
_NAMED: Final = re.compile(
    r"""((?:^|[?&;,\s"'{(])[\w.-]{0,60}(?:token|secret|passw(?:or)?d|pwd|api[_-]?key|"""
    r"""access[_-]?key|private[_-]?key|signature|credential|authorization)[\w.-]{0,60}["']?"""
    r"""(?:\s?=\s?["']?|:\s?["']|:(?=\S)|:\s(?=\S{8})))(?!["'\s])"""
    r"""(?:(?:bearer|basic)\s)?[^\s&;,"'})]+""",
    re.IGNORECASE,
)
_SAS: Final = re.compile(r"([?&]sig=)[^\s&\"']+", re.IGNORECASE)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s[\w.+/=~-]{8,}", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(
    r"TOKEN|SECRET|PASSW(OR)?D|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL", re.IGNORECASE
)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
# Control and format characters, of which the latter turn the direction of the text around.
_STEERING: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_KEPT: Final = {"\n", "\t", "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


def without_secrets(text: str) -> str:
    """Return ``text`` without passwords and keys.

    Taken out are the user and the password in an address, the values of parameters and settings
    whose names say that they are secret (``token``, ``password``, ``api_key`` ...), and the values
    of environment variables with such names, wherever they stand.

    Example:
        >>> without_secrets("postgresql://ada:love@host/db?sslpassword=x is away")
        'postgresql://host/db?sslpassword=*** is away'
    """
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _BEARER.sub(rf"\g<1> {HIDDEN}", address(text))


def address(uri: str) -> str:
    """Return the address of a store without user, password, and secret parameters.

    It depends on nothing but the address, so that the same one is found again elsewhere.
    """
    plain = _NAMED.sub(rf"\g<1>{HIDDEN}", _USER.sub("", uri))
    return _SAS.sub(rf"\g<1>{HIDDEN}", plain)


def shown(text: str, *, most: int = LONGEST) -> str:
    r"""Return what may be printed of ``text``: no secrets, no escape sequences, not too long.

    Control characters are written out (``\x1b``), line breaks stay.
    """
    plain = without_secrets(_COLOUR.sub("", text[: 4 * most]))
    plain = "".join(map(_plain, plain[: most + 1]))
    return plain if len(text) <= most and len(plain) <= 2 * most else f"{plain[:most]}…"


def _plain(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _STEERING:
        return character
    return character.encode("unicode_escape").decode()


def _secrets() -> list[str]:
    """Return the values of secret environment variables, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST_SECRET and _SECRET_NAME.search(name)
    }
    return sorted(found, key=len, reverse=True)
