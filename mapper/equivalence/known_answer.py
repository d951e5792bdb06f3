"""A small test that a board can be asked: events in, counts expected, whatever the order of spikes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from hwspec.schema import ChipSpec
from mapper.emit.shared.config import ChipConfig, CnnLayer
from mapper.emit.shared.interface import Interface, InterfaceLayer, LayerPlace
from mapper.emit.shared.tensor import Tensor
from mapper.equivalence.sensitivity import count_ranges, layer_shapes
from mapper.errors import ConfigError
from mapper.events import EVENT_DTYPE, Events
from mapper.sim.event import EventOptions
from mapper.sim.stages import sensor_events

__all__ = ["AnswerInput", "KnownAnswer", "derived", "known_answer"]

# Tried from the longest on: the first whose counts no order changes is taken.
_LENGTHS = (512, 256, 128, 64, 32, 16, 8, 4)
_SPACING_US = 1000
# A cycle may never come to rest; such a test would be none.
_SPIKES_MAX = 100_000
# Some boards start the timestamps' clock before all events are written (HARDWARE.md, errata 9).
_START_US = 100_000


class AnswerInput(BaseModel):
    """An input that is asked.

    Attributes
    ----------
    source
        "host": events go to the input's entries; "dvs": to the sensor stage.
    events
        (time in µs, feature, row, column), ascending; of the sensor stage as the sensor gives them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: Literal["host", "dvs"]
    events: tuple[tuple[int, int, int, int], ...]


class KnownAnswer(BaseModel):
    """Events, and the spikes that follow on the configuration that `derived` gives.

    Attributes
    ----------
    config_hash
        SHA-256 of the configuration's hardware, as JSON without blanks.
    is_exact
        Whether every order that was tried gave the same counts.
    inputs
        What is put in; of networks that share the sensor stage one input stands for all.
    counts
        By core, pieces, copies and relays too, (feature, row, column, least, most) of neurons that spike.
    parallel_cores
        Cores that compute side by side: only their totals are compared.
    answer_hash
        SHA-256 of `counts`, as JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    chip: str
    config_hash: str
    is_exact: bool
    inputs: tuple[AnswerInput, ...]
    counts: dict[int, tuple[tuple[int, int, int, int, int], ...]]
    parallel_cores: tuple[int, ...]
    answer_hash: str


def _config_hash(config: ChipConfig) -> str:
    text = config.hardware.model_dump_json(exclude_none=True)
    return hashlib.sha256(text.encode()).hexdigest()


def derived(config: ChipConfig) -> ChipConfig:
    """The configuration under test: sensor, biases and decimators off, potentials 0, every core monitored."""
    hardware = config.hardware
    cores = tuple(_under_test(core) for core in hardware.cnn_layers)
    changes: dict[str, Any] = {"cnn_layers": cores}
    if hardware.dvs_layer is not None:
        changes["dvs_layer"] = hardware.dvs_layer.model_copy(update={"pass_sensor_events": False})
    if hardware.dvs_filter is not None:
        changes["dvs_filter"] = hardware.dvs_filter.model_copy(update={"enable": False})
    return config.model_copy(update={"hardware": hardware.model_copy(update=changes)})


def _under_test(core: CnnLayer) -> CnnLayer:
    if core.neurons_initial_value is None:
        return core
    zeros = Tensor.of(np.zeros(core.neurons_initial_value.shape, np.int64))
    changes: dict[str, Any] = {"leak_enable": False, "monitor_enable": True, "neurons_initial_value": zeros}
    for name in ("output_decimator_enable", "input_congestion_balancer_enable"):
        if getattr(core, name) is not None:
            changes[name] = False
    return core.model_copy(update=changes)


def known_answer(config: ChipConfig, chip: ChipSpec, seed: int = 0) -> KnownAnswer | None:
    """A known-answer test; None without interface, or where a cycle never rests.

    The longest random recording of spaced events is taken whose counts are the same depth first, breadth
    first and in three random orders; if there is none, the shortest one with an interval per neuron.
    """
    interface = config.interface
    if interface is None:
        return None
    tested = _by_core(derived(config), interface)
    shapes = layer_shapes(tested)
    counts: dict[str, Any] = {}
    recordings: dict[str, Events] = {}
    for length in _LENGTHS:
        spaced = _questions(interface, length, seed)
        try:
            counts = count_ranges(tested, spaced, shapes, EventOptions(spike_limit=_SPIKES_MAX))
        except ConfigError:
            continue
        recordings = spaced
        if all((by_order == by_order[0]).all() for by_order in counts.values()):
            break
    if not counts:
        return None
    rows_by_core = {int(core): _rows(by_order) for core, by_order in counts.items()}
    text = json.dumps({str(core): rows for core, rows in sorted(rows_by_core.items())})
    return KnownAnswer(
        chip=config.chip,
        config_hash=_config_hash(config),
        is_exact=all(row[3] == row[4] for rows in rows_by_core.values() for row in rows),
        inputs=tuple(_answer_inputs(config, interface, recordings)),
        counts=rows_by_core,
        parallel_cores=tuple(n for n, core in enumerate(chip.cores) if core.parallel and n in rows_by_core),
        answer_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


def _questions(interface: Interface, length: int, seed: int) -> dict[str, Events]:
    """By input, spaced events: inputs take turns, and the sensor's events reach all that it feeds."""
    host = [entry for entry in interface.inputs if entry.source == "host"]
    sensors = [entry for entry in interface.inputs if entry.source == "dvs"]
    turns = len(host) + bool(sensors)
    recordings = {}
    for n, entry in enumerate(host):
        recordings[entry.name] = _random_events(entry.shape, length, seed + n, n, turns)
    # The stage sends the same events to all that read it: one input stands for them.
    for entry in sensors[:1]:
        recordings[entry.name] = _random_events(entry.shape, length, seed + len(host), len(host), turns)
    return recordings


