"""Changes that would make a network fit: each one solved and checked before it is shown.

A repair changes requests, sizes of the network, or facts of the chip. Per kind the least change that
works is sought: by bisection where less always asks less of the cores, elsewhere value by value. Edited
networks have shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from mapper.errors import MapperError, SpecError
from mapper.network import Network
from mapper.options import SolveOptions
from mapper.problem import Problem
from mapper.repairs.chip import chip_repairs
from mapper.repairs.network import combined_repairs, single_repairs
from mapper.repairs.search import Search, applied
from mapper.result import FeasibilityReport, Repair, Status
from mapper.solver.run import solve
from mapper.verify import verify

__all__ = ["CHIP_KINDS", "KINDS", "NETWORK_KINDS", "find_repairs", "works"]

NETWORK_KINDS = ("features", "kernel", "stride", "pooling", "padding", "input_size")
_COMBINED_KINDS = ("legal_values", "several", "width")
CHIP_KINDS = ("memory", "cores", "memory_and_cores", "fan_out")
KINDS = ("request", *NETWORK_KINDS, *_COMBINED_KINDS, *CHIP_KINDS)


def find_repairs(
    networks: tuple[Network, ...], problem: Problem, report: FeasibilityReport, count: int
) -> tuple[tuple[Repair, ...], tuple[str, ...]]:
    """The least changes after which the network fits, and the kinds of which none exists.

    The best of every kind come first, ordered by how little they change, then the second best.

    Parameters
    ----------
    networks
        What the chip-free passes made; `problem` holds their legal form for the chip. The sizes of several
        networks are not changed: requests and chip are.
    count
        How many repairs to find at most, >= 0.
    """
    if count < 1:
        return (), ()
    search = Search(networks, problem, report)
    found: dict[str, list[Repair]] = {}
    for kind in KINDS:
        found[kind] = list(_of_kind(search, kind, found))
    checked = tuple(islice((r for r in _ranked(found) if works(search.networks, problem, r)), count))
    return checked, tuple(kind for kind, repairs in found.items() if not repairs)


def _ranked(found: dict[str, list[Repair]]) -> list[Repair]:
    rows = [
        (rank, repair.change, KINDS.index(kind), repair)
        for kind, repairs in found.items()
        for rank, repair in enumerate(repairs)
    ]
    return [repair for *_, repair in sorted(rows, key=lambda row: row[:3])]


def works(networks: tuple[Network, ...], problem: Problem, repair: Repair) -> bool:
    """Whether the changed networks are placed on the changed chip, and the checker agrees.

    Parameters
    ----------
    networks
        What the chip-free passes made.
    """
    try:
        changed, chip, options = applied(networks, problem.chip, problem.options, repair)
    except (MapperError, SpecError):
        return False
    result = solve(Problem(changed, chip, options))
    if result.status not in (Status.OPTIMAL, Status.FEASIBLE) or result.solution is None:
        return False
    return not verify(result.networks, chip, options, result.solution)


def _of_kind(search: Search, kind: str, found: dict[str, list[Repair]]) -> Iterator[Repair]:
    if kind == "request":
        yield from _requests(search)
    elif kind in CHIP_KINDS:
        if kind != "memory_and_cores" or not (found["memory"] or found["cores"]):
            yield from chip_repairs(search, kind)
    elif search.too_many_layers or len(search.networks) > 1:
        return  # sizes do not change the number of layers
    elif kind in NETWORK_KINDS:
        yield from single_repairs(search, kind)
    elif kind != "legal_values" or not any(found[k] for k in NETWORK_KINDS):
        yield from combined_repairs(search, kind)


def _requests(search: Search) -> Iterator[Repair]:
    """Pins and forbidden cores to withdraw: one, or else all."""
    options = search.problem.options
    pins = {str(layer): core for layer, core in options.pins}
    single: list[tuple[tuple[str, ...], tuple[int, ...]]] = [((layer,), ()) for layer in pins]
    single += [((), (core,)) for core in options.forbidden_cores]
    all_of_them = (tuple(pins), options.forbidden_cores)
    working = [entry for entry in single if search.fits_asked(_without(options, *entry))]
    if not working and len(single) > 1 and search.fits_asked(_without(options, *all_of_them)):
        working = [all_of_them]
    for dropped, allowed in working:
        told = [f"unpin {layer} (core {pins[layer]})" for layer in dropped]
        told += [f"allow core {core}" for core in allowed]
        sentence = ", ".join(told)
        yield Repair(
            sentence=f"{sentence[0].upper()}{sentence[1:]}.",
            kind="request",
            change=0.0,
            dropped_pins=dropped,
            allowed_cores=allowed,
        )


def _without(options: SolveOptions, dropped: tuple[str, ...], allowed: tuple[int, ...]) -> SolveOptions:
    return replace(
        options,
        pins=tuple((layer, core) for layer, core in options.pins if layer not in dropped),
        forbidden_cores=tuple(core for core in options.forbidden_cores if core not in allowed),
    )
