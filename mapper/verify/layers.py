"""Checks of single bodies on single cores: limits, memories, and what a user asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from mapper.references import layer_key
from mapper.rules import Rule
from mapper.solution import LayerPart, Relay
from mapper.verify.case import Case, Violation, covers


def check_input_size(case: Case) -> Iterator[Violation]:
    """Check `Rule.INPUT_SIZE`."""
    for body in case.bodies:
        (_, height, width), limits = body.incoming, body.core.limits
        if height > limits.input_height_max or width > limits.input_width_max:
            yield Violation(Rule.INPUT_SIZE, body.where, f"{body.name} reads {height}x{width}")


def check_output_size(case: Case) -> Iterator[Violation]:
    """Check `Rule.OUTPUT_SIZE`."""
    for body in case.bodies:
        limits = body.core.limits
        if body.rows > limits.output_height_max or body.columns > limits.output_width_max:
            yield Violation(Rule.OUTPUT_SIZE, body.where, f"{body.name} makes {body.rows}x{body.columns}")


def check_features(case: Case) -> Iterator[Violation]:
    """Check `Rule.FEATURES`."""
    for body in case.bodies:
        taken, given, limits = body.incoming[0], body.features, body.core.limits
        if taken > limits.input_features_max or given > limits.output_features_max:
            yield Violation(Rule.FEATURES, body.where, f"{body.name}: {taken} in, {given} out")


def check_kernel_size(case: Case) -> Iterator[Violation]:
    """Check `Rule.KERNEL_SIZE`."""
    for body in case.bodies:
        for size in body.kernel:
            if not body.core.limits.kernel_size_min <= size <= body.core.limits.kernel_size_max:
                yield Violation(Rule.KERNEL_SIZE, body.where, f"{body.name}: kernel of {size}")


def check_kernel_square(case: Case) -> Iterator[Violation]:
    """Check `Rule.KERNEL_SQUARE`."""
    for body in case.bodies:
        height, width = body.kernel
        if body.core.limits.kernel_square and height != width:
            yield Violation(Rule.KERNEL_SQUARE, body.where, f"{body.name}: kernel {height}x{width}")


def check_stride(case: Case) -> Iterator[Violation]:
    """Check `Rule.STRIDE`."""
    for body in case.bodies:
        for stride in body.stride:
            if stride not in body.core.limits.strides:
                yield Violation(Rule.STRIDE, body.where, f"{body.name}: stride of {stride}")


def check_padding(case: Case) -> Iterator[Violation]:
    """Check `Rule.PADDING`."""
    for body in case.bodies:
        for padding in body.padding:
            if not 0 <= padding <= body.core.limits.padding_max:
                yield Violation(Rule.PADDING, body.where, f"{body.name}: padding of {padding}")


def _power_at_least(number: int) -> int:
    power = 1
    while power < number:
        power *= 2
    return power


def check_kernel_memory(case: Case) -> Iterator[Violation]:
    """Check `Rule.KERNEL_MEMORY`."""
    for body in case.bodies:
        taps = body.kernel[0] * body.kernel[1]
        words = body.incoming[0] * _power_at_least(taps) * _power_at_least(body.features)
        if words > body.core.kernel_words:
            problem = f"{body.name} takes {words} of {body.core.kernel_words} words"
            yield Violation(Rule.KERNEL_MEMORY, body.where, problem)


def check_neuron_memory(case: Case) -> Iterator[Violation]:
    """Check `Rule.NEURON_MEMORY`."""
    for body in case.bodies:
        words = body.features * _power_at_least(body.rows) * _power_at_least(body.columns)
        if words > body.core.neuron_words:
            problem = f"{body.name} takes {words} of {body.core.neuron_words} words"
            yield Violation(Rule.NEURON_MEMORY, body.where, problem)


def check_bias_memory(case: Case) -> Iterator[Violation]:
    """Check `Rule.BIAS_MEMORY`."""
    for body in case.bodies:
        words = body.features if body.has_bias else 0
        if words > body.core.bias_words:
            problem = f"{body.name} takes {words} of {body.core.bias_words} words"
            yield Violation(Rule.BIAS_MEMORY, body.where, problem)


def check_bandwidth(case: Case) -> Iterator[Violation]:
    """Check `Rule.BANDWIDTH`: spikes in per second, times features, times taps over strides."""
    rates = dict(case.options.traffic)
    for body in case.bodies:
        if body.core.synops_per_second is None:
            continue
        if body.layer is None:
            arriving = rates.get(body.key, 0)
        else:
            edges = case.networks[body.network].incoming[body.layer.name]
            keys = [layer_key(case.networks, body.network, edge.source) for edge in edges]
            arriving = sum(rates.get(key, 0) for key in keys)
        work = arriving * body.features * body.kernel[0] * body.kernel[1]
        if work > body.core.synops_per_second * body.stride[0] * body.stride[1]:
            load = work / (body.stride[0] * body.stride[1])
            problem = f"{body.name}: {load:.4g} of {body.core.synops_per_second} SynOps/s"
            yield Violation(Rule.BANDWIDTH, body.where, problem)


def check_placed(case: Case) -> Iterator[Violation]:
    """Check `Rule.PLACED`."""
    ranges: dict[tuple[int, str, int], list[tuple[int, int]]] = defaultdict(list)
    for body, layer in case.layers:
        part = body.placement.body
        if isinstance(part, LayerPart):
            ranges[body.network, layer.name, part.copy_index].append(body.placement.features)
    for number, network in enumerate(case.networks):
        for layer in network.layers:
            if (number, layer.name, 0) not in ranges:
                yield Violation(Rule.PLACED, layer.name, "is on no core")
    for (number, name, _), spans in ranges.items():
        expected = case.networks[number].by_name[name].output_shape.features
        if not covers(spans, 0, expected):
            problem = f"features {sorted(spans)} are not 0..{expected - 1} once each"
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
    for body, layer in case.layers:
        core = body.placement.core
        if pins.get(body.key, core) != core:
            yield Violation(Rule.PIN, layer.name, f"on core {core}, pinned to {pins[body.key]}")


def check_forbidden_core(case: Case) -> Iterator[Violation]:
    """Check `Rule.FORBIDDEN_CORE`."""
    for body in case.bodies:
        if body.placement.core in case.options.forbidden_cores:
            yield Violation(Rule.FORBIDDEN_CORE, body.where, f"holds {body.name}")


def check_whole(case: Case) -> Iterator[Violation]:
    """Check `Rule.WHOLE`."""
    places: dict[str, int] = defaultdict(int)
    for body, _ in case.layers:
        places[body.key] += 1
    whole = {str(name): "is pinned" for name, _ in case.options.pins}
    if case.options.readout is not None:
        whole[str(case.options.readout)] = "feeds the readout stage"
    for key, why in whole.items():
        if places[key] > 1:
            yield Violation(Rule.WHOLE, key, f"{why} and stands on {places[key]} cores")


def check_moves(case: Case) -> Iterator[Violation]:
    """Check `Rule.MOVES`."""
    options, pieces = case.options, defaultdict[tuple[str, int], int](int)
    copies: dict[str, set[int]] = defaultdict(set)
    for body in case.bodies:
        part = body.placement.body
        if isinstance(part, Relay):
            if not options.relays:
                yield Violation(Rule.MOVES, body.where, f"{body.name}, and relays are not allowed")
            continue
        pieces[body.key, part.copy_index] += 1
        copies[body.key].add(part.copy_index)
    for (key, _), count in pieces.items():
        if options.max_pieces is not None and count > options.max_pieces:
            yield Violation(Rule.MOVES, key, f"{count} pieces of {options.max_pieces}")
    for key, indexes in copies.items():
        if len(indexes) > options.max_copies or indexes != set(range(len(indexes))):
            yield Violation(Rule.MOVES, key, f"copies {sorted(indexes)} of {options.max_copies}")
