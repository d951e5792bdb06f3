"""What stands on a core asks of it: the one place that says whether a core may hold it.

A whole layer, a piece of one, a relay: each is a `CoreWork`. A rule about holding is a function of a work
and a core; how many features of a work a core holds under a rule is the rule solved for that number.
`mapper.verify` holds the second, independent reading of the same rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwspec.memory import bias_words, kernel_terms, kernel_words, neuron_terms, neuron_words
from hwspec.schema import CoreSpec
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, Shape
from mapper.rules import Rule
from mapper.wording import join_names

__all__ = [
    "HOLDING",
    "CoreWork",
    "Shortfall",
    "above",
    "free_shares",
    "lacking",
    "largest",
    "largest_held",
    "layer_work",
    "relay_work",
    "times",
]


class Widths(NamedTuple):
    """Bits that the numbers of a layer take, in two's complement; 0 where it has none."""

    weights: int = 0
    biases: int = 0
    potentials: int = 0


class CoreWork(NamedTuple):
    """What an occupant asks of a core, without its name: equal for those that are interchangeable.

    Attributes
    ----------
    kernel, stride, padding
        (height, width).
    spikes_per_second
        Arriving, at the traffic given; 0 where none is.
    widths
        Of the whole layer's integers, in its pieces too; of shapes alone and of floats nothing is asked.
    """

    input_shape: Shape
    output_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair
    has_bias: bool
    spikes_per_second: int = 0
    is_relay: bool = False
    widths: Widths = Widths()

    def narrowed(self, features: int) -> CoreWork:
        """The same for some of the output features: what a piece asks.

        A relay's piece reads no more than it passes on.
        """
        shape = self.output_shape._replace(features=features)
        read = self.input_shape._replace(features=features) if self.is_relay else self.input_shape
        return CoreWork(
            read, shape, self.kernel, self.stride, self.padding, self.has_bias, self.spikes_per_second,
            self.is_relay, self.widths,
        )  # fmt: skip

    @property
    def kernel_words(self) -> int:
        """8-bit words of kernel memory."""
        return kernel_words(self.input_shape.features, self.output_shape.features, *self.kernel)

    @property
    def neuron_words(self) -> int:
        """16-bit words of neuron memory."""
        return neuron_words(*self.output_shape)

    @property
    def bias_words(self) -> int:
        """16-bit words of bias memory."""
        return bias_words(self.output_shape.features, self.has_bias)

    @property
    def words(self) -> tuple[int, int, int]:
        """Words of kernel, neuron and bias memory."""
        return self.kernel_words, self.neuron_words, self.bias_words

    @property
    def synops_per_second(self) -> int:
        """Neurons reached at most: ``spikes * features * kx * ky / (sx * sy)``, rounded up (datasheet, 2.4).

        A bound for spikes spread evenly: where they fall is not known. Next to the border of a map, taps
        reach no neuron.
        """
        (ky, kx), (sy, sx) = self.kernel, self.stride
        return -(-self.spikes_per_second * self.output_shape.features * ky * kx // (sy * sx))


@dataclass(frozen=True, slots=True)
class Shortfall:
    """By how much one core falls short under one rule.

    Attributes
    ----------
    demand, bound
        What is asked and what is there; numbers, or text where a set is allowed.
    gap
        demand - bound, >= 1; None where a set is allowed.
    terms
        How the demand comes about.
    """

    rule: Rule
    demand: int | str
    bound: int | str
    gap: int | None
    terms: str


# An identity has weights of 0 and 1, a threshold of 1 and a lower bound of -1.
_RELAY_WIDTHS = Widths(2, 0, 2)


def layer_work(
    network: NormalNetwork, layer: NormalLayer, traffic: Mapping[str, int] | None = None
) -> CoreWork:
    """What a whole layer asks of its core.

    Parameters
    ----------
    traffic
        By signal, spikes that leave it per second.
    """
    convolution, rates = layer.operation, traffic or {}
    spikes = sum(rates.get(edge.source, 0) for edge in network.incoming[layer.name]) if rates else 0
    return CoreWork(
        layer.input_shape, layer.output_shape, convolution.kernel, convolution.stride, convolution.padding,
        convolution.has_bias, spikes, widths=_widths(layer),
    )  # fmt: skip


def _widths(layer: NormalLayer) -> Widths:
    weight, bias, neuron = layer.operation.weight, layer.operation.bias, layer.neuron
    if weight is None or weight.dtype.kind != "i":
        return Widths()
    # Without a lower bound the field has the least number of 16 bits.
    minimum = -(1 << 15) if neuron.minimum is None else neuron.minimum
    states = (neuron.threshold, minimum, 0 if neuron.initial_potential is None else neuron.initial_potential)
    return Widths(_bits(weight), 0 if bias is None else _bits(bias), max(map(_bits, states)))


def _bits(numbers: Any) -> int:
    """Bits that hold each of these, sign included."""
    return 1 + max(
        (n if n >= 0 else -n - 1).bit_length() for n in (int(np.min(numbers)), int(np.max(numbers)))
    )


def relay_work(shape: Shape, pooling: int, spikes_per_second: int, *, reads_all: bool = False) -> CoreWork:
    """What an identity core asks that passes on a signal, pooled by `pooling` on arrival.

    Parameters
    ----------
    shape
        Of the signal before the pool; at least `pooling` rows and columns.
    reads_all
        Whether pieces of it read every feature of the signal, and not just their own.
    """
    pooled = Shape(shape.features, shape.height // pooling, shape.width // pooling)
    return CoreWork(
        pooled, pooled, (1, 1), (1, 1), (0, 0), False, spikes_per_second, not reads_all, _RELAY_WIDTHS
    )  # fmt: skip


def times(pair: tuple[int, ...]) -> str:
    """Sizes as messages write them: "3x4"."""
    return "x".join(map(str, pair))


def above(rule: Rule, demand: int, bound: int, terms: str) -> Shortfall | None:
    """The shortfall of a demand above its bound, if it is."""
    return Shortfall(rule, demand, bound, demand - bound, terms) if demand > bound else None


def _map(rule: Rule, shape: Shape, height_max: int, width_max: int) -> Shortfall | None:
    if shape.height <= height_max and shape.width <= width_max:
        return None
    gap = max(shape.height - height_max, shape.width - width_max)
    return Shortfall(rule, times(shape[1:]), times((height_max, width_max)), gap, "height x width")


def _input_size(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    limits = core.limits
    return _map(Rule.INPUT_SIZE, work.input_shape, limits.input_height_max, limits.input_width_max)


def _output_size(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    limits = core.limits
    return _map(Rule.OUTPUT_SIZE, work.output_shape, limits.output_height_max, limits.output_width_max)


def _features(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    given, taken, limits = work.output_shape.features, work.input_shape.features, core.limits
    if given > limits.output_features_max:
        return above(Rule.FEATURES, given, limits.output_features_max, f"{given} output features")
    if taken > limits.input_features_max:
        return above(Rule.FEATURES, taken, limits.input_features_max, f"{taken} input features")
    return None


def _kernel_size(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    low, high = core.limits.kernel_size_min, core.limits.kernel_size_max
    if low <= min(work.kernel) and max(work.kernel) <= high:
        return None
    if min(work.kernel) < low:
        return Shortfall(Rule.KERNEL_SIZE, min(work.kernel), f"at least {low}", None, times(work.kernel))
    return above(Rule.KERNEL_SIZE, max(work.kernel), high, f"kernel {times(work.kernel)}")


def _kernel_square(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    if work.kernel[0] == work.kernel[1] or not core.limits.kernel_square:
        return None
    return Shortfall(Rule.KERNEL_SQUARE, times(work.kernel), "only squares", None, "height x width")


def _stride(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    allowed = core.limits.strides
    if work.stride[0] in allowed and work.stride[1] in allowed:
        return None
    bound = f"only {join_names([*map(str, allowed)])}, per axis"
    return Shortfall(Rule.STRIDE, times(work.stride), bound, None, "height x width")


def _padding(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    most, bound = max(work.padding), core.limits.padding_max
    return above(Rule.PADDING, most, bound, f"padding {times(work.padding)}") if most > bound else None


def _number_width(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    limits = core.limits
    fields = (limits.weight_bits, limits.bias_bits, limits.state_bits)
    for name, need, have in zip(Widths._fields, work.widths, fields, strict=True):
        if need > have:
            return above(Rule.NUMBER_WIDTH, need, have, name)
    return None


def _kernel_memory(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    words = work.kernel_words
    if words <= core.kernel_words:
        return None
    terms = kernel_terms(work.input_shape.features, work.output_shape.features, *work.kernel)
    return above(Rule.KERNEL_MEMORY, words, core.kernel_words, terms)


def _neuron_memory(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    words = work.neuron_words
    if words <= core.neuron_words:
        return None
    return above(Rule.NEURON_MEMORY, words, core.neuron_words, neuron_terms(*work.output_shape))


def _bias_memory(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    return above(Rule.BIAS_MEMORY, work.bias_words, core.bias_words, "one per output feature")


def _bandwidth(work: CoreWork, core: CoreSpec) -> Shortfall | None:
    if core.synops_per_second is None or work.synops_per_second <= core.synops_per_second:
        return None
    spikes, f = work.spikes_per_second, work.output_shape.features
    terms = f"{spikes} spikes/s x {f} features x {times(work.kernel)} / {times(work.stride)}"
    return above(Rule.BANDWIDTH, work.synops_per_second, core.synops_per_second, terms)


HoldingCheck: TypeAlias = Callable[[CoreWork, CoreSpec], Shortfall | None]

# What a core must hold, whatever stands on it. With fewer output features a work never asks more.
HOLDING: Mapping[Rule, HoldingCheck] = {
    Rule.INPUT_SIZE: _input_size,
    Rule.OUTPUT_SIZE: _output_size,
    Rule.FEATURES: _features,
    Rule.KERNEL_SIZE: _kernel_size,
    Rule.KERNEL_SQUARE: _kernel_square,
    Rule.STRIDE: _stride,
    Rule.PADDING: _padding,
    Rule.NUMBER_WIDTH: _number_width,
    Rule.KERNEL_MEMORY: _kernel_memory,
    Rule.NEURON_MEMORY: _neuron_memory,
    Rule.BIAS_MEMORY: _bias_memory,
    Rule.BANDWIDTH: _bandwidth,
}


def lacking(work: CoreWork, core: CoreSpec) -> tuple[Shortfall, ...]:
    """Every rule under which a core cannot hold a work."""
    return tuple(lack for check in HOLDING.values() if (lack := check(work, core)) is not None)


def largest(rule: Rule, work: CoreWork, core: CoreSpec) -> int:
    """The most output features of a work that a core holds under one rule: 0 .. all."""
    check = HOLDING[rule]
    return work.output_shape.features if check(work, core) is None else _most(work, core, (check,))


def largest_held(work: CoreWork, core: CoreSpec, lacks: Sequence[Shortfall] | None = None) -> int:
    """The most output features of a work that a core holds under every rule: 0 .. all.

    Parameters
    ----------
    lacks
        `lacking` of the two, where it is known.
    """
    broken = [HOLDING[lack.rule] for lack in (lacking(work, core) if lacks is None else lacks)]
    return _most(work, core, broken) if broken else work.output_shape.features


def _most(work: CoreWork, core: CoreSpec, broken: Sequence[HoldingCheck]) -> int:
    """By bisection below all features: what holds a number of them holds fewer as well."""
    low, high = 0, work.output_shape.features - 1
    while low < high:
        middle = (low + high + 1) // 2
        piece = work.narrowed(middle)
        if all(check(piece, core) is None for check in broken):
            low = middle
        else:
            high = middle - 1
    return low


def free_shares(words: Iterable[tuple[int, int, int]], core: CoreSpec) -> set[Fraction]:
    """Least free share over a core's memories, in 0..1, for each use of them that it holds.

    Parameters
    ----------
    words
        Of kernel, neuron and bias memory, `CoreWork.words`. A memory without words has no share.
    """
    have = (core.kernel_words, core.neuron_words, core.bias_words)
    # In one unit for all memories, whole numbers tell which is the fullest.
    whole = math.lcm(*(each for each in have if each))
    a, b, c = (whole // each if each else 0 for each in have)
    used = {max(kernel * a, neuron * b, bias * c) for kernel, neuron, bias in words}
    return {Fraction(whole - units, whole) for units in used}
