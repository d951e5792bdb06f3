"""Where parts of a configuration contradict each other: fields of cores, and what the interface says."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from mapper.emit.shared.config import ChipConfig, Dimensions
from mapper.emit.shared.graph import graph_findings
from mapper.emit.shared.interface import Interface, InterfaceOrigin
from mapper.errors import Finding
from mapper.wording import titled

__all__ = ["agreement_findings"]

# Every one of them is decoded by itself; a network that pools a layer in more ways is none.
_OUTPUTS_MAX = 64


def agreement_findings(config: ChipConfig) -> Iterator[Finding]:
    """Cores whose fields do not follow from each other, and an interface that is not that of these cores.

    Parameters
    ----------
    config
        Its cores are there and its values in range, as `config_findings` says.
    """
    findings = [*graph_findings(config)]
    yield from findings
    if findings or config.interface is None:
        return
    cores = config.hardware.cnn_layers
    dimensions = {n: core.dimensions for n, core in enumerate(cores) if core.dimensions is not None}
    yield from _entry_findings(config.interface, dimensions)
    yield from _place_findings(config.interface, dimensions)
    yield from _origin_findings(config.interface, dimensions)
    yield from _output_findings(config.interface)


def _entry_findings(interface: Interface, dimensions: dict[int, Dimensions]) -> Iterator[Finding]:
    """Inputs of the host with features or maps that are not those of the cores that they enter."""
    for entry in interface.inputs:
        for core in entry.entries:
            reads = dimensions[core.core].input_shape
            where, last = f"interface: input {entry.name}", core.feature_shift + entry.shape[0]
            if last > reads.feature_count:
                problem = f"has features beyond those that core {core.core} reads"
                yield Finding(where, problem, last, reads.feature_count)
            if entry.shape[1:] != (reads.size.y, reads.size.x):
                problem = f"has not the map that core {core.core} reads"
                yield Finding(where, problem, entry.shape[1:], (reads.size.y, reads.size.x))


def _place_findings(interface: Interface, dimensions: dict[int, Dimensions]) -> Iterator[Finding]:
    """Places and parts of outputs with other features than their core has."""
    held = [(f"interface: {name}", place) for name, place in interface.places]
    for where, place in held:
        has, count = dimensions[place.core].output_shape.feature_count, place.stop - place.start
        if count != has:
            yield Finding(where, f"is said to have other features than core {place.core}", count, has)
    for output in interface.outputs:
        for part in output.parts:
            has, count = dimensions[part.core].output_shape.feature_count, part.stop - part.start
            if not 0 < count <= has:
                problem = f"is said to have features that core {part.core} has not"
                yield Finding(f"interface: output {output.name}", problem, count, f"1..{has}")


def _origin_findings(interface: Interface, dimensions: dict[int, Dimensions]) -> Iterator[Finding]:
    """Layers as given with another map than follows from the cores that hold them."""
    places = {layer.name: layer.places for layer in interface.layers}
    shown: dict[str, int] = {}
    for origin in interface.origins or ():
        shown[origin.layer] = shown.get(origin.layer, 0) + origin.origin.stop - origin.start
        for place in places[origin.layer]:
            if place.role in ("layer", "piece"):
                yield from _map_findings(origin, place.core, dimensions[place.core])
    for layer, count in shown.items():
        if count != (held := max(place.stop for place in places[layer])):
            yield Finding(
                f"interface: layer {titled(layer)}",
                "has features of which no origin says what they are",
                count,
                held,
            )


def _map_findings(origin: InterfaceOrigin, core: int, shape: Dimensions) -> Iterator[Finding]:
    size = shape.output_shape.size
    for axis, own, phases, has in zip(
        ("rows", "columns"), origin.shape[1:], origin.phases, (size.y, size.x), strict=True
    ):
        # The cores may lack the last row or column that nothing reads.
        if not own // phases <= has <= ceil(own / phases):
            problem = f"has other {axis} than core {core}, which holds layer {titled(origin.layer)} of it"
            limit = has if phases == 1 else f"{has} times {phases}"
            yield Finding(f"interface: origin {origin.name}", problem, own, limit)


def _output_findings(interface: Interface) -> Iterator[Finding]:
    """Layers that are shown in more ways than anything can have a use for."""
    ways: dict[str, set[object]] = {}
    for output in interface.outputs:
        ways.setdefault(output.layer, set()).add((output.parts, output.host_pool))
    for layer, shown in ways.items():
        if len(shown) > _OUTPUTS_MAX:
            step = "Emit it with fewer outputs"
            problem = "has outputs of too many kinds"
            yield Finding(
                f"interface: layer {titled(layer)}", problem, len(shown), _OUTPUTS_MAX, next_step=step
            )
