"""From a placement to the chip's configuration. No number of the integer network is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hwspec.schema import ChipSpec
from mapper.emit.config import (
    ChipConfig,
    CnnLayer,
    Destination,
    Dimensions,
    Hardware,
    InputEntry,
    Interface,
    InterfaceInput,
    InterfaceLayer,
    InterfaceOutput,
    LayerPlace,
    LayerShape,
    OutputPart,
    Vector,
    vendor_names,
)
from mapper.emit.options import EmitOptions
from mapper.emit.stages import dvs_filter, dvs_layer, option_findings, readout, slow_clock_hz
from mapper.emit.tensor import Tensor
from mapper.errors import Finding, NetworkError, OptionsError
from mapper.network import Edge, Layer, Network, Output
from mapper.operations import Convolution, Pool
from mapper.result import Result
from mapper.solution import READOUT, LayerPart, Placement, Route, Solution

__all__ = ["build_config"]


def build_config(result: Result, options: EmitOptions | None = None) -> ChipConfig:
    """The configuration that puts a placed network on its chip.

    Parameters
    ----------
    result
        With a solution, of an integer network with weights.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    NetworkError
        The network has shapes alone, or was not made integer.
    OptionsError
        Wishes the chip cannot meet, or that contradict one another; everything at once.
    """
    solution, wishes, chip = result.require(), options or EmitOptions(), result.chip
    for network in result.networks:
        if not network.is_integer:
            step = "Give a network with weights: a NIR file or a torch module"
            raise NetworkError(Finding(network.name, "has no integer weights to configure", next_step=step))
    if findings := tuple(option_findings(result, wishes)):
        raise OptionsError(*findings)
    placed = {placement.core: placement for placement in solution.placements}
    cores = [_core(result, wishes, core, placed.get(core)) for core in range(chip.core_count)]
    hardware = Hardware(
        cnn_layers=tuple(cores),
        dvs_layer=dvs_layer(result, wishes),
        dvs_filter=dvs_filter(result, wishes),
        readout=readout(result, wishes),
        factory_config=dict(wishes.factory) or None,
    )
    return ChipConfig(
        chip=chip.name,
        chip_hash=chip.content_hash(),
        vendor=vendor_names(chip),
        hardware=hardware,
        interface=_interface(result, wishes),
    )


def _core(result: Result, wishes: EmitOptions, core: int, placement: Placement | None) -> CnnLayer:
    chip, solution = result.chip, result.require()
    extras = chip.emission.core_extras if chip.emission else ()
    absent: dict[str, object] = {}
    if "internal_slow_clock" in extras:
        absent["leak_internal_slow_clk_enable"] = False
    if "congestion_balancer" in extras:
        absent["input_congestion_balancer_enable"] = False
    if "decimator" in extras:
        absent |= {"output_decimator_enable": False, "output_decimator_interval": 0}
    slots = chip.cores[core].fan_out
    if placement is None or not isinstance(placement.body, LayerPart):
        return CnnLayer(destinations=(Destination(),) * slots, **absent)  # type: ignore[arg-type]  # fields by name
    layer = result.networks[placement.body.network].by_name[placement.body.layer]
    if layer.name in wishes.balancers:
        absent["input_congestion_balancer_enable"] = True
    if layer.name in wishes.decimators:
        absent |= {
            "output_decimator_enable": True,
            "output_decimator_interval": wishes.decimators[layer.name],
        }
    routes = sorted((r for r in solution.routes if r.source == core), key=lambda route: route.slot)
    return CnnLayer(
        destinations=_destinations(chip, routes, slots),
        monitor_enable=any(monitor.source == core for monitor in solution.monitors),
        **_layer_fields(layer, placement.features, "kill_bits" in extras),
        **absent,  # type: ignore[arg-type]  # fields by name
    )


def _destinations(chip: ChipSpec, routes: Sequence[Route], slots: int) -> tuple[Destination, ...]:
    entries = [Destination()] * slots
    for route in routes:
        readout_id = chip.readout.destination_id if chip.readout else 0
        target = readout_id if route.target == READOUT else int(route.target)
        entries[route.slot] = Destination(
            layer=target, enable=True, pooling=route.pooling, feature_shift=route.feature_shift
        )
    return tuple(entries)


def _layer_fields(layer: Layer, features: tuple[int, int], kill_bits: bool) -> dict[str, Any]:
    """Tensors and shapes of the features [start, stop) of a layer."""
    conv, neuron = layer.operation, layer.neuron
    if not isinstance(conv, Convolution) or neuron is None:
        raise NetworkError(
            Finding(f"layer {layer.name}", "is not in normal form", next_step="Run the passes")
        )
    part = slice(*features)
    # samna's last axis is y: torch's last two axes are swapped.
    weights = np.asarray(conv.weight)[part].transpose(0, 1, 3, 2)
    _, height, width = layer.output_shape
    count = features[1] - features[0]
    biases = np.zeros(count, np.int64) if conv.bias is None else np.asarray(conv.bias)[part]
    state = neuron.initial_potential
    initial: Any = np.zeros((count, width, height), np.int64)
    if state is not None:
        initial = np.asarray(state)[part].transpose(0, 2, 1)
    fields: dict[str, Any] = {
        "dimensions": Dimensions(
            input_shape=_shape(*layer.input_shape),
            output_shape=_shape(count, height, width),
            kernel_size=conv.kernel[0],
            stride=Vector(x=conv.stride[1], y=conv.stride[0]),
            padding=Vector(x=conv.padding[1], y=conv.padding[0]),
        ),
        "weights": Tensor.of(weights),
        "biases": Tensor.of(biases),
        "neurons_initial_value": Tensor.of(initial),
        "threshold_high": int(np.asarray(neuron.threshold)),
        "threshold_low": int(-32768 if neuron.minimum is None else neuron.minimum),
        "return_to_zero": neuron.reset == "zero",
        "leak_enable": bool(np.any(biases)),
    }
    if kill_bits:
        fields |= {
            "weights_kill_bit": Tensor.of(weights == 0),
            "biases_kill_bit": Tensor.of(biases == 0),
            "neurons_value_kill_bit": Tensor.of(initial == 0),
        }
    return fields


def _shape(features: int, height: int, width: int) -> LayerShape:
    return LayerShape(feature_count=features, size=Vector(x=width, y=height))


def _interface(result: Result, wishes: EmitOptions) -> Interface:
    solution = result.require()
    network = result.networks[0]
    monitored = tuple(dict.fromkeys(monitor.signal for monitor in solution.monitors))
    return Interface(
        network=network.name,
        inputs=tuple(_inputs(network, solution)),
        outputs=tuple(_outputs(network, solution)),
        layers=tuple(_layers(network, solution)),
        monitored=monitored,
        dt_us=wishes.dt_us,
        slow_clock_hz=slow_clock_hz(result, wishes),
        notes=tuple(_notes(network, monitored)),
    )


def _inputs(network: Network, solution: Solution) -> Iterator[InterfaceInput]:
    for entry in network.inputs:
        entries = tuple(
            InputEntry(core=host.core, feature_shift=host.feature_shift)
            for host in solution.host_entries
            if host.input == entry.name
        )
        yield InterfaceInput(
            name=entry.name,
            shape=(entry.shape.features, entry.shape.height, entry.shape.width),
            source="host" if entry.dvs is None else "dvs",
            entries=entries,
        )


def _outputs(network: Network, solution: Solution) -> Iterator[InterfaceOutput]:
    for output in network.outputs:
        parts = tuple(
            OutputPart(core=place.core, start=place.features[0], stop=place.features[1])
            for place in _places(solution, output.source)
        )
        pool = _host_pool(output)
        divisor = 1.0
        if pool is not None and pool.kind == "average":
            divisor = float(pool.divisor or pool.size[0] * pool.size[1])
        yield InterfaceOutput(
            name=output.name,
            layer=output.source,
            parts=parts,
            host_pool=pool.size if pool else (1, 1),
            divisor=divisor,
        )


def _host_pool(output: Output) -> Pool | None:
    return next((step for step in output.path if isinstance(step, Pool)), None)


def _places(solution: Solution, layer: str) -> list[Placement]:
    return [
        placement
        for placement in solution.placements
        if isinstance(placement.body, LayerPart) and placement.body.layer == layer
    ]


def _layers(network: Network, solution: Solution) -> Iterator[InterfaceLayer]:
    for layer in network.layers:
        places = tuple(
            LayerPlace(core=place.core, start=place.features[0], stop=place.features[1])
            for place in _places(solution, layer.name)
        )
        yield InterfaceLayer(
            name=layer.name,
            places=places,
            spike_mode=layer.neuron.spike_mode if layer.neuron else "multi",
            delays=tuple(_delays(network, solution, layer)),
        )


def _delays(network: Network, solution: Solution, layer: Layer) -> Iterator[tuple[int, int, int]]:
    """(core, slot, steps) of the destinations whose edge is delayed."""
    delayed = [edge for edge in network.outgoing[layer.name] if edge.delay_steps]
    for place in _places(solution, layer.name):
        for route in solution.routes:
            if route.source != place.core or route.target == READOUT:
                continue
            for edge in delayed:
                if _carries(solution, route, edge):
                    yield place.core, route.slot, edge.delay_steps


def _carries(solution: Solution, route: Route, edge: Edge) -> bool:
    targets = {place.core for place in _places(solution, edge.target)}
    pooling = edge.pool.size[0] if edge.pool else 1
    return route.target in targets and (route.pooling, route.feature_shift) == (pooling, edge.feature_offset)


def _notes(network: Network, monitored: Sequence[str]) -> Iterator[str]:
    for layer in network.layers:
        bias: Any = layer.operation.bias
        if bias is not None and np.any(bias > 0):
            count = int(np.count_nonzero(bias > 0))
            yield f"{layer.name}: {count} positive biases, which the vendor does not document"
    for output in network.outputs:
        pool = _host_pool(output)
        if pool is not None and output.source in monitored:
            size = "x".join(map(str, pool.size))
            yield f"{output.name}: the monitor shows {output.source} unpooled; the host pools it by {size}"
