"""What a placement makes use of: so that tests can count whether their instances ask for everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.solution import DVS, LayerPart, Relay, Solution

__all__ = ["traits"]


def traits(source: Sequence[NormalNetwork], placed: Sequence[NormalNetwork], solution: Solution) -> set[str]:
    """Names of the moves that a placement of networks, in the forms of `placed`, makes."""
    return {
        *_forms(source, placed),
        *_parts(solution),
        *_relays(placed, solution),
        *(["several networks"] if len(source) > 1 else []),
    }


def _forms(source: Sequence[NormalNetwork], placed: Sequence[NormalNetwork]) -> Iterator[str]:
    for before, after in zip(source, placed, strict=True):
        sensors = {entry.name for entry in before.inputs if entry.dvs}
        for old, new in zip(before.layers, after.layers, strict=True):
            assert isinstance(old.operation, Convolution)
            assert isinstance(new.operation, Convolution)
            (before_y, before_x), (after_y, after_x) = old.operation.kernel, new.operation.kernel
            if before_y != before_x and after_y == after_x:
                yield "filled up to a square"
            elif old.operation.kernel != new.operation.kernel:
                pools = [edge.pool for edge in before.incoming[old.name] if edge.pool]
                yield "folded"
                yield from ("overlapping pool folded" for pool in pools if pool.size != pool.stride)
                yield from ("part of a pool folded" for edge in after.incoming[old.name] if edge.pool)
        for old_edge, new_edge in zip(before.edges, after.edges, strict=True):
            if old_edge.source in sensors and old_edge.feature_offset:
                is_moved = new_edge.feature_offset == 0
                yield "sensor moved in front" if is_moved else "sensor relayed at an offset"


def _parts(solution: Solution) -> Iterator[str]:
    for placement in solution.placements:
        if isinstance(placement.body, LayerPart):
            yield from ["copies"] if placement.body.copy_index else []
            yield from ["pieces"] if placement.features[0] else []
    for monitor in solution.monitors:
        if monitor.pooling_seen > 1:
            yield "shown by relays"
            yield from ["shown by several relays"] if monitor.features[0] else []
    if solution.dvs_stage is not None and solution.dvs_stage.pooling != (1, 1):
        yield "stage pools"


def _relays(placed: Sequence[NormalNetwork], solution: Solution) -> Iterator[str]:
    relays = {p.core: p for p in solution.placements if isinstance(p.body, Relay)}
    owners = {p.core: p.body.network for p in solution.placements if isinstance(p.body, LayerPart)}
    layers = {(n, layer.name) for n, network in enumerate(placed) for layer in network.layers}
    wholes: dict[tuple[object, ...], list[int]] = {}
    for core, placement in relays.items():
        body = placement.body
        assert isinstance(body, Relay)
        kind = (
            "sensor" if body.signal == DVS else "layer" if (body.network, body.signal) in layers else "host"
        )
        is_cut = any(other.body == body and other.features != placement.features for other in relays.values())
        cut = ("split " if body.reads_all else "aligned ") if is_cut else ""
        yield f"{cut}relay of {kind}"
        yield from ["relay that pools"] if body.pooling > 1 else []
        if not is_cut:
            wholes.setdefault((body.network, body.signal), []).append(core)
        yield from (
            "relay behind a relay" for r in solution.routes if r.source in relays and r.target == core
        )
        readers = {owners.get(r.target) for r in solution.routes if r.source == core and r.target in owners}
        yield from ["relay shared by networks"] if len(readers) > 1 else []
    yield from ("several relays of a signal" for cores in wholes.values() for _ in combinations(cores, 2))
