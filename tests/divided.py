"""Random valid placements with pieces, copies and relays, made without the solver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import Edge, Input, Network
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair
from mapper.options import SolveOptions, resolve
from mapper.passes import prepare
from mapper.passes.legalize import legal_forms
from mapper.reasons import Status
from mapper.references import natural_key
from mapper.result import Result, Statistics
from mapper.solution import (
    DVS,
    DvsStage,
    HostEntry,
    LayerPart,
    Monitor,
    Placement,
    Relay,
    Route,
    Solution,
)
from mapper.verify import verify

__all__ = ["Moves", "big_chip", "divided", "plain"]

HOST: Literal["host"] = "host"
# Where spikes come from: a core, the sensor stage, or the host.
_Source: TypeAlias = int | Literal["dvs", "host"]


def big_chip(name: str = "speck2f") -> ChipSpec:
    """Many cores with room for everything, and many destinations."""
    base = load(name)
    sizes = ["kernel_words=1000000", "neuron_words=1000000", "bias_words=4096", "fan_out=40"]
    overrides = ["+core[9..120]=core[3]", *(f"core[0..120].{size}" for size in sizes)]
    overrides += ["core[0..1].parallel=false"] if base.cores[0].parallel else []
    # A variant of so many cores is nothing samna knows; what the cores of the family have is kept here.
    chip = load(name, [*overrides, "input.fan_out=40"])
    emission = base.emission and base.emission.model_copy(update={"destination_id_max": chip.core_count - 1})
    return chip.model_copy(update={"emission": emission})


@dataclass(frozen=True)
class Moves:
    """Which of them a placement may have, and whether destinations stand in canonical order.

    With relays, layers stand in any of their legal forms, behind any setting of the sensor stage.
    """

    pieces: bool = True
    copies: bool = True
    relays: bool = True
    is_canonical: bool = True


@dataclass(frozen=True)
class _Signal:
    """What is read: a layer, an input of the host, or the sensor, which is of no one network."""

    network: int | None
    name: str
    features: int


@dataclass(frozen=True)
class _Piece:
    """Features [start, stop) of a signal where they leave a core, the sensor stage or the host."""

    source: _Source
    start: int
    stop: int


@dataclass(frozen=True)
class _Consumer:
    """A core that reads a signal pooled and shifted; none for a relay that a monitor shows."""

    core: int | None
    pooling: int
    offset: int


@dataclass
class _Maker:
    """The placement so far; `parts` are the pieces by (network, layer, copy)."""

    networks: tuple[NormalNetwork, ...]
    stage: Pair
    draw: np.random.Generator
    moves: Moves
    free: list[int]
    parts: dict[tuple[int, str, int], list[_Piece]] = field(default_factory=dict)
    placements: list[Placement] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    entries: list[HostEntry] = field(default_factory=list)
    monitors: list[Monitor] = field(default_factory=list)
    slots: Counter[int | str] = field(default_factory=Counter)

    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def body(self, body: LayerPart | Relay, span: tuple[int, int]) -> int:
        core = self.free.pop()
        self.placements.append(Placement(core, body, span))
        return core

    def spans(self, count: int, least: int, most: int) -> list[tuple[int, int]]:
        """0..count, cut anywhere into at least and at most so many."""
        number = int(self.draw.integers(least, min(most, count) + 1))
        cuts = sorted(self.draw.choice(np.arange(1, count), number - 1, replace=False).tolist())
        return list(pairwise([0, *cuts, count]))

    def copy(self, number: int, layer: str, copy: int) -> list[_Piece]:
        """A layer, whole or cut anywhere."""
        features = self.networks[number].by_name[layer].output_shape.features
        body = LayerPart(number, layer, copy)
        spans = self.spans(features, 1, 4 if self.moves.pieces else 1)
        return [_Piece(self.body(body, span), *span) for span in spans]

    def route(self, signal: _Signal, piece: _Piece, core: int, pooling: int, shift: int) -> None:
        if piece.source == HOST:
            assert signal.network is not None
            self.entries.append(HostEntry(signal.network, signal.name, core, shift))
            return
        self.routes.append(Route(piece.source, self.slots[piece.source], core, pooling, shift))
        self.slots[piece.source] += 1

    def relays(self, signal: _Signal, sources: Sequence[_Piece], seen: int, hop: int) -> list[_Piece]:
        """Relays of runs of the pieces, or of features that each of them picks from all that there are."""
        body = Relay(signal.network, signal.name, seen * hop)
        if signal.features > 1 and self.chance(0.3):
            cuts = self.spans(signal.features, 2, 3)
            picking = [_Piece(self.body(replace(body, reads_all=True), span), *span) for span in cuts]
            for piece in sources:
                for relay in picking:
                    self.route(signal, piece, _core(relay), hop, piece.start)
            return picking
        relays = []
        for first, last in self.spans(len(sources), 1, len(sources)):
            run = sources[first:last]
            span = run[0].start, run[-1].stop
            relays.append(_Piece(self.body(body, span), *span))
            for piece in run:
                self.route(signal, piece, _core(relays[-1]), hop, piece.start - span[0])
        return relays

    def attach(
        self, signal: _Signal, sources: Sequence[_Piece], seen: int, consumers: Sequence[_Consumer]
    ) -> None:
        """Connect consumers in order, one by one or runs of them through relays."""
        left, source = list(consumers), sources[0].source
        while left:
            one, rest = left[0], left[0].pooling // seen
            is_direct = one.core is not None and _reaches(source, rest, one.offset)
            if one.core is not None and is_direct and not (self.moves.relays and self.chance(0.35)):
                del left[0]
                for piece in sources:
                    self.route(signal, piece, one.core, rest, one.offset + piece.start)
                continue
            # What a core cannot reach is pooled as far as possible, or relays would follow without end.
            count = int(self.draw.integers(1, len(left) + 1)) if is_direct or source in (DVS, HOST) else 1
            run, left = left[:count], left[count:]
            common = int(np.gcd.reduce([entry.pooling // seen for entry in run]))
            hops = [n for n in (1, 2, 4) if common % n == 0 and (n == 1 or source not in (DVS, HOST))]
            hop = int(self.draw.choice(hops)) if is_direct else hops[-1]
            relays, pooling = self.relays(signal, sources, seen, hop), seen * hop
            if _Consumer(None, pooling, 0) in run:
                assert signal.network is not None
                self.monitors += [
                    Monitor(_core(piece), signal.network, signal.name, (piece.start, piece.stop), pooling)
                    for piece in relays
                ]
                run.remove(_Consumer(None, pooling, 0))
            self.attach(signal, relays, pooling, run)

    def consumers(self, number: int, signal: str) -> list[_Consumer]:
        """In canonical order, or in none."""
        network = self.networks[number]
        sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
        keyed, seen = [], Counter[tuple[str, int, int, int]]()
        for edge in network.outgoing[signal]:
            pooling = _pooling(edge, self.stage if signal in sensors else (1, 1))
            # Of equal edges each reaches all pieces before the next one does.
            alike = (edge.target, pooling, edge.feature_offset, edge.delay_steps)
            time, seen[alike] = seen[alike], seen[alike] + 1
            for copy in (0, 1):
                for piece in self.parts.get((number, edge.target, copy), ()):
                    key = (natural_key(edge.target), pooling, edge.feature_offset, time, copy, piece.start)
                    keyed.append((key, _Consumer(_core(piece), pooling, edge.feature_offset)))
        keyed.sort(key=lambda entry: entry[0])
        consumers = [consumer for _, consumer in keyed]
        if not self.moves.is_canonical:
            self.draw.shuffle(consumers)
        return consumers


def _core(piece: _Piece) -> int:
    assert isinstance(piece.source, int)
    return piece.source


def _reaches(source: _Source, pooling: int, offset: int) -> bool:
    """Whether a destination does this alone: the stage neither pools nor shifts, the host only shifts."""
    if source in (DVS, HOST):
        return pooling == 1 and (source == HOST or offset == 0)
    return pooling <= 4


def _pooling(edge: Edge, before: Pair) -> int:
    """What is left of an edge's pool behind what was pooled before."""
    size = edge.pool.size if edge.pool else (1, 1)
    return size[0] // before[0]