def _answer_inputs(
    config: ChipConfig, interface: Interface, recordings: dict[str, Events]
) -> Iterator[AnswerInput]:
    stage = config.hardware.dvs_layer
    for entry in interface.inputs:
        if entry.name not in recordings:
            continue
        events = recordings[entry.name]
        if entry.source == "dvs" and stage is not None:
            events = sensor_events(events, stage)
        rows = tuple((int(t), int(p), int(y), int(x)) for t, p, y, x in events.tolist())
        yield AnswerInput(name=entry.name, source=entry.source, events=rows)


def _by_core(config: ChipConfig, interface: Interface) -> ChipConfig:
    """The configuration with every core as a layer of its own: pieces, copies and relays are seen apart."""
    cores = enumerate(config.hardware.cnn_layers)
    layers = tuple(
        InterfaceLayer(
            name=str(n),
            places=(LayerPlace(core=n, start=0, stop=core.dimensions.output_shape.feature_count),),
        )
        for n, core in cores
        if core.dimensions is not None
    )
    changes = {"layers": layers, "outputs": (), "monitored": (), "origins": None}
    return config.model_copy(update={"interface": interface.model_copy(update=changes)})


def _random_events(shape: tuple[int, int, int], length: int, seed: int, turn: int, turns: int) -> Events:
    """Spaced events, half of them around one place, so that they add up and reach deep layers."""
    draw = np.random.default_rng(seed)
    events: Events = np.zeros(length, EVENT_DTYPE)
    events["t"] = _START_US + _SPACING_US * (turns * np.arange(length) + turn)
    for name, side in zip(("p", "y", "x"), shape, strict=True):
        anywhere = draw.integers(0, side, length)
        near = draw.integers(0, max(1, min(side, 4)), length) + (side - min(side, 4)) // 2
        events[name] = np.where(draw.integers(0, 2, length) > 0, anywhere, near)
    return events


def _rows(counts: Any) -> tuple[tuple[int, int, int, int, int], ...]:
    least, most = counts.min(0), counts.max(0)
    return tuple(
        (int(f), int(y), int(x), int(least[f, y, x]), int(most[f, y, x])) for f, y, x in np.argwhere(most > 0)
    )
