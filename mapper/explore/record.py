"""A feasibility report as a file: `report.json`, networks against variants."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mapper.errors import Finding, OptionsError
from mapper.record import PlacementRecord
from mapper.result import FeasibilityReport, Repair

__all__ = [
    "Cell",
    "Details",
    "Gap",
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

Verdict: TypeAlias = Literal["plain", "divided", "infeasible", "unsupported", "undecided", "error"]
Resource: TypeAlias = Literal["kernel", "neuron", "bias", "cores", "fan_out"]
Details: TypeAlias = Literal["all", "chips", "none"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Settings(_Record):
    """What was asked of every cell; a report goes on only under the same settings.

    Attributes
    ----------
    objective, max_pieces, relays, max_copies, work_limit
        As in `mapper.options.SolveOptions`. "headroom": the margin is the largest there is with the fewest
        cores; "capacity": placements are those of `mapper solve`, as tight as can be.
    repairs
        For which variants repairs were sought: the unchanged chips, all, or none.
    details
        For which variants cells keep placement and full report.
    """

    objective: Literal["headroom", "capacity"] = "headroom"
    max_pieces: int | None = None
    relays: bool = True
    max_copies: int = 2
    work_limit: float | None = None
    repairs: Details = "chips"
    details: Details = "chips"


class NetworkLayer(_Record):
    """A layer after the passes, and what it asks of a core that holds it whole.

    Shapes are (features, height, width), pairs (height, width).

    Attributes
    ----------
    spikes_per_second, synops_per_second
        Arriving, and what they cost, at the traffic that was given; None without.
    """

    name: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    kernel_words: int
    neuron_words: int
    bias_words: int
    destinations: int
    spikes_per_second: int | None = None
    synops_per_second: int | None = None


class NetworkRow(_Record):
    """A network of the report.

    Attributes
    ----------
    source
        As it was named: a file, "digits", "package.module:factory".
    layers
        Number of layers after the passes; 0 where it could not be read.
    layer_rows
        These layers, in the network's order.
    network_hash
        SHA-256 of its shapes and edges after the passes; empty where it could not be read.
    error
        Why it could not be read or prepared; its cells are "unsupported".
    """

    name: str
    source: str
    layers: int
    layer_rows: tuple[NetworkLayer, ...] = ()
    network_hash: str = ""
    error: str | None = None


class VariantCore(_Record):
    """What one core offers."""

    core: int
    kernel_words: int
    neuron_words: int
    bias_words: int
    fan_out: int
    parallel: bool


class VariantRow(_Record):
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


class Margin(_Record):
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


class Gap(_Record):
    """By how much the nearest requirement is missed.

    Attributes
    ----------
    rule, code
        As in `mapper.result.Unmet`.
    layers
        Who asks.
    demand, bound, gap, unit
        What is asked, what there is, the difference (None where they are no numbers), in what unit.
    """

    rule: str
    code: str
    layers: tuple[str, ...]
    demand: int | str
    bound: int | str
    gap: int | None
    unit: str


class Cell(_Record):
    """One network on one variant.

    Attributes
    ----------
    network, variant
        Indexes of `ReportRecord.networks` and `ReportRecord.variants`.
    verdict
        "plain": one whole layer per core. "divided": with pieces, copies or relays. "infeasible": proven.
        "unsupported": the network cannot be read or prepared. "undecided": a limit came first. "error":
        this program failed; the sentence says how.
    cores_used
        Cores that hold something; None unless placed.
    margin
        The tightest resource of the placement; None unless placed.
    sentence
        Why not, in one sentence; None where it is placed.
    nature
        As in `mapper.result.FeasibilityReport`; None where it is placed.
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


class MemoryUse(_Record):
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


class VariantSummary(_Record):
    """A variant over all networks.

    Attributes
    ----------
    plain, divided, infeasible, unsupported, undecided, error
        Number of networks by verdict.
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
    plain: int
    divided: int
    infeasible: int
    unsupported: int
    undecided: int
    error: int
    memories: tuple[MemoryUse, ...]
    cores_short: int
    unused_cores: tuple[int, ...]
    used_share: float | None


class SmallestRepair(_Record):
    """The least change, over all variants where repairs were sought, that makes a network fit."""

    variant: int
    repair: Repair


class NetworkSummary(_Record):
    """A network over all variants.

    Attributes
    ----------
    plain, divided, infeasible, unsupported, undecided, error
        Number of variants by verdict.
    tightest
        Per variant the tightest resource in words ("neuron memory of core 2", "cores"); None where it
        is not placed, or not done yet.
    repair
        None where it fits everywhere, or no repair is known.
    """

    network: int
    plain: int
    divided: int
    infeasible: int
    unsupported: int
    undecided: int
    error: int
    tightest: tuple[str | None, ...]
    repair: SmallestRepair | None = None


class ReportRecord(_Record):
    """Content of ``report.json``.

    Attributes
    ----------
    complete
        Whether every cell is there; False after an interruption.
    version
        Of the program that decided the cells.
    cells
        By network, then variant.
    notes
        What was left out, and why.
    """

    schema_version: Literal[1] = 1
    version: str
    complete: bool
    settings: Settings
    networks: tuple[NetworkRow, ...]
    variants: tuple[VariantRow, ...]
    cells: tuple[Cell, ...]
    variant_summaries: tuple[VariantSummary, ...]
    network_summaries: tuple[NetworkSummary, ...]
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        # Drawing stands to the right of here, and is loaded when a notebook asks.
        text: str = import_module("mapper.report.notebook").matrix_html(self)
        return text


def read_report(path: Path) -> ReportRecord:
    """A report.json of this program.

    Raises
    ------
    OptionsError
        It cannot be read, or is something else.
    """
    try:
        return ReportRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise OptionsError(Finding(str(path), f"cannot be read: {error.strerror}")) from None
    except ValueError as error:
        step = "mapper report --out DIR writes one"
        problem = f"is no report: {' '.join(str(error).split())[:150]}"
        raise OptionsError(Finding(str(path), problem, next_step=step)) from None
