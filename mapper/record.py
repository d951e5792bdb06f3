"""The placement as a file: `placement.json`, the same bytes on every machine and every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from hwspec.display import Displayed
from hwspec.schema import AssumedFact
from mapper.demand import layer_demands
from mapper.errors import Finding, OptionsError, unreadable
from mapper.files import own_file
from mapper.kept import KeptCores
from mapper.operations import Pair, Pool, Shape
from mapper.reading import Reading
from mapper.reasons import Record
from mapper.references import layers_called, signal_title
from mapper.result import Result
from mapper.solution import LayerPart, Placement, Relay, Solution
from mapper.texts import json_of, plain_text
from mapper.work import CoreWork, relay_work

__all__ = [
    "RELAY_OF",
    "CoreUse",
    "LayerRecord",
    "LayerSizes",
    "PlacementRecord",
    "core_use",
    "kept_cores",
    "layer_sizes",
    "moved_layers",
    "placement_record",
    "read_placement",
    "read_record",
]

# What the label of a relay begins with, but of a sum of several layers, which has a name of its own.
RELAY_OF = "relay of "

Used = tuple[int, int]
AnyRecord = TypeVar("AnyRecord", bound=Record)

# A report of thousands of cells takes less.
_BYTES_MAX = 1 << 28
_MEMORIES = ("kernel_words", "neuron_words", "bias_words")
_EMPTY: dict[str, Any] = {
    "label": "",
    "role": "empty",
    "network": None,
    "layer": None,
    "features": (0, 0),
    "shape": (0, 0, 0),
}


class CoreUse(Record):
    """What a core holds, and (taken, offered) words of its memories.

    Attributes
    ----------
    label
        What it holds, in words: "conv0", "conv0[0:8]", "conv0 copy", "relay of conv0 /2", "relay of the
        sensor", behind "network:" where there are several; empty for an empty core.
    role
        "layer" (whole), "piece", "copy", "relay", or "empty".
    network, layer
        Whose layer it is, or of a relay whose signal; both None of an empty core, the network of the sensor.
    features
        Half-open range of the layer's or signal's features that live here.
    shape
        Features, height and width of the map of neurons here.
    """

    core: int
    label: str
    role: Literal["layer", "piece", "copy", "relay", "empty"]
    network: int | None
    layer: str | None
    features: tuple[int, int]
    shape: tuple[int, int, int]
    kernel_words: Used
    neuron_words: Used
    bias_words: Used


class LayerSizes(Record):
    """What a layer asks of a core that holds it whole; shapes are (features, height, width)."""

    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    kernel_words: int
    neuron_words: int
    bias_words: int


class LayerRecord(LayerSizes):
    """Where a layer lives, its copies and pieces among it, and what it asks as a whole."""

    network: int
    name: str
    index: int
    cores: tuple[int, ...]


class OutputRecord(Record):
    """An output of the network and the pools that the host applies to its spikes, (height, width)."""

    network: int
    name: str
    layer: str
    host_pool: tuple[Pair, ...]


@cache
def _solutions() -> TypeAdapter[Solution]:
    return TypeAdapter(Solution)


def _complete(content: object, read: ValidatorFunctionWrapHandler) -> Solution:
    """Refuse what would be filled in: a file that leaves something out was not written by this program."""
    solution: Solution = read(content)
    if isinstance(content, dict):
        whole = _solutions().dump_python(solution, mode="json")
        if absent := next(_absent(content, whole), None):
            raise ValueError(f"{absent} is missing")
    return solution


def _absent(content: Any, whole: Any, path: str = "") -> Iterator[str]:
    if isinstance(whole, dict):
        for name, value in whole.items():
            here = f"{path}.{name}" if path else name
            yield from _absent(content[name], value, here) if name in content else (here,)
    elif isinstance(whole, list):
        for number, (one, other) in enumerate(zip(content, whole, strict=True)):
            yield from _absent(one, other, f"{path}.{number}")


class PlacementRecord(Record, Displayed):
    """Content of ``placement.json``.

    Attributes
    ----------
    layers
        By network, then name.
    cores
        By id.
    solution
        Everything that was decided, as the solver gave it and the checker accepted it.
    """

    schema_version: Literal[2] = 2
    status: str
    chip: str
    chip_hash: str
    networks: tuple[str, ...]
    layers: tuple[LayerRecord, ...]
    cores: tuple[CoreUse, ...]
    solution: Annotated[Solution, WrapValidator(_complete)]
    outputs: tuple[OutputRecord, ...]
    notes: tuple[str, ...]
    readings: tuple[Reading, ...] = ()
    assumed_facts: tuple[AssumedFact, ...]


def placement_record(result: Result) -> PlacementRecord:
    """Everything that was decided, without times, versions or paths.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    """
    solution, chip, networks = result.require(), result.chip, result.networks
    return PlacementRecord(
        status=result.status.value,
        chip=chip.name,
        chip_hash=chip.content_hash(),
        networks=tuple(network.name for network in networks),
        layers=_layers(result),
        cores=core_use(result),
        solution=solution,
        outputs=tuple(
            OutputRecord(
                network=number,
                name=output.name,
                layer=output.source,
                host_pool=tuple(step.size for step in output.path if isinstance(step, Pool)),
            )
            for number, network in enumerate(networks)
            for output in network.outputs
        ),
        notes=tuple(note for network in networks for note in network.notes),
        readings=result.readings,
        assumed_facts=chip.assumed_facts(),
    )


def layer_sizes(work: CoreWork) -> dict[str, Any]:
    """The fields of a `LayerSizes`, which a layer's work calls the same."""
    return {name: getattr(work, name) for name in LayerSizes.model_fields}