def divided(
    networks: Sequence[Network], chip: ChipSpec, draw: np.random.Generator, moves: Moves | None = None
) -> Result:
    """A random valid placement of integer networks on a chip of `big_chip`."""
    moves = moves or Moves()
    ready, stage = _written(networks, chip, draw, moves)
    pooled_outputs: Literal["relay", "host"] = "relay" if moves.relays and draw.random() < 0.5 else "host"
    options = resolve(SolveOptions(pooled_outputs=pooled_outputs), ready, chip)
    maker = _Maker(ready, stage, draw, moves, draw.permutation(chip.core_count).tolist())
    for number, network in enumerate(ready):
        for layer in network.layers:
            for copy in range(1 + (moves.copies and maker.chance(0.3))):
                maker.parts[number, layer.name, copy] = maker.copy(number, layer.name, copy)
    sensors = [(n, entry) for n, net in enumerate(ready) for entry in net.inputs if entry.dvs is not None]
    if sensors:
        signal = _Signal(None, DVS, sensors[0][1].shape.features)
        readers = [one for n, entry in sensors for one in maker.consumers(n, entry.name)]
        maker.attach(signal, [_Piece(DVS, 0, signal.features)], 1, readers)
    for number in range(len(ready)):
        _connect(maker, number, options)
    solution = Solution(
        tuple(maker.placements),
        tuple(maker.routes),
        tuple(maker.entries),
        tuple(maker.monitors),
        _stage(sensors[0][1], stage) if sensors else None,
    )
    violations = verify(ready, chip, options, solution)
    assert violations == (), "; ".join(map(str, violations))
    return Result(Status.FEASIBLE, ready, chip, options, solution, None, Statistics(0.0, 0.0, 0, 0, 0))


