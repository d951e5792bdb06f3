"""Damage: to bytes, and to what a JSON, YAML or TOML text says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = [
    "CHANGES",
    "CUTS",
    "HOSTILE",
    "TOKENS",
    "Change",
    "Cut",
    "changed",
    "damaged",
    "json_text",
    "pairs_of",
    "toml_text",
]

Cut = tuple[int, int, bytes]
Change = tuple[int, int, int]

_PLACE = st.integers(0, 1 << 20)
_WORDS = [
    b"-1", b"0", b"nan", b"inf", b"true", b"[]", b"{}", b'"x"', b"99999999999999999999", b"1.5", b"null", b"\n",
    b"- ", b": ", b"1e400", b"1e-300", b'"', b"\\u0000", b"\\ud800", b"\x1b[31m", b",", b"=", b"&a ", b"*a", b"!!x ",
]  # fmt: skip
CUTS = st.lists(st.tuples(_PLACE, st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)
TOKENS = st.lists(st.tuples(_PLACE, st.integers(0, 12), st.sampled_from(_WORDS)), min_size=1, max_size=3)
CHANGES = st.lists(st.tuples(_PLACE, st.integers(0, 9), st.integers(0, 200)), min_size=1, max_size=3)


class Pairs(list[tuple[str, Any]]):
    """A table in which a key may stand twice."""


HOSTILE: list[Any] = [
    "", " ", "x", "a/b", "../../x", "/dev/zero", "\x1b[31mred", "a\nError: fake", "\u202eabc", "\0", "\ud800",
    "[bold]x[/bold]", "[/]", ":boom:", "=1+1", "<script>", "%s{}", "x" * 70_000, "input", "#0", "-1", "e\u0301",
    "digits", "net.py:f", "os:getcwd", "1*999999999999", "base64 int8 AAAA", "base64 float64 /////w", "base64 O AAAA",
    "\u2028", "\x9b31m", "1_000", "0x10", "1e400", "nan", "128Ki", "99999999999999Gi", "host", "dvs", "sensor",
    0, -1, 1, 2, 3, 1.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), -float("inf"), 2**15, 2**31, 2**32 - 1,
    2**53 + 1, 2**63, -(2**63), 2**64, 10**30, 10**4000, 1e12, 999_999_999_999, True, False, None,
    [], Pairs(), [[]], [0, 0, 0], [-1], [10**12] * 3, Pairs([("", None)]), ["x", "x"], [1.0, float("nan")],
]  # fmt: skip
# Beyond what any reader takes.
_DEPTH = 70


def damaged(content: bytes, cuts: Sequence[Cut]) -> bytes:
    """Bytes replaced, inserted and left out at some places."""
    data = bytearray(content)
    for place, length, new in cuts:
        start = place % (len(data) + 1)
        data[start : start + length] = new
    return bytes(data)


def pairs_of(text: str) -> Any:
    """What a JSON text says, its tables as pairs."""
    return json.loads(text, object_pairs_hook=Pairs)


def _copy(tree: Any) -> Any:
    if isinstance(tree, Pairs):
        return Pairs((key, _copy(value)) for key, value in tree)
    return [_copy(value) for value in tree] if isinstance(tree, list) else tree


def _places(tree: Any) -> Iterator[tuple[Any, int]]:
    """Every list or table with every index of it."""
    for index, entry in enumerate(tree if isinstance(tree, list) else ()):
        yield tree, index
        yield from _places(entry[1] if isinstance(tree, Pairs) else entry)


def changed(tree: Any, changes: Sequence[Change]) -> Any:
    """A copy in which values are hostile, missing, twice, moved, renamed, wrapped or nested deeply."""
    made = [_copy(tree)]
    for place, action, value in changes:
        every = list(_places(made))
        if not every:
            break
        owner, index = every[place % len(every)]
        other, at = every[(place // 7 + value) % len(every)]
        key, old = owner[index] if isinstance(owner, Pairs) else (None, owner[index])
        if action == 8:
            del owner[index]
        elif action == 9:
            owner.insert(value % (len(owner) + 1), owner[index])
        elif action == 7 and key is not None:
            owner[index] = (str(HOSTILE[value % len(HOSTILE)])[:4000], old)
        else:
            new = _other(old, other[at][1] if isinstance(other, Pairs) else other[at], action, value)
            owner[index] = new if key is None else (key, new)
    return made[0] if made else None


def _other(old: Any, elsewhere: Any, action: int, value: int) -> Any:
    """What takes the place of a value."""
    if action == 6:
        return _copy(elsewhere)
    if action == 5:
        for _ in range(_DEPTH if value % 2 else 1):
            old = [old] if value % 3 else Pairs([("x", old)])
        return old
    if action == 4 and isinstance(old, str):
        return damaged(old.encode("utf-8", "replace"), [(value, value % 5, str(value).encode())]).decode(
            "utf-8", "replace"
        )
    if action == 4 and isinstance(old, int | float):
        return old * (value - 100)
    return _copy(HOSTILE[value % len(HOSTILE)])


def json_text(tree: Any) -> str:
    """A tree as JSON; keys that stand twice do so in the text."""
    if isinstance(tree, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {json_text(value)}" for key, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(json_text, tree)) + "]"
    return json.dumps(tree)


def toml_text(tree: Any) -> str:
    """A table as TOML, whatever is in it written in its line; nothing is `null`, which TOML has not."""
    if not isinstance(tree, Pairs):
        return _toml_value(tree)
    return "".join(f"{json.dumps(key)} = {_toml_value(value)}\n" for key, value in tree)


def _toml_value(value: Any) -> str:
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml_value(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")
