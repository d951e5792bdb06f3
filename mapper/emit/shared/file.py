"""`config.json`: one self-contained file that a person can read, written at once or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mapper.arguments import checked
from mapper.asking import spoken
from mapper.emit.shared.agreement import agreement_findings
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.ranges import config_findings
from mapper.emit.shared.tensor import json_pieces
from mapper.errors import ConfigError, Finding, unreadable
from mapper.files import own_file, write_all
from mapper.texts import json_of, plain_text

__all__ = ["config_of", "config_pieces", "config_text", "read_config", "write_config"]

# Ten times what the largest chip of the family takes.
_BYTES_MAX = 1 << 25
# Of all tensors together: runs make a long tensor of a few letters. 512 MiB where all have 64 bits.
_ENTRIES_MAX = 1 << 26
_AXES_MAX = 8
_FINDINGS_MAX = 20


def _written() -> str:
    """What writes a configuration."""
    return spoken(
        command="mapper emit NETWORK --out DIR writes DIR/config.json for a network",
        python="mapper.write_config(mapper.build_config(result), path) writes one",
    )


def config_text(config: ChipConfig) -> str:
    """The file's text: the same for equal configurations; fields a chip does not have are left out."""
    return "".join(config_pieces(config))


def config_pieces(config: ChipConfig) -> Iterator[str]:
    """The file's text, piece by piece: of its tensors only one is text at a time."""
    yield from json_pieces(config, indent=1)
    yield "\n"


@checked
def write_config(config: ChipConfig, path: str | Path) -> None:
    """Write a configuration; a file of this name is replaced only once the new one is complete.

    Raises
    ------
    OptionsError
        The place cannot be written.
    """
    write_all({Path(path): config_pieces(config)})


@checked
def read_config(path: str | Path) -> ChipConfig:
    """Read a configuration that `write_config` wrote.

    Raises
    ------
    ConfigError
        There is no such file, it is no configuration of a version this program knows, or it says what its
        chip cannot hold; every problem is named with its place.
    """
    where = Path(path)
    try:
        text = plain_text(where, _BYTES_MAX)
    except OSError as error:
        raise ConfigError(Finding(str(where), unreadable(error), next_step=_written())) from None
    except ValueError as error:
        raise ConfigError(Finding(str(where), str(error))) from None
    try:
        content: Any = json_of(text)
    except ValueError as error:
        problem = " ".join(str(error).split())[:150]
        raise ConfigError(Finding(where.name, f"is not JSON: {problem}", next_step=_written())) from None
    if not isinstance(content, dict) or "hardware" not in content:
        problem = own_file(content) or "is no configuration"
        raise ConfigError(Finding(where.name, problem, next_step=_written()))
    version = content.get("schema_version")
    if version != 1:
        raise ConfigError(Finding(where.name, "has a schema version this program does not know", version, 1))
    if (entries := sum(_claimed(content["hardware"]))) > _ENTRIES_MAX:
        problem = "its tensors claim too many numbers"
        raise ConfigError(Finding(where.name, problem, entries, _ENTRIES_MAX))
    # It is as large as the text, which is read once more.
    del content
    try:
        config = ChipConfig.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)[:_FINDINGS_MAX]
        raise ConfigError(*(_finding(where.name, entry) for entry in problems)) from None
    if lacking := [*_lacking(config)]:
        step = "Emit the configuration again, or write the field"
        told = (Finding(f"{where.name}: {place}", "is missing", next_step=step) for place in lacking)
        raise ConfigError(*tuple(told)[:_FINDINGS_MAX])
    # What contradicts the chip comes first: what is beyond it need not agree with anything.
    if findings := tuple(config_findings(config)) or tuple(agreement_findings(config)):
        told = (replace(finding, where=f"{where.name}: {finding.where}") for finding in findings)
        raise ConfigError(*tuple(told)[:_FINDINGS_MAX])
    return config


def config_of(source: ChipConfig | str | Path) -> ChipConfig:
    """A configuration, or the one in a file.

    Raises
    ------
    ConfigError
        As `read_config`.
    """
    return source if isinstance(source, ChipConfig) else read_config(source)


def _claimed(content: Any) -> Iterator[int]:
    """How many numbers each tensor says that it has, before any is made."""
    if isinstance(content, dict):
        shape = content.get("shape")
        if isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape):
            # A product of a thousand numbers of a thousand digits would take minutes itself.
            yield prod(min(size, _ENTRIES_MAX + 1) for size in shape[:_AXES_MAX])
        content = list(content.values())
    for entry in content if isinstance(content, list) else ():
        yield from _claimed(entry)


def _lacking(content: object, place: str = "") -> Iterator[str]:
    """Fields that `config_text` writes and a file left out: what they would be then, it does not say."""
    if isinstance(content, BaseModel):
        for name in type(content).model_fields:
            value = getattr(content, name)
            if name in content.model_fields_set:
                yield from _lacking(value, f"{place}.{name}" if place else name)
            elif value is not None:
                yield f"{place}.{name}" if place else name
    elif isinstance(content, tuple):
        for n, entry in enumerate(content):
            yield from _lacking(entry, f"{place}.{n}")


def _finding(name: str, entry: Any) -> Finding:
    place = ".".join(map(str, entry["loc"]))
    return Finding(f"{name}: {place}", str(entry["msg"]).removeprefix("Value error, "))
