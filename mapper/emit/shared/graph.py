"""What a configuration connects: cores, destinations, delays, and an order to compute them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from mapper.emit.shared.config import ChipConfig, CnnLayer
from mapper.emit.shared.interface import InputEntry
from mapper.errors import ConfigError, Finding

__all__ = ["ConfigGraph", "Link", "graph_findings", "graph_of"]


# Fields of a core that say nothing without its dimensions.
_OF_USED_CORES = (
    "weights",
    "biases",
    "neurons_initial_value",
    "threshold_high",
    "threshold_low",
    "weights_kill_bit",
    "biases_kill_bit",
    "neurons_value_kill_bit",
)


@dataclass(frozen=True, slots=True)
class Link:
    """Spikes of a core on their way to another.

    Attributes
    ----------
    pooling
        Size of the square sum pool, >= 1.
    feature_shift
        Added to the feature index on arrival.
    delay_steps
        Time steps on the way, 0 within the same step.
    slot
        Which of the source's destinations this is.
    """

    source: int
    target: int
    pooling: int
    feature_shift: int
    delay_steps: int
    slot: int = 0


@dataclass(frozen=True, slots=True)
class ConfigGraph:
    """The cores in use, in an order in which undelayed spikes arrive before they are needed.

    Attributes
    ----------
    entries
        By input name, the cores that take its events, and the (height, width) pool on the way. Inputs that
        share the sensor stage enter as one, by the name of the first.
    single_spike
        Cores whose neurons spike at most once a step.
    sensor_inputs
        Names of the inputs that enter through the sensor stage, whose events are the same.
    readout
        Cores that feed the readout stage.
    """

    order: tuple[int, ...]
    cores: Mapping[int, CnnLayer]
    links: tuple[Link, ...]
    entries: Mapping[str, tuple[tuple[InputEntry, ...], tuple[int, int]]]
    single_spike: frozenset[int]
    sensor_inputs: tuple[str, ...] = ()
    readout: tuple[int, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of all inputs."""
        return tuple(dict.fromkeys((*self.entries, *self.sensor_inputs)))

    def entry_name(self, name: str) -> str:
        """The name of `entries` under which an input enters."""
        return self.sensor_inputs[0] if name in self.sensor_inputs else name

    def arriving(self, core: int) -> tuple[Link, ...]:
        """Links that end at a core."""
        return tuple(link for link in self.links if link.target == core)

    def reachable(self) -> Mapping[int, set[int]]:
        """By core, every core its spikes can come to, itself only through a cycle."""
        return _reachable(self.links)


def graph_of(
    config: ChipConfig, input_cores: Mapping[str, int] | None = None, *, delays: bool = True
) -> ConfigGraph:
    """Read the graph of a configuration.

    Parameters
    ----------
    input_cores
        By input name the core its events enter, for a configuration without interface.
    delays
        Whether cores must have an order in which undelayed spikes arrive; spike by spike they need none.

    Raises
    ------
    ConfigError
        Destinations that lead nowhere, features or maps that do not follow, a cycle without delay.
    """
    findings = list(graph_findings(config))
    if findings:
        raise ConfigError(*findings)
    cores = _in_use(config)
    links = _delayed(config, tuple(_links(config, cores)))
    order = _order(cores, links) if delays else tuple(sorted(cores))
    layers = config.interface.layers if config.interface else ()
    single = {
        place.core
        for layer in layers
        if layer.spike_mode == "single"
        for place in layer.places
        if place.role != "relay"
    }
    entries = _entries(config, input_cores or {})
    sensor = ("dvs",) if config.interface is None else config.interface.sensor_inputs
    return ConfigGraph(
        order,
        cores,
        links,
        entries,
        frozenset(single),
        sensor if entries.keys() & set(sensor) else (),
        tuple(_readout_cores(config, cores)),
    )


def graph_findings(config: ChipConfig) -> Iterator[Finding]:
    """Fields of cores that do not follow from each other; without any, destinations that lead nowhere."""
    findings = [*_core_findings(config)]
    yield from findings
    if not findings:
        cores = _in_use(config)
        yield from _link_findings(cores, (link for _, link in _links(config, cores)))
        stage = config.hardware.dvs_layer
        for slot, entry in enumerate(stage.destinations if stage else ()):
            if entry.enable and entry.layer < len(config.hardware.cnn_layers) and entry.layer not in cores:
                where = f"dvs_layer: destinations[{slot}]"
                yield Finding(where, "leads to a core that is not configured", entry.layer)


def _in_use(config: ChipConfig) -> dict[int, CnnLayer]:
    return {n: core for n, core in enumerate(config.hardware.cnn_layers) if core.dimensions is not None}


def _readout_cores(config: ChipConfig, cores: Mapping[int, CnnLayer]) -> Iterator[int]:
    """Cores with a destination that is none of the cores: the readout stage, if there is one."""
    for number, core in cores.items():
        ids = {entry.layer for entry in core.destinations if entry.enable}
        if config.hardware.readout is not None and any(n >= len(config.hardware.cnn_layers) for n in ids):
            yield number


def _lacking(core: CnnLayer) -> str:
    """The fields that a configured core needs and does not have."""
    needed = ("weights", "biases", "neurons_initial_value", "threshold_high", "threshold_low")
    return ", ".join(name for name in needed if getattr(core, name) is None)


