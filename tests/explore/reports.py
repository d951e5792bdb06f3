"""Small reports for tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mapper.explore.plan import PlannedNetwork, PlannedVariant, plan_networks, plan_variants
from mapper.explore.record import ReportRecord, Settings
from mapper.explore.sweep import Place, sweep
from mapper.network import Network
from mapper.options import SolveOptions

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
GESTURE, TOO_LARGE, LENET = (
    ZOO / f"{name}.yaml"
    for name in ("sinabs_dvs_gesture_9layer", "sinabs_too_large", "sinabs_lenet5_tutorial")
)
SMALL = ZOO / "gesture_small.yaml"
HERE = Place(workers=0)
# Twice the kernel memory on two cores, and as few neurons on a third as its small ones have.
CHANGES = ("core[5..6].kernel_words=131072", "core[0].neuron_words=32768")


def bare(**options: Any) -> Settings:
    """Verdicts alone, with changed options."""
    return Settings(
        options=SolveOptions(**{"objective": "headroom", **options}), repairs="none", details="none"
    )


BARE = bare()


def sides(
    sources: Sequence[Path | Network | str], chips: Sequence[str], changes: Sequence[str] = ()
) -> tuple[tuple[PlannedNetwork, ...], tuple[PlannedVariant, ...]]:
    return plan_networks(list(sources)), plan_variants(chips, (), changes)[0]


@lru_cache
def small_report() -> ReportRecord:
    """Four networks on two chips and a variant of one: placed, infeasible in two ways, unsupported."""
    networks = plan_networks([SMALL, GESTURE, TOO_LARGE, LENET])
    variants, notes = plan_variants(["speck2f", "speck2cmini"], (), CHANGES)
    return sweep(networks, variants, place=HERE, notes=notes)
