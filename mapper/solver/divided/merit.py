"""Headroom and load of pieces: which values can occur, and the cores that leave at least so much."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from hwspec.schema import CoreSpec
from mapper.problem import Problem
from mapper.solver.budget import timed
from mapper.solver.divided.tables import PieceTable, Tables
from mapper.solver.stages import merit_of, states_bandwidth
from mapper.work import CoreWork, free_shares, relay_work

__all__ = ["cores_with", "merits_of"]


def merits_of(tables: Tables, table: PieceTable) -> list[Fraction]:
    """Every least merit that a placement can have, ascending: of each piece and relay on each core."""
    problem = tables.problem
    merits: set[Fraction] = {Fraction(0)} if problem.options.objective == "balance" else set()
    cores = {entry.core: k for k, entry in reversed(list(enumerate(problem.classes)))}
    # Works that are alike ask the same: the most features of any of them, by class.
    most: dict[CoreWork, dict[int, int]] = {}
    for work, limits in _occupants(tables, table):
        before = most.setdefault(work, {})
        for k in cores.values():
            before[k] = max(before.get(k, 0), limits[k])
    for work, limits in most.items():
        pieces = [work.narrowed(features) for features in range(1, max(limits.values(), default=0) + 1)]
        if problem.options.objective == "balance":
            merits |= {
                merit_of(problem, piece, core) for core, k in cores.items() for piece in pieces[: limits[k]]
            }
            continue
        words = [piece.words for piece in pieces]
        merits = merits.union(*(free_shares(words[: limits[k]], core) for core, k in cores.items()))
    return sorted(merits)


def _occupants(tables: Tables, table: PieceTable) -> Iterator[tuple[CoreWork, dict[int, int]]]:
    """Every layer and relay, with the most features of its pieces by class."""
    problem, classes = tables.problem, range(len(tables.problem.classes))
    for layer in timed(tables.budget, len(problem.works)):
        for form, work in enumerate(problem.works[layer]):
            row = table[layer][form]
            # Classes that are alike may be open to the layer in one place and closed in another.
            alike = {problem.classes[k].core: 0 for k in classes}
            for k in classes:
                alike[problem.classes[k].core] = max(alike[problem.classes[k].core], row[k])
            yield work, {k: alike[problem.classes[k].core] for k in classes}
    for signal in tables.signals:
        for level in tables.levels(signal):
            for reads_all in (False, True):
                limits = tables.relay_limits(signal, level, reads_all=reads_all)
                if limits:
                    work = relay_work(signal.shape, level, signal.spikes_per_second, reads_all=reads_all)
                    yield work, {k: limits.get(k, 0) for k in classes}


def cores_with(problem: Problem, merit: Fraction) -> tuple[CoreSpec, ...]:
    """Per class, a core that offers just what leaves this merit."""
    if problem.options.objective == "balance":
        shared = states_bandwidth(problem)
        return tuple(_slower(entry.core, -merit, shared) for entry in problem.classes)
    return tuple(_smaller(entry.core, 1 - merit) for entry in problem.classes)


def _smaller(core: CoreSpec, share: Fraction) -> CoreSpec:
    names = ("kernel_words", "neuron_words", "bias_words")
    return core.model_copy(update={name: int(getattr(core, name) * share) for name in names})


def _slower(core: CoreSpec, load: Fraction, shared: bool) -> CoreSpec:
    stated = core.synops_per_second
    bandwidth = int(load * stated) if shared and stated else int(load)
    if stated is not None:
        bandwidth = min(bandwidth, stated)
    return core.model_copy(update={"synops_per_second": bandwidth})
