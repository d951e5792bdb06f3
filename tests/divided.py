"""Random valid placements with pieces, copies and relays, made without the solver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions, resolve
from mapper.passes import prepare
from mapper.passes.legalize import legalize
from mapper.references import natural_key
from mapper.result import Result, Statistics, Status
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
    """Which of them a placement may have, and whether destinations stand in canonical order."""

    pieces: bool = True
    copies: bool = True
    relays: bool = True
    is_canonical: bool = True


@dataclass(frozen=True)
class _Piece:
    core: int
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
    """The placement so far."""

    networks: tuple[NormalNetwork, ...]
    draw: np.random.Generator
    moves: Moves
    free: list[int]
    placements: list[Placement] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    entries: list[HostEntry] = field(default_factory=list)
    monitors: list[Monitor] = field(default_factory=list)
    slots: Counter[int | str] = field(default_factory=Counter)

    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def body(self, body: LayerPart | Relay, start: int, stop: int) -> _Piece:
        core = self.free.pop()
        self.placements.append(Placement(core, body, (start, stop)))
        return _Piece(core, start, stop)

    def copy(self, number: int, layer: str, copy: int) -> list[_Piece]:
        """A layer, whole or cut anywhere."""
        features = self.networks[number].by_name[layer].output_shape.features
        most = min(4, features) if self.moves.pieces else 1
        count = int(self.draw.integers(1, most + 1))
        cuts = sorted(self.draw.choice(np.arange(1, features), count - 1, replace=False).tolist())
        spans = zip([0, *cuts], [*cuts, features], strict=True)
        return [self.body(LayerPart(number, layer, copy), start, stop) for start, stop in spans]

    def route(self, source: int | str, core: int, pooling: int, shift: int) -> None:
        self.routes.append(Route(source, self.slots[source], core, pooling, shift))  # type: ignore[arg-type]  # core id or DVS
        self.slots[source] += 1

    def relays(self, sources: list[_Piece], number: int, signal: str, seen: int, hop: int) -> list[_Piece]:
        """One relay of the whole signal, or one of each piece."""
        features = self.networks[number].signal_shapes[signal].features
        body = Relay(number, signal, seen * hop)
        if self.chance(0.6):
            relay = self.body(body, 0, features)
            for piece in sources:
                self.route(piece.core, relay.core, hop, piece.start)
            return [relay]
        made = []
        for piece in sources:
            made.append(self.body(body, piece.start, piece.stop))
            self.route(piece.core, made[-1].core, hop, 0)
        return made

    def attach(
        self, sources: list[_Piece], number: int, signal: str, seen: int, consumers: Sequence[_Consumer]
    ) -> None:
        """Connect consumers in order, runs of them through relays."""
        left = list(consumers)
        while left:
            run = left[: int(self.draw.integers(1, len(left) + 1))]
            hop = int(np.gcd.reduce([one.pooling // seen for one in run]))
            must = any(one.core is None or one.pooling // seen > 4 for one in run)
            if must:
                run = left[:1]
                hop = min(4, run[0].pooling // seen)
            is_relayed = must or (self.moves.relays and self.chance(0.35))
            if not is_relayed:
                one = left.pop(0)
                for piece in sources:
                    self.route(piece.core, _known(one.core), one.pooling // seen, one.offset + piece.start)
                continue
            left = left[len(run) :]
            hop = int(self.draw.choice([n for n in (1, 2, 4) if hop % n == 0])) if not must else hop
            made = self.relays(sources, number, signal, seen, hop)
            if run[0].core is None and run[0].pooling == seen * hop:
                self.monitors += [
                    Monitor(piece.core, number, signal, (piece.start, piece.stop), seen * hop)
                    for piece in made
                ]
                run = run[1:]
            self.attach(made, number, signal, seen * hop, run)

    def consumers(
        self, number: int, signal: str, parts: dict[tuple[str, int], list[_Piece]]
    ) -> list[_Consumer]:
        """In canonical order, or in none."""
        network = self.networks[number]
        sensors = {entry.name for entry in network.inputs if entry.dvs is not None}
        found, seen = [], Counter[tuple[str, int, int, int]]()
        for edge in network.outgoing[signal]:
            pooling = edge.pool.size[0] if edge.pool and signal not in sensors else 1
            # Of equal edges each reaches all pieces before the next one does.
            alike = (edge.target, pooling, edge.feature_offset, edge.delay_steps)
            time, seen[alike] = seen[alike], seen[alike] + 1
            for copy in (0, 1):
                for piece in parts.get((edge.target, copy), ()):
                    key = (natural_key(edge.target), pooling, edge.feature_offset, time, copy, piece.start)
                    found.append((key, _Consumer(piece.core, pooling, edge.feature_offset)))
        found.sort(key=lambda entry: entry[0])
        made = [consumer for _, consumer in found]
        if not self.moves.is_canonical:
            self.draw.shuffle(made)
        return made


def _known(core: int | None) -> int:
    assert core is not None
    return core


def divided(
    networks: Sequence[Network], chip: ChipSpec, draw: np.random.Generator, moves: Moves | None = None
) -> Result:
    """A random valid placement of integer networks on a chip of `big_chip`."""
    ready = tuple(legalize(prepare(network), chip) for network in networks)
    wanted = SolveOptions(pooled_outputs="relay" if draw.random() < 0.5 else "host")
    if moves is not None and not moves.relays:
        wanted = SolveOptions()
    options = resolve(wanted, ready, chip)
    maker = _Maker(ready, draw, moves or Moves(), draw.permutation(chip.core_count).tolist())
    for number, network in enumerate(ready):
        _place(maker, number, network, options)
    solution = Solution(
        tuple(maker.placements),
        tuple(maker.routes),
        tuple(maker.entries),
        tuple(maker.monitors),
        _stage(ready),
    )
    violations = verify(ready, chip, options, solution)
    assert violations == (), "; ".join(map(str, violations))
    return Result(Status.FEASIBLE, ready, chip, options, solution, None, Statistics(0.0, 0.0, 0, 0, 0))


def plain(networks: Sequence[Network], chip: ChipSpec) -> Result:
    """One whole layer per core, destinations in canonical order."""
    moves = Moves(pieces=False, copies=False, relays=False)
    return divided(networks, chip, np.random.default_rng(0), moves)


def _place(maker: _Maker, number: int, network: NormalNetwork, options: SolveOptions) -> None:
    parts: dict[tuple[str, int], list[_Piece]] = {}
    for layer in network.layers:
        for copy in range(1 + (maker.moves.copies and maker.chance(0.3))):
            parts[layer.name, copy] = maker.copy(number, layer.name, copy)
    for entry in network.inputs:
        _enter(maker, number, entry.name, maker.consumers(number, entry.name, parts))
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
                Monitor(piece.core, number, layer.name, (piece.start, piece.stop))
                for piece in parts[layer.name, 0]
            ]
        consumers = maker.consumers(number, layer.name, parts)
        choices = [copy for copy in (0, 1) if (layer.name, copy) in parts]
        chosen = [int(maker.draw.choice(choices)) for _ in consumers]
        for copy in choices:
            mine = [one for one, where in zip(consumers, chosen, strict=True) if where == copy]
            mine += [_Consumer(None, size, 0) for size in shown if size > 1 and copy == 0]
            maker.attach(parts[layer.name, copy], number, layer.name, 1, mine)


def _enter(maker: _Maker, number: int, name: str, consumers: Sequence[_Consumer]) -> None:
    """Host events or the sensor stage, into layers or relays."""
    network = maker.networks[number]
    entry = next(one for one in network.inputs if one.name == name)
    left = list(consumers)
    while left:
        run = left[: int(maker.draw.integers(1, len(left) + 1))]
        must = left[0].pooling > 1 or (entry.dvs is not None and left[0].offset > 0)
        if must or (maker.moves.relays and maker.chance(0.3)):
            core = maker.body(Relay(number, name, 1), 0, entry.shape.features)
            offset, left = 0, left[len(run) :]
            maker.attach([core], number, name, 1, run)
        else:
            one = left.pop(0)
            core, offset = _Piece(_known(one.core), 0, entry.shape.features), one.offset
        if entry.dvs is None:
            maker.entries.append(HostEntry(number, name, core.core, offset))
        else:
            maker.route(DVS, core.core, 1, 0)


def _stage(networks: Sequence[NormalNetwork]) -> DvsStage | None:
    """The sensor stage that all networks with a sensor share."""
    for network in networks:
        for entry in network.inputs:
            if entry.dvs is not None:
                pool = network.outgoing[entry.name][0].pool
                py, px = pool.size if pool else (1, 1)
                (oy, ox), shape = entry.dvs.origin, entry.shape
                cut = (oy + shape.height // py - 1, ox + shape.width // px - 1)
                return DvsStage(
                    shape.features == 1,
                    (py, px),
                    (oy, ox),
                    cut,
                    entry.dvs.mirror,
                    entry.dvs.swap_axes,
                    (entry.dvs.on_channel, entry.dvs.off_channel),
                )
    return None
