"""From a placement to the chip's configuration. No number of the integer network is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.emit.shared.config import (
    ChipConfig,
    CnnLayer,
    Destination,
    Dimensions,
    Hardware,
    LayerShape,
    Vector,
    vendor_names,
)
from mapper.emit.shared.ranges import out_of_range
from mapper.emit.shared.relay import relay_fields
from mapper.emit.shared.slow_clock import warn_of_slow_clock
from mapper.emit.shared.tensor import tensor_fields
from mapper.emit.write.interface import interface_of
from mapper.emit.write.network_fields import network_findings
from mapper.emit.write.options import EmitOptions
from mapper.emit.write.placed import Part, Placed
from mapper.emit.write.solution_fields import placement_findings, solution_findings
from mapper.emit.write.stages import dvs_filter, dvs_layer, option_findings, readout
from mapper.errors import EmitError, Finding, NetworkError, OptionsError
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.reading import require_answers
from mapper.result import Result
from mapper.solution import READOUT, Route

__all__ = ["build_config"]


@checked
def build_config(result: Result, options: EmitOptions | None = None) -> ChipConfig:
    """The configuration that puts placed networks on their chip.

    Parameters
    ----------
    result
        With a solution, of integer networks with weights.

    Raises
    ------
    InfeasibleError, UndecidedError
        There is no placement.
    NetworkError
        A network has shapes alone, was not made integer, delays an input, has readings that are open, or
        what no configuration can say: everything at once.
    OptionsError
        Wishes the chip cannot meet, or that contradict one another; everything at once.
    EmitError
        A value of the solution that no field of the configuration holds; everything at once.

    Warns
    -----
    MapperWarning
        The slow clock would run at a rate that is not typical.
    """
    result.require()
    require_answers(result.networks)
    wishes, chip = options or EmitOptions(), result.chip
    problems = [finding for network in result.networks for finding in _input_findings(network)]
    problems = problems or [finding for network in result.networks for finding in network_findings(network)]
    if problems:
        raise NetworkError(*problems)
    if findings := tuple(option_findings(result, wishes)):
        raise OptionsError(*findings)
    placed = _placed(result)
    cores = [_core(result, placed, wishes, core) for core in range(chip.core_count)]
    hardware = Hardware(
        cnn_layers=tuple(cores),
        dvs_layer=dvs_layer(result, wishes),
        dvs_filter=dvs_filter(result, wishes),
        readout=readout(result, wishes),
        factory_config=dict(wishes.factory) or None,
    )
    interface = interface_of(result, placed, wishes)
    warn_of_slow_clock(interface.slow_clock_hz)
    if misfits := tuple(out_of_range(hardware, chip, interface.owners)):
        raise EmitError(*misfits)
    return ChipConfig(
        chip=chip.name,
        chip_hash=chip.content_hash(),
        vendor=vendor_names(chip),
        hardware=hardware,
        interface=interface,
    )


def _placed(result: Result) -> Placed:
    """The placement, once it is known that everything in it has a field."""
    unwritable = [*placement_findings(result)]
    if not unwritable:
        placed = Placed(result)
        unwritable += solution_findings(placed, result)
    if unwritable:
        raise EmitError(*unwritable)
    return placed


def _input_findings(network: NormalNetwork) -> Iterator[Finding]:
    """What a configuration cannot say of a network."""
    if not network.is_integer:
        step = "Give a network with weights: a NIR file or a torch module"
        yield Finding(network.name, "has no integer weights to configure", next_step=step)
    inputs = {entry.name for entry in network.inputs}
    for edge in network.edges:
        if edge.source in inputs and edge.delay_steps:
            where, step = f"edge {edge.title}", "Delay the events themselves"
            yield Finding(where, "input cannot be delayed on a chip", edge.delay_steps, 0, "steps", step)
    for output in network.outputs:
        if output.source in inputs:
            where, step = f"output {output.name}", "Take a layer's spikes, or leave it out"
            yield Finding(where, "is an input, which no core shows", output.source, next_step=step)


def _core(result: Result, placed: Placed, wishes: EmitOptions, core: int) -> CnnLayer:
    chip, solution, part = result.chip, placed.solution, placed.parts.get(core)
    extras = chip.emission.core_extras if chip.emission else ()
    fields = _extras(extras)
    slots = chip.cores[core].fan_out
    if part is None:
        return _idle(slots, **fields)
    kill_bits = "kill_bits" in extras
    if part.role == "relay":
        limits = chip.cores[core].limits
        bits = min(limits.weight_bits, limits.state_bits)
        fields |= relay_fields(*_read_features(placed, part), *_relayed_map(placed, part), kill_bits, bits)
    else:
        fields |= _layer_fields(placed.network.by_name[part.signal], (part.start, part.stop), kill_bits)
        if part.signal in wishes.balancers:
            fields["input_congestion_balancer_enable"] = True
        if part.signal in wishes.decimators:
            fields["output_decimator_enable"] = True
            fields["output_decimator_interval"] = wishes.decimators[part.signal]
    return CnnLayer(
        destinations=_destinations(chip, placed.routes_of(core), slots),
        monitor_enable=any(monitor.source == core for monitor in solution.monitors),
        **fields,
    )


# A chip of many cores has many that are the same: one object stands for all, and is written and held to what
# fields hold once.
_FREE = Destination()


@cache
def _idle(slots: int, **extras: bool | int) -> CnnLayer:
    """A core that holds nothing."""
    return CnnLayer.model_validate({"destinations": (_FREE,) * slots, **extras})


def _extras(extras: Collection[str]) -> dict[str, Any]:
    """Fields that only some chips have, switched off."""
    fields: dict[str, Any] = {}
    if "internal_slow_clock" in extras:
        fields["leak_internal_slow_clk_enable"] = False
    if "congestion_balancer" in extras:
        fields["input_congestion_balancer_enable"] = False
    if "decimator" in extras:
        fields |= {"output_decimator_enable": False, "output_decimator_interval": 0}
    return fields


def _read_features(placed: Placed, relay: Part) -> tuple[int, tuple[int, int]]:
    """How many features a relay reads, and which of them it passes on."""
    features = placed.network.signal_shapes[relay.signal].features
    first = relay.start if relay.reads == features else 0
    return relay.reads, (first, first + relay.stop - relay.start)


def _relayed_map(placed: Placed, relay: Part) -> tuple[int, int]:
    """(height, width) of what a relay passes on: the sensor's stage has cut and pooled before."""
    shape, stage = placed.network.signal_shapes[relay.signal], placed.solution.dvs_stage
    height, width = shape.height, shape.width
    if stage is not None and relay.signal in placed.sensors:
        height, width = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
        if stage.swap:
            height, width = width, height
    pooling = relay.relayed or 1
    return height // pooling, width // pooling


