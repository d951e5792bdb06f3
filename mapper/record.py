"""The placement as a file: `placement.json`, the same bytes on every machine and every run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from hwspec.schema import AssumedFact
from mapper.demand import layer_demands
from mapper.network import Network
from mapper.operations import Pool
from mapper.result import Result
from mapper.solution import LayerPart

__all__ = ["CoreUse", "LayerRecord", "PlacementRecord", "core_use", "placement_record"]

Used = tuple[int, int]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class CoreUse(_Record):
    """(taken, offered) words of a core's memories; `layer` is None for an empty core."""

    core: int
    layer: str | None
    kernel_words: Used
    neuron_words: Used
    bias_words: Used


class LayerRecord(_Record):
    """Where a layer lives and what it asks. Shapes are (features, height, width)."""

    network: int
    name: str
    index: int
    cores: tuple[int, ...]
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    kernel_words: int
    neuron_words: int
    bias_words: int


class RouteRecord(_Record):
    """One destination entry; `source` and `target` are core ids, "dvs" or "readout"."""

    source: int | Literal["dvs"]
    slot: int
    target: int | Literal["readout"]
    pooling: int
    feature_shift: int


class HostEntryRecord(_Record):
    """A core that takes an input's events from the host."""

    network: int
    input: str
    core: int
    feature_shift: int


class MonitorRecord(_Record):
    """A core whose spikes are read; `features` is half-open."""

    core: int | Literal["dvs"]
    network: int
    signal: str
    features: tuple[int, int]
    pooling_seen: int


class OutputRecord(_Record):
    """An output of the network and the pools that the host applies to its spikes, (height, width)."""

    network: int
    name: str
    layer: str
    host_pool: tuple[tuple[int, int], ...]


class DvsRecord(_Record):
    """The sensor stage's setting; pairs are (height, width), `cut` is inclusive."""

    merge: bool
    pooling: tuple[int, int]
    origin: tuple[int, int]
    cut: tuple[int, int]
    mirror: tuple[bool, bool]
    swap: bool
    gates: tuple[bool, bool]


class ObjectiveRecord(_Record):
    """A stage of the objective; proven where value equals bound."""

    name: str
    value: int | str
    bound: int | str


class PlacementRecord(_Record):
    """Content of ``placement.json``; layers by name, cores by id."""

    schema_version: Literal[1] = 1
    status: str
    chip: str
    chip_hash: str
    networks: tuple[str, ...]
    layers: tuple[LayerRecord, ...]
    cores: tuple[CoreUse, ...]
    routes: tuple[RouteRecord, ...]
    host_entries: tuple[HostEntryRecord, ...]
    dvs_stage: DvsRecord | None
    monitors: tuple[MonitorRecord, ...]
    outputs: tuple[OutputRecord, ...]
    objectives: tuple[ObjectiveRecord, ...]
    notes: tuple[str, ...]
    assumed_facts: tuple[AssumedFact, ...]


def placement_record(result: Result) -> PlacementRecord:
    """Everything that was decided, without times, versions or paths.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    """
    solution, chip = result.require(), result.chip
    stage = solution.dvs_stage
    return PlacementRecord(
        status=result.status.value,
        chip=chip.name,
        chip_hash=chip.content_hash(),
        networks=tuple(network.name for network in result.networks),
        layers=_layers(result),
        cores=core_use(result),
        routes=tuple(
            RouteRecord(
                source=r.source,
                slot=r.slot,
                target=r.target,
                pooling=r.pooling,
                feature_shift=r.feature_shift,
            )
            for r in solution.routes
        ),
        host_entries=tuple(
            HostEntryRecord(network=e.network, input=e.input, core=e.core, feature_shift=e.feature_shift)
            for e in solution.host_entries
        ),
        dvs_stage=None
        if stage is None
        else DvsRecord(
            merge=stage.merge,
            pooling=stage.pooling,
            origin=stage.origin,
            cut=stage.cut,
            mirror=stage.mirror,
            swap=stage.swap,
            gates=stage.gates,
        ),
        monitors=tuple(
            MonitorRecord(
                core=m.source,
                network=m.network,
                signal=m.signal,
                features=m.features,
                pooling_seen=m.pooling_seen,
            )
            for m in solution.monitors
        ),
        outputs=tuple(entry for n, network in enumerate(result.networks) for entry in _outputs(n, network)),
        objectives=tuple(
            ObjectiveRecord(name=stage.name, value=stage.value, bound=stage.bound)
            for stage in solution.objectives
        ),
        notes=tuple(note for network in result.networks for note in network.notes),
        assumed_facts=chip.assumed_facts(),
    )


def _layers(result: Result) -> tuple[LayerRecord, ...]:
    cores: dict[tuple[int, str], list[int]] = {}
    for placement in result.require().placements:
        body = placement.body
        if isinstance(body, LayerPart):
            cores.setdefault((body.network, body.layer), []).append(placement.core)
    return tuple(
        LayerRecord(
            network=n,
            name=demand.layer,
            index=demand.index,
            cores=tuple(sorted(cores[n, demand.layer])),
            input_shape=demand.core.input_shape,
            output_shape=demand.core.output_shape,
            kernel=demand.core.kernel,
            stride=demand.core.stride,
            padding=demand.core.padding,
            kernel_words=demand.core.kernel_words,
            neuron_words=demand.core.neuron_words,
            bias_words=demand.core.bias_words,
        )
        for n, network in enumerate(result.networks)
        for demand in sorted(layer_demands(network, n, None), key=lambda demand: demand.layer)
    )


def _outputs(number: int, network: Network) -> list[OutputRecord]:
    return [
        OutputRecord(
            network=number,
            name=output.name,
            layer=output.source,
            host_pool=tuple(step.size for step in output.path if isinstance(step, Pool)),
        )
        for output in network.outputs
    ]


def core_use(result: Result) -> tuple[CoreUse, ...]:
    """Per core, the layer on it and (taken, offered) words of each memory.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    """
    bodies = {placement.core: placement.body for placement in result.require().placements}
    demands = {
        (n, demand.layer): demand.core
        for n, network in enumerate(result.networks)
        for demand in layer_demands(network, n, None)
    }
    uses = []
    for core_id, core in enumerate(result.chip.cores):
        body = bodies.get(core_id)
        part = body if isinstance(body, LayerPart) else None
        demand = demands[part.network, part.layer] if part else None
        uses.append(
            CoreUse(
                core=core_id,
                layer=part.layer if part else None,
                kernel_words=(demand.kernel_words if demand else 0, core.kernel_words),
                neuron_words=(demand.neuron_words if demand else 0, core.neuron_words),
                bias_words=(demand.bias_words if demand else 0, core.bias_words),
            )
        )
    return tuple(uses)
