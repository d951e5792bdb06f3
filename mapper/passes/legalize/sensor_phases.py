"""A relay of the sensor's whole map where this is too large for every core: rows and columns as features.

An identity core reads the sensor at a stride of its phases and sends what each phase got, as a map that cores
have. Readers of it are written as those of a layer with phases (`phase_layers`): exact in time steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hwspec.schema import ChipSpec
from mapper.network import Edge, Input
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Pair, Shape
from mapper.passes.legalize.joints import passing_on
from mapper.passes.legalize.layer_form import LayerForm
from mapper.passes.legalize.phase_layers import Phased, form_of
from mapper.passes.legalize.phases import least_phases, phase_note
from mapper.passes.legalize.pools import UNPOOLED
from mapper.passes.legalize.sensor import stage_settings
from mapper.passes.legalize.stride import times
from mapper.references import named_apart

__all__ = ["SensorRelay", "sensor_relays"]


@dataclass(frozen=True, slots=True)
class SensorRelay:
    """An identity core that sends what the sensor sends, row and column phases as features.

    Attributes
    ----------
    source
        The input.
    phased
        What becomes of its map.
    """

    source: str
    phased: Phased
    layer: NormalLayer

    @property
    def edges(self) -> tuple[Edge, ...]:
        """What reaches it."""
        return (Edge(self.source, self.layer.name),)

    @property
    def note(self) -> str:
        """What is worth telling of it."""
        phases = times(self.phased.phases)
        return f"{self.layer.name} passes on what {self.source} sends, its {phases} phases as features"

    def form(self, network: NormalNetwork, layer: NormalLayer, edges: tuple[Edge, ...]) -> LayerForm | None:
        """A layer that reads the relay instead of the sensor; None where it reads neither, or not the same.

        Parameters
        ----------
        network
            In which all sources have shapes.
        edges
            What the layer reads, or what stands for some of it.
        """
        if layer.name == self.layer.name or all(edge.source != self.source for edge in edges):
            return None
        found = form_of(network, layer, {self.source: self.phased}, edges)
        if found is None:
            return None
        written, reads = found
        note = phase_note(layer, written, (self.source,))
        moved = (replace(e, source=self.layer.name) if e.source == self.source else e for e in reads)
        return LayerForm(written, tuple(moved), (note,))


def sensor_relays(
    network: NormalNetwork, chip: ChipSpec, taken: Collection[str], weight: int
) -> Iterator[SensorRelay]:
    """A relay for every sensor's map that is read unpooled, and that no relay of its own size can have.

    Parameters
    ----------
    taken
        Names that other layers on offer have.
    weight
        Of the identity, where networks are of integers.
    """
    limits = [entry.core.limits for entry in chip.core_classes]
    most = max(e.output_height_max for e in limits), max(e.output_width_max for e in limits)
    for entry in network.inputs:
        phases = least_phases(entry.shape.height, most[0]), least_phases(entry.shape.width, most[1])
        is_whole = not any(entry.shape[1 + axis] % phases[axis] for axis in (0, 1))
        if entry.dvs is None or phases == UNPOOLED or not is_whole:
            continue
        if stage_settings(network.outgoing[entry.name], chip) == [UNPOOLED]:
            name = named_apart([*network.signal_shapes, *taken, f"{entry.name} in phases"])[-1]
            yield _relay(network, entry, phases, name, weight)


def _relay(network: NormalNetwork, entry: Input, phases: Pair, name: str, most: int) -> SensorRelay:
    features, height, width = entry.shape
    unit, kind, neuron = passing_on(network, most)
    weight = None
    if kind is not None:
        # Phase (row, column) of a feature is the tap there, and no other.
        taps = np.einsum("rs,cd,fg->rcfgsd", *(np.eye(n) for n in (*phases, features)))
        weight = (unit * taps).astype(kind).reshape(-1, features, *phases)
    operation = Convolution(features * phases[0] * phases[1], phases, stride=phases, weight=weight)
    layer = NormalLayer(name, Shape(*entry.shape), operation, neuron=neuron)
    size = height // phases[0], width // phases[1]
    return SensorRelay(entry.name, Phased(phases, size), layer)
