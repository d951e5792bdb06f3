"""The placement as a file: `placement.json`, the same bytes on every machine and every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from hwspec.memory import bias_words, kernel_words, neuron_words
from hwspec.schema import AssumedFact
from mapper.errors import Finding, OptionsError
from mapper.network import Network
from mapper.operations import Pool
from mapper.result import Result
from mapper.solution import LayerPart, Placement, Relay, Solution
from mapper.work import layer_demands

__all__ = [
    "CoreUse",
    "LayerRecord",
    "PartRecord",
    "PlacementRecord",
    "RelayRecord",
    "core_use",
    "kept_cores",
    "moved_layers",
    "placement_record",
    "read_placement",
]

Used = tuple[int, int]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class CoreUse(_Record):
    """(taken, offered) words of a core's memories; `layer` is None for an empty core.

    Attributes
    ----------
    layer
        Of a relay the signal that it passes on.
    role
        "layer" (whole), "piece", "copy", "relay", or "empty".
    features
        Half-open range of the layer's or signal's features that live here.
    """

    core: int
    layer: str | None
    network: int = 0
    role: Literal["layer", "piece", "copy", "relay", "empty"] = "layer"
    features: tuple[int, int] = (0, 0)
    kernel_words: Used
    neuron_words: Used
    bias_words: Used


class PartRecord(_Record):
    """Features [start, stop) of a layer on one core; several copies count from 0."""

    core: int
    copy_index: int
    features: tuple[int, int]


class RelayRecord(_Record):
    """An identity core that passes a signal on; `pooling` is what its output contains."""

    core: int
    network: int
    signal: str
    pooling: int
    features: tuple[int, int]


class LayerRecord(_Record):
    """Where a layer lives and what it asks as a whole. Shapes are (features, height, width)."""

    network: int
    name: str
    index: int
    cores: tuple[int, ...]
    parts: tuple[PartRecord, ...]
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
    relays: tuple[RelayRecord, ...] = ()
    routes: tuple[RouteRecord, ...]
    host_entries: tuple[HostEntryRecord, ...]
    dvs_stage: DvsRecord | None
    monitors: tuple[MonitorRecord, ...]
    outputs: tuple[OutputRecord, ...]
    objectives: tuple[ObjectiveRecord, ...]
    notes: tuple[str, ...]
    assumed_facts: tuple[AssumedFact, ...]

    def _repr_html_(self) -> str:
        # Drawing stands to the right of here, and is loaded when a notebook asks.
        text: str = import_module("mapper.report.notebook").placement_html(self)
        return text


def placement_record(result: Result) -> PlacementRecord:
    """Everything that was decided, without times, versions or paths.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    """
    solution, chip = result.require(), result.chip
    return PlacementRecord(
        status=result.status.value,
        chip=chip.name,
        chip_hash=chip.content_hash(),
        networks=tuple(network.name for network in result.networks),
        layers=_layers(result),
        cores=core_use(result),
        relays=tuple(_relays(solution)),
        routes=tuple(_fields_of(RouteRecord, route) for route in solution.routes),
        host_entries=tuple(_fields_of(HostEntryRecord, entry) for entry in solution.host_entries),
        dvs_stage=None if solution.dvs_stage is None else _fields_of(DvsRecord, solution.dvs_stage),
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
        objectives=tuple(_fields_of(ObjectiveRecord, stage) for stage in solution.objectives),
        notes=tuple(note for network in result.networks for note in network.notes),
        assumed_facts=chip.assumed_facts(),
    )


_AnyRecord = TypeVar("_AnyRecord", bound=_Record)


def _fields_of(kind: type[_AnyRecord], source: object) -> _AnyRecord:
    """A record of what an object calls the same."""
    return kind(**{name: getattr(source, name) for name in kind.model_fields})


def _relays(solution: Solution) -> Iterator[RelayRecord]:
    for place in solution.placements:
        body = place.body
        if isinstance(body, Relay):
            yield RelayRecord(
                core=place.core,
                network=body.network,
                signal=body.signal,
                pooling=body.pooling,
                features=place.features,
            )


def _layers(result: Result) -> tuple[LayerRecord, ...]:
    parts: dict[tuple[int, str], list[PartRecord]] = {}
    for place in result.require().placements:
        body = place.body
        if isinstance(body, LayerPart):
            part = PartRecord(core=place.core, copy_index=body.copy_index, features=place.features)
            parts.setdefault((body.network, body.layer), []).append(part)
    return tuple(
        LayerRecord(
            network=n,
            name=demand.layer,
            index=demand.index,
            cores=tuple(sorted(part.core for part in parts[n, demand.layer])),
            parts=tuple(sorted(parts[n, demand.layer], key=lambda p: (p.copy_index, p.features))),
            input_shape=demand.work.input_shape,
            output_shape=demand.work.output_shape,
            kernel=demand.work.kernel,
            stride=demand.work.stride,
            padding=demand.work.padding,
            kernel_words=demand.work.kernel_words,
            neuron_words=demand.work.neuron_words,
            bias_words=demand.work.bias_words,
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
    """Per core, what lives on it and (taken, offered) words of each memory.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    """
    solution = result.require()
    places = {place.core: place for place in solution.placements}
    demands = {
        (n, demand.layer): demand.work
        for n, network in enumerate(result.networks)
        for demand in layer_demands(network, n, None)
    }
    shares: Counter[object] = Counter(place.body for place in solution.placements)
    uses = []
    for core_id, core in enumerate(result.chip.cores):
        place = places.get(core_id)
        offered = (core.kernel_words, core.neuron_words, core.bias_words)
        taken, told = (0, 0, 0), {"layer": None, "role": "empty"}
        if place is not None and isinstance(place.body, LayerPart):
            whole = shares[place.body] == 1
            role = "copy" if place.body.copy_index else ("layer" if whole else "piece")
            taken = _words(demands[place.body.network, place.body.layer], place)
            told = _told(place.body.layer, role, place)
        elif place is not None and isinstance(place.body, Relay):
            taken = _relay_words(result, place)
            told = _told(place.body.signal, "relay", place)
        kernel, neuron, bias = zip(taken, offered, strict=True)
        uses.append(
            CoreUse(core=core_id, kernel_words=kernel, neuron_words=neuron, bias_words=bias, **told)  # type: ignore[arg-type]  # by name
        )
    return tuple(uses)


def _told(name: str, role: str, place: Placement) -> dict[str, Any]:
    return {"layer": name, "role": role, "network": place.body.network, "features": place.features}


def _words(demand: CoreDemand, place: Placement) -> tuple[int, int, int]:
    features = place.features[1] - place.features[0]
    return (
        kernel_words(demand.input_shape.features, features, *demand.kernel),
        neuron_words(features, demand.output_shape.height, demand.output_shape.width),
        bias_words(features, demand.bias_words > 0),
    )


def _relay_words(result: Result, place: Placement) -> tuple[int, int, int]:
    body = place.body
    if not isinstance(body, Relay):
        return 0, 0, 0
    network, stage = result.networks[body.network], result.require().dvs_stage
    shape, features = network.signal_shapes[body.signal], place.features[1] - place.features[0]
    height, width = shape.height, shape.width
    if stage is not None and any(entry.name == body.signal and entry.dvs for entry in network.inputs):
        height, width = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
        height, width = (width, height) if stage.swap else (height, width)
    words = neuron_words(features, height // body.pooling, width // body.pooling)
    return kernel_words(features, features, 1, 1), words, 0


def kept_cores(record: PlacementRecord) -> tuple[tuple[str, int], ...]:
    """(layer, core) pairs of a placement, as `SolveOptions.keep` takes them."""
    several = len(record.networks) > 1
    return tuple(
        (f"{record.networks[layer.network]}:{layer.name}" if several else layer.name, core)
        for layer in record.layers
        for core in layer.cores
    )


def moved_layers(
    before: PlacementRecord, result: Result
) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]:
    """(layer, cores before, cores now) of every layer that is not where it was; new and gone ones too."""
    then: dict[str, list[int]] = {}
    for name, core in kept_cores(before):
        then.setdefault(name, []).append(core)
    now: dict[str, list[int]] = {}
    for name, core in kept_cores(placement_record(result)):
        now.setdefault(name, []).append(core)
    names = dict.fromkeys((*now, *then))
    pairs = ((name, tuple(then.get(name, ())), tuple(now.get(name, ()))) for name in names)
    return tuple(entry for entry in pairs if entry[1] != entry[2])


def read_placement(path: Path) -> PlacementRecord:
    """A placement.json of this program.

    Raises
    ------
    OptionsError
        It cannot be read, or is something else.
    """
    try:
        return PlacementRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise OptionsError(Finding(str(path), f"cannot be read: {error.strerror}")) from None
    except ValueError as error:
        step = "mapper solve --out DIR writes one"
        problem = f"is no placement: {' '.join(str(error).split())[:150]}"
        raise OptionsError(Finding(str(path), problem, next_step=step)) from None
