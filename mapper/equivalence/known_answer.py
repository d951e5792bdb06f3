"""A small test that a board can be asked: events in, counts expected, whatever the order of spikes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from hwspec.schema import ChipSpec
from mapper.arguments import checked
from mapper.emit.shared.config import ChipConfig, CnnLayer
from mapper.emit.shared.interface import Interface, InterfaceLayer, LayerPlace
from mapper.emit.shared.tensor import Tensor, json_pieces
from mapper.equivalence.sensitivity import layer_shapes, run_orders
from mapper.errors import ConfigError, Finding, OptionsError
from mapper.events import EVENT_DTYPE, Events
from mapper.sim.event import EventOptions, EventResult
from mapper.sim.stages import sensor_events
from mapper.wording import join_names

__all__ = ["AnswerInput", "KnownAnswer", "answer_or_reason", "derived", "known_answer"]

Times = NDArray[np.int64]
Neurons = NDArray[np.int64]
# Of the first recording. Halved where a cycle does not come to rest.
_LENGTH, _LENGTH_MIN = 512, 4
# (events, share of them around one place): tried in turn where a core stays silent.
_HARDER = tuple((length, focus) for length in (1024, 2048, 4096, 8192) for focus in (0.5, 0.9, 0.0))
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
    digest = hashlib.sha256()
    for piece in json_pieces(config.hardware):
        digest.update(piece.encode())
    return digest.hexdigest()


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


@checked
def known_answer(config: ChipConfig, chip: ChipSpec, seed: int = 0) -> KnownAnswer | None:
    """As `answer_or_reason`; None where there is no answer.

    Raises
    ------
    OptionsError
        A negative seed.
    """
    if seed < 0:
        raise OptionsError(Finding("seed", "must not be negative", seed, ">= 0"))
    answer = answer_or_reason(config, chip, seed)
    return None if isinstance(answer, str) else answer


def answer_or_reason(config: ChipConfig, chip: ChipSpec, seed: int = 0) -> KnownAnswer | str:
    """A known-answer test in which every core spikes, or the reason why there is none, as a clause.

    Of a random recording of spaced events as many from the first on are taken as leave every core's counts
    the same depth first, breadth first and in three random orders, once every core has spiked; if there are
    none, all of them, with an interval per neuron. Where cores stay silent, more events come, and closer
    together on the map.
    """
    interface = config.interface
    if interface is None or not interface.inputs:
        return "the configuration names no inputs"
    tested = _by_core(derived(config), interface)
    best: _Asked | None = None
    lengths = [_LENGTH >> n for n in range(_LENGTH.bit_length()) if _LENGTH >> n >= _LENGTH_MIN]
    for length, focus in (*((length, 0.5) for length in lengths), *_HARDER):
        if best is not None and (not best.silent or length < _LENGTH):
            continue
        asked = _asked(tested, _questions(interface, length, seed, focus))
        if asked is not None and (best is None or len(asked.silent) < len(best.silent)):
            best = asked
    if best is None:
        return "a cycle of the network never comes to rest"
    if best.silent:
        return _unanswered(tested, interface, best.silent)
    rows_by_core = {core: _rows(by_order) for core, by_order in best.counts.items()}
    text = json.dumps({str(core): rows for core, rows in sorted(rows_by_core.items())})
    return KnownAnswer(
        chip=config.chip,
        config_hash=_config_hash(config),
        is_exact=all(row[3] == row[4] for rows in rows_by_core.values() for row in rows),
        inputs=tuple(_answer_inputs(config, interface, best.recordings)),
        counts=rows_by_core,
        parallel_cores=tuple(n for n, core in enumerate(chip.cores) if core.parallel and n in rows_by_core),
        answer_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


@dataclass(frozen=True)
class _Asked:
    """Events, each core's counts of them (orders, features, height, width), and cores that are silent."""

    recordings: dict[str, Events]
    counts: dict[int, NDArray[np.int64]]
    silent: tuple[int, ...]


def _asked(config: ChipConfig, recordings: dict[str, Events]) -> _Asked | None:
    """As many of the events, from the first on, as no order changes a count of; None if no run ends."""
    shapes, runs = layer_shapes(config), dict[int, EventResult]()
    try:
        run_orders(config, recordings, EventOptions(spike_limit=_SPIKES_MAX), runs.__setitem__)
    except ConfigError:
        return None
    times = np.sort(np.concatenate([events["t"] for events in recordings.values()]))
    # By core and order, when a neuron spiked, and which.
    spikes = {
        int(name): [
            (one["t"], np.ravel_multi_index((one["p"], one["y"], one["x"]), shape))
            for one in (runs[n].layers[name] for n in range(len(runs)))
        ]
        for name, shape in shapes.items()
    }
    silent = tuple(
        core for core, by_order in spikes.items() if not all(len(spiked) for spiked, _ in by_order)
    )
    end = times[-1] if silent else times[_length(times, spikes) - 1]
    counts = {
        core: np.stack(
            [
                np.bincount(who[spiked <= end], minlength=math.prod(shapes[str(core)]))
                for spiked, who in by_order
            ]
        )
        for core, by_order in spikes.items()
    }
    return _Asked(
        {name: events[events["t"] <= end] for name, events in recordings.items()},
        {core: by_order.reshape(len(runs), *shapes[str(core)]) for core, by_order in counts.items()},
        silent,
    )


