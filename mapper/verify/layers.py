"""Checks of single layers on single cores: limits, memories, and what a user asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from mapper.rules import Rule
from mapper.solution import LayerPart
from mapper.verify.case import Case, Violation, convolution, map_size, tiles


def check_input_size(case: Case) -> Iterator[Violation]:
    """Check `Rule.INPUT_SIZE`."""
    for placement, layer, core in case.parts:
        _, height, width = layer.input_shape
        if height > core.limits.input_height_max or width > core.limits.input_width_max:
            yield Violation(Rule.INPUT_SIZE, f"core {placement.core}", f"{layer.name} reads {height}x{width}")


def check_output_size(case: Case) -> Iterator[Violation]:
    """Check `Rule.OUTPUT_SIZE`."""
    for placement, layer, core in case.parts:
        height, width = map_size(layer)
        if height > core.limits.output_height_max or width > core.limits.output_width_max:
            yield Violation(
                Rule.OUTPUT_SIZE, f"core {placement.core}", f"{layer.name} makes {height}x{width}"
            )


def check_features(case: Case) -> Iterator[Violation]:
    """Check `Rule.FEATURES`."""
    for placement, layer, core in case.parts:
        taken, given = layer.input_shape[0], placement.features[1] - placement.features[0]
        if taken > core.limits.input_features_max or given > core.limits.output_features_max:
            yield Violation(Rule.FEATURES, f"core {placement.core}", f"{layer.name}: {taken} in, {given} out")


def check_kernel_size(case: Case) -> Iterator[Violation]:
    """Check `Rule.KERNEL_SIZE`."""
    for placement, layer, core in case.parts:
        for size in convolution(layer).kernel:
            if not core.limits.kernel_size_min <= size <= core.limits.kernel_size_max:
                yield Violation(Rule.KERNEL_SIZE, f"core {placement.core}", f"{layer.name}: kernel of {size}")


def check_kernel_square(case: Case) -> Iterator[Violation]:
    """Check `Rule.KERNEL_SQUARE`."""
    for placement, layer, core in case.parts:
        height, width = convolution(layer).kernel
        if core.limits.kernel_square and height != width:
            problem = f"{layer.name}: kernel {height}x{width}"
            yield Violation(Rule.KERNEL_SQUARE, f"core {placement.core}", problem)


def check_stride(case: Case) -> Iterator[Violation]:
    """Check `Rule.STRIDE`."""
    for placement, layer, core in case.parts:
        for stride in convolution(layer).stride:
            if stride not in core.limits.strides:
                yield Violation(Rule.STRIDE, f"core {placement.core}", f"{layer.name}: stride of {stride}")


def check_padding(case: Case) -> Iterator[Violation]:
    """Check `Rule.PADDING`."""
    for placement, layer, core in case.parts:
        for padding in convolution(layer).padding:
            if not 0 <= padding <= core.limits.padding_max:
                yield Violation(Rule.PADDING, f"core {placement.core}", f"{layer.name}: padding of {padding}")


def _power_at_least(number: int) -> int:
    power = 1
    while power < number:
        power *= 2
    return power


def check_kernel_memory(case: Case) -> Iterator[Violation]:
    """Check `Rule.KERNEL_MEMORY`."""
    for placement, layer, core in case.parts:
        height, width = convolution(layer).kernel
        features = placement.features[1] - placement.features[0]
        words = layer.input_shape[0] * _power_at_least(height * width) * _power_at_least(features)
        if words > core.kernel_words:
            problem = f"{layer.name} takes {words} of {core.kernel_words} words"
            yield Violation(Rule.KERNEL_MEMORY, f"core {placement.core}", problem)


def check_neuron_memory(case: Case) -> Iterator[Violation]:
    """Check `Rule.NEURON_MEMORY`."""
    for placement, layer, core in case.parts:
        height, width = map_size(layer)
        features = placement.features[1] - placement.features[0]
        words = features * _power_at_least(height) * _power_at_least(width)
        if words > core.neuron_words:
            problem = f"{layer.name} takes {words} of {core.neuron_words} words"
            yield Violation(Rule.NEURON_MEMORY, f"core {placement.core}", problem)


def check_bias_memory(case: Case) -> Iterator[Violation]:
    """Check `Rule.BIAS_MEMORY`."""
    for placement, layer, core in case.parts:
        words = placement.features[1] - placement.features[0] if convolution(layer).has_bias else 0
        if words > core.bias_words:
            problem = f"{layer.name} takes {words} of {core.bias_words} words"
            yield Violation(Rule.BIAS_MEMORY, f"core {placement.core}", problem)


def check_placed(case: Case) -> Iterator[Violation]:
    """Check `Rule.PLACED`."""
    ranges: dict[tuple[int, str, int], list[tuple[int, int]]] = defaultdict(list)
    for placement, _, _ in case.parts:
        body = placement.body
        if isinstance(body, LayerPart):
            ranges[body.network, body.layer, body.copy_index].append(placement.features)
    for number, network in enumerate(case.networks):
        for layer in network.layers:
            if (number, layer.name, 0) not in ranges:
                yield Violation(Rule.PLACED, layer.name, "is on no core")
    for (number, name, _), spans in ranges.items():
        expected = case.networks[number].by_name[name].output_shape.features
        if not tiles(spans, 0, expected):
            yield Violation(
                Rule.PLACED, name, f"features {sorted(spans)} are not 0..{expected - 1} once each"
            )


def check_one_layer_per_core(case: Case) -> Iterator[Violation]:
    """Check `Rule.ONE_LAYER_PER_CORE`."""
    seen: dict[int, str] = {}
    for placement, layer, _ in case.parts:
        if placement.core in seen:
            problem = f"holds {seen[placement.core]} and {layer.name}"
            yield Violation(Rule.ONE_LAYER_PER_CORE, f"core {placement.core}", problem)
        seen[placement.core] = layer.name


def check_pin(case: Case) -> Iterator[Violation]:
    """Check `Rule.PIN`."""
    pins = dict(case.options.pins)
    for placement, layer, _ in case.parts:
        if pins.get(layer.name, placement.core) != placement.core:
            yield Violation(Rule.PIN, layer.name, f"on core {placement.core}, pinned to {pins[layer.name]}")


def check_forbidden_core(case: Case) -> Iterator[Violation]:
    """Check `Rule.FORBIDDEN_CORE`."""
    for placement, layer, _ in case.parts:
        if placement.core in case.options.forbidden_cores:
            yield Violation(Rule.FORBIDDEN_CORE, f"core {placement.core}", f"holds {layer.name}")
