"""Two reports against each other: what a changed chip or network gained and lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

from mapper.explore.record import Cell, NetworkRow, ReportRecord, VariantRow, Verdict
from mapper.reasons import Record

__all__ = ["CellChange", "Kind", "ReportDifference", "VariantChange", "report_difference"]

Kind: TypeAlias = Literal["gained", "lost", "better", "worse", "other"]

Row = TypeVar("Row", NetworkRow, VariantRow)

# From what suits a designer best to what suits least; the rest says nothing about the chip.
_RANK: dict[Verdict, int] = {"plain": 2, "divided": 1, "infeasible": 0}
_FACTS = ("kernel_words", "neuron_words", "bias_words", "fan_out", "parallel")


class CellChange(Record):
    """One network on one variant, before and after.

    Attributes
    ----------
    kind
        "gained": it fits now. "lost": it did. "better", "worse": whole layers instead of pieces, fewer cores,
        or a larger free share. "other": to or from a verdict that says nothing about the chip.
    free_share_before, free_share_after
        Of the tightest resource; None where it is not placed.
    sentence
        Why it does not fit now; None where it does.
    """

    kind: Kind
    network: str
    variant: str
    before: Verdict
    after: Verdict
    cores_before: int | None
    cores_after: int | None
    free_share_before: float | None
    free_share_after: float | None
    sentence: str | None


class VariantChange(Record):
    """A variant, before and after; `facts` are its changed cores, in words."""

    before: str
    after: str
    facts: tuple[str, ...]


class ReportDifference(Record):
    """Everything that differs between two reports.

    Attributes
    ----------
    variants
        Variants that stand for each other and have changed.
    only_before, only_after
        Networks and variants that one of the reports has alone, and cells of those that both have: a report
        that was interrupted lacks some.
    unchanged
        Number of cells that are the same.
    """

    schema_version: Literal[1] = 1
    changes: tuple[CellChange, ...]
    variants: tuple[VariantChange, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    unchanged: int


def report_difference(before: ReportRecord, after: ReportRecord) -> ReportDifference:
    """Compare two reports, networks by name.

    Variants stand for each other by name; those left over in order, where both have equally many: a chip and
    the same chip with changes. Of rows with the same name the first stands for the first.
    """
    networks = _same(before.networks, after.networks)
    variants = same = _same(before.variants, after.variants)
    left = [n for n in range(len(before.variants)) if n not in {v for v, _ in same}]
    right = [n for n in range(len(after.variants)) if n not in {w for _, w in same}]
    if len(left) == len(right):
        variants = [*same, *zip(left, right, strict=True)]
    was = {(cell.network, cell.variant): cell for cell in before.cells}
    now = {(cell.network, cell.variant): cell for cell in after.cells}
    changes, unchanged = [], 0
    alone: tuple[list[str], list[str]] = ([], [])
    for n, m in networks:
        for v, w in variants:
            old, new = was.get((n, v)), now.get((m, w))
            if old is None or new is None:
                if old is not new:
                    alone[old is None].append(f"cell {before.networks[n].name} on {after.variants[w].name}")
                continue
            if (kind := _kind(old, new)) is None:
                unchanged += 1
                continue
            change = CellChange(
                kind=kind,
                network=before.networks[n].name,
                variant=after.variants[w].name,
                before=old.verdict,
                after=new.verdict,
                cores_before=old.cores_used,
                cores_after=new.cores_used,
                free_share_before=old.free_share,
                free_share_after=new.free_share,
                sentence=new.sentence,
            )
            changes.append(change)
    sides = ((before.variants[v], after.variants[w]) for v, w in variants)
    return ReportDifference(
        changes=tuple(changes),
        variants=tuple(
            VariantChange(before=old.name, after=new.name, facts=tuple(_facts(old, new)))
            for old, new in sides
            if old.chip_hash != new.chip_hash
        ),
        only_before=(*_alone(before, {n for n, _ in networks}, {v for v, _ in variants}), *alone[0]),
        only_after=(*_alone(after, {m for _, m in networks}, {w for _, w in variants}), *alone[1]),
        unchanged=unchanged,
    )


def _same(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[int, int]]:
    """Indexes of rows with the same name, each row once."""
    places: dict[str, deque[int]] = {}
    for number, row in enumerate(after):
        places.setdefault(row.name, deque()).append(number)
    return [(n, places[row.name].popleft()) for n, row in enumerate(before) if places.get(row.name)]


def _kind(old: Cell, new: Cell) -> Kind | None:
    """What has become of a cell; None where nothing has."""
    if old.verdict != new.verdict:
        if old.verdict not in _RANK or new.verdict not in _RANK:
            return "other"
        if not _RANK[new.verdict]:
            return "lost"
        if not _RANK[old.verdict]:
            return "gained"
        return "better" if _RANK[new.verdict] > _RANK[old.verdict] else "worse"
    was, now = ((-(cell.cores_used or 0), cell.free_share or 0) for cell in (old, new))
    return None if was == now else "better" if now > was else "worse"


def _facts(old: VariantRow, new: VariantRow) -> Iterator[str]:
    for was, now in zip(old.cores, new.cores, strict=False):
        for name in _FACTS:
            if getattr(was, name) != getattr(now, name):
                yield f"core[{was.core}].{name}: {getattr(was, name)} -> {getattr(now, name)}"
    if len(old.cores) != len(new.cores):
        yield f"cores: {len(old.cores)} -> {len(new.cores)}"


def _alone(record: ReportRecord, networks: set[int], variants: set[int]) -> Iterator[str]:
    """Networks and variants that the other report lacks: all but these."""
    yield from (f"network {row.name}" for n, row in enumerate(record.networks) if n not in networks)
    yield from (f"variant {row.name}" for n, row in enumerate(record.variants) if n not in variants)