def _length(times: Times, spikes: Mapping[int, Sequence[tuple[Times, Neurons]]]) -> int:
    """The most events after which every core has spiked and no order changes a count; all, if there are none.

    Parameters
    ----------
    times
        Of the events, ascending; spikes have the time of the event that caused them.
    spikes
        By core and order, each spike's time and neuron.
    """
    loud = max(spiked[0] for by_order in spikes.values() for spiked, _ in by_order)
    # Grows where a neuron's count begins to differ, falls where it is the same again.
    steps = np.zeros(len(times) + 1, np.int64)
    for (first, first_who), *others in spikes.values():
        for other, other_who in others:
            spiked, who = np.concatenate([first, other]), np.concatenate([first_who, other_who])
            signs = np.repeat([1, -1], [len(first), len(other)])
            order = np.lexsort((spiked, who))
            spiked, who = spiked[order], who[order]
            ends = np.append(who[1:] != who[:-1], True)
            total = signs[order].cumsum()
            begins = np.flatnonzero(np.append(True, ends[:-1]))
            before = np.concatenate([[0], total[ends][:-1]])
            difference = total - np.repeat(before, np.diff(np.append(begins, len(who))))
            until = np.where(ends, len(times), np.searchsorted(times, np.roll(spiked, -1)))
            differing = difference != 0
            np.add.at(steps, np.searchsorted(times, spiked[differing]), 1)
            np.add.at(steps, until[differing], -1)
    same = (steps[:-1].cumsum() == 0) & (times >= loud)
    return int(np.flatnonzero(same)[-1]) + 1 if same.any() else len(times)


def _unanswered(config: ChipConfig, interface: Interface, silent: Sequence[int]) -> str:
    """Who stays silent, and why where that is certain."""
    names = []
    for core in silent:
        weights = config.hardware.cnn_layers[core].weights
        is_mute = weights is not None and not (weights.array > 0).any()
        why = ", which has no weight above 0" if is_mute else ""
        names.append(f"{interface.owners.get(core, 'a relay')} (core {core}{why})")
    most = max(length for length, _ in _HARDER)
    return f"no events make {join_names(names)} spike, up to {most} of them without biases"


def _questions(interface: Interface, length: int, seed: int, focus: float) -> dict[str, Events]:
    """By input, spaced events: inputs take turns, and the sensor's events reach all that it feeds."""
    host = [entry for entry in interface.inputs if entry.source == "host"]
    sensors = [entry for entry in interface.inputs if entry.source == "dvs"]
    turns = len(host) + bool(sensors)
    recordings = {}
    for n, entry in enumerate(host):
        recordings[entry.name] = _random_events(entry.shape, length, seed + n, (n, turns), focus)
    # The stage sends the same events to all that read it: one input stands for them.
    for entry in sensors[:1]:
        turn = (len(host), turns)
        recordings[entry.name] = _random_events(entry.shape, length, seed + len(host), turn, focus)
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


def _random_events(
    shape: tuple[int, int, int], length: int, seed: int, turns: tuple[int, int], focus: float
) -> Events:
    """Spaced events, a share of them around one place, so that they add up and reach deep layers."""
    draw, (turn, of) = np.random.default_rng(seed), turns
    events: Events = np.zeros(length, EVENT_DTYPE)
    events["t"] = _START_US + _SPACING_US * (of * np.arange(length) + turn)
    for name, side in zip(("p", "y", "x"), shape, strict=True):
        anywhere = draw.integers(0, side, length)
        near = draw.integers(0, max(1, min(side, 4)), length) + (side - min(side, 4)) // 2
        events[name] = np.where(draw.random(length) >= focus, anywhere, near)
    return events


def _rows(counts: Any) -> tuple[tuple[int, int, int, int, int], ...]:
    least, most = counts.min(0), counts.max(0)
    return tuple(
        (int(f), int(y), int(x), int(least[f, y, x]), int(most[f, y, x])) for f, y, x in np.argwhere(most > 0)
    )
