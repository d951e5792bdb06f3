"""Placements that come from a file: checked before they count, whatever their checksum."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mapper.explore import sweep as sweep_module
from mapper.explore.cache import is_sealed, sealed
from mapper.explore.plan import PlannedNetwork, PlannedVariant, plan_networks, plan_variants
from mapper.explore.record import Cell, Settings
from mapper.explore.sweep import Place, sweep
from tests.builders import chain, conv, tiny_chip
from tests.explore.reports import GESTURE, HERE, SMALL, TOO_LARGE, sides


def forged(cell: Cell, network: PlannedNetwork, variant: PlannedVariant, **changes: Any) -> Cell:
    """A cell that was edited by somebody who can make checksums."""
    return sealed(cell.model_copy(update=changes), sweep_module._key(network, variant, Settings()))


def test_a_forged_placement_is_not_believed(decided: list[tuple[str, str]], tmp_path: Path) -> None:
    networks, variants = sides([SMALL, TOO_LARGE], ["speck2f"])
    place = Place(workers=0, cache=tmp_path)
    first = sweep(networks, variants, Settings(), place)
    cell = first.cells[0]
    assert cell.placement is not None
    assert cell.margin is not None
    one, other = cell.placement.solution.placements[:2]
    moved = replace(cell.placement.solution, placements=(replace(one, core=other.core), *cell.placement.solution.placements[1:]))  # fmt: skip
    half = replace(cell.placement.solution.objectives[0], bound=0)
    unproven = replace(cell.placement.solution, objectives=(half, *cell.placement.solution.objectives[1:]))
    forgeries: list[dict[str, Any]] = [
        {"placement": cell.placement.model_copy(update={"solution": solution})}
        for solution in (moved, unproven)
    ]
    forgeries += [
        {"placement": cell.placement.model_copy(update={"layers": ()})},
        {"placement": cell.placement.model_copy(update={"status": "infeasible"})},
        {"margin": cell.margin.model_copy(update={"free_share": 0.9})},
        {"cores_used": 1},
        {"verdict": "divided"},
    ]
    (path,) = (p for p in tmp_path.rglob("*.json") if '"plain"' in p.read_text(encoding="utf-8"))
    for changes in forgeries:
        edited = forged(cell, networks[0], variants[0], **changes)
        assert is_sealed(edited, sweep_module._key(networks[0], variants[0], Settings()))
        decided.clear()
        path.write_text(edited.model_dump_json(), encoding="utf-8")
        assert sweep(networks, variants, Settings(), place) == first
        cells = (edited, *first.cells[1:])
        again = sweep(networks, variants, Settings(), HERE, resume=first.model_copy(update={"cells": cells}))
        assert again.cells == first.cells
        assert decided == [("gesture_small", "speck2f")] * 2, changes
        assert len(again.notes) == 1
    decided.clear()
    assert sweep(networks, variants, Settings(), place) == first
    assert decided == []


def test_placements_in_every_form_are_recognized(decided: list[tuple[str, str]]) -> None:
    # A pool of 8, which relays do or kernels take up, as cores have room.
    networks = plan_networks([chain([conv(8), conv(8)], (4, 32, 32), [8]), GESTURE])
    chips = [tiny_chip(*[(words, 8192, 10)] * 4) for words in (512, 1024, 4096)]
    variants, _ = plan_variants([*chips, "speck2f"])
    settings = Settings(repairs="none")
    whole = sweep(networks, variants, settings, HERE)
    placed = [cell for cell in whole.cells if cell.placement is not None]
    assert [cell.cores_used for cell in placed] == [4, 3, 2, 2, 9]
    decided.clear()
    assert sweep(networks, variants, settings, HERE, resume=whole) == whole
    assert decided == []
