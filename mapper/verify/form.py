"""What must hold before a solution can be read at all: types, and names and numbers that exist."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.rules import Rule
from mapper.solution import DVS, READOUT, LayerPart, Placement, Solution
from mapper.verify.case import SENSOR, Violation, signal_of, signal_shape

__all__ = ["malformations"]

_RULES = {
    "routes": Rule.CONNECTION,
    "host_entries": Rule.CONNECTION,
    "monitors": Rule.MONITOR,
    "dvs_stage": Rule.DVS_STAGE,
    "objectives": Rule.OBJECTIVE,
}
# Beyond any number that a chip, a rate or a sum over a chip can have; larger ones cannot even be printed.
_NUMBER_MAX = 2**100
_PLAIN = frozenset({int, str, bool, type(None)})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


def malformations(networks: tuple[Network, ...], chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    """Values of a wrong type; if there are none, names and numbers that point nowhere."""
    if type(solution) is not Solution:
        yield Violation(Rule.PLACED, "solution", f"a {type(solution).__name__} is no solution")
        return
    mistyped = False
    for name, hint in _hints(Solution).items():
        for where, value in _misfits(getattr(solution, name, None), hint, name):
            mistyped = True
            yield Violation(
                _RULES.get(name, Rule.PLACED), where, f"a {type(value).__name__} that cannot stand there"
            )
    if mistyped:
        return
    yield from _stage(chip, solution)
    for placement in solution.placements:
        problem = _placement(networks, chip, solution, placement)
        if problem:
            yield Violation(Rule.PLACED, f"core {placement.core}", problem)
    yield from _ends(networks, chip, solution)


def _misfits(value: object, hint: Any, where: str) -> Iterator[tuple[str, object]]:
    """Where something stands that is not of the annotated type, and what; subclasses are other types."""
    has_type = type(value) is hint
    if hint in _PLAIN:
        if not has_type or (isinstance(value, int) and abs(value) > _NUMBER_MAX):
            yield where, value
        return
    kind, inner = _parts(hint)
    if kind in (Union, UnionType):
        readings = [list(_misfits(value, choice, where)) for choice in inner]
        if all(readings):
            # The reading that comes nearest names the field inside.
            yield from max(readings, key=lambda reading: len(reading[0][0]))
    elif kind is Literal:
        if type(value) is not str or value not in inner:
            yield where, value
    elif kind is tuple and type(value) is tuple and (inner[-1] is ... or len(inner) == len(value)):
        hints = [inner[0]] * len(value) if inner[-1] is ... else inner
        for n, (entry, field) in enumerate(zip(value, hints, strict=True)):
            yield from _misfits(entry, field, f"{where}[{n}]")
    elif not has_type:
        yield where, value
    else:
        for name, field in _hints(hint).items():
            yield from _misfits(getattr(value, name, None), field, f"{where}.{name}")


def _stage(chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    stage = solution.dvs_stage
    if stage is not None and chip.input is None:
        yield Violation(Rule.DVS_STAGE, "sensor stage", f"{chip.name} has none")
    elif stage is not None and chip.input is not None and not set(stage.pooling) <= set(chip.input.poolings):
        yield Violation(Rule.DVS_STAGE, "sensor stage", f"pooling {stage.pooling}")
    elif stage is None and any(signal_of(placement.body) == SENSOR for placement in solution.placements):
        yield Violation(Rule.DVS_STAGE, "sensor stage", "is not set, and a relay passes its events on")


def _placement(
    networks: tuple[Network, ...], chip: ChipSpec, solution: Solution, placement: Placement
) -> str | None:
    """What of a placement does not exist."""
    body, (start, stop) = placement.body, placement.features
    if placement.core not in range(chip.core_count):
        return f"{chip.name} has no such core"
    signal = signal_of(body)
    shape = signal_shape(networks, solution.dvs_stage, signal)
    if isinstance(body, LayerPart):
        if shape is None or body.layer not in networks[body.network].by_name:
            return f"there is no layer {_short(body.layer)} of network {body.network}"
    elif shape is None or not 1 <= body.pooling <= min(shape.height, shape.width):
        return (
            f"no signal {_short(body.signal)} of network {body.network}, pooled {body.pooling}, to be relayed"
        )
    if not 0 <= start < stop <= shape.features:
        return f"features {start}..{stop} of {signal[1]}, which has {shape.features}"
    return None


def _ends(networks: tuple[Network, ...], chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    """Routes and host entries that begin or end nowhere."""
    cores = range(chip.core_count)
    for route in solution.routes:
        for end, stage in ((route.source, DVS), (route.target, READOUT)):
            if end != stage and end not in cores:
                where = f"route {route.source} -> {route.target}"
                yield Violation(Rule.CONNECTION, where, f"{chip.name} has no core {end}")
    for entry in solution.host_entries:
        is_there = entry.network in range(len(networks)) and entry.core in cores
        if not is_there or entry.input not in {one.name for one in networks[entry.network].inputs}:
            problem = f"no such input of network {entry.network}, or no core {entry.core}"
            yield Violation(Rule.CONNECTION, f"host entry {_short(entry.input)}", problem)


def _short(name: str) -> str:
    return repr(name[:40])
