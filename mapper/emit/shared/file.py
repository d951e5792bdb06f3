"""`config.json`: one self-contained file that a person can read, written at once or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mapper.emit.shared.config import ChipConfig
from mapper.errors import ConfigError, Finding
from mapper.files import own_file, write_text

__all__ = ["config_of", "config_text", "read_config", "write_config"]

_BYTES_MAX = 1 << 28
_FINDINGS_MAX = 20


def config_text(config: ChipConfig) -> str:
    """The file's text: the same for equal configurations; fields a chip does not have are left out."""
    content = config.model_dump(mode="json", exclude_none=True)
    return json.dumps(content, indent=1) + "\n"


def write_config(config: ChipConfig, path: str | Path) -> None:
    """Write a configuration; a file of this name is replaced only once the new one is complete.

    Raises
    ------
    OptionsError
        The place cannot be written.
    """
    write_text(Path(path), config_text(config))


def read_config(path: str | Path) -> ChipConfig:
    """Read a configuration that `write_config` wrote.

    Raises
    ------
    ConfigError
        There is no such file, or it is no configuration of a version this program knows; every problem
        is named with its place.
    """
    where = Path(path)
    try:
        if where.stat().st_size > _BYTES_MAX:
            raise ConfigError(Finding(where.name, "is too large", where.stat().st_size, _BYTES_MAX, "bytes"))
        content: Any = json.loads(where.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(Finding(str(path), f"cannot be read: {error.strerror}")) from None
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:150]
        raise ConfigError(Finding(where.name, f"is not JSON: {text}")) from None
    if not isinstance(content, dict) or "hardware" not in content:
        step = "mapper emit writes one"
        problem = own_file(content) or "is no configuration"
        raise ConfigError(Finding(where.name, problem, next_step=step))
    version = content.get("schema_version")
    if version != 1:
        raise ConfigError(Finding(where.name, "has a schema version this program does not know", version, 1))
    try:
        return ChipConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        entries = error.errors(include_url=False)[:_FINDINGS_MAX]
        raise ConfigError(*(_finding(where.name, entry) for entry in entries)) from None


def config_of(source: ChipConfig | str | Path) -> ChipConfig:
    """A configuration, or the one in a file.

    Raises
    ------
    ConfigError
        As `read_config`.
    """
    return source if isinstance(source, ChipConfig) else read_config(source)


def _finding(name: str, entry: Any) -> Finding:
    place = ".".join(map(str, entry["loc"]))
    return Finding(f"{name}: {place}", str(entry["msg"]).removeprefix("Value error, "))
