"""Placement and mapping of spiking convolutional networks on DYNAP-CNN and Speck chips.

The public names load what they need on first use: ``import mapper`` itself loads neither numpy nor
any other third-party package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mapper.network import Network
    from mapper.operations import Shape

__version__ = "0.1.0"

_HOME = {"Network": "mapper.network", "Shape": "mapper.operations"}

__all__ = ["Network", "Shape", "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mapper' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
