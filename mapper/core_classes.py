"""Cores that a placement need not tell apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hwspec.schema import ChipSpec, CoreSpec

__all__ = ["CoreClass", "alike_cores", "core_classes"]


@dataclass(frozen=True, slots=True)
class CoreClass:
    """Cores that are interchangeable in this problem: same memories, same limits, same requests.

    Attributes
    ----------
    core
        What each of them offers.
    core_ids
        Ascending.
    pinned_layer
        (network, layer) that must take the one core of this class, or None.
    forbidden
        Whether its one core must stay empty; such classes take no part in a placement.
    kept
        Whether its one core held a layer in the placement that is to be kept.
    """

    core: CoreSpec
    core_ids: tuple[int, ...]
    pinned_layer: tuple[int, str] | None = None
    forbidden: bool = False
    kept: bool = False


def core_classes(
    chip: ChipSpec,
    forbidden_cores: Collection[int],
    pinned: Mapping[int, tuple[int, str]],
    kept_cores: Collection[int],
) -> tuple[CoreClass, ...]:
    """Core classes by smallest core id; forbidden cores left out, pinned and kept ones on their own.

    Parameters
    ----------
    pinned
        (network, layer) by the core that it must take.
    kept_cores
        Cores that held a layer in the placement that is to be kept.
    """
    forbidden = set(forbidden_cores)
    kept = set(kept_cores) - forbidden - set(pinned)
    entries = []
    for entry in chip.core_classes:
        free = tuple(core for core in entry.core_ids if core not in forbidden | kept and core not in pinned)
        if free:
            entries.append(CoreClass(entry.core, free))
        entries += [CoreClass(entry.core, (c,), kept=True) for c in entry.core_ids if c in kept]
        entries += [CoreClass(entry.core, (c,), pinned[c]) for c in entry.core_ids if c in pinned]
    return tuple(sorted(entries, key=lambda entry: entry.core_ids))


def alike_cores(classes: Sequence[CoreClass], *, is_busy: bool) -> tuple[tuple[int, ...], ...]:
    """Cores that may change places in any placement, and it stays as good: ids, ascending.

    Parameters
    ----------
    is_busy
        Whether traffic asks for parallel cores; else these are as good as others.
    """
    members: dict[object, list[int]] = {}
    for k, entry in enumerate(classes):
        is_single = entry.kept or entry.pinned_layer is not None
        core = entry.core if is_busy else entry.core.model_copy(update={"parallel": False})
        members.setdefault(k if is_single else core, []).extend(entry.core_ids)
    return tuple(tuple(sorted(cores)) for cores in members.values())
