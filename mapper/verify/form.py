"""What must hold before a solution can be read at all: types, and names and numbers that exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from hwspec.inert import quoted
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


class _MissingField:
    """What stands in a field that was never set: of no type that any has."""


_MISSING = _MissingField()

# Where, from a value inwards, something of another type than the annotated one stands, and what.
_Misfits: TypeAlias = tuple[tuple[str, object], ...]
_Check: TypeAlias = Callable[[object], _Misfits]


def malformations(networks: tuple[Network, ...], chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    """Values of a wrong type; if there are none, names and numbers that point nowhere."""
    if type(solution) is not Solution:
        yield Violation(Rule.PLACED, "solution", f"a {type(solution).__name__} is no solution")
        return
    misfits = _check_of(Solution)(solution)
    for where, value in misfits:
        rule = _RULES.get(re.split(r"\W", where)[1], Rule.PLACED)
        what = "is missing" if value is _MISSING else f"a {type(value).__name__} that cannot stand there"
        yield Violation(rule, where[1:], what)
    if misfits:
        return
    yield from _stage(chip, solution)
    for placement in solution.placements:
        problem = _placement(networks, chip, solution, placement)
        if problem:
            yield Violation(Rule.PLACED, f"core {placement.core}", problem)
    yield from _ends(networks, chip, solution)


@cache
def _check_of(hint: Any) -> _Check:
    """What finds values that are not of the annotated type; subclasses are other types."""
    kind, inner = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return partial(_plain, hint)
    if kind in (Union, UnionType):
        return partial(_union, tuple(map(_check_of, inner)))
    if kind is Literal:
        return lambda value: () if type(value) is str and value in inner else (("", value),)
    if kind is tuple:
        is_open = inner[-1] is ...
        return partial(_sequence, tuple(map(_check_of, inner[: len(inner) - is_open])), is_open)
    checks = {name: _check_of(field) for name, field in get_type_hints(hint).items()}
    return partial(_fields, hint, checks)


def _plain(hint: type, value: object) -> _Misfits:
    if type(value) is not hint or (isinstance(value, int) and abs(value) > _NUMBER_MAX):
        return (("", value),)
    return ()


def _union(checks: tuple[_Check, ...], value: object) -> _Misfits:
    readings = []
    for check in checks:
        readings.append(check(value))
        if not readings[-1]:
            return ()
    # The reading that comes nearest names the field inside.
    return max(readings, key=lambda reading: len(reading[0][0]))


def _sequence(checks: tuple[_Check, ...], is_open: bool, value: object) -> _Misfits:
    if type(value) is not tuple or not (is_open or len(checks) == len(value)):
        return (("", value),)
    each = checks * len(value) if is_open else checks
    found: list[tuple[str, object]] = []
    for n, (entry, check) in enumerate(zip(value, each, strict=True)):
        if misfits := check(entry):
            found += [(f"[{n}]{where}", part) for where, part in misfits]
    return tuple(found)


def _fields(kind: type, checks: Mapping[str, _Check], value: object) -> _Misfits:
    if type(value) is not kind:
        return (("", value),)
    found: list[tuple[str, object]] = []
    for name, check in checks.items():
        if misfits := check(getattr(value, name, _MISSING)):
            found += [(f".{name}{where}", part) for where, part in misfits]
    return tuple(found)


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
    return quoted(name[:40])
