"""Ways to damage what a reader is given: bytes, JSON, numbers and names.

All draw from a ``random.Random``, so that a seed gives the same inputs everywhere.
"""

import json
import math
import struct

INJECTION = "</script><script>alert(1)</script>"

NAMES = (
    "",
    " ",
    "\0",
    "a/b/../../c",
    "../../../etc/passwd",
    "C:\\x\\..\\y",
    "'\"`\\",
    "<img src=x onerror=alert(1)>",
    INJECTION,
    "<!-- ]]> -->",
    "{{title}} ${x} %s %n {0}",
    "[link](javascript:alert(1)) ![x](y) **b** `c` | d |\n# e",
    "[red]rich[/red] [/] [link=x]",
    "\x1b[2J\x1b]0;title\x07\x1b[31m",
    "\x9b31m\u202eevil\u2066",
    "line\nbreak\r\n\u2028\u2029",
    "e\u0301 \u200d \ufeff 漢字 🏋🏽‍♀️",
    "=cmd|' /C calc'!A0",
    "__proto__",
    "constructor",
    "NaN",
    "x" * 10_000,
    "é" * 10_000,
)
"""Names that an attacker, or a careless hand, may give to a model, a layer, a metric or a run."""

SURROGATE = "lone \ud800 surrogate"
"""Text that no file in UTF-8 can hold."""

NUMBERS = (
    0,
    -0.0,
    -1,
    1e-320,
    5e-324,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    1e300,
    math.nan,
    math.inf,
    -math.inf,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**64,
    10**400,
    -(10**4000),
    True,
    "NaN",
    "-Infinity",
    "1e999",
)

COUNTS = (0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


def damage(data, choose):
    """Return bytes with one to four kinds of damage."""
    for _ in range(choose.choice((1, 1, 1, 2, 4))):
        data = choose.choice(_BYTES)(bytearray(data), choose)
    return bytes(data)


def _place(data, choose):
    return choose.randrange(len(data) + 1)


def _flip(data, choose):
    for _ in range(choose.choice((1, 1, 2, 8))):
        if data:
            data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return data


def _cut(data, choose):
    return data[: _place(data, choose)]


def _insert(data, choose):
    at = _place(data, choose)
    return data[:at] + choose.randbytes(choose.choice((1, 2, 7, 100))) + data[at:]


def _remove(data, choose):
    at = _place(data, choose)
    return data[:at] + data[at + choose.choice((1, 2, 8, 100)) :]


def _repeat(data, choose):
    start = _place(data, choose)
    end = start + choose.choice((1, 8, 64, 1000))
    return data[:end] + data[start:end] * choose.choice((1, 2, 50)) + data[end:]


def _overwrite(data, choose):
    number = choose.choice(COUNTS) & choose.choice((0xFF, 0xFFFF, 0xFFFFFFFF, 2**64 - 1))
    size = next(n for n in (1, 2, 4, 8) if number < 256**n)
    raw = struct.pack("<Q", number)[:size]
    at = _place(data, choose)
    data[at : at + size] = raw
    return data


def _not_text(data, choose):
    at = _place(data, choose)
    return data[:at] + choose.choice((b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\0")) + data[at:]


_BYTES = (_flip, _cut, _insert, _remove, _repeat, _overwrite, _not_text)


def odd(choose):
    """Return any value that JSON knows, and some that it doesn't."""
    kind = choose.randrange(8)
    if kind < 3:
        return choose.choice(NUMBERS)
    if kind < 5:
        return choose.choice(NAMES)
    return choose.choice((None, False, [], {}, [1, [2]], {"a": {"b": []}}, [None] * 300))


def disturb(record, choose):
    """Return a JSON record in which one to three members are missing, odd, or too many."""
    record = json.loads(json.dumps(record))
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        holder = _some_holder(record, choose)
        if isinstance(holder, dict):
            _disturb_object(holder, choose)
        elif holder:
            holder[choose.randrange(len(holder))] = odd(choose)
    return record


def _some_holder(record, choose):
    """Return an object or a list somewhere in a record."""
    found, here = record, record
    while isinstance(here, dict | list) and here:
        found = here
        if choose.randrange(3) == 0:
            break
        here = choose.choice([*here.values()] if isinstance(here, dict) else here)
    return found


def _disturb_object(holder, choose):
    """Mostly replace a value by one of its own type, which gets further than any other."""
    name = choose.choice([*holder] or [""])
    kind = choose.randrange(10)
    if kind == 0:
        holder.pop(name, None)
    elif kind == 1:
        holder[choose.choice(NAMES)] = holder.get(name, 1.0)
    elif kind == 2:
        holder[name] = odd(choose)
    elif isinstance(holder.get(name), str):
        holder[name] = choose.choice(NAMES)
    elif isinstance(holder.get(name), dict):
        holder[name] = {choose.choice(NAMES): value for value in holder[name].values()}
    else:
        holder[name] = choose.choice(NUMBERS)


def to_json(record, choose):
    """Write a record as JSON, now and then with what JSON forbids or hardly anyone expects."""
    text = json.dumps(record, ensure_ascii=choose.randrange(2) == 0)
    kind = choose.randrange(12)
    if kind == 0:
        depth = choose.choice((10, 500, 5_000, 200_000))
        member = choose.choice(("[", '{"a":')) * depth
        text = text.replace(":", f":{member}", 1) if choose.randrange(2) else member
    elif kind == 1:
        at = choose.randrange(1, len(text) + 1)
        text = f"{text[:at]}{choose.choice(_PIECES)}{text[at:]}"
    elif kind == 2 and text.startswith("{") and len(text) > 2:
        text = f"{{{text[1:-1]}, {text[1:-1]}}}"  # every key twice
    return text.encode("utf-8", "surrogatepass")


_PIECES = (
    "NaN",
    "-Infinity",
    "1e99999",
    "9" * 5_000,
    "\\ud800",
    "\ufeff",
    "\u2028",
    "/* */",
    "0x10",
    ",,",
)