def _layers(result: Result) -> tuple[LayerRecord, ...]:
    return tuple(
        LayerRecord(
            network=number,
            name=demand.layer,
            index=demand.index,
            cores=tuple(result.cores_of(number, demand.layer)),
            **layer_sizes(demand.work),
        )
        for number, network in enumerate(result.given)
        for demand in sorted(layer_demands(network, number, None), key=lambda demand: demand.layer)
    )


def core_use(result: Result) -> tuple[CoreUse, ...]:
    """Per core, what lives on it and (taken, offered) words of each memory.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    """
    solution = result.require()
    places = {place.core: place for place in solution.placements}
    works = {
        (number, demand.layer): demand.work
        for number, network in enumerate(result.networks)
        for demand in layer_demands(network, number, None)
    }
    shares: Counter[object] = Counter(place.body for place in solution.placements)
    uses = []
    for core_id, core in enumerate(result.chip.cores):
        place, taken, occupant = places.get(core_id), (0, 0, 0), _EMPTY
        if place is not None:
            work = _whole_work(result, place.body, works)
            taken = work.narrowed(place.features[1] - place.features[0]).words
            occupant = _occupant(result, place, work.output_shape, whole=shares[place.body] == 1)
        offered = (core.kernel_words, core.neuron_words, core.bias_words)
        words = dict(zip(_MEMORIES, zip(taken, offered, strict=True), strict=True))
        uses.append(CoreUse.model_validate({"core": core_id, **occupant, **words}))
    return tuple(uses)


def _whole_work(
    result: Result, body: LayerPart | Relay, works: Mapping[tuple[int, str], CoreWork]
) -> CoreWork:
    """What the body asks with all its features."""
    if isinstance(body, LayerPart):
        return works[body.network, body.layer]
    return relay_work(_signal_shape(result, body), body.pooling, 0, reads_all=body.reads_all)


def _occupant(result: Result, place: Placement, shape: Shape, *, whole: bool) -> dict[str, Any]:
    """What a core holds of a body whose output has this shape; `whole`: it stands on no other core."""
    body, (start, stop) = place.body, place.features
    name = body.layer if isinstance(body, LayerPart) else body.signal
    title = "the sensor" if body.network is None else signal_title(result.networks, body.network, name)
    title += "" if place.features == (0, shape.features) else f"[{start}:{stop}]"
    if isinstance(body, Relay):
        role, label = "relay", f"{RELAY_OF}{title}" + (f" /{body.pooling}" if body.pooling > 1 else "")
    elif _is_joint(result, body):
        role, label = "relay", title
    elif body.copy_index:
        role, label = "copy", f"{title} copy"
    else:
        role, label = "layer" if whole else "piece", title
    return {
        "label": label,
        "role": role,
        "network": body.network,
        "layer": name,
        "features": place.features,
        "shape": (stop - start, shape.height, shape.width),
    }


