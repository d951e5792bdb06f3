"""Time steps against spikes one by one: where they part, and what of the configuration invites it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.asking import STEPS, V_MIN
from mapper.by_value import ByValue
from mapper.emit.shared.config import ChipConfig
from mapper.emit.shared.graph import Link
from mapper.equivalence.exactness import exactness
from mapper.equivalence.sensitivity import Sensitivity, count_ranges, sensitivity
from mapper.events import Events
from mapper.sim.event import EventOptions, EventResult, EventSimulator
from mapper.wording import counted, titled

__all__ = ["CoreLoad", "EventComparison", "LayerComparison", "compare_events"]


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """A layer's spikes in time steps and one by one.

    Attributes
    ----------
    differing
        Neurons whose counts differ.
    correlation
        Of the neurons' counts; None where one of them does not vary.
    """

    layer: str
    frame_spikes: int
    event_spikes: int
    differing: int
    correlation: float | None
    clamped: int
    saturated: int


@dataclass(frozen=True, slots=True)
class CoreLoad:
    """Synaptic operations per second of a core, at the recording's rate.

    Attributes
    ----------
    bandwidth
        What the chip's specification states, or None.
    """

    core: int
    layer: str
    synops_per_second: float
    bandwidth: int | None

    @property
    def is_over(self) -> bool:
        """Whether the core is asked for more than it can do."""
        return self.bandwidth is not None and self.synops_per_second > self.bandwidth


@dataclass(frozen=True, slots=True, eq=False)
class EventComparison(ByValue):
    """Frame against event semantics.

    Attributes
    ----------
    border
        Spikes outside a pooled map, by "core 3 to core 5".
    odd_maps
        Edges that pool a map that is no multiple of the pool.
    heavy_layers
        Layers whose largest weight exceeds the threshold: there one arriving spike cannot give all the
        spikes that a time step gives.
    notes
        What follows from it all, in sentences; what is exact, and in which semantics.
    outputs
        By output, its spikes.
    """

    layers: tuple[LayerComparison, ...]
    sensitivity: tuple[Sensitivity, ...]
    loads: tuple[CoreLoad, ...]
    border: Mapping[str, int]
    odd_maps: tuple[str, ...]
    heavy_layers: tuple[str, ...]
    notes: tuple[str, ...]
    outputs: Mapping[str, Events]


@checked.but("inputs")
def compare_events(
    config: ChipConfig,
    frames: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, Events],
    chip: ChipSpec,
    *,
    duration_us: float,
    options: EventOptions | None = None,
    pause: Callable[[], object] | None = None,
    title: Callable[[str], str] = titled,
) -> EventComparison:
    """Run events and hold them against the spikes of time steps.

    Parameters
    ----------
    frames
        By layer, spikes of the frame simulation, (time, features, height, width).
    inputs
        By input, the events of the same recording.
    duration_us
        Length of the recording.
    pause
        As in `simulate_events`.
    title
        What notes call a layer of this name.
    """
    simulator = EventSimulator(config, options)
    result = simulator.run(inputs, end_us=duration_us, pause=pause)
    layers = tuple(_layers(simulator, result, frames))
    shapes = {name: tuple(spikes.shape[1:]) for name, spikes in frames.items()}
    counts = count_ranges(config, inputs, shapes, options, end_us=duration_us, pause=pause)
    owners = config.interface.owners if config.interface else {}
    loads = tuple(_loads(result, chip, owners, duration_us))
    border = _border(simulator, result, owners)
    # Pieces of one layer say the same.
    called = {core: title(name) for core, name in owners.items()}
    odd = tuple(dict.fromkeys(_odd_maps(simulator, called)))
    heavy = tuple(dict.fromkeys(_heavy(simulator, called)))
    depends = sensitivity(counts)
    notes = (*_notes(layers, depends, loads, odd, heavy, title), *exactness(config, simulator.graph))
    return EventComparison(layers, depends, loads, border, odd, heavy, notes, result.outputs)


def _layers(
    simulator: EventSimulator, result: EventResult, frames: Mapping[str, Any]
) -> Iterator[LayerComparison]:
    for name, spikes in frames.items():
        counts = spikes.sum(0)
        seen = np.zeros_like(counts)
        events = result.layers[name]
        np.add.at(seen, (events["p"], events["y"], events["x"]), 1)
        varied = counts.std() > 0 and seen.std() > 0
        correlation = float(np.corrcoef(counts.ravel(), seen.ravel())[0, 1]) if varied else None
        cores = [core for core, _ in simulator.places[name]]
        yield LayerComparison(
            name, int(counts.sum()), len(events), int((counts != seen).sum()), correlation,
            sum(result.clamped[core] for core in cores), sum(result.saturated[core] for core in cores),
        )  # fmt: skip


def _link_name(owners: Mapping[int, str], link: Link) -> str:
    return f"{_owner(owners, link.source)} to {_owner(owners, link.target)}"


def _owner(owners: Mapping[int, str], core: int) -> str:
    return owners.get(core, f"core {core}")


def _border(simulator: EventSimulator, result: EventResult, owners: Mapping[int, str]) -> dict[str, int]:
    """Pieces of one layer are one source."""
    links = {(link.source, link.slot): link for link in simulator.graph.links}
    counts: Counter[str] = Counter()
    for place, count in result.border.items():
        counts[_link_name(owners, links[place])] += count
    return dict(counts)


def _loads(
    result: EventResult, chip: ChipSpec, owners: Mapping[int, str], duration_us: float
) -> Iterator[CoreLoad]:
    seconds = max(duration_us, 1.0) * 1e-6
    for core, synops in result.synops.items():
        bandwidth = chip.cores[core].synops_per_second
        yield CoreLoad(core, _owner(owners, core), synops / seconds, bandwidth)


def _odd_maps(simulator: EventSimulator, owners: Mapping[int, str]) -> Iterator[str]:
    for link in simulator.graph.links:
        shape = simulator.graph.cores[link.source].dimensions
        if shape is not None:
            size = shape.output_shape.size
            if size.y % link.pooling or size.x % link.pooling:
                yield f"{_link_name(owners, link)}: a map of {size.y}x{size.x} pooled by {link.pooling}"


def _heavy(simulator: EventSimulator, owners: Mapping[int, str]) -> Iterator[str]:
    for number, core in simulator.graph.cores.items():
        if core.weights is not None and core.threshold_high is not None:
            largest = int(core.weights.array.max(initial=0))
            if largest > core.threshold_high:
                yield f"{_owner(owners, number)}: weight {largest}, threshold {core.threshold_high}"


def _beyond(layer: str, times: int) -> str:
    """What it means that potentials left 16 bits, and what helps."""
    what = f"{layer}: {counted(times, 'time')} a potential would have left the 16 bits that a core has for it"
    meaning = "spike by spike it stays at their end, as is assumed of the chip; time steps have no such end"
    bound = f"neurons with a lower bound ({V_MIN} of NIR files, min_v_mem of sinabs)"
    helps = f"fewer spikes in (fewer {STEPS}) and, against potentials far below 0, {bound}"
    return f"{what}: {meaning}. What helps: {helps}"


def _notes(
    layers: tuple[LayerComparison, ...],
    depends: tuple[Sensitivity, ...],
    loads: tuple[CoreLoad, ...],
    odd: tuple[str, ...],
    heavy: tuple[str, ...],
    title: Callable[[str], str],
) -> Iterator[str]:
    unstable = [title(entry.layer) for entry in depends if entry.neurons]
    if unstable:
        yield f"the order of spikes decides counts in {', '.join(unstable)}; the chip's order is not known"
    for entry in layers:
        if entry.frame_spikes and not entry.event_spikes:
            spikes = counted(entry.frame_spikes, "spike")
            yield f"{title(entry.layer)}: {spikes} in time steps, and NONE spike by spike"
        if entry.saturated:
            yield _beyond(title(entry.layer), entry.saturated)
    for text in odd:
        yield f"{text}; whether the last row and column arrive is not documented: make it a multiple"
    for text in heavy:
        yield f"{text}: one arriving spike gives at most one spike"
    for load in loads:
        if load.is_over:
            share = load.synops_per_second / (load.bandwidth or 1)
            way_out = f"shrink layer {title(load.layer)}"
            yield f"core {load.core} is asked for {share:.1f} times its bandwidth: {way_out}"
    if loads and all(load.bandwidth is None for load in loads):
        yield "the chip's bandwidth is not published: SynOps/s are shown without a limit"
