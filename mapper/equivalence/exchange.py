"""The layer that loses most: one layer's semantics exchanged at a time, on the samples that were lost.

A sample that is right in a row of the table and wrong in the next is run as in the first, with one layer as
in the next. Of all layers, the one that alone loses most of these samples is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.emit.shared.config import ChipConfig, CnnLayer
from mapper.equivalence.accuracy import LostIn
from mapper.equivalence.judge import answers_after
from mapper.events import events_from_raster
from mapper.network import Input, Network
from mapper.normal_form import NormalLayer, NormalNetwork, normal_form
from mapper.sim.event import EventOptions, simulate_events
from mapper.sim.network import Simulation, along, current_of, deliver, fire, simulate

__all__ = ["SAMPLES_MAX", "lost_by_rounding", "lost_by_spiking", "lost_spike_by_spike"]

SAMPLES_MAX = 60
"""Lost samples that are tried with each layer."""
Pause = Callable[[], object]
Sample = tuple[NDArray[Any], int]
"""(raster or frame, label)."""


def _most(
    network: NormalNetwork, samples: Sequence[Sample], answer: Callable[[str, NDArray[Any]], int]
) -> LostIn | None:
    """The layer by which most samples are lost; of equals the first."""
    tried = samples[:SAMPLES_MAX]
    lost = {
        layer.name: sum(answer(layer.name, raster) != label for raster, label in tried)
        for layer in network.layers
    }
    worst = max(lost, key=lambda name: lost[name])
    return LostIn(worst, lost[worst], len(tried)) if lost[worst] else None


def lost_by_rounding(
    floating: NormalNetwork, integer: NormalNetwork, samples: Sequence[Sample], pause: Pause
) -> LostIn | None:
    """Of floats against integers: a layer of integers among float ones, since each has its own scale.

    Parameters
    ----------
    samples
        (raster, label), right in floats and wrong in integers.
    """
    if {layer.name for layer in floating.layers} != {layer.name for layer in integer.layers}:
        return None

    def answer(name: str, raster: NDArray[Any]) -> int:
        layers = tuple(integer.by_name[name] if e.name == name else e for e in floating.layers)
        return _answer(
            simulate(floating.replacing(layers=layers), _fed(floating, raster), pause=pause), floating
        )

    return _most(floating, samples, answer)


def lost_spike_by_spike(
    integer: NormalNetwork,
    config: ChipConfig,
    samples: Sequence[Sample],
    dt_us: int,
    options: EventOptions | None,
    pause: Pause,
) -> LostIn | None:
    """Of time steps against spikes one by one: a layer's cores run on what time steps send them.

    None for networks with cycles, and where a layer's cores hold something else than the layer.
    """
    has_cycle = any(edge.delay_steps for edge in integer.edges)
    places = _places(config, integer)
    if has_cycle or places is None or len(integer.inputs) != 1:
        return None

    def answer(name: str, raster: NDArray[Any]) -> int:
        run = simulate(integer, _fed(integer, raster), pause=pause)
        layer = integer.by_name[name]
        arriving = _arriving(integer, layer, {integer.inputs[0].name: raster, **run.spikes})
        alone = _alone(config, [core for core, _ in places[name]])
        seen = _cores_alone(alone, places[name], arriving, layer, dt_us, options, pause)
        return _answer_with(integer, name, raster, run, seen, pause)

    return _most(integer, samples, answer)


def lost_by_spiking(
    floating: NormalNetwork, samples: Sequence[Sample], steps: int, pause: Pause
) -> LostIn | None:
    """Of values against spikes: one layer spikes on a constant current, all others are rectified linear.

    Parameters
    ----------
    samples
        (frame, label), right as trained and wrong as a spiking network of so many steps.
    """
    if any(edge.delay_steps for edge in floating.edges):
        return None

    def answer(name: str, frame: NDArray[Any]) -> int:
        pause()
        signals: dict[str, Any] = {floating.inputs[0].name: np.asarray(frame, np.float64)}
        for layer in floating.layers:
            arriving = np.zeros(layer.input_shape)
            for edge in floating.incoming[layer.name]:
                deliver(edge, signals[edge.source], arriving)
            signals[layer.name] = _values(
                layer, current_of(layer, arriving), steps if layer.name == name else 0
            )
        output = floating.outputs[0]
        return int(answers_after(along(output.path, signals[output.source])[None])[-1])

    return _most(floating, samples, answer)


def _values(layer: NormalLayer, current: Any, steps: int) -> Any:
    """Spikes per step under a constant current: over so many steps, or without end where that is 0."""
    if not steps:
        return np.maximum(current, 0) / np.asarray(layer.neuron.threshold).reshape(-1, 1, 1)
    potential, total = np.zeros(layer.output_shape), np.zeros(layer.output_shape)
    for _ in range(steps):
        spikes, potential = fire(layer, potential, current)
        total += spikes
    return total / steps


def _fed(network: Network, raster: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {network.inputs[0].name: raster}


def _answer(run: Simulation, network: Network) -> int:
    return int(answers_after(run.outputs[network.outputs[0].name])[-1])


def _places(config: ChipConfig, network: NormalNetwork) -> dict[str, list[tuple[int, int]]] | None:
    """By layer, (core, first feature), its copies left out; None where cores hold other layers."""
    interface = config.interface
    if interface is None or interface.origins or network.origins:
        return None
    places = {
        layer.name: [(p.core, p.start) for p in layer.places if p.role in ("layer", "piece")]
        for layer in interface.layers
    }
    return places if {layer.name for layer in network.layers} <= places.keys() else None


def _arriving(network: NormalNetwork, layer: NormalLayer, signals: Mapping[str, Any]) -> NDArray[Any]:
    """What comes to a layer in each step, pools applied."""
    steps = len(next(iter(signals.values())))
    arriving = np.zeros((steps, *layer.input_shape), np.int64)
    for edge in network.incoming[layer.name]:
        for step in range(steps):
            deliver(edge, signals[edge.source][step], arriving[step])
    return arriving


def _alone(config: ChipConfig, cores: list[int]) -> ChipConfig:
    """The configuration with these cores alone, which send nowhere."""

    def only(number: int, core: CnnLayer) -> CnnLayer:
        destinations = tuple(entry.model_copy(update={"enable": False}) for entry in core.destinations)
        if number in cores:
            return core.model_copy(update={"destinations": destinations})
        return CnnLayer(destinations=destinations)

    layers = tuple(only(*entry) for entry in enumerate(config.hardware.cnn_layers))
    hardware = config.hardware.model_copy(update={"cnn_layers": layers, "readout": None})
    return config.model_copy(update={"hardware": hardware, "interface": None})


def _cores_alone(
    config: ChipConfig,
    places: list[tuple[int, int]],
    arriving: NDArray[Any],
    layer: NormalLayer,
    dt_us: int,
    options: EventOptions | None,
    pause: Pause,
) -> NDArray[Any]:
    """Spikes of a layer (time, features, height, width), one by one."""
    seen = np.zeros((len(arriving), *layer.output_shape), np.int64)
    events, end = events_from_raster(arriving, dt_us), len(arriving) * dt_us
    # Without the interface, cores are layers, and the clock is not known.
    chosen = replace(options or EventOptions(), tick_us=float(dt_us), record=None)
    for core, start in places:
        run = simulate_events(
            config, {"arriving": events}, chosen, input_cores={"arriving": core}, end_us=end, pause=pause
        )
        spikes = run.layers[f"core{core}"]
        step = np.minimum(spikes["t"] // dt_us, len(seen) - 1)
        np.add.at(seen, (step, spikes["p"] + start, spikes["y"], spikes["x"]), 1)
    return seen


def _answer_with(
    network: NormalNetwork, name: str, raster: Any, run: Simulation, seen: NDArray[Any], pause: Pause
) -> int:
    """The answer where a layer's spikes are these: what it feeds runs on, the others did already."""
    output = network.outputs[0]
    known = {network.inputs[0].name: raster, **run.spikes, name: seen}
    behind = _behind(network, name)
    if output.source not in behind:
        trace = np.stack([along(output.path, frame) for frame in known[output.source]])
        return int(answers_after(trace)[-1])
    kept = tuple(layer for layer in network.layers if layer.name in behind)
    edges = tuple(edge for edge in network.edges if edge.target in behind)
    sources = dict.fromkeys((*(edge.source for edge in edges), output.source))
    inputs = tuple(Input(source, network.signal_shapes[source]) for source in sources if source not in behind)
    rest = Network(network.name, inputs, kept, edges, (output,))
    given = {entry.name: known[entry.name] for entry in inputs}
    return _answer(simulate(normal_form(rest), given, pause=pause), rest)


def _behind(network: NormalNetwork, name: str) -> set[str]:
    """Layers that a layer's spikes reach."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        source = waiting.pop()
        for edge in network.edges:
            if edge.source == source and edge.target not in reached:
                reached.add(edge.target)
                waiting.append(edge.target)
    return reached
