"""YAML as its version 1.2 says (core schema): `no`, `1:10` and `1_000` are text, `010` is ten, `0o10` eight.

PyYAML's own loader knows version 1.1, takes the last of two equal keys, and recurses. Here its parser's
events are taken one by one, so that nothing is built, or even looked at, behind what is too much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import Any

import yaml

from hwspec.inert import quoted
from mapper.texts import DEPTH_MAX

__all__ = ["yaml_of"]

# libyaml's parser gives the same events ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGITS_MAX = 4300
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
# The core schema's table (YAML 1.2.2, 10.3.2), in its order.
_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: float("nan")),
)


def yaml_of(text: str) -> Any:
    """What the one document of a YAML text says.

    Raises
    ------
    ValueError
        It is no YAML, or has aliases, tags, a second document, a key twice, or nesting beyond `DEPTH_MAX`.
    """
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return builder.content


class _Builder:
    """Lists and tables, of events."""

    def __init__(self) -> None:
        self.content: Any = None
        self._documents = 0
        # Open lists and tables; of a table with the key whose value comes next.
        self._open: list[list[Any] | tuple[dict[Any, Any], list[Hashable]]] = []

    def take(self, event: yaml.Event) -> None:
        """Go on with the next event."""
        line = f"line {event.start_mark.line + 1}" if event.start_mark else "the text"
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"{line}: aliases (*{event.anchor}) are not allowed: write it out")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise ValueError(f"{line}: a second document begins: a file holds one")
        elif isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event, line), line)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if event.tag is not None:
                raise ValueError(f"{line}: the tag {event.tag} is not allowed: leave it out")
            if len(self._open) >= DEPTH_MAX:
                raise ValueError(f"{line}: is nested too deeply (allowed: {DEPTH_MAX} levels)")
            self._open.append([] if isinstance(event, yaml.SequenceStartEvent) else ({}, []))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = self._open.pop()
            self._add(done if isinstance(done, list) else done[0], line)

    def _add(self, value: Any, line: str) -> None:
        if not self._open:
            self.content = value
            return
        inner = self._open[-1]
        if isinstance(inner, list):
            inner.append(value)
            return
        table, keys = inner
        if keys:
            table[keys.pop()] = value
        elif isinstance(value, list | dict):
            raise ValueError(f"{line}: a list or table is no name of a field")
        elif value in table:
            raise ValueError(f"{line}: the key {quoted(str(value))} stands twice: leave one of them out")
        else:
            keys.append(value)


def _scalar(event: yaml.ScalarEvent, line: str) -> Any:
    text: str = event.value
    if event.tag is not None and event.tag not in _TEXT_TAGS:
        raise ValueError(f"{line}: the tag {event.tag} is not allowed: leave it out")
    if event.tag is not None or not event.implicit[0]:
        return text
    if len(text) > _DIGITS_MAX:
        if text.lstrip("+-").isdecimal():
            raise ValueError(f"{line}: holds a number of more than {_DIGITS_MAX} digits")
        return text
    return next((read(text) for form, read in _PLAIN if form.fullmatch(text)), text)