def _is_joint(result: Result, body: LayerPart) -> bool:
    """Whether a layer is none that was given, and only passes on what others send."""
    origins = result.networks[body.network].origins
    return bool(origins) and all(origin.layer != body.layer for origin in origins)


def _signal_shape(result: Result, relay: Relay) -> Shape:
    """Shape of what a relay reads: the sensor's is what its stage lets pass."""
    stage = result.require().dvs_stage
    if relay.network is not None:
        return result.networks[relay.network].signal_shapes[relay.signal]
    if stage is None:
        raise RuntimeError("a relay of the sensor without a setting of the sensor stage")
    height, width = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
    return Shape(1 if stage.merge else 2, *((width, height) if stage.swap else (height, width)))


def kept_cores(record: PlacementRecord) -> KeptCores:
    """(layer, core) pairs of a placement, as `SolveOptions.keep` takes them."""
    several = len(record.networks) > 1
    kept = KeptCores(
        (f"{record.networks[layer.network]}:{layer.name}" if several else layer.name, core)
        for layer in record.layers
        for core in layer.cores
    )
    kept.networks, kept.chip = record.networks, record.chip
    return kept


def moved_layers(
    before: PlacementRecord, result: Result
) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]:
    """(layer, cores before, cores now) of every layer that is not where it was; new and gone ones too."""
    sides, called = [], layers_called(result.given)
    for record in (placement_record(result), before):
        cores: dict[str, tuple[int, ...]] = {}
        for known_as, core in kept_cores(record):
            name = called.get(known_as, (known_as,))[0]
            cores[name] = (*cores.get(name, ()), core)
        sides.append(cores)
    now, then = sides
    return tuple(
        (name, then.get(name, ()), now.get(name, ()))
        for name in now | then
        if then.get(name) != now.get(name)
    )


def read_placement(path: Path) -> PlacementRecord:
    """A placement.json of this program.

    Raises
    ------
    OptionsError
        It cannot be read, or is something else.
    """
    return read_record(PlacementRecord, path, "placement", "mapper solve --out DIR writes one")


def read_record(
    kind: type[AnyRecord], path: Path, noun: str, next_step: str, most: Mapping[str, int] | None = None
) -> AnyRecord:
    """A file of this program; no field may be missing or unknown.

    Parameters
    ----------
    noun, next_step
        What it should be, and where one comes from, for the error.
    most
        By field, how many entries its list may have.

    Raises
    ------
    OptionsError
        It cannot be read, or is something else.
    """
    try:
        text = plain_text(path, _BYTES_MAX)
    except OSError as error:
        raise OptionsError(Finding(str(path), unreadable(error))) from None
    except ValueError as error:
        raise OptionsError(Finding(str(path), f"is no {noun}: {error}", next_step=next_step)) from None
    try:
        content = json_of(text)
    except ValueError as error:
        problem = f"is no {noun}: Invalid JSON: {error}"
        raise OptionsError(Finding(str(path), problem, next_step=next_step)) from None
    for name, limit in (most or {}).items():
        entries = content.get(name) if isinstance(content, dict) else None
        if isinstance(entries, list) and len(entries) > limit:
            step = f"Make a {noun} of fewer, or several of them"
            raise OptionsError(
                Finding(str(path), f"has too many {name}", len(entries), limit, next_step=step)
            )
    try:
        record = kind.model_validate_json(text)
    except ValidationError as error:
        if (known := own_file(content)) and f" a {noun}" not in known:
            raise OptionsError(Finding(str(path), known)) from None
        entry = min(error.errors(), key=lambda entry: entry["loc"] != ("schema_version",))
        if entry["loc"] == ("schema_version",):
            problem, known = (
                f"is a {noun} of another schema_version",
                kind.model_fields["schema_version"].default,
            )
            finding = Finding(str(path), problem, entry["input"], known, next_step=next_step)
            raise OptionsError(finding) from None
        problem = f"is no {noun}: {'.'.join(map(str, entry['loc'])) or 'the file'}: {entry['msg']}"
        raise OptionsError(Finding(str(path), problem, next_step=next_step)) from None
    for name in kind.model_fields.keys() - record.model_fields_set:
        raise OptionsError(Finding(str(path), f"is no {noun}: {name} is missing", next_step=next_step))
    return record
