"""Let the reference show what docstrings write for other tools: roles, and displayed formulae."""

import re
from typing import Any

import griffe

# :class:`~a.b.C`, :func:`.d`, :meth:`e`
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod|obj):`~?\.?([^`]+)`")
_INLINE = re.compile(r":math:`([^`]+)`")
_FORMULA = re.compile(r"^( *)\.\. math:: *(.*(?:\n\1 +\S.*)*)$", re.MULTILINE)


class PlainDocstrings(griffe.Extension):
    """Rewrites docstrings as Markdown when they are collected."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring, if there is one."""
        del kwargs
        if obj.docstring is not None:
            text = _FORMULA.sub(_as_code, obj.docstring.value)
            obj.docstring.value = _INLINE.sub(r"`\1`", _ROLE.sub(_as_name, text))


def _as_name(match: re.Match[str]) -> str:
    return f"`{match[1]}`"


def _as_code(match: re.Match[str]) -> str:
    indent = match[1]
    lines = [line.strip() for line in match[2].splitlines() if line.strip()]
    return "\n".join(f"{indent}{line}" for line in ["```text", *lines, "```"])
