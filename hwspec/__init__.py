"""Facts about chips: specifications, variants, memory arithmetic. Knows no network and no solver.

``import hwspec`` loads no third-party package; the public names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwspec.catalog import load, names
    from hwspec.errors import SpecError
    from hwspec.schema import ChipSpec
    from hwspec.variant import apply_overrides

__all__ = ["ChipSpec", "SpecError", "apply_overrides", "load", "names"]

_HOME = {
    "ChipSpec": "hwspec.schema",
    "SpecError": "hwspec.errors",
    "apply_overrides": "hwspec.variant",
    "load": "hwspec.catalog",
    "names": "hwspec.catalog",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'hwspec' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
