"""What stands in the way however layers are cut, copied and relayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mapper.errors import TimeLimitError
from mapper.problem import Problem
from mapper.reasons import Unmet, unmet
from mapper.rules import Rule
from mapper.solver.budget import Budget
from mapper.solver.divided.model import build_model
from mapper.solver.divided.need import spare_cores
from mapper.solver.divided.slots import Taker, suiting
from mapper.solver.divided.tables import ORIGIN, Consumer, Provider, Signal, Tables
from mapper.solver.divided.variables import Slack
from mapper.solver.or_tools import cp_model
from mapper.wording import counted

__all__ = [
    "astray",
    "divided_unmet",
    "fewest_cores",
    "fits_unwatched",
    "fits_without_destinations",
    "out_of_reach",
]


def divided_unmet(problem: Problem) -> Iterator[Unmet]:
    """Layers that have to be cut further than they may be."""
    tables = Tables(problem)
    table = tables.piece_table()
    for layer in problem.by_name:
        most = max((most for row in table[layer] for most in row), default=0)
        demand, name, title = problem.demands[layer], problem.name(layer), problem.title(layer)
        features = demand.work.output_shape.features
        if most == 0 or most >= features:
            continue
        least, terms = -(-features // most), f"{counted(features, 'feature')}, at most {most} on a core"
        if layer in tables.whole:
            why = "is pinned" if layer in tables.pinned else "feeds the readout stage"
            sentence = (
                f"{title} {why} and must stay whole, but needs at least {counted(least, 'piece')} ({terms})."
            )
            yield unmet(Rule.WHOLE, (name,), (), least, 1, terms, sentence)
        elif problem.options.max_pieces is not None and least > problem.options.max_pieces:
            bound = problem.options.max_pieces
            sentence = f"{title} needs at least {counted(least, 'piece')} ({terms}), and {bound} are allowed."
            yield unmet(Rule.MOVES, (name,), (), least, bound, terms, sentence)


def out_of_reach(problem: Problem) -> bool:
    """Whether some layer reads, in all of its forms, what no chain of destinations pools or shifts so."""
    tables, works = Tables(problem), problem.works
    lost = {(c.layer, c.form) for signal in tables.signals for c in astray(tables, signal)}
    return any(all((layer, form) in lost for form in range(len(works[layer]))) for layer, _ in lost)


def astray(tables: Tables, signal: Signal) -> list[Consumer]:
    """Consumers that neither the signal's origin nor any relay can serve."""
    providers = [ORIGIN, *(Provider(level, "relay") for level in tables.levels(signal))]
    return [c for c in signal.consumers if not suiting(tables, signal, providers, Taker(c.pooling, c.direct))]


def fewest_cores(problem: Problem, budget: Budget) -> int | None:
    """The fewest cores that all layers take, any number of each of the chip's kinds.

    None where twice as many as the chip has are not enough, or a limit came first.
    """
    tables = Tables(problem, budget=budget)
    slack, table = Slack(cores=frozenset(range(len(problem.classes)))), tables.piece_table()
    usable = sum(len(entry.core_ids) for entry in problem.classes)
    # What is bounded is small: with no end of cores any layer might be cut and copied without end.
    built = build_model(tables, table, slack, max(0, spare_cores(tables, table)) + usable)
    if built is None:
        return None
    cores = built.cores_and_bits(1, bits=False)
    built.model.add(cores <= 2 * usable)
    built.model.minimize(cores)
    solver, status = budget.aside().run(built.model)
    return int(solver.value(cores)) if status == cp_model.OPTIMAL else None


def fits_without_destinations(problem: Problem, budget: Budget) -> bool:
    """Whether all layers would find cores if destinations, pools and monitors had no limits."""
    tables = Tables(problem, budget=budget)
    return _fits(tables, Slack(slots=frozenset(range(len(tables.signals))), monitors=True), budget)


def fits_unwatched(problem: Problem, budget: Budget) -> bool:
    """Whether there is a placement but for the chip's bound of monitored cores."""
    if problem.chip.monitor.cores_max is None:
        return False
    return _fits(Tables(problem, budget=budget), Slack(monitors=True), budget)


def _fits(tables: Tables, slack: Slack, budget: Budget) -> bool:
    """Whether there is a placement within some slack; False where a limit comes first."""
    built = None
    with suppress(TimeLimitError):
        built = None if budget.is_spent else build_model(tables, tables.piece_table(), slack)
    if built is None:
        return False
    _, status = budget.aside().run(built.model)
    return status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
