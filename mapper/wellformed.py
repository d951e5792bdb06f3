"""What must hold for a network to exist at all: names, shapes and feature ranges that follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mapper.errors import Finding
from mapper.operations import Convolution, Linear, shape_after
from mapper.wording import counted

if TYPE_CHECKING:
    from mapper.network import Layer, Network
    from mapper.operations import Shape

__all__ = ["name_findings", "shape_findings"]


def name_findings(network: Network) -> Iterator[Finding]:
    """Names that are empty, used twice or unknown, layers nothing feeds, nothing to run."""
    seen: set[str] = set()
    # The sensor alone is a network too: its stage is configured, and what it sees is shown.
    is_view = not network.layers and any(entry.dvs for entry in network.inputs)
    if not network.layers and not is_view:
        yield Finding(network.name, "the network has no layer", next_step="Give it at least one weight layer")
    for kind, entry in [("input", i) for i in network.inputs] + [("layer", n) for n in network.layers]:
        if not entry.name:
            yield Finding(network.name, f"an {kind} has an empty name")
        if entry.name in seen:
            yield Finding(f"{kind} {entry.name}", "the name is used twice", next_step="Rename one of them")
        seen.add(entry.name)
    layers = {layer.name for layer in network.layers}
    for edge in network.edges:
        if edge.source not in seen:
            yield Finding(f"edge {edge.title}", "no layer or input has this source's name")
        if edge.target not in layers:
            yield Finding(f"edge {edge.title}", "no layer has this target's name")
    for output in network.outputs:
        if network.holder_of(output.source) not in seen:
            yield Finding(f"output {output.name}", "no layer or input has its source's name", output.source)
    for origin in network.origins:
        if origin.layer not in layers:
            yield Finding(f"origin {origin.name}", "no layer has this name", origin.layer)
    fed = {edge.target for edge in network.edges}
    for layer in network.layers:
        if layer.name not in fed:
            yield Finding(f"layer {layer.title}", "nothing feeds it", next_step="Connect it or remove it")
    if not network.outputs and not is_view:
        yield Finding(network.name, "the network has no output", next_step="Name at least one output layer")


def shape_findings(network: Network) -> Iterator[Finding]:
    """Sizes, array shapes and feature ranges that do not follow from one another."""
    for entry in network.inputs:
        if min(entry.shape) < 1:
            yield Finding(f"input {entry.name}", "sizes must be positive", entry.shape, ">= 1")
    broken = False
    for layer in network.layers:
        for finding in _layer_findings(layer):
            broken = True
            yield finding
    if not broken:
        yield from _edge_findings(network)
        yield from _origin_findings(network)


def _origin_findings(network: Network) -> Iterator[Finding]:
    """Origins that are not in the layer that they name."""
    for origin in network.origins:
        (features, *place), (sy, sx) = origin.shape, origin.phases
        holds = network.by_name[origin.layer].output_shape
        rows, columns = (-(-size // phase) for size, phase in zip(place, (sy, sx), strict=True))
        fits = holds[1] in (rows, place[0] // sy) and holds[2] in (columns, place[1] // sx)
        last = origin.start + features * sy * sx
        if origin.start < 0 or last > holds.features or not fits:
            value = f"features {origin.start}..{last - 1} of a map of {rows}x{columns}"
            yield Finding(f"origin {origin.name}", f"does not lie in layer {origin.layer}", value, str(holds))


def _layer_findings(layer: Layer) -> Iterator[Finding]:
    where, operation, c = f"layer {layer.title}", layer.operation, layer.input_shape.features
    if min(layer.input_shape) < 1:
        yield Finding(where, "sizes of the input must be positive", layer.input_shape, ">= 1")
        return
    if operation.out_features < 1:
        yield Finding(where, "a layer needs output features", operation.out_features, ">= 1", "features")
        return
    expected: tuple[int, ...] = (operation.out_features, c)
    if isinstance(operation, Convolution):
        if min(*operation.kernel, *operation.stride, *operation.dilation, operation.groups) < 1:
            yield Finding(where, "kernel, stride, dilation and groups must be positive", limit=">= 1")
            return
        if min(operation.padding) < 0:
            yield Finding(where, "padding must not be negative", operation.padding, ">= 0")
            return
        if c % operation.groups or operation.out_features % operation.groups:
            problem = f"{operation.groups} groups do not divide {c} input and {operation.out_features} output"
            yield Finding(where, f"{problem} features")
            return
        expected = (operation.out_features, c // operation.groups, *operation.kernel)
        if min(layer.output_shape) < 1:
            extent = f"{operation.extent[0]}x{operation.extent[1]}"
            size = f"{layer.input_shape.height}x{layer.input_shape.width}"
            yield Finding(where, f"a kernel of {extent} leaves nothing of a map of {size}")
    elif layer.input_shape[1:] != (1, 1):
        yield Finding(where, "a linear layer needs a flattened input", layer.input_shape)
    if operation.weight is not None and operation.weight.shape != expected:
        yield Finding(where, _weights_problem(operation, operation.weight.shape, layer.input_shape, expected))
    if operation.bias is not None and operation.bias.shape != (operation.out_features,):
        yield Finding(
            where,
            f"{counted(operation.bias.size, 'bias', 'biases')} for "
            f"{counted(operation.out_features, 'feature')}",
        )
    neuron = layer.neuron
    if neuron is None:
        return
    if isinstance(neuron.threshold, np.ndarray) and neuron.threshold.shape != (operation.out_features,):
        features = counted(operation.out_features, "feature")
        yield Finding(where, f"{counted(neuron.threshold.size, 'threshold')} for {features}")
    state = neuron.initial_potential
    if state is not None and state.shape != layer.output_shape:
        yield Finding(where, "initial potentials have another shape", state.shape, layer.output_shape)


def _weights_problem(
    operation: Convolution | Linear, shape: tuple[int, ...], arriving: Shape, expected: tuple[int, ...]
) -> str:
    if isinstance(operation, Linear) and len(shape) == 2 and shape[0] == expected[0]:
        return f"its weights read {counted(shape[1], 'value')}, and {arriving.size} arrive"
    return f"its weights have the shape {shape}, and what arrives takes {expected}"


def _edge_findings(network: Network) -> Iterator[Finding]:
    signals = network.signal_shapes
    for edge in network.edges:
        where, target = f"edge {edge.title}", network.by_name[edge.target].input_shape
        try:
            arriving = shape_after(signals[edge.source], edge.path)
        except ValueError as error:
            yield Finding(where, str(error))
            continue
        if edge.feature_offset < 0 or edge.feature_offset + arriving.features > target.features:
            span = f"{edge.feature_offset}..{edge.feature_offset + arriving.features - 1}"
            yield Finding(where, "features beyond the target's input", span, f"0..{target.features - 1}")
        if arriving[1:] != target[1:]:
            arriving_size, target_size = (f"{s.height}x{s.width}" for s in (arriving, target))
            problem = "the map that arrives has another size than the target's input"
            yield Finding(where, problem, arriving_size, target_size)
        if edge.delay_steps < 0:
            yield Finding(where, "a delay must not be negative", edge.delay_steps, ">= 0", "steps")
    given = {origin.name: origin.shape for origin in network.origins}
    for output in network.outputs:
        try:
            shape_after(given.get(output.source) or signals[output.source], output.path)
        except ValueError as error:
            yield Finding(f"output {output.name}", str(error))