def plain(networks: Sequence[Network], chip: ChipSpec) -> Result:
    """One whole layer per core, destinations in canonical order."""
    moves = Moves(pieces=False, copies=False, relays=False)
    return divided(networks, chip, np.random.default_rng(0), moves)


def _written(
    networks: Sequence[Network], chip: ChipSpec, draw: np.random.Generator, moves: Moves
) -> tuple[tuple[NormalNetwork, ...], Pair]:
    """Legal forms of the networks, and the sensor stage's pooling that they have in common."""
    relays = moves.relays
    rows = [
        {forms.stage: forms for forms in legal_forms(prepare(n), chip, relays=relays, shared_stage=relays)}
        for n in networks
    ]
    sensing = [row for row in rows if None not in row]
    stages = [stage for stage in sensing[0] if all(stage in row for row in sensing)] if sensing else [None]
    stage = stages[int(draw.integers(len(stages))) if relays else 0]
    ready = []
    for row in rows:
        forms = row[None] if None in row else row[stage]
        counts = {name: len(choices) for name, choices in forms.layers.items()}
        ready.append(
            forms.network({name: int(draw.integers(n)) if relays else 0 for name, n in counts.items()})
        )
    return tuple(ready), stage or (1, 1)


def _connect(maker: _Maker, number: int, options: SolveOptions) -> None:
    """What the host sends and what layers send, and the monitors."""
    network = maker.networks[number]
    for entry in network.inputs:
        if entry.dvs is None:
            signal = _Signal(number, entry.name, entry.shape.features)
            sources = [_Piece(HOST, 0, signal.features)]
            maker.attach(signal, sources, 1, maker.consumers(number, entry.name))
    for layer in network.layers:
        shown = sorted(
            {
                output.path[0].size[0] if output.path and options.pooled_outputs == "relay" else 1  # type: ignore[union-attr]  # a pool
                for output in network.outputs
                if output.source == layer.name
            }
        )
        if 1 in shown:
            maker.monitors += [
                Monitor(_core(piece), number, layer.name, (piece.start, piece.stop))
                for piece in maker.parts[number, layer.name, 0]
            ]
        signal = _Signal(number, layer.name, layer.output_shape.features)
        consumers = maker.consumers(number, layer.name)
        choices = [copy for copy in (0, 1) if (number, layer.name, copy) in maker.parts]
        chosen = [int(maker.draw.choice(choices)) for _ in consumers]
        for copy in choices:
            own = [one for one, where in zip(consumers, chosen, strict=True) if where == copy]
            own += [_Consumer(None, size, 0) for size in shown if size > 1 and copy == 0]
            maker.attach(signal, maker.parts[number, layer.name, copy], 1, own)


def _stage(entry: Input, pooling: Pair) -> DvsStage:
    """The setting of the sensor stage that all its inputs share."""
    dvs, (py, px) = entry.dvs, pooling
    assert dvs is not None
    (oy, ox), shape = dvs.origin, entry.shape
    cut = (oy + shape.height // py - 1, ox + shape.width // px - 1)
    gates = (dvs.on_channel, dvs.off_channel)
    return DvsStage(shape.features == 1, pooling, dvs.origin, cut, dvs.mirror, dvs.swap_axes, gates)
