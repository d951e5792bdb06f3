"""Names, and whatever else comes from a file or a word, as text that does nothing where it is shown."""

from __future__ import annotations

import json
import os
import re

__all__ = ["as_path", "as_text", "inert", "inert_json", "inert_values", "quoted"]

_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
_SEEN = {*'"\\/'}
_HALF = re.compile(r"\\(udc[89a-f][0-9a-f])")


def inert(text: str) -> str:
    r"""A text of one line in which everything that is not seen is spelled out: ``\x1b``, ``\n``, ``\u202e``.

    So it can neither begin a line of its own, nor steer a terminal, nor turn what follows around. Markup of
    whoever shows it is that one's to switch off.
    """
    if text.isprintable():
        return text
    return text.translate({ord(sign): _spelled(sign) for sign in {*text} if not sign.isprintable()})


def quoted(value: object, most: int = 80) -> str:
    """A value as messages show it: text in double quotes, all else as Python writes it; shortened."""
    try:
        text = _quoted(value)
    except ValueError:  # of integers with more digits than Python writes
        text = type(value).__name__
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _quoted(value: object) -> str:
    if type(value) is str:
        return f'"{value}"'
    if type(value) is tuple:
        return f"({', '.join(map(_quoted, value))}{',' * (len(value) == 1)})"
    if type(value) is list:
        return f"[{', '.join(map(_quoted, value))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{_quoted(key)}: {_quoted(entry)}' for key, entry in value.items())}}}"
    return repr(value)


def as_text(path: str) -> str:
    r"""A path, or a part of one, as text that can be written anywhere: bytes that are none are ``\udcff``."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def as_path(text: str) -> str:
    """The path that `as_text` made a text of, unless there is a file of that very name."""
    return text if os.path.exists(text) else _HALF.sub(lambda half: chr(int(half[1][1:], 16)), text)


def inert_json(text: str) -> str:
    """The same JSON, in which a terminal finds nothing to obey: the writer escapes only what is below 32."""
    unseen = {sign for sign in {*text} if not sign.isprintable()} - {"\n"}
    return text.translate({ord(sign): _as_json(sign) for sign in unseen}) if unseen else text


def inert_values(text: str) -> str:
    """JSON of the same form in which every text is inert: for whoever shows the texts as they are."""
    # What a writer escapes besides quotes and strokes is not seen: it is spelled out, in text.
    text = _ESCAPED.sub(lambda found: found[0] if found[0][1] in _SEEN else _twice(found[0]), text)
    return text.translate({ord(c): _twice(c) for c in {*text} - {"\n"} if not c.isprintable()})


def _twice(sign: str) -> str:
    """An escape of JSON, or a sign that is not seen, as JSON of how `inert` spells it."""
    meant = str(json.loads(f'"{sign}"')) if sign.startswith("\\") else sign
    return json.dumps(inert(meant))[1:-1]


def _spelled(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def _as_json(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
