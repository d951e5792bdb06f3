"""Read a configuration back: the integer network it holds ("layout versus schematic").

What comes out is compared with what went in (`mapper.emit.diff`), so that emission proves itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from mapper.emit.config import ChipConfig, CnnLayer, DvsLayer, Interface, InterfaceLayer, LayerPlace
from mapper.emit.graph import ConfigGraph, Link, graph_of
from mapper.emit.tensor import Tensor
from mapper.errors import ConfigError, Finding
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Neuron, PathOperation, Pool, Shape

__all__ = ["extract"]


def extract(config: ChipConfig, input_cores: Mapping[str, int] | None = None) -> Network:
    """The integer network of a configuration, in normal form.

    Parameters
    ----------
    input_cores
        By input name the core its events enter, for a configuration without interface: then every core
        is a whole layer by the name "core3", and all cores without destinations are outputs.

    Raises
    ------
    ConfigError
        The configuration contradicts itself; everything at once.
    NetworkError
        Its shapes do not follow.
    """
    graph = graph_of(config, input_cores)
    interface = config.interface or _bare_interface(graph)
    core_of = {layer.name: layer.places[0].core for layer in interface.layers}
    missing = [name for name, core in core_of.items() if core not in graph.cores]
    if missing:
        raise ConfigError(*(Finding(f"layer {n}", "its core is not configured", core_of[n]) for n in missing))
    layers = tuple(_layer(entry, graph.cores[core_of[entry.name]]) for entry in interface.layers)
    inputs = tuple(_inputs(config, graph, interface))
    edges = tuple(_edges(config, graph, interface, core_of))
    outputs = tuple(_outputs(interface)) or tuple(
        Output(layer.name, layer.name) for layer in layers if not any(e.source == layer.name for e in edges)
    )
    notes = () if config.interface else ("read back without interface: one whole layer per core",)
    return Network(interface.network, inputs, layers, edges, outputs, notes)


def _bare_interface(graph: ConfigGraph) -> Interface:
    layers = []
    for core, entry in sorted(graph.cores.items()):
        stop = entry.dimensions.output_shape.feature_count if entry.dimensions else 0
        place = LayerPlace(core=core, start=0, stop=stop)
        layers.append(InterfaceLayer(name=f"core{core}", places=(place,)))
    return Interface(network="configuration", inputs=(), outputs=(), layers=tuple(layers))


def _layer(entry: InterfaceLayer, core: CnnLayer) -> Layer:
    shape = core.dimensions
    weights = _alive(core.weights, core.weights_kill_bit)
    biases = _alive(core.biases, core.biases_kill_bit)
    initial = _alive(core.neurons_initial_value, core.neurons_value_kill_bit)
    if shape is None or weights is None or biases is None or initial is None:
        raise ConfigError(Finding(f"layer {entry.name}", "its core has no tensors"))
    has_bias = bool(np.any(biases)) and core.leak_enable
    size = shape.input_shape.size
    operation = Convolution(
        out_features=shape.output_shape.feature_count,
        kernel=(shape.kernel_size, shape.kernel_size),
        stride=(shape.stride.y, shape.stride.x),
        padding=(shape.padding.y, shape.padding.x),
        has_bias=has_bias,
        weight=weights.transpose(0, 1, 3, 2).copy(),
        bias=biases.copy() if has_bias else None,
    )
    state = initial.transpose(0, 2, 1).copy() if np.any(initial) else None
    neuron = Neuron(
        threshold=core.threshold_high or 0,
        minimum=core.threshold_low,
        reset="zero" if core.return_to_zero else "subtract",
        spike_mode=entry.spike_mode,
        initial_potential=state,
    )
    return Layer(entry.name, Shape(shape.input_shape.feature_count, size.y, size.x), operation, (), neuron)


def _alive(tensor: Tensor | None, killed: Tensor | None) -> npt.NDArray[np.int64] | None:
    """Values of a tensor, 0 where a kill bit switches an entry off."""
    if tensor is None or killed is None:
        return None if tensor is None else tensor.array
    return np.where(killed.array != 0, 0, tensor.array)


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
    rows, columns = stage.cut.y - stage.origin.y + 1, stage.cut.x - stage.origin.x + 1
    if stage.mirror_diagonal:
        rows, columns = columns, rows
    height = stated.height if stated.height // stage.pooling.y == rows else rows * stage.pooling.y
    width = stated.width if stated.width // stage.pooling.x == columns else columns * stage.pooling.x
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


def _edges(
    config: ChipConfig, graph: ConfigGraph, interface: Interface, core_of: Mapping[str, int]
) -> Iterator[Edge]:
    layer_of = {core: name for name, core in core_of.items()}
    for name, (entries, pooling) in graph.entries.items():
        for entry in entries:
            if entry.core not in layer_of:
                raise ConfigError(Finding(f"input {name}", "enters a core without a layer", entry.core))
            yield Edge(name, layer_of[entry.core], _path(pooling), entry.feature_shift)
    for layer in interface.layers:
        for link in graph.links:
            if link.source == core_of[layer.name]:
                yield _edge(layer.name, layer_of, link)


def _edge(source: str, layer_of: Mapping[int, str], link: Link) -> Edge:
    if link.target not in layer_of:
        raise ConfigError(Finding(f"layer {source}", "sends to a core without a layer", link.target))
    pooling = (link.pooling, link.pooling)
    return Edge(source, layer_of[link.target], _path(pooling), link.feature_shift, link.delay_steps)


def _outputs(interface: Interface) -> Iterator[Output]:
    for output in interface.outputs:
        path: tuple[PathOperation, ...] = _path(output.host_pool)
        if output.divisor != 1.0:
            pixels = output.host_pool[0] * output.host_pool[1]
            divisor = None if output.divisor == pixels else output.divisor
            path = (Pool("average", output.host_pool, output.host_pool, divisor),)
        yield Output(output.name, output.layer, path)
