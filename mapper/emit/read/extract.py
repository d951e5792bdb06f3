"""Read a configuration back: the integer network it holds ("layout versus schematic").

What comes out is compared with what went in (`mapper.emit.read.diff`), so that emission proves itself. Pieces
are put together, copies and relays left out once they are known to be what the interface says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from mapper.arguments import checked
from mapper.emit.read.assemble import assembled
from mapper.emit.read.trace import Arriving, Trace, times_covered
from mapper.emit.shared.config import ChipConfig, DvsLayer
from mapper.emit.shared.graph import ConfigGraph, graph_of
from mapper.emit.shared.interface import Interface, InterfaceLayer, InterfaceOutput, LayerPlace
from mapper.errors import ConfigError, Finding
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalNetwork
from mapper.operations import PathOperation, Pool, Shape
from mapper.wording import titled

__all__ = ["extract"]


@checked
def extract(
    config: ChipConfig, input_cores: Mapping[str, int] | None = None, *, network: str | None = None
) -> NormalNetwork:
    """The integer network of a configuration.

    Several networks on one chip come back as one, by the names of `mapper.emit.shared.joined`. What was
    rewritten for the chip comes back rewritten, as `Result.networks` has it; `origins` says what it was.

    Parameters
    ----------
    input_cores
        By input name the core its events enter, for a configuration without interface: then every core
        is a whole layer by the name "core3", and all cores without destinations are outputs.
    network
        The one of several networks to give back, under its own names.

    Raises
    ------
    ConfigError
        The configuration contradicts itself: pieces that do not fit together, a copy that differs, a relay
        that changes what it passes on, features that arrive at one core and not at another; everything at
        once. Or there is no such network.
    NetworkError
        Its shapes do not follow.
    """
    graph = graph_of(config, input_cores)
    interface = config.interface or _bare_interface(graph)
    findings: list[Finding] = []
    assembled_layers = [assembled(entry, graph.cores, findings) for entry in interface.layers]
    layers = tuple(layer for layer in assembled_layers if layer is not None)
    if findings:
        raise ConfigError(*findings)
    inputs = tuple(_inputs(config, graph, interface))
    features = {entry.name: entry.shape.features for entry in inputs}
    features |= {layer.name: layer.output_shape.features for layer in layers}
    trace = Trace(graph, interface, features)
    edges = tuple(_edges(trace, graph, interface))
    outputs = tuple(_outputs(trace, interface)) or tuple(
        Output(layer.name, layer.name) for layer in layers if not any(e.source == layer.name for e in edges)
    )
    if trace.findings:
        raise ConfigError(*trace.findings)
    notes = () if config.interface else ("read back without interface: one whole layer per core",)
    origins = tuple(entry.origin for entry in interface.origins or ())
    whole = NormalNetwork(interface.network, inputs, layers, edges, outputs, notes, origins=origins)
    return whole if network is None else _picked(whole, network)


def _picked(whole: NormalNetwork, name: str) -> NormalNetwork:
    """One of several networks, under its own names."""
    if name == whole.name:
        return whole
    prefix = f"{name}:"

    def own(key: str) -> str:
        return key.removeprefix(prefix)

    layers = tuple(replace(e, name=own(e.name)) for e in whole.layers if e.name.startswith(prefix))
    if not layers:
        raise ConfigError(Finding(f"network {name}", "the configuration holds no such network", whole.name))
    return NormalNetwork(
        name,
        tuple(replace(e, name=own(e.name)) for e in whole.inputs if e.name.startswith(prefix)),
        layers,
        tuple(
            replace(e, source=own(e.source), target=own(e.target))
            for e in whole.edges
            if e.target.startswith(prefix)
        ),
        tuple(
            replace(e, name=own(e.name), source=own(e.source))
            for e in whole.outputs
            if e.source.startswith(prefix)
        ),
        origins=tuple(
            replace(e, name=own(e.name), layer=own(e.layer))
            for e in whole.origins
            if e.name.startswith(prefix)
        ),
    )


def _bare_interface(graph: ConfigGraph) -> Interface:
    layers = []
    for core, entry in sorted(graph.cores.items()):
        stop = entry.dimensions.output_shape.feature_count if entry.dimensions else 0
        place = LayerPlace(core=core, start=0, stop=stop)
        layers.append(InterfaceLayer(name=f"core{core}", places=(place,)))
    return Interface(network="configuration", inputs=(), outputs=(), layers=tuple(layers))


def _inputs(config: ChipConfig, graph: ConfigGraph, interface: Interface) -> Iterator[Input]:
    stage = config.hardware.dvs_layer
    for entry in interface.inputs:
        shape = Shape(*entry.shape)
        if entry.source == "dvs" and stage is not None:
            yield Input(entry.name, _sensor_shape(shape, stage), _settings(stage))
        else:
            yield Input(entry.name, shape)
    if config.interface is None:
        for name, (entries, _) in graph.entries.items():
            dimensions = graph.cores[entries[0].core].dimensions
            if dimensions is not None:
                size = dimensions.input_shape.size
                yield Input(name, Shape(dimensions.input_shape.feature_count, size.y, size.x))


def _sensor_shape(stated: Shape, stage: DvsLayer) -> Shape:
    """What the stage lets through, before pooling: rows and columns that fill no pool are as stated."""
    (rows, columns), (py, px) = stage.output_size, stage.output_pooling
    height = stated.height if stated.height // py == rows else rows * py
    width = stated.width if stated.width // px == columns else columns * px
    return Shape(1 if stage.merge else 2 if stated.features == 1 else stated.features, height, width)


def _settings(stage: DvsLayer) -> DvsSettings:
    return DvsSettings(
        origin=(stage.origin.y, stage.origin.x),
        mirror=(bool(stage.mirror.y), bool(stage.mirror.x)),
        swap_axes=stage.mirror_diagonal,
        on_channel=stage.on_channel,
        off_channel=stage.off_channel,
    )


def _path(pooling: tuple[int, int]) -> tuple[PathOperation, ...]:
    return () if pooling == (1, 1) else (Pool("sum", pooling, pooling),)


def _edges(trace: Trace, graph: ConfigGraph, interface: Interface) -> Iterator[Edge]:
    """Edges by their ends: all cores of a layer must get the same."""
    for name, (entries, _) in graph.entries.items():
        for entry in entries:
            if entry.core not in trace.holds:
                trace.findings.append(Finding(f"input {name}", "enters a core without a layer", entry.core))
    for layer in interface.layers:
        cores = [place.core for place in layer.places if place.role != "relay"]
        arriving = [trace.edges_into(core) for core in cores]
        for core, other in zip(cores[1:], arriving[1:], strict=True):
            if other != arriving[0]:
                where = f"layer {titled(layer.name)}, core {core}"
                problem = f"does not get what core {cores[0]} of the same layer gets"
                trace.findings.append(
                    Finding(where, problem, _only(other, arriving[0]), _only(arriving[0], other))
                )
        for one, times in sorted(arriving[0].items()):
            edge = Edge(one.signal, layer.name, _path(one.pooling), one.offset, one.delay)
            yield from (edge,) * times


def _only(left: Counter[Arriving], right: Counter[Arriving]) -> str:
    return "; ".join(f"{times} x {one}" for one, times in sorted((left - right).items())) or "nothing else"


def _outputs(trace: Trace, interface: Interface) -> Iterator[Output]:
    holders = {entry.name: entry.layer for entry in interface.origins or ()}
    for output in interface.outputs:
        seen = _seen(trace, output, holders.get(output.layer, output.layer))
        pool = (output.host_pool[0] * seen[0], output.host_pool[1] * seen[1])
        path: tuple[PathOperation, ...] = _path(pool)
        if output.divisor != 1.0:
            divisor = None if output.divisor == pool[0] * pool[1] else output.divisor
            path = (Pool("average", pool, pool, divisor),)
        yield Output(output.name, output.layer, path)


def _seen(trace: Trace, output: InterfaceOutput, layer: str) -> tuple[int, int]:
    """The pooling that the cores of an output show already; they hold the layer that computes it."""
    poolings = set()
    for part in output.parts:
        name, place = trace.holds.get(part.core, ("nothing", None))
        if place is None or name != layer or (place.start, place.stop) != (part.start, part.stop):
            where, span = f"output {output.name}, core {part.core}", f"{part.start}..{part.stop - 1}"
            trace.findings.append(Finding(where, f"does not hold these features of {layer}", span, name))
        poolings.add(trace.relayed(part.core))
    spans = [(part.start, part.stop) for part in output.parts]
    features = trace.features.get(layer, 0)
    if spans and times_covered(spans, 0, features) != 1:
        where, problem = (
            f"output {output.name}",
            f"its cores do not show every feature of {layer} once",
        )
        spans_text = ", ".join(f"{start}..{stop - 1}" for start, stop in sorted(spans))
        trace.findings.append(Finding(where, problem, spans_text, f"0..{features - 1}"))
    if len(poolings) > 1:
        trace.findings.append(
            Finding(f"output {output.name}", "its cores show different pools", sorted(poolings))
        )
    return min(poolings, default=(1, 1))
