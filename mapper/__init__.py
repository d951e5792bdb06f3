"""Placement and mapping of spiking convolutional networks on DYNAP-CNN and Speck chips.

The public names load what they need on first use: ``import mapper`` itself loads neither numpy nor
any other third-party package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwspec.catalog import load as load_chip
    from mapper.api import check, solve
    from mapper.errors import (
        InfeasibleError,
        MapperError,
        NetworkError,
        OptionsError,
        SpecError,
        UndecidedError,
    )
    from mapper.frontends import NirOptions, TorchOptions, load_network
    from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
    from mapper.operations import BatchNorm, Convolution, Linear, Neuron, Pool, Shape
    from mapper.options import SolveOptions
    from mapper.result import FeasibilityReport, Result, Status

__version__ = "0.1.0"

_HOME = {
    "hwspec.catalog": ("load_chip",),
    "mapper.api": ("check", "solve"),
    "mapper.errors": (
        "InfeasibleError",
        "MapperError",
        "NetworkError",
        "OptionsError",
        "SpecError",
        "UndecidedError",
    ),
    "mapper.frontends": ("NirOptions", "TorchOptions", "load_network"),
    "mapper.network": ("DvsSettings", "Edge", "Input", "Layer", "Network", "Output"),
    "mapper.operations": ("BatchNorm", "Convolution", "Linear", "Neuron", "Pool", "Shape"),
    "mapper.options": ("SolveOptions",),
    "mapper.result": ("FeasibilityReport", "Result", "Status"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BatchNorm",
    "Convolution",
    "DvsSettings",
    "Edge",
    "FeasibilityReport",
    "InfeasibleError",
    "Input",
    "Layer",
    "Linear",
    "MapperError",
    "Network",
    "NetworkError",
    "Neuron",
    "NirOptions",
    "OptionsError",
    "Output",
    "Pool",
    "Result",
    "Shape",
    "SolveOptions",
    "SpecError",
    "Status",
    "TorchOptions",
    "UndecidedError",
    "check",
    "load_chip",
    "load_network",
    "solve",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'mapper' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), "load" if name == "load_chip" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
