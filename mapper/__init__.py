"""Placement and mapping of spiking convolutional networks on DYNAP-CNN and Speck chips.

The public names load what they need on first use: ``import mapper`` itself loads neither numpy nor
any other third-party package.
"""

from __future__ import annotations

import mapper.search_path  # isort: skip  # noqa: F401  # before anything that the current directory may hold

from importlib import import_module
from typing import TYPE_CHECKING

from hwspec.display import draw_with
from hwspec.on_demand import loaded_on_demand
from mapper.version import __version__

if TYPE_CHECKING:
    from hwspec.catalog import load as load_chip
    from mapper import boards, equivalence, events, options, passes, tuning  # noqa: F401  # see _PARTS
    from mapper.api import check, solve, verify_equivalence
    from mapper.compat.dynapcnn import DynapcnnCompatibleNetwork, DynapcnnNetwork
    from mapper.emit.read.diff import diff
    from mapper.emit.read.extract import extract
    from mapper.emit.shared.config import ChipConfig
    from mapper.emit.shared.file import read_config, write_config
    from mapper.emit.write.build import build_config
    from mapper.emit.write.options import EmitOptions, NoiseFilter
    from mapper.errors import (
        InfeasibleError,
        MapperError,
        NetworkError,
        OptionsError,
        SpecError,
        TimeLimitError,
        UndecidedError,
    )
    from mapper.frontends import NirOptions, TorchOptions, load_network
    from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
    from mapper.operations import BatchNorm, Convolution, Linear, Neuron, Pool, Shape
    from mapper.options import SolveOptions
    from mapper.reasons import FeasibilityReport, Status
    from mapper.result import Result
    from mapper.sim.config_frame import simulate_config
    from mapper.sim.event import EventOptions, simulate_events

_HOME = {
    "hwspec.catalog": ("load_chip=load",),
    "mapper.api": ("check", "solve", "verify_equivalence"),
    "mapper.compat.dynapcnn": ("DynapcnnCompatibleNetwork", "DynapcnnNetwork"),
    "mapper.emit.write.build": ("build_config",),
    "mapper.emit.shared.config": ("ChipConfig",),
    "mapper.emit.read.diff": ("diff",),
    "mapper.emit.read.extract": ("extract",),
    "mapper.emit.shared.file": ("read_config", "write_config"),
    "mapper.emit.write.options": ("EmitOptions", "NoiseFilter"),
    "mapper.errors": (
        "InfeasibleError",
        "MapperError",
        "NetworkError",
        "OptionsError",
        "SpecError",
        "TimeLimitError",
        "UndecidedError",
    ),
    "mapper.frontends": ("NirOptions", "TorchOptions", "load_network"),
    "mapper.network": ("DvsSettings", "Edge", "Input", "Layer", "Network", "Output"),
    "mapper.operations": ("BatchNorm", "Convolution", "Linear", "Neuron", "Pool", "Shape"),
    "mapper.options": ("SolveOptions",),
    "mapper.reasons": ("FeasibilityReport", "Status"),
    "mapper.result": ("Result",),
    "mapper.sim.config_frame": ("simulate_config",),
    "mapper.sim.event": ("EventOptions", "simulate_events"),
}
# What messages and the guide call `mapper.equivalence.read_labelled` needs no import of its own.
_PARTS = ("boards", "equivalence", "events", "options", "passes", "tuning")
__all__ = [
    "BatchNorm",
    "ChipConfig",
    "Convolution",
    "DvsSettings",
    "DynapcnnCompatibleNetwork",
    "DynapcnnNetwork",
    "Edge",
    "EmitOptions",
    "EventOptions",
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
    "NoiseFilter",
    "OptionsError",
    "Output",
    "Pool",
    "Result",
    "Shape",
    "SolveOptions",
    "SpecError",
    "Status",
    "TimeLimitError",
    "TorchOptions",
    "UndecidedError",
    "__version__",
    "build_config",
    "check",
    "diff",
    "extract",
    "load_chip",
    "load_network",
    "read_config",
    "simulate_config",
    "simulate_events",
    "solve",
    "verify_equivalence",
    "write_config",
]


# Types that are shown stand left of what draws them: the package knows both.
draw_with(lambda: import_module("mapper.report.notebook"))
draw_with(lambda: import_module("mapper.report.text"))
draw_with(lambda: import_module("mapper.report.tables"))

__getattr__ = loaded_on_demand(__name__, _HOME, _PARTS)


def __dir__() -> list[str]:
    return sorted((*__all__, *_PARTS))
