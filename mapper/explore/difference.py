"""Two reports against each other: what a changed chip or network gained and lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from mapper.explore.record import Cell, ReportRecord, VariantRow, Verdict
from mapper.result import Record

__all__ = ["CellChange", "Kind", "ReportDifference", "VariantChange", "report_difference"]

Kind: TypeAlias = Literal["gained", "lost", "better", "worse", "other"]

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
        Networks and variants that one of the reports has alone.
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
    the same chip with changes.
    """
    index = {row.name: number for number, row in enumerate(after.networks)}
    networks = [(n, index[row.name]) for n, row in enumerate(before.networks) if row.name in index]
    variants = _pairs(before, after)
    was = {(cell.network, cell.variant): cell for cell in before.cells}
    now = {(cell.network, cell.variant): cell for cell in after.cells}
    changes, unchanged = [], 0
    for n, m in networks:
        for v, w in variants:
            old, new = was.get((n, v)), now.get((m, w))
            if old is None or new is None:
                continue
            kind = _kind(old, new)
            if kind is None:
                unchanged += 1
            else:
                changes.append(_change(kind, before.networks[n].name, after.variants[w].name, old, new))
    alone_before, alone_after = _alone(before, after, variants)
    return ReportDifference(
        changes=tuple(changes),
        variants=tuple(_variant_changes(before, after, variants)),
        only_before=alone_before,
        only_after=alone_after,
        unchanged=unchanged,
    )


def _pairs(before: ReportRecord, after: ReportRecord) -> list[tuple[int, int]]:
    index = {row.name: number for number, row in enumerate(after.variants)}
    found = [(n, index[row.name]) for n, row in enumerate(before.variants) if row.name in index]
    left = [n for n in range(len(before.variants)) if n not in {v for v, _ in found}]
    right = [n for n in range(len(after.variants)) if n not in {w for _, w in found}]
    return found + (list(zip(left, right, strict=True)) if len(left) == len(right) else [])


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
    if old.margin is None or new.margin is None:
        return None
    was = (-(old.cores_used or 0), old.margin.free_share)
    now = (-(new.cores_used or 0), new.margin.free_share)
    if was == now:
        return None
    return "better" if now > was else "worse"


def _change(kind: Kind, network: str, variant: str, old: Cell, new: Cell) -> CellChange:
    return CellChange(
        kind=kind,
        network=network,
        variant=variant,
        before=old.verdict,
        after=new.verdict,
        cores_before=old.cores_used,
        cores_after=new.cores_used,
        free_share_before=None if old.margin is None else old.margin.free_share,
        free_share_after=None if new.margin is None else new.margin.free_share,
        sentence=new.sentence,
    )


def _variant_changes(
    before: ReportRecord, after: ReportRecord, pairs: list[tuple[int, int]]
) -> Iterator[VariantChange]:
    for v, w in pairs:
        old, new = before.variants[v], after.variants[w]
        if old.chip_hash != new.chip_hash:
            yield VariantChange(before=old.name, after=new.name, facts=tuple(_facts(old, new)))


def _facts(old: VariantRow, new: VariantRow) -> Iterator[str]:
    for was, now in zip(old.cores, new.cores, strict=False):
        for name in _FACTS:
            if getattr(was, name) != getattr(now, name):
                yield f"core[{was.core}].{name}: {getattr(was, name)} -> {getattr(now, name)}"
    if len(old.cores) != len(new.cores):
        yield f"cores: {len(old.cores)} -> {len(new.cores)}"


def _alone(
    before: ReportRecord, after: ReportRecord, pairs: list[tuple[int, int]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = [{row.name for row in record.networks} for record in (before, after)]
    paired = [{v for v, _ in pairs}, {w for _, w in pairs}]
    return tuple(  # type: ignore[return-value]  # two by construction
        (
            *(f"network {row.name}" for row in record.networks if row.name not in names[1 - side]),
            *(f"variant {row.name}" for n, row in enumerate(record.variants) if n not in paired[side]),
        )
        for side, record in enumerate((before, after))
    )
