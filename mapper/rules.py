"""The rules a placement obeys: one list that solver, checker, tests and documentation all cover.

The codes are stable: a code is never given to another rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

from hwspec.memory import KERNEL_FORMULA, NEURON_FORMULA

__all__ = ["Nature", "Rule", "RuleText", "by_code"]

Nature: TypeAlias = Literal["structural", "capacity", "count", "routing", "output", "request"]


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule says.

    Attributes
    ----------
    code
        Stable identifier, "M101" and so on.
    nature
        "structural": a value outside what the chip can express; "capacity": memory words; "count":
        numbers of cores; "routing": destinations; "output": what is read of the chip, by readout and
        monitors; "request": pins and the like.
    unit
        Unit of demand and bound.
    ways_out
        What a user may change, as one sentence.
    """

    code: str
    nature: Nature
    title: str
    unit: str
    statement: str
    ways_out: str


class Rule(Enum):
    """Every rule of the family of chips, with its text."""

    INPUT_SIZE = RuleText(
        "M101",
        "structural",
        "input map",
        "pixels",
        "A core's input map is at most this high and wide.",
        "Crop or pool the events before they reach the layer, or pool more behind its source.",
    )
    OUTPUT_SIZE = RuleText(
        "M102",
        "structural",
        "neuron map",
        "pixels",
        "A core's neuron map, before pooling, is at most this high and wide.",
        "Use a larger stride, less padding, or a smaller input; a map just above a power of two pays most.",
    )
    FEATURES = RuleText(
        "M103",
        "structural",
        "features",
        "features",
        "A core takes and gives at most this many features.",
        "Give the layer fewer features, or cut it into layers that are concatenated.",
    )
    KERNEL_SIZE = RuleText(
        "M104",
        "structural",
        "kernel size",
        "pixels",
        "A kernel is at most this high and wide.",
        "Use a smaller kernel, or two after each other; a linear layer wants a smaller map.",
    )
    KERNEL_SQUARE = RuleText(
        "M105",
        "structural",
        "kernel",
        "pixels",
        "A kernel is as high as it is wide.",
        "Use a square kernel; where padding allows, the kernel is filled with zeros by itself.",
    )
    STRIDE = RuleText(
        "M106",
        "structural",
        "stride",
        "pixels",
        "A stride is one of the chip's, per axis.",
        "Use a stride the chip has; a stride of 3 becomes 2 or 4.",
    )
    PADDING = RuleText(
        "M107",
        "structural",
        "padding",
        "pixels",
        "Padding is at most this much, per axis.",
        "Use less padding, or a smaller kernel.",
    )
    POOLING = RuleText(
        "M108",
        "structural",
        "pooling",
        "pixels",
        "A destination's pool is square, as large as its stride, and of one of the chip's sizes.",
        "Use a pool of a legal size with stride = size; others are folded where that is exact.",
    )
    FEATURE_SHIFT = RuleText(
        "M109",
        "structural",
        "feature shift",
        "features",
        "Concatenation needs destinations that shift features.",
        "Use a chip whose destinations shift features, or add signals instead of concatenating them.",
    )
    INPUT_POOLING = RuleText(
        "M110",
        "structural",
        "pooled host input",
        "pixels",
        "Events from the host reach a core unpooled.",
        "Pool the events on the host; a pool that folds into the first convolution is folded by itself.",
    )
    DVS_STAGE = RuleText(
        "M111",
        "structural",
        "sensor stage",
        "pixels",
        "The sensor stage has one setting for all its consumers: merge, pool per axis, cut-out.",
        "Give all layers behind the sensor the same pool and cut-out, or let the host send the events.",
    )
    NUMBER_WIDTH = RuleText(
        "M112",
        "structural",
        "width of numbers",
        "bits",
        "Weights, biases and potentials of a layer have no more bits than their fields on its core.",
        "Use cores with wider fields, or integers of fewer bits: rounding here gives weights and biases up "
        "to 8 bits, and potentials up to 16.",
    )
    KERNEL_MEMORY = RuleText(
        "M201",
        "capacity",
        "kernel memory",
        "kernel words",
        f"Kernel words fit the core: {KERNEL_FORMULA}.",
        "Use fewer features or a smaller kernel, or cut the layer over several cores.",
    )
    NEURON_MEMORY = RuleText(
        "M202",
        "capacity",
        "neuron memory",
        "neuron words",
        f"Neuron words fit the core: {NEURON_FORMULA}.",
        "Use a larger stride, fewer features or a smaller map, or cut the layer over several cores.",
    )
    BIAS_MEMORY = RuleText(
        "M203",
        "capacity",
        "bias memory",
        "bias words",
        "One bias word per output feature fits the core, if any bias is not zero.",
        "Train without biases, or use fewer features; cores without bias memory hold layers without biases.",
    )
    BANDWIDTH = RuleText(
        "M204",
        "capacity",
        "bandwidth",
        "SynOps/s",
        "Synaptic operations per second stay within what the core's facts state. At the traffic given there "
        "are at most spikes x features x kernel / stride, with no tap lost at the border of the map.",
        "Fewer features or a larger stride, less traffic into the layer, or cut it over several cores.",
    )
    PLACED = RuleText(
        "M301",
        "count",
        "every layer placed",
        "layers",
        "Every layer is on a core, all its features once.",
        "See the rules that keep the layer off the cores.",
    )
    ONE_LAYER_PER_CORE = RuleText(
        "M302",
        "count",
        "one layer per core",
        "cores",
        "A core holds at most one layer.",
        "Fewer layers, or a chip with more cores.",
    )
    FAN_OUT = RuleText(
        "M401",
        "routing",
        "fan-out",
        "destinations",
        "A core has so many destinations; the readout stage takes one.",
        "Let fewer layers read this one, or read it through another layer.",
    )
    DVS_FAN_OUT = RuleText(
        "M402",
        "routing",
        "sensor fan-out",
        "destinations",
        "The sensor stage has so many destinations.",
        "Let fewer layers read the sensor, or let the host send the events.",
    )
    CONNECTION = RuleText(
        "M403",
        "routing",
        "connections",
        "features",
        "Every feature of every edge arrives where the network says, once, and nothing else arrives.",
        "This rule is broken by faulty placements only: report it.",
    )
    READOUT = RuleText(
        "M404",
        "output",
        "readout",
        "layers",
        "One layer at most feeds the readout stage, on a chip that has one.",
        "Choose one layer for the readout, or a chip that has a readout stage.",
    )
    WHOLE = RuleText(
        "M406",
        "request",
        "whole layers",
        "cores",
        "A layer that feeds the readout stage stays whole on one core, and so does a pinned one.",
        "Leave the readout or the pin out, or make the layer small enough for one core.",
    )
    MONITOR = RuleText(
        "M405",
        "output",
        "monitors",
        "cores",
        "So many cores are monitored at most; the readout monitor may exclude spike monitors.",
        "Watch fewer layers, or leave the readout monitor out.",
    )
    PIN = RuleText(
        "M501",
        "request",
        "pinned layer",
        "cores",
        "A pinned layer is on the core it is pinned to.",
        "Unpin the layer, or pin it to a core that holds it.",
    )
    FORBIDDEN_CORE = RuleText(
        "M502",
        "request",
        "forbidden core",
        "cores",
        "A forbidden core stays empty.",
        "Allow the core, or use a chip with more cores.",
    )

    MOVES = RuleText(
        "M503",
        "request",
        "pieces, relays and copies",
        "cores",
        "A layer is cut into as many pieces, relays and copies stand on the chip, as the request allows.",
        "Allow more pieces, relays or copies.",
    )

    OBJECTIVE = RuleText(
        "M504",
        "request",
        "values of the objective",
        "values",
        "A placement states of its objective what it is, and no bound that the value denies.",
        "This rule is broken by faulty placements only: report it.",
    )

    REWRITTEN = RuleText(
        "M505",
        "request",
        "rewritten layers",
        "layers",
        "A layer that was rewritten for the chip computes, neuron by neuron and tap by tap, what the given "
        "one does; where rewrites are forbidden none is.",
        "This rule is broken by faulty placements only: report it.",
    )

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
