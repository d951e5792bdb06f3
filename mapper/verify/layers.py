"""Checks of single bodies on single cores: limits, memories, and what a user asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from mapper.rules import Rule
from mapper.solution import Relay
from mapper.verify.case import Body, Case, Violation, covers
from mapper.wording import counted

# What is wrong with a body on its core under one rule.
Problems: TypeAlias = Callable[[Body], Iterator[str]]


def on_each_core(rule: Rule) -> Callable[[Case], Iterator[Violation]]:
    """The check of a rule of `HOLDING`: every body against the core it stands on."""

    def check(case: Case) -> Iterator[Violation]:
        for body in case.bodies:
            for problem in HOLDING[rule](body):
                yield Violation(rule, body.where, f"{body.name}: {problem}")

    return check


def _input_size(body: Body) -> Iterator[str]:
    (_, height, width), limits = body.incoming, body.core.limits
    if height > limits.input_height_max or width > limits.input_width_max:
        yield f"reads {height}x{width}"


def _output_size(body: Body) -> Iterator[str]:
    limits = body.core.limits
    if body.rows > limits.output_height_max or body.columns > limits.output_width_max:
        yield f"makes {body.rows}x{body.columns}"


def _features(body: Body) -> Iterator[str]:
    read, limits = body.incoming[0], body.core.limits
    if read > limits.input_features_max or body.features > limits.output_features_max:
        yield f"{counted(read, 'feature')} in, {body.features} out"


def _kernel_size(body: Body) -> Iterator[str]:
    limits = body.core.limits
    for size in body.kernel:
        if not limits.kernel_size_min <= size <= limits.kernel_size_max:
            yield f"kernel of {size}"


def _kernel_square(body: Body) -> Iterator[str]:
    height, width = body.kernel
    if body.core.limits.kernel_square and height != width:
        yield f"kernel {height}x{width}"


def _stride(body: Body) -> Iterator[str]:
    for stride in body.stride:
        if stride not in body.core.limits.strides:
            yield f"stride of {stride}"


def _padding(body: Body) -> Iterator[str]:
    for padding in body.padding:
        if not 0 <= padding <= body.core.limits.padding_max:
            yield f"padding of {padding}"


def _number_width(body: Body) -> Iterator[str]:
    limits = body.core.limits
    for name, span, bits in (
        ("weights", body.weights, limits.weight_bits),
        ("biases", body.biases, limits.bias_bits),
        ("potentials", body.potentials, limits.state_bits),
    ):
        if span is not None and (span[0] < -(2 ** (bits - 1)) or span[1] >= 2 ** (bits - 1)):
            yield f"{name} of {span[0]}..{span[1]} in {bits} bits"


def _power_at_least(number: int) -> int:
    power = 1
    while power < number:
        power *= 2
    return power


def _kernel_words(body: Body) -> tuple[int, int]:
    taps = body.kernel[0] * body.kernel[1]
    taken = body.incoming[0] * _power_at_least(taps) * _power_at_least(body.features)
    return taken, body.core.kernel_words


def _neuron_words(body: Body) -> tuple[int, int]:
    taken = body.features * _power_at_least(body.rows) * _power_at_least(body.columns)
    return taken, body.core.neuron_words


def _bias_words(body: Body) -> tuple[int, int]:
    return body.features if body.has_bias else 0, body.core.bias_words


def memories(body: Body) -> tuple[tuple[int, int], ...]:
    """(words taken, words there) of each memory (datasheet, 3.2.4.1)."""
    return _kernel_words(body), _neuron_words(body), _bias_words(body)


def _memory(words: Callable[[Body], tuple[int, int]]) -> Problems:
    def problems(body: Body) -> Iterator[str]:
        taken, there = words(body)
        if taken > there:
            yield f"takes {taken} of {there} words"

    return problems


def operations(body: Body) -> int:
    """Synaptic operations per second: spikes in, times features, times taps over strides (datasheet, 2.4).

    A bound: no tap is taken off for the border of the map.
    """
    work = body.spikes_per_second * body.features * body.kernel[0] * body.kernel[1]
    strides = body.stride[0] * body.stride[1]
    return (work + strides - 1) // strides


def _bandwidth(body: Body) -> Iterator[str]:
    bandwidth = body.core.synops_per_second
    if bandwidth is not None and operations(body) > bandwidth:
        yield f"{operations(body)} of {bandwidth} SynOps/s"


HOLDING: Mapping[Rule, Problems] = {
    Rule.INPUT_SIZE: _input_size,
    Rule.OUTPUT_SIZE: _output_size,
    Rule.FEATURES: _features,
    Rule.KERNEL_SIZE: _kernel_size,
    Rule.KERNEL_SQUARE: _kernel_square,
    Rule.STRIDE: _stride,
    Rule.PADDING: _padding,
    Rule.NUMBER_WIDTH: _number_width,
    Rule.KERNEL_MEMORY: _memory(_kernel_words),
    Rule.NEURON_MEMORY: _memory(_neuron_words),
    Rule.BIAS_MEMORY: _memory(_bias_words),
    Rule.BANDWIDTH: _bandwidth,
}


def check_placed(case: Case) -> Iterator[Violation]:
    """Check `Rule.PLACED`."""
    spans: dict[tuple[int, str, int], list[tuple[int, int]]] = defaultdict(list)
    for body, part, _ in case.parts:
        spans[part.network, part.layer, part.copy_index].append(body.placement.features)
    for number, network in enumerate(case.networks):
        for layer in network.layers:
            if (number, layer.name, 0) not in spans:
                yield Violation(Rule.PLACED, layer.name, "is on no core")
    for (number, name, _), ranges in spans.items():
        expected = case.features((number, name))
        if not covers(ranges, 0, expected):
            problem = f"features {sorted(ranges)} are not 0..{expected - 1} once each"
            yield Violation(Rule.PLACED, name, problem)


def check_one_layer_per_core(case: Case) -> Iterator[Violation]:
    """Check `Rule.ONE_LAYER_PER_CORE`."""
    seen: dict[int, str] = {}
    for body in case.bodies:
        core = body.placement.core
        if core in seen:
            yield Violation(Rule.ONE_LAYER_PER_CORE, body.where, f"holds {seen[core]} and {body.name}")
        seen[core] = body.name


def check_pin(case: Case) -> Iterator[Violation]:
    """Check `Rule.PIN`."""
    pins = dict(case.options.pins)
    for body, part, key in case.parts:
        core = body.placement.core
        if pins.get(key, core) != core:
            yield Violation(Rule.PIN, part.layer, f"on core {core}, pinned to {pins[key]}")


def check_forbidden_core(case: Case) -> Iterator[Violation]:
    """Check `Rule.FORBIDDEN_CORE`."""
    for body in case.bodies:
        if body.placement.core in case.options.forbidden_cores:
            yield Violation(Rule.FORBIDDEN_CORE, body.where, f"holds {body.name}")


def check_whole(case: Case) -> Iterator[Violation]:
    """Check `Rule.WHOLE`."""
    keys = [key for _, _, key in case.parts]
    whole = {str(name): "is pinned" for name, _ in case.options.pins}
    if case.options.readout is not None:
        whole[str(case.options.readout)] = "feeds the readout stage"
    for name, why in whole.items():
        if keys.count(name) > 1:
            yield Violation(Rule.WHOLE, name, f"{why} and stands on {keys.count(name)} cores")


def check_moves(case: Case) -> Iterator[Violation]:
    """Check `Rule.MOVES`."""
    options, pieces = case.options, defaultdict[tuple[str, int], int](int)
    copies: dict[str, set[int]] = defaultdict(set)
    for body in case.bodies:
        if isinstance(body.placement.body, Relay) and not options.relays:
            yield Violation(Rule.MOVES, body.where, f"{body.name}, and relays are not allowed")
    for _, part, key in case.parts:
        pieces[key, part.copy_index] += 1
        copies[key].add(part.copy_index)
    for (key, _), count in pieces.items():
        if options.max_pieces is not None and count > options.max_pieces:
            yield Violation(Rule.MOVES, key, f"{count} pieces of {options.max_pieces}")
    for key, indexes in copies.items():
        most = len(indexes) if options.max_copies is None else options.max_copies
        if len(indexes) > most or indexes != set(range(len(indexes))):
            yield Violation(Rule.MOVES, key, f"copies {sorted(indexes)} of {most}")
