"""What of a network no field of a configuration can hold, whatever its numbers are.

Numbers that have a field are held against `mapper.emit.shared.ranges` once they stand in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mapper.errors import Finding
from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import PathOperation, Pool

__all__ = ["network_findings"]

_SOLVE = "Take a result of mapper.solve: it brings networks into the form that a chip has"


def network_findings(network: NormalNetwork) -> Iterator[Finding]:
    """Everything that has no field: kernels and pools of other forms, and numbers that are not whole."""
    for layer in network.layers:
        yield from _layer_findings(layer)
        yield from _sensor_names(network, layer)
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    for edge in network.edges:
        yield from _edge_findings(edge, is_sensor=edge.source in sensors)
    for output in network.outputs:
        if not _is_pool(output.path):
            yield Finding(
                f"output {output.name}",
                "the host does one pool whose stride is its size, and nothing else",
                _text(output.path),
                next_step="Leave all but one such pool to what reads the output",
            )


def _sensor_names(network: NormalNetwork, layer: NormalLayer) -> Iterator[Finding]:
    """The stage's events have one name for a layer."""
    sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
    names = dict.fromkeys(e.source for e in network.incoming[layer.name] if e.source in sensors)
    if len(names) > 1:
        step = "Let it read one of them: there is one sensor"
        yield Finding(
            f"layer {layer.title}", "reads the sensor by several names", ", ".join(names), 1, "", step
        )


def _layer_findings(layer: NormalLayer) -> Iterator[Finding]:
    where, conv, neuron = f"layer {layer.title}", layer.operation, layer.neuron
    if conv.kernel[0] != conv.kernel[1]:
        step = "Use a square one, or limits.kernel_square=true, which fills it up where that is exact"
        yield Finding(
            where, "a configuration has one size for both sides of a kernel", conv.kernel, next_step=step
        )
    yield from _array_findings(where, "weights", conv.weight)
    yield from _array_findings(where, "biases", conv.bias)
    yield from _array_findings(where, "initial potentials", neuron.initial_potential)
    if neuron.fires_at == "above":
        yield Finding(where, "fires above its threshold, where cores fire at it", next_step=_SOLVE)
    # Erratum threshold-low-zero: a lower bound of 0 misbehaves.
    for name, value, low, high in (
        ("threshold", neuron.threshold, 1, np.inf),
        ("minimum", neuron.minimum, -np.inf, -1),
    ):
        number: Any = np.asarray(-1 if value is None else value)
        if number.ndim:
            yield Finding(where, f"a core has one {name}", number.shape, 1, "", _SOLVE)
        elif number != np.floor(number):
            yield Finding(where, f"its {name} must be a whole number", value, next_step=_SOLVE)
        elif not low <= number <= high:
            yield Finding(where, f"no core has this {name}", value, f"{low:g}..{high:g}")


def _array_findings(where: str, name: str, array: Any) -> Iterator[Finding]:
    """Nothing is rounded to make it fit its field."""
    if array is not None and array.dtype.kind not in "iub":
        broken = next(iter(array[array != np.floor(array)]), array.dtype)
        problem = f"its {name} must be whole numbers of an integer type"
        yield Finding(where, problem, broken, next_step=_SOLVE)


def _edge_findings(edge: Edge, *, is_sensor: bool) -> Iterator[Finding]:
    where = f"edge {edge.title}"
    pool = edge.pool
    if pool is None:
        return
    if pool.size != pool.stride:
        problem = "a destination does a pool whose stride is its size"
        yield Finding(where, problem, pool, next_step=_SOLVE)
    elif len(set(pool.size)) > 1 and not is_sensor:
        yield Finding(where, "no destination pools rows and columns differently", pool.size)


def _is_pool(path: tuple[PathOperation, ...]) -> bool:
    """Whether a path is nothing, or one pool without overlap or gaps."""
    if len(path) != 1:
        return not path
    (step,) = path
    return isinstance(step, Pool) and step.size == step.stride


def _text(path: tuple[PathOperation, ...]) -> str:
    return ", ".join(map(str, path))
