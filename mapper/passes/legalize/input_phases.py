"""Relays of inputs whose rows and columns become features: an identity core that passes on the phases.

The sensor's map may be too large for a relay as it is, and a layer over a whole input may have a kernel that
no core has. An identity core reads the input at a stride of its phases and sends what each phase got. Readers
of it are written as those of a layer with phases (`phase_layers`): exact in time steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from hwspec.schema import ChipSpec
from mapper.network import Edge, Input
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Pair, Shape
from mapper.passes.legalize.joints import passing_on
from mapper.passes.legalize.layer_form import LayerForm
from mapper.passes.legalize.phase_layers import Phased, form_of
from mapper.passes.legalize.phases import PHASES_MAX, Limits, least_phases, phase_note, phases_over
from mapper.passes.legalize.pools import UNPOOLED
from mapper.passes.legalize.sensor import stage_may_be, stage_settings
from mapper.passes.legalize.stride import times
from mapper.references import named_apart

__all__ = ["InputRelay", "input_relays", "phased_forms"]


@dataclass(frozen=True, slots=True)
class InputRelay:
    """An identity core that sends what an input sends, row and column phases as features.

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


def phased_forms(
    network: NormalNetwork,
    layer: NormalLayer,
    ways: Sequence[tuple[Edge, ...]],
    relays: Sequence[InputRelay],
    chip: ChipSpec,
) -> Iterator[LayerForm]:
    """A layer that reads one relay or more instead of their inputs; none where it would not read the same.

    Parameters
    ----------
    network
        In which all sources have shapes.
    ways
        What the layer reads, and what stands for some of it.
    """
    if layer.name in {relay.layer.name for relay in relays}:
        return
    choices = [chosen for count in range(1, len(relays) + 1) for chosen in combinations(relays, count)]
    for edges, chosen in product(ways, choices):
        by_source = {relay.source: relay for relay in chosen}
        is_read = len(by_source) == len(chosen) and by_source.keys() <= {edge.source for edge in edges}
        if is_read and (form := _form(network, layer, edges, by_source, chip)):
            yield form


def _form(
    network: NormalNetwork,
    layer: NormalLayer,
    edges: tuple[Edge, ...],
    relays: Mapping[str, InputRelay],
    chip: ChipSpec,
) -> LayerForm | None:
    inputs = {entry.name: entry for entry in network.inputs}
    own = [(inputs[edge.source], edge) for edge in edges if edge.source in relays]
    # What the stage cuts out and mirrors is its own map, whatever readers pool behind it.
    if not all(entry.dvs is None or stage_may_be(UNPOOLED, entry, edge, chip) for entry, edge in own):
        return None
    phased = {source: relay.phased for source, relay in relays.items()}
    found = form_of(network, layer, phased, edges)
    if found is None:
        return None
    written, reads = found
    moved = (replace(e, source=relays[e.source].layer.name) if e.source in relays else e for e in reads)
    return LayerForm(written, tuple(moved), (phase_note(layer, written, tuple(relays)),))


def input_relays(
    network: NormalNetwork, chip: ChipSpec, taken: Collection[str], weight: int
) -> Iterator[InputRelay]:
    """Relays for what inputs have that is too large: the sensor's map for any relay, a kernel for any core.

    Parameters
    ----------
    taken
        Names that other layers on offer have.
    weight
        Of the identity, where networks are of integers.
    """
    names = [*network.signal_shapes, *taken]
    for entry in network.inputs:
        if entry.dvs is not None and stage_settings(network.outgoing[entry.name], chip) != [UNPOOLED]:
            continue
        wanted = sorted({pair for pair in _wanted(network, entry, chip) if 1 < max(pair) <= PHASES_MAX})
        for phases in wanted:
            size = "" if phases == wanted[0] else f"{times(phases)} "
            names.append(f"{entry.name} in {size}phases")
            yield _relay(network, entry, phases, named_apart(names)[-1], weight)


def _wanted(network: NormalNetwork, entry: Input, chip: ChipSpec) -> Iterator[Pair]:
    """The fewest phases of an input that bring something under what cores have."""
    limits = Limits(chip)
    if entry.dvs is not None:
        yield (
            least_phases(entry.shape.height, limits.size[0]),
            least_phases(entry.shape.width, limits.size[1]),
        )
    for edge in network.outgoing[entry.name]:
        layer = network.by_name[edge.target]
        if edge.pool is None and layer.output_shape[1:] == (1, 1):
            least = phases_over(max(layer.operation.kernel), limits.kernel)
            yield least, least


def _relay(network: NormalNetwork, entry: Input, phases: Pair, name: str, most: int) -> InputRelay:
    features, *size = entry.shape
    (a, b), (above, left) = phases, (-size[0] % phases[0], -size[1] % phases[1])
    kernel = a + above, b + left
    unit, kind, neuron = passing_on(network, most)
    weight = None
    if kind is not None:
        # Phase (row, column) of a feature is the tap there, and no other.
        taps = np.zeros((a, b, features, features, *kernel), kind)
        for row, column, feature in np.ndindex(a, b, features):
            taps[row, column, feature, feature, row + above, column + left] = unit
        weight = taps.reshape(-1, features, *kernel)
    # Padded above, a map that is no multiple of its phases has its last rows in one that is not full.
    operation = Convolution(features * a * b, kernel, phases, (above, left), weight=weight)
    layer = NormalLayer(name, Shape(*entry.shape), operation, neuron=neuron)
    _, height, width = layer.output_shape
    return InputRelay(entry.name, Phased(phases, (height, width), is_silent_beyond=True), layer)
