"""What of a report stands in the way however layers are cut."""

from __future__ import annotations

from mapper.problem import Problem
from mapper.reasons import FeasibilityReport, Unmet, unmet
from mapper.rules import Rule
from mapper.solver.divided.need import least_pieces
from mapper.solver.divided.run import divisible
from mapper.solver.divided.tables import Tables
from mapper.wording import counted

__all__ = ["decisive_unmet"]


def decisive_unmet(problem: Problem, report: FeasibilityReport) -> Unmet | None:
    """What stands in the way however layers are cut, where one thing does; None where the whole does.

    The report speaks of whole layers: that one is too large for every core explains nothing where it may be
    cut.
    """
    cores = sum(len(entry.core_ids) for entry in problem.classes)
    # Siblings that may share a core, and joint relays, need none of their own.
    needed_layers = [n for n in range(len(problem.demands)) if n not in problem.optional]
    if not problem.options.divides or not divisible(problem) or len(needed_layers) > cores:
        return report.unmet[0] if report.unmet else None
    tables = Tables(problem)
    table = tables.piece_table()
    fewest = {layer: least_pieces(tables, table, layer) for layer in needed_layers}
    nowhere = {problem.name(layer) for layer, count in fewest.items() if not count}
    if nowhere:
        entries = [entry for entry in report.unmet if nowhere.intersection(entry.layers)]
        # Pieces divide memory; the weights of one feature they do not.
        return min(entries, key=lambda entry: entry.unit != "weight", default=None)
    needed = sum(fewest.values())
    if needed <= cores:
        return None
    names = tuple(problem.name(layer) for layer in problem.by_name if layer in fewest)
    layers = f"its {len(names)} layers take" if len(names) > 1 else "its layer takes"
    has = f"and {problem.chip.name} has {cores}"
    sentence = f"Cut over as few cores as can hold them, {layers} {counted(needed, 'core')}, {has}."
    terms = "fewest pieces of every layer, each as large as any core holds"
    return unmet(Rule.ONE_LAYER_PER_CORE, names, (), needed, cores, terms, sentence)
