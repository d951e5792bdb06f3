"""A feasibility report as a file: `report.json`, networks against variants."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, TypeAlias

from pydantic import model_validator

from hwspec.display import Displayed
from mapper.options import SolveOptions
from mapper.reasons import FeasibilityReport, Gap, Record, Repair
from mapper.record import LayerSizes, PlacementRecord, read_record

__all__ = [
    "REPORT_MAX",
    "Cell",
    "Details",
    "Margin",
    "MemoryUse",
    "NetworkLayer",
    "NetworkRow",
    "NetworkSummary",
    "ReportRecord",
    "Resource",
    "Settings",
    "SmallestRepair",
    "VariantCore",
    "VariantRow",
    "VariantSummary",
    "Verdict",
    "read_report",
]

REPORT_MAX = {
    "networks": 5_000,
    "variants": 5_000,
    "cells": 50_000,
    "network_summaries": 5_000,
    "variant_summaries": 5_000,
}
"""What a report may hold at most, five times what was ever measured: readers take it into memory whole."""

Verdict: TypeAlias = Literal["plain", "divided", "infeasible", "unsupported", "undecided", "error"]
Resource: TypeAlias = Literal["kernel", "neuron", "bias", "cores", "fan_out"]
Details: TypeAlias = Literal["all", "chips", "none"]


class Settings(Record):
    """What was asked of every cell; a report goes on only under the same settings.

    Attributes
    ----------
    options
        Of every solve. Objective "headroom": the margin is the largest there is with the fewest cores;
        "capacity": placements are those of `mapper solve`, as tight as can be.
    repairs
        For which variants repairs were sought: the unchanged chips, all, or none.
    details
        For which variants cells keep placement and full report.
    """

    options: SolveOptions = SolveOptions(objective="headroom")
    repairs: Details = "chips"
    details: Details = "chips"


class NetworkLayer(LayerSizes):
    """A layer after the passes.

    Attributes
    ----------
    destinations
        Entries of the destination table that it takes.
    spikes_per_second, synops_per_second
        Arriving, and what they cost, at the traffic that was given; None without.
    """

    name: str
    destinations: int
    spikes_per_second: int | None = None
    synops_per_second: int | None = None


class NetworkRow(Record):
    """A network of the report.

    Attributes
    ----------
    source
        As it was named: a file, "digits", "file.py:factory".
    layers
        Number of layers after the passes; 0 where it could not be read.
    layer_rows
        These layers, in the network's order.
    network_hash
        SHA-256 of all of it after the passes, weights included; empty where it could not be read.
    has_weights
        Whether its cells hold for its weights; else they were decided by shapes.
    error
        Why it could not be read or prepared; its cells are "unsupported".
    readings
        What was taken for granted while reading it.
    """

    name: str
    source: str
    layers: int
    layer_rows: tuple[NetworkLayer, ...] = ()
    network_hash: str = ""
    has_weights: bool = False
    error: str | None = None
    readings: tuple[str, ...] = ()

    @property
    def basis(self) -> str:
        """What its verdicts hold for: "weights", "shapes", or nothing where it could not be read."""
        return "" if self.error is not None else ("weights" if self.has_weights else "shapes")


class VariantCore(Record):
    """What one core offers."""

    core: int
    kernel_words: int
    neuron_words: int
    bias_words: int
    fan_out: int
    parallel: bool


class VariantRow(Record):
    """A chip of the report.

    Attributes
    ----------
    base
        The chip or file it was made from, as it was named.
    overrides
        Changes on top of it, as `--set` takes them.
    is_chip
        Whether it is a named chip without changes: "chips" in `Settings` means these.
    """

    name: str
    base: str
    overrides: tuple[str, ...] = ()
    is_chip: bool
    chip_hash: str
    cores: tuple[VariantCore, ...]
    capacity_bits: int


class Margin(Record):
    """The tightest resource of a placement.

    Attributes
    ----------
    resource
        A memory ("kernel", "neuron", "bias"), the number of cores, or a core's destinations ("fan_out").
    core, layer
        Whose memory or destinations; None for "cores". Of a relay `layer` is the signal it passes on.
    used, offered
        Words, cores or destinations.
    free_share
        (offered - used) / offered, rounded to 6 digits: 0 is full.
    """

    resource: Resource
    core: int | None
    layer: str | None
    used: int
    offered: int
    free_share: float


class Cell(Record):
    """One network on one variant.

    Attributes
    ----------
    network, variant
        Indexes of `ReportRecord.networks` and `ReportRecord.variants`.
    verdict
        "plain": one whole layer per core. "divided": with pieces, copies, relays or
        rewrites. "infeasible": proven.
        "unsupported": the network cannot be read or prepared. "undecided": a limit came first. "error":
        this program or a machine failed, twice; the sentence says how.
    cores_used
        Cores that hold something; None unless placed.
    margin
        The tightest resource of the placement; None unless placed.
    sentence
        Why not, in one sentence; None where it is placed.
    nature
        As in `mapper.reasons.FeasibilityReport`; None where it is placed.
    gaps
        Requirements that are missed, the decisive one first; what only large layers that may be cut miss
        stands behind. Empty where layers only compete.
    conflict
        What cannot hold together as whole layers, and whether or why pieces, relays and copies do not help;
        None where it is placed or not proven.
    blamed
        (core or None, resource) pairs that the conflict names: the bottlenecks.
    repairs
        Changes that make it fit, solved and checked, least first; empty where none was sought or found.
    layer_cores
        Per layer, in the network's order, the cores that hold it or parts of it; empty unless placed.
    used
        (core, kernel words, neuron words, bias words, destinations) taken on every core that holds something.
    placement, report
        Kept for the variants that `Settings.details` names.
    checksum
        SHA-256 over everything that the cell depends on and says: one that was edited is decided anew. Empty
        where nothing was decided.
    """

    network: int
    variant: int
    verdict: Verdict
    cores_used: int | None = None
    margin: Margin | None = None
    sentence: str | None = None
    nature: str | None = None
    gaps: tuple[Gap, ...] = ()
    conflict: str | None = None
    blamed: tuple[tuple[int | None, Resource], ...] = ()
    repairs: tuple[Repair, ...] = ()
    layer_cores: tuple[tuple[int, ...], ...] = ()
    used: tuple[tuple[int, int, int, int, int], ...] = ()
    placement: PlacementRecord | None = None
    report: FeasibilityReport | None = None
    checksum: str = ""

    @property
    def free_share(self) -> float | None:
        """Of the tightest resource; None unless placed."""
        return None if self.margin is None else self.margin.free_share

    @property
    def is_failed(self) -> bool:
        """Whether this says what went wrong instead of a verdict: such a cell is decided again."""
        return self.verdict == "error"


class MemoryUse(Record):
    """A resource of one core over all networks that were placed on a variant.

    Attributes
    ----------
    offered, most_used
        Words (destinations for "fan_out").
    mean_share
        Used share on average over the placed networks, unused cores counted as 0.
    bottleneck
        For how many networks it was as full as the tightest resource, or was named in the conflict.
    """

    core: int
    resource: Resource
    offered: int
    most_used: int
    mean_share: float
    bottleneck: int


class _Counts(Record):
    plain: int
    divided: int
    infeasible: int
    unsupported: int
    undecided: int
    error: int


class VariantSummary(_Counts):
    """A variant over all networks: how many have which verdict, and what they are short of.

    Attributes
    ----------
    memories
        Every core's memories and destinations; `most_used` 0: never needed.
    cores_short
        For how many networks all cores are taken, or their number is named in the conflict.
    unused_cores
        Cores that no placement uses.
    used_share
        Share of the variant's memory bits that the placed networks take on average; None without any.
    """

    variant: int
    memories: tuple[MemoryUse, ...]
    cores_short: int
    unused_cores: tuple[int, ...]
    used_share: float | None


class SmallestRepair(Record):
    """The least change, over all variants where repairs were sought, that makes a network fit."""

    variant: int
    repair: Repair


class NetworkSummary(_Counts):
    """A network over all variants: on how many it has which verdict, and what they are short of.

    Attributes
    ----------
    tightest
        Per variant the tightest resource in words ("neuron memory of core 2", "cores"); None where it
        is not placed, or not done yet.
    repair
        None where it fits everywhere, or no repair is known.
    """

    network: int
    tightest: tuple[str | None, ...]
    repair: SmallestRepair | None = None


class ReportRecord(Record, Displayed):
    """Content of ``report.json``.

    Attributes
    ----------
    complete
        Whether every cell is there and none has failed; False after an interruption.
    version
        Of the program that decided the cells.
    cells
        By network, then variant.
    notes
        What was left out, and why.
    """

    schema_version: Literal[2] = 2
    version: str
    complete: bool
    settings: Settings
    networks: tuple[NetworkRow, ...]
    variants: tuple[VariantRow, ...]
    cells: tuple[Cell, ...]
    variant_summaries: tuple[VariantSummary, ...]
    network_summaries: tuple[NetworkSummary, ...]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_cells(self) -> Self:
        """Every cell is of a network and a variant that are there, each pair once."""
        pairs = [(cell.network, cell.variant) for cell in self.cells]
        for network, variant in pairs:
            if network not in range(len(self.networks)) or variant not in range(len(self.variants)):
                raise ValueError(f"a cell is of network {network} and variant {variant}, which are not there")
        if len(set(pairs)) < len(pairs):
            raise ValueError("two cells are of the same network and variant")
        return self


def read_report(path: Path) -> ReportRecord:
    """A report.json of this program.

    Raises
    ------
    OptionsError
        It cannot be read, or is something else.
    """
    return read_record(ReportRecord, path, "report", "mapper report --out DIR writes one", REPORT_MAX)