def _core_findings(config: ChipConfig) -> Iterator[Finding]:
    for number, core in enumerate(config.hardware.cnn_layers):
        where, shape = f"core {number}", core.dimensions
        if shape is None:
            given = [name for name in _OF_USED_CORES if getattr(core, name) is not None]
            if given:
                yield Finding(where, f"is not configured: it has {given[0]}, and no dimensions")
        elif (
            core.weights is None
            or core.biases is None
            or core.neurons_initial_value is None
            or core.threshold_high is None
            or core.threshold_low is None
        ):
            yield Finding(where, f"has dimensions, and lacks {_lacking(core)}")
        elif core.threshold_high < 1:
            yield Finding(
                where, "threshold_high: no neuron has such a threshold", core.threshold_high, ">= 1"
            )
        else:
            out, size = shape.output_shape.feature_count, shape.output_shape.size
            weights_shape = (out, shape.input_shape.feature_count, shape.kernel_size, shape.kernel_size)
            if core.weights.shape != weights_shape:
                yield Finding(where, "its weights have another shape", core.weights.shape, weights_shape)
            if core.neurons_initial_value.shape != (out, size.x, size.y) or core.biases.shape != (out,):
                yield Finding(where, "its biases or initial potentials have another shape")
            for bits, tensor in (
                (core.weights_kill_bit, core.weights),
                (core.biases_kill_bit, core.biases),
                (core.neurons_value_kill_bit, core.neurons_initial_value),
            ):
                if bits is not None and bits.shape != tensor.shape:
                    yield Finding(where, "its kill bits have another shape", bits.shape, tensor.shape)
            for axis in ("x", "y"):
                seen = getattr(shape.input_shape.size, axis) + 2 * getattr(shape.padding, axis)
                output_size = (seen - shape.kernel_size) // max(1, getattr(shape.stride, axis)) + 1
                if output_size != getattr(size, axis) or getattr(shape.stride, axis) < 1:
                    yield Finding(
                        where,
                        f"its output size along {axis} does not follow",
                        getattr(size, axis),
                        output_size,
                    )


def _links(config: ChipConfig, cores: Mapping[int, CnnLayer]) -> Iterator[tuple[int, Link]]:
    """(slot, link) of every enabled destination that is a core."""
    for number, core in cores.items():
        for slot, entry in enumerate(core.destinations):
            # Higher ids are stages around the cores, which a simulation of the cores ends at.
            if entry.enable and entry.layer < len(config.hardware.cnn_layers):
                yield slot, Link(number, entry.layer, entry.pooling, entry.feature_shift, 0, slot)


def _delayed(config: ChipConfig, links: Iterable[tuple[int, Link]]) -> tuple[Link, ...]:
    """Links with the delays of the interface; without one every link inside a cycle is delayed."""
    entries = tuple(links)
    if config.interface is None:
        reach = _reachable([link for _, link in entries])
        return tuple(
            Link(
                *_fields(link),
                int(link.source in reach.get(link.target, ()) or link.source == link.target),
                link.slot,
            )
            for _, link in entries
        )
    steps = {(core, slot): n for layer in config.interface.layers for core, slot, n in layer.delays}
    return tuple(Link(*_fields(link), steps.get((link.source, slot), 0), slot) for slot, link in entries)


def _fields(link: Link) -> tuple[int, int, int, int]:
    return link.source, link.target, link.pooling, link.feature_shift


def _reachable(links: Iterable[Link]) -> dict[int, set[int]]:
    """By core, every core its spikes can come to."""
    after: dict[int, set[int]] = {}
    for link in links:
        after.setdefault(link.source, set()).add(link.target)
    reach = {core: set(targets) for core, targets in after.items()}
    changed = True
    while changed:
        changed = False
        for targets in reach.values():
            more = {far for near in targets for far in reach.get(near, ())} - targets
            targets.update(more)
            changed = changed or bool(more)
    return reach


def _link_findings(cores: Mapping[int, CnnLayer], links: Iterable[Link]) -> Iterator[Finding]:
    for link in links:
        where = f"destination of core {link.source}"
        if link.target not in cores:
            yield Finding(where, "leads to a core that is not configured", link.target)
            continue
        source, target = cores[link.source].dimensions, cores[link.target].dimensions
        if source is None or target is None:
            continue
        width = link.feature_shift + source.output_shape.feature_count
        if link.feature_shift < 0 or width > target.input_shape.feature_count:
            yield Finding(
                where, "features beyond the target's input", width, target.input_shape.feature_count
            )
        sent_map = (source.output_shape.size.y // link.pooling, source.output_shape.size.x // link.pooling)
        read_map = (target.input_shape.size.y, target.input_shape.size.x)
        if sent_map != read_map:
            yield Finding(where, f"its map is not that of core {link.target}", sent_map, read_map)


def _order(cores: Mapping[int, CnnLayer], links: Iterable[Link]) -> tuple[int, ...]:
    before: dict[int, set[int]] = {core: set() for core in cores}
    for link in links:
        if not link.delay_steps:
            before[link.target].add(link.source)
    try:
        return tuple(TopologicalSorter(before).static_order())
    except CycleError as error:
        ring = " -> ".join(map(str, error.args[1]))
        raise ConfigError(Finding(f"cores {ring}", "form a cycle without a delay")) from None


def _entries(
    config: ChipConfig, input_cores: Mapping[str, int]
) -> dict[str, tuple[tuple[InputEntry, ...], tuple[int, int]]]:
    stage, interface = config.hardware.dvs_layer, config.interface
    sensor = tuple(InputEntry(core=e.layer) for e in stage.destinations if e.enable) if stage else ()
    pooling = stage.output_pooling if stage else (1, 1)
    if interface is None:
        entries: dict[str, tuple[tuple[InputEntry, ...], tuple[int, int]]] = {
            name: ((InputEntry(core=core),), (1, 1)) for name, core in input_cores.items()
        }
        return entries | ({"dvs": (sensor, pooling)} if sensor else {})
    return {
        entry.name: (entry.entries, (1, 1)) if entry.source == "host" else (sensor, pooling)
        for entry in interface.inputs
        if entry.source == "host" or entry.name == interface.sensor_inputs[0]
    }
