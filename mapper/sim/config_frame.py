"""Frame simulation of a configuration: time steps on the configured cores, exact in integers.

It knows nothing of the network: what was emitted is what runs.
The input of the sensor stage is taken behind cropping, mirroring and swapping, as the network sees it,
and pooled by the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from mapper.arguments import checked
from mapper.asking import IGNORE_LOSSY
from mapper.by_value import ByValue
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.file import config_of
from mapper.emit.shared.graph import ConfigGraph, graph_of
from mapper.emit.shared.interface import InterfaceOutput
from mapper.errors import ConfigError, Finding
from mapper.network import Origin
from mapper.own_shape import own_map
from mapper.sim.frame_run import FrameState, Run
from mapper.sim.inputs import by_name, count_arrays
from mapper.sim.stages import one_sensor
from mapper.wording import turned

__all__ = ["FrameResult", "FrameState", "simulate_config"]

TorchDevice: TypeAlias = str | torch.device


@dataclass(frozen=True, eq=False)
class FrameResult(ByValue):
    """What a run gives; shapes without the batch axis if the inputs had none.

    Attributes
    ----------
    spikes
        By core, (batch, time, features, height, width).
    layers
        By layer as it was given, in its own shape, its pieces joined, without its copy; by "core3" and so
        on without interface.
    outputs
        By output, pooled on the host as the interface says.
    synops
        By core, synaptic operations: neurons reached by arriving spikes.
    beyond_16_bits
        By core, how often a potential lay outside what the chip can hold.
    state
        To go on from.
    """

    spikes: Mapping[int, Any]
    layers: Mapping[str, Any]
    outputs: Mapping[str, Any]
    synops: Mapping[int, int]
    beyond_16_bits: Mapping[int, int]
    state: FrameState


@checked.but("inputs")
def simulate_config(
    config: ChipConfig | str | Path,
    inputs: Mapping[str, Any],
    state: FrameState | None = None,
    *,
    input_cores: Mapping[str, int] | None = None,
    ignore_lossy: bool = False,
    record: Collection[str] | None = None,
    device: TorchDevice = "cpu",
    pause: Callable[[], object] | None = None,
) -> FrameResult:
    """Run a configuration on spike counts.

    Parameters
    ----------
    config
        A configuration, or the file of one.
    inputs
        By input name, (time, features, height, width) or (batch, time, features, height, width), whole
        numbers from 0. Inputs that share the sensor stage see the same: one of them is enough.
    state
        Of an earlier call with the same batch size; None starts from the initial potentials.
    input_cores
        By input name the core it enters, for a configuration without interface.
    ignore_lossy
        Run although a decimator or congestion balancer would drop spikes on the chip.
    record
        Layers whose spikes are given back ("core3" without interface); None for all. Outputs always are.
    device
        Where torch convolves: "cpu", "cuda:0", torch.device("cuda").
    pause
        Called before every core's part of a few steps; what it raises ends the run.

    Raises
    ------
    ConfigError
        The configuration is inconsistent, the inputs do not fit it, or it drops spikes: everything at once.
    """
    config = config_of(config)
    graph = graph_of(config, input_cores)
    arrays = _counts_of(graph, inputs, ignore_lossy)
    batched = all(array.ndim == 5 for array in arrays.values())
    ready = {name: array if array.ndim == 5 else array[None] for name, array in arrays.items()}
    interface_outputs = config.interface.outputs if config.interface else ()
    seen = None if record is None else {*record, *(output.layer for output in interface_outputs)}
    cores = dict.fromkeys(core for core, layer in _owners(config, graph) if seen is None or layer in seen)
    cores |= dict.fromkeys(part.core for output in interface_outputs for part in output.parts)
    run = Run(graph, ready, state or FrameState(), _device(device), cores)
    run.all_steps(pause)
    spikes = {core: run.counts[core] if batched else run.counts[core][0] for core in cores}
    layers = _layers(config, spikes)
    shown = config.interface.shown if config.interface else {}
    outputs = {o.name: _output(o, spikes, shown.get(o.layer, ("", None))[1]) for o in interface_outputs}
    synops = {number: int(core.synops) for number, core in run.cores.items()}
    beyond = {number: core.beyond for number, core in run.cores.items()}
    return FrameResult(spikes, layers, outputs, synops, beyond, run.state())


def _device(name: TorchDevice) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError:
        step = 'Write "cpu" or "cuda:0"'
        raise ConfigError(Finding("device", "torch knows no such device", name, next_step=step)) from None


def _counts_of(graph: ConfigGraph, inputs: Mapping[str, Any], ignore_lossy: bool) -> dict[str, Any]:
    """Spike counts by the names of `graph.entries`, once everything is known to be right."""
    given = by_name(inputs, graph.input_names, "arrays")
    findings = [*_name_findings(graph, given), *(() if ignore_lossy else _lossy(graph))]
    arrays = count_arrays(given, findings)
    findings.extend(_map_findings(graph, arrays))
    if findings:
        raise ConfigError(*findings)
    return one_sensor(arrays, graph, partial(_same_counts, graph))


def _name_findings(graph: ConfigGraph, given: Mapping[str, Any]) -> Iterator[Finding]:
    known = ", ".join(graph.input_names) or "none: name them by input_cores"
    for name in given:
        if name not in graph.input_names:
            yield Finding(f"input {name}", "the configuration has no such input", limit=known)
    for name in graph.entries:
        if name not in given and not (
            name in graph.sensor_inputs and given.keys() & set(graph.sensor_inputs)
        ):
            yield Finding(f"input {name}", "is missing")


def _map_findings(graph: ConfigGraph, arrays: Mapping[str, Any]) -> Iterator[Finding]:
    if len({(array.ndim, array.shape[: array.ndim - 3]) for array in arrays.values()}) > 1:
        yield Finding("inputs", "differ in batch size or number of time steps")
    for name, array in arrays.items():
        entries, (py, px) = graph.entries.get(graph.entry_name(name), ((), (1, 1)))
        if array.ndim not in (4, 5):
            problem = "must be (time, features, height, width), or batch before these"
            step = "x[None] is one time step of it" if array.ndim == 3 else ""
            yield Finding(f"input {name}", problem, array.shape, next_step=step)
            continue
        features, height, width = array.shape[-3:]
        for entry in entries:
            shape = graph.cores[entry.core].dimensions if entry.core in graph.cores else None
            if shape is None:
                yield Finding(f"input {name}", "enters a core that is not configured", entry.core)
                continue
            size = shape.input_shape.size
            if (height // py, width // px) != (size.y, size.x):
                problem, read_map = (
                    f"has not the map that core {entry.core} reads",
                    (size.y * py, size.x * px),
                )
                wanted = (shape.input_shape.feature_count - entry.feature_shift, *read_map)
                line = turned("array", array.shape, wanted, array.ndim - 3)
                step = f"Give {line}" if line else ""
                yield Finding(f"input {name}", problem, (height, width), read_map, next_step=step)
                if line:
                    continue
            if entry.feature_shift + features > shape.input_shape.feature_count:
                most = shape.input_shape.feature_count - entry.feature_shift
                yield Finding(
                    f"input {name}", f"has more features than core {entry.core} reads", features, most
                )


def _same_counts(graph: ConfigGraph, left: Any, right: Any) -> bool:
    """Whether two recordings of the sensor leave its stage alike."""
    if left is right or np.array_equal(left, right):
        return True
    _, pooling = graph.entries[graph.sensor_inputs[0]]
    return np.array_equal(_pooled(left, pooling), _pooled(right, pooling))


def _lossy(graph: ConfigGraph) -> Iterator[Finding]:
    for number, core in graph.cores.items():
        for name, on in (
            ("decimator", core.output_decimator_enable),
            ("congestion balancer", core.input_congestion_balancer_enable),
        ):
            if on:
                step = f"Run it with {IGNORE_LOSSY.to(True)} to leave that out"
                yield Finding(
                    f"core {number}", f"its {name} drops spikes, which time steps cannot show", next_step=step
                )


def _owners(config: ChipConfig, graph: ConfigGraph) -> Iterator[tuple[int, str]]:
    """(core, layer) of everything that is shown as a layer."""
    if config.interface is None:
        yield from ((core, f"core{core}") for core in graph.order)
        return
    layers = {layer.name: layer for layer in config.interface.layers}
    for name, (holder, _) in config.interface.shown.items():
        yield from ((place.core, name) for place in layers[holder].places if place.role != "relay")


def _pooled(frames: Any, pooling: tuple[int, int]) -> Any:
    """Sum pools over the last two axes; rows and columns that do not fill a pool do not exist."""
    py, px = pooling
    if (py, px) == (1, 1):
        return frames
    *head, height, width = frames.shape
    rows, columns = height // py, width // px
    cut = frames[..., : rows * py, : columns * px]
    return cut.reshape(*head, rows, py, columns, px).sum(axis=(-3, -1))


def _layers(config: ChipConfig, spikes: Mapping[int, Any]) -> dict[str, Any]:
    if config.interface is None:
        return {f"core{core}": trace for core, trace in spikes.items()}
    held = {}
    for layer in config.interface.layers:
        parts: dict[tuple[int, int], Any] = {}
        for place in layer.places:
            if place.role in ("layer", "piece") and place.core in spikes:
                parts[place.start, place.stop] = spikes[place.core]
        if parts:
            held[layer.name] = np.concatenate([parts[key] for key in sorted(parts)], axis=-3)
    shown = config.interface.shown.items()
    return {name: own_map(held[layer], origin) for name, (layer, origin) in shown if layer in held}


def _output(output: InterfaceOutput, spikes: Mapping[int, Any], origin: Origin | None) -> Any:
    parts = sorted(output.parts, key=lambda part: part.start)
    whole = own_map(np.concatenate([spikes[part.core] for part in parts], axis=-3), origin)
    pooled = _pooled(whole, output.host_pool)
    return pooled if output.divisor == 1.0 else pooled / output.divisor
