"""The rules a placement obeys: one list that solver, checker, tests and documentation all cover.

The codes are stable: a code is never given to another rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

__all__ = ["Nature", "Rule", "RuleText", "by_code"]

Nature: TypeAlias = Literal["structural", "capacity", "count", "routing", "request"]


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule says.

    Attributes
    ----------
    code
        Stable identifier, "M101" and so on.
    nature
        "structural": a value outside what the chip can express; "capacity": memory words; "count":
        numbers of cores; "routing": destinations, monitors, readout; "request": pins and the like.
    unit
        Unit of demand and bound.
    """

    code: str
    nature: Nature
    title: str
    unit: str
    statement: str


class Rule(Enum):
    """Every rule of the family of chips, with its text."""

    INPUT_SIZE = RuleText(
        "M101", "structural", "input map", "pixels", "A core's input map is at most this high and wide."
    )
    OUTPUT_SIZE = RuleText(
        "M102",
        "structural",
        "neuron map",
        "pixels",
        "A core's neuron map, before pooling, is at most this high and wide.",
    )
    FEATURES = RuleText(
        "M103", "structural", "features", "features", "A core takes and gives at most this many features."
    )
    KERNEL_SIZE = RuleText(
        "M104", "structural", "kernel size", "pixels", "A kernel is at most this high and wide."
    )
    KERNEL_SQUARE = RuleText("M105", "structural", "kernel", "pixels", "A kernel is as high as it is wide.")
    STRIDE = RuleText("M106", "structural", "stride", "pixels", "A stride is one of the chip's, per axis.")
    PADDING = RuleText("M107", "structural", "padding", "pixels", "Padding is at most this much, per axis.")
    POOLING = RuleText(
        "M108",
        "structural",
        "pooling",
        "pixels",
        "A destination's pool is square, as large as its stride, and of one of the chip's sizes.",
    )
    FEATURE_SHIFT = RuleText(
        "M109",
        "structural",
        "feature shift",
        "features",
        "Concatenation needs destinations that shift features.",
    )
    INPUT_POOLING = RuleText(
        "M110",
        "structural",
        "pooled host input",
        "pixels",
        "Events from the host reach a core unpooled.",
    )
    DVS_STAGE = RuleText(
        "M111",
        "structural",
        "sensor stage",
        "pixels",
        "The sensor stage has one setting for all its consumers: merge, pool per axis, cut-out.",
    )
    KERNEL_MEMORY = RuleText(
        "M201",
        "capacity",
        "kernel memory",
        "kernel words",
        "Input features times 2 to the address bits of kernel and output features fit the core.",
    )
    NEURON_MEMORY = RuleText(
        "M202",
        "capacity",
        "neuron memory",
        "neuron words",
        "Output features times 2 to the address bits of the neuron map fit the core.",
    )
    BIAS_MEMORY = RuleText(
        "M203",
        "capacity",
        "bias memory",
        "bias words",
        "One bias word per output feature fits the core, if any bias is not zero.",
    )
    PLACED = RuleText(
        "M301", "count", "every layer placed", "layers", "Every layer is on a core, all its features once."
    )
    ONE_LAYER_PER_CORE = RuleText(
        "M302", "count", "one layer per core", "cores", "A core holds at most one layer."
    )
    FAN_OUT = RuleText(
        "M401",
        "routing",
        "fan-out",
        "destinations",
        "A core has so many destinations; the readout stage takes one.",
    )
    DVS_FAN_OUT = RuleText(
        "M402",
        "routing",
        "sensor fan-out",
        "destinations",
        "The sensor stage has so many destinations.",
    )
    CONNECTION = RuleText(
        "M403",
        "routing",
        "connections",
        "features",
        "Every feature of every edge arrives where the network says, once, and nothing else arrives.",
    )
    READOUT = RuleText(
        "M404",
        "routing",
        "readout",
        "layers",
        "One layer at most feeds the readout stage, on a chip that has one.",
    )
    MONITOR = RuleText(
        "M405",
        "routing",
        "monitors",
        "cores",
        "So many cores are monitored at most; the readout monitor may exclude spike monitors.",
    )
    PIN = RuleText(
        "M501", "request", "pinned layer", "cores", "A pinned layer is on the core it is pinned to."
    )
    FORBIDDEN_CORE = RuleText("M502", "request", "forbidden core", "cores", "A forbidden core stays empty.")

    @property
    def code(self) -> str:
        """Stable identifier."""
        return self.value.code

    @property
    def nature(self) -> Nature:
        """The kind of limit this is."""
        return self.value.nature


def by_code(code: str) -> Rule:
    """The rule with this code.

    Raises
    ------
    KeyError
        No rule has it.
    """
    for rule in Rule:
        if rule.code == code.upper():
            return rule
    raise KeyError(code)
