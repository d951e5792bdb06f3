"""Reports for tests: a small one of every verdict, hostile ones, and large ones made from the small one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from hwspec.catalog import load, names
from mapper.explore.plan import plan_networks, plan_variants
from mapper.explore.record import Cell, ReportRecord, Settings, Verdict
from mapper.explore.summary import network_summaries, variant_summaries
from mapper.explore.sweep import Place, sweep
from mapper.network import Network
from mapper.operations import Convolution
from mapper.options import SolveOptions
from tests.builders import chain, conv, gesture

__all__ = ["HOSTILE", "hostile", "large", "partial", "small", "zoo"]

BOUNDED = SolveOptions(objective="headroom", work_limit=5.0)
HOSTILE = (
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "<!--<script>",
    "' onmouseover='window.hacked=1",
    "</style></svg></title><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "{{ 7 * 7 }}${window.hacked=1}&lt;b&gt;\u2028\u202eabc\x07",
)


def _swept(networks: Sequence[str | Network], details: Settings) -> ReportRecord:
    twelve = load("speck2f", ["+core[9..11]=core[5]"]).model_copy(update={"name": "speck2f-12"})
    variants, notes = plan_variants(["speck2f", "speck2cmini"], [twelve], ["core[4].kernel_words=65536"])
    # In this process: one of its own would first import everything again, in every worker of the tests.
    return sweep(plan_networks(networks), variants, details, Place(workers=0), notes=notes)


@cache
def small() -> ReportRecord:
    """Networks that fit, fit divided, do not fit at all, and cannot be read, on five variants."""
    shifted = chain([conv(8), conv(8, 5), Convolution(10, (4, 4))], (2, 16, 16), (2, 2), name="shifted")
    big = chain([conv(200, 5), conv(200, 5), conv(200, 5)], (2, 64, 64), name="big")
    networks: list[str | Network] = [
        "digits",
        gesture(),
        "mapper/data/wide.yaml",
        shifted,
        big,
        "nowhere/missing.yaml",
    ]
    return _swept(networks, Settings(options=BOUNDED))


@cache
def zoo() -> ReportRecord:
    """The published networks on all chips and three that nobody makes."""
    made = {
        "speck2f-12": ("speck2f", ["+core[9..11]=core[5]"]),
        "speck2f-kernel": ("speck2f", ["core[5..6].kernel_words=131072"]),
        "mini-kernel": ("speck2cmini", ["core[0..4].kernel_words=65536"]),
    }
    others = [load(*source).model_copy(update={"name": name}) for name, source in made.items()]
    variants, _ = plan_variants(list(names()), others)
    networks = plan_networks(sorted(Path("tests/data/zoo").glob("*.yaml")))
    return sweep(networks, variants, Settings(options=BOUNDED, repairs="none"))


@cache
def hostile() -> ReportRecord:
    """Every name that people choose is an attack: networks, layers, inputs, sources, variants, sentences."""
    networks: list[str | Network] = []
    for n, name in enumerate(HOSTILE):
        # Some fit, some only in pieces, the last ones not at all: every text of the page bears a name.
        kinds = [conv(4 + n), conv(300 if n % 2 else 4, 3)]
        plain = chain(kinds, (2, 16, 16) if n < 4 else (2, 120, 120), (2,), name=name)
        networks.append(_renamed(plain, name))
    record = _swept([*networks, f"{HOSTILE[1]}.yaml"], Settings(options=BOUNDED))
    rows = tuple(
        row.model_copy(update={"name": f"{HOSTILE[n]} {n}", "base": HOSTILE[n]})
        for n, row in enumerate(record.variants)
    )
    return record.model_copy(update={"variants": rows, "version": HOSTILE[0], "notes": HOSTILE})


def _renamed(network: Network, name: str) -> Network:
    """The same network with hostile layers and input."""
    names = {layer.name: f"{name}{n}" for n, layer in enumerate(network.layers)} | {"input": f"{name}in"}
    return Network(
        network.name,
        tuple(replace(entry, name=names[entry.name]) for entry in network.inputs),
        tuple(replace(layer, name=names[layer.name]) for layer in network.layers),
        tuple(replace(edge, source=names[edge.source], target=names[edge.target]) for edge in network.edges),
        tuple(replace(entry, source=names[entry.source]) for entry in network.outputs),
    )


def large(networks: int, variants: int) -> ReportRecord:
    """A report of this size, its cells taken from the small one in turn, with margins of all sizes."""
    seed = small()
    rows = tuple(
        seed.networks[n % len(seed.networks)].model_copy(update={"name": f"network {n:04d}"})
        for n in range(networks)
    )
    chips = tuple(
        seed.variants[n % len(seed.variants)].model_copy(update={"name": f"variant-{n:03d}"})
        for n in range(variants)
    )
    by_place = {(cell.network, cell.variant): cell for cell in seed.cells}
    cells = []
    for n in range(networks):
        for k in range(variants):
            cell = by_place[n % len(seed.networks), k % len(seed.variants)]
            cells.append(_varied(cell, n, k, keep=k < 7))
    return seed.model_copy(
        update={
            "networks": rows,
            "variants": chips,
            "cells": tuple(cells),
            "variant_summaries": variant_summaries(chips, cells),
            "network_summaries": network_summaries(rows, chips, cells),
        }
    )


def _varied(cell: Cell, network: int, variant: int, *, keep: bool) -> Cell:
    changes: dict[str, object] = {"network": network, "variant": variant}
    if not keep:
        # As by default: full details for the named chips alone.
        changes |= {"placement": None, "report": None}
    if (network * 31 + variant * 17) % 41 < 2:
        verdict: Verdict = "error" if (network * 31 + variant * 17) % 41 else "undecided"
        return Cell(network=network, variant=variant, verdict=verdict, sentence=f"made {verdict} for a test")
    if cell.margin is not None:
        free = ((network * 37 + variant * 11) % 101) / 100
        changes["margin"] = cell.margin.model_copy(update={"free_share": free})
    return cell.model_copy(update=changes)


def partial() -> ReportRecord:
    """The small report, interrupted after two thirds."""
    record = small()
    return record.model_copy(update={"complete": False, "cells": record.cells[: len(record.cells) * 2 // 3]})
