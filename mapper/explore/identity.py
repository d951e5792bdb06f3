"""What a cell depends on, as hashes: equal hashes mean equal cells."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.version import __version__

__all__ = ["digest", "facts_hash", "network_hash", "program_version"]


def digest(content: Any) -> str:
    """SHA-256 of something JSON can hold, in canonical form, hexadecimal."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def network_hash(network: Network) -> str:
    """Hash of a network after the passes: everything that it says, weights included."""
    return digest(_content(network))


def _content(value: object) -> object:
    """A value as JSON can hold it; of an array its type, shape and hash."""
    if is_dataclass(value):
        return [_content(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [_content(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    return value


def facts_hash(chip: ChipSpec) -> str:
    """Hash of the facts that decide placements: chips that differ in name and sources alone agree in it."""
    kept = {"routing", "input", "readout", "monitor"}
    classes = [[entry.core.model_dump(mode="json"), entry.core_ids] for entry in chip.core_classes]
    return digest({"classes": classes, **chip.model_dump(mode="json", include=kept)})


@lru_cache(maxsize=1)
def program_version() -> str:
    """Version of this package and, behind "+", a hash of its source: another program may decide otherwise."""
    root = Path(__file__).parents[1]
    content = hashlib.sha256()
    for folder in (root, root.parent / "hwspec"):
        for path in sorted(folder.rglob("*.py")):
            content.update(path.relative_to(root.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__}+{content.hexdigest()[:12]}"