def _destinations(chip: ChipSpec, routes: Sequence[Route], slots: int) -> tuple[Destination, ...]:
    entries = [_FREE] * slots
    for route in routes:
        readout_id = chip.readout.destination_id if chip.readout else 0
        target = readout_id if route.target == READOUT else int(route.target)
        entries[route.slot] = Destination(
            layer=target, enable=True, pooling=route.pooling, feature_shift=route.feature_shift
        )
    return tuple(entries)


def _layer_fields(layer: NormalLayer, features: tuple[int, int], kill_bits: bool) -> dict[str, Any]:
    """Tensors and shapes of the features [start, stop) of a layer."""
    conv, neuron = layer.operation, layer.neuron
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
    return {
        "dimensions": Dimensions(
            input_shape=_shape(*layer.input_shape),
            output_shape=_shape(count, height, width),
            kernel_size=conv.kernel[0],
            stride=Vector(x=conv.stride[1], y=conv.stride[0]),
            padding=Vector(x=conv.padding[1], y=conv.padding[0]),
        ),
        **tensor_fields(weights, biases, initial, kill_bits),
        "threshold_high": int(np.asarray(neuron.threshold)),
        "threshold_low": int(-32768 if neuron.minimum is None else neuron.minimum),
        "return_to_zero": neuron.reset == "zero",
        # Of the whole layer: a tick touches a neuron even if it adds nothing.
        "leak_enable": conv.bias is not None and bool(np.any(conv.bias)),
    }


def _shape(features: int, height: int, width: int) -> LayerShape:
    return LayerShape(feature_count=features, size=Vector(x=width, y=height))
