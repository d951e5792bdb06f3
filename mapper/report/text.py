"""Results as terminal text: tables that read well at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hwspec.schema import AssumedFact, ChipSpec
from mapper.demand import layer_demands
from mapper.record import CoreUse, core_use
from mapper.result import FeasibilityReport, Result, Status
from mapper.solution import DVS, LayerPart
from mapper.wording import join_numbers

__all__ = ["print_chip", "print_report", "print_result"]


def _table(title: str, columns: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, side in columns:
        table.add_column(name, justify="right" if side == "r" else "left", overflow="fold")
    return table


def _share(used: tuple[int, int]) -> str:
    taken, have = used
    return f"{taken}/{have}" if have else "-"


def print_result(console: Console, result: Result) -> None:
    """The placement, its proof, and the facts it rests on; or the report of why there is none."""
    if result.report is not None:
        print_report(console, result.report, result.networks[0].name)
        return
    solution = result.require()
    name, chip = result.networks[0].name, result.chip
    what = {Status.OPTIMAL: "placed, proven optimal"}.get(result.status, "placed, optimum not proven")
    console.print(
        f"[bold]{escape(name)}[/] on [bold]{escape(chip.name)}[/]: {what}, checked.", highlight=False
    )
    _print_layers(console, result)
    for stage in solution.objectives:
        proof = "proven" if stage.proven else f"bound {stage.bound}"
        console.print(f"{stage.name.replace('_', ' ')}: {stage.value} ({proof})", highlight=False)
    statistics = result.statistics
    console.print(f"solver: {statistics.wall_s * 1e3:.1f} ms in {statistics.solves} solves", highlight=False)
    if statistics.interrupted:
        console.print("Interrupted: this is the best placement found so far.", highlight=False)
    _print_notes(console, tuple(n for net in result.networks for n in net.notes), chip)


def _print_layers(console: Console, result: Result) -> None:
    solution = result.require()
    uses: dict[int, CoreUse] = {use.core: use for use in core_use(result)}
    columns = (
        ("layer", "l"),
        ("core", "r"),
        ("shape", "l"),
        ("kernel", "r"),
        ("neuron", "r"),
        ("bias", "r"),
        ("sends to", "l"),
    )
    table = _table("", columns)
    core_of = {p.body.layer: p.core for p in solution.placements if isinstance(p.body, LayerPart)}
    names = {core: layer for layer, core in core_of.items()}
    monitored = {monitor.source for monitor in solution.monitors}
    for demand in layer_demands(result.networks[0], 0, None):
        core = core_of[demand.layer]
        targets = [
            _target(
                names.get(r.target, str(r.target)) if isinstance(r.target, int) else r.target,
                r.pooling,
                r.feature_shift,
            )
            for r in solution.routes
            if r.source == core
        ]
        if core in monitored:
            targets.append("monitor")
        use = uses[core]
        table.add_row(
            escape(demand.layer),
            str(core),
            str(demand.core.output_shape),
            _share(use.kernel_words),
            _share(use.neuron_words),
            _share(use.bias_words),
            escape(", ".join(targets)),
        )
    console.print(table)
    entries = [f"{names[e.core]} (core {e.core})" for e in solution.host_entries]
    sensor = [
        f"{names[r.target]} (core {r.target})"
        for r in solution.routes
        if r.source == DVS and isinstance(r.target, int)
    ]
    if entries:
        console.print(f"events from the host enter at {escape(', '.join(entries))}", highlight=False)
    if sensor and solution.dvs_stage:
        pooling = "x".join(map(str, solution.dvs_stage.pooling))
        console.print(f"the sensor, pooled {pooling}, feeds {escape(', '.join(sensor))}", highlight=False)


def _target(name: str, pooling: int, shift: int) -> str:
    return name + (f" /{pooling}" if pooling != 1 else "") + (f" +{shift}" if shift else "")


def print_report(console: Console, report: FeasibilityReport, network: str) -> None:
    """Why a network does not fit, one sentence a reason."""
    undecided = report.status is Status.UNDECIDED
    verdict = "undecided" if undecided else f"does not fit, proven ({report.nature})"
    console.print(
        f"[bold]{escape(network)}[/] on [bold]{escape(report.chip)}[/]: {verdict}.", highlight=False
    )
    for sentence in report.sentences():
        console.print(f"- {escape(sentence)}", highlight=False)
    if report.conflict is not None:
        kind = "smallest conflict" if report.conflict.irreducible else "conflict"
        console.print(f"{kind}: {escape(report.conflict.sentence)}", highlight=False)
    if report.correction is not None:
        console.print(escape(report.correction.sentence), highlight=False)
    _print_repairs(console, report)
    _print_assumed(console, report.chip, report.assumed_facts)


def _print_repairs(console: Console, report: FeasibilityReport) -> None:
    """What would mend it, and how to try that."""
    if report.repairs:
        console.print("repairs, each solved and checked:", highlight=False)
    for number, repair in enumerate(report.repairs, start=1):
        console.print(f" {number}. {escape(repair.sentence)}", highlight=False)
        if repair.overrides:
            options = " ".join(f'--set "{override}"' for override in repair.overrides)
            console.print(f"    {escape(options)}", highlight=False, soft_wrap=True)
    if not report.repairs and report.repairs_missing:
        kinds = ", ".join(kind.replace("_", " ") for kind in report.repairs_missing)
        console.print(f"no single repair of these kinds exists: {kinds}", highlight=False)


def _print_notes(console: Console, notes: tuple[str, ...], chip: ChipSpec) -> None:
    for note in notes:
        console.print(f"note: {escape(note)}", highlight=False)
    _print_assumed(console, chip.name, chip.assumed_facts())


def _print_assumed(console: Console, chip: str, facts: tuple[AssumedFact, ...]) -> None:
    """Name the facts that no source states; `chips show` tells the sentences."""
    if facts:
        paths = ", ".join(fact.path for fact in facts)
        text = f"rests on assumed facts of {chip}: {paths} (see chips show)"
        console.print(escape(text), style="dim", highlight=False)


def print_chip(console: Console, chip: ChipSpec) -> None:
    """A chip's cores, limits, stages and errata."""
    console.print(f"[bold]{escape(chip.name)}[/]: {escape(chip.title)}", highlight=False)
    if chip.devices:
        console.print(f"devices: {', '.join(chip.devices)}", highlight=False)
    columns = (
        ("cores", "l"),
        ("kernel words", "r"),
        ("neuron words", "r"),
        ("bias words", "r"),
        ("fan-out", "r"),
    )
    table = _table("", columns)
    for entry in chip.core_classes:
        core = entry.core
        numbers = (core.kernel_words, core.neuron_words, core.bias_words, core.fan_out)
        table.add_row(join_numbers(entry.core_ids), *map(str, numbers))
    console.print(table)
    limits = chip.cores[0].limits
    console.print(
        f"input map up to {limits.input_height_max}x{limits.input_width_max}, neuron map up to "
        f"{limits.output_height_max}x{limits.output_width_max}, {limits.output_features_max} features, "
        f"kernel {limits.kernel_size_min}..{limits.kernel_size_max}, "
        f"strides {', '.join(map(str, limits.strides))}, "
        f"padding up to {limits.padding_max}, pools {', '.join(map(str, chip.routing.poolings))}",
        highlight=False,
    )
    for erratum in chip.errata:
        console.print(
            f"erratum {erratum.code}: {escape(erratum.statement)} [{erratum.evidence}]", highlight=False
        )
    for fact in chip.assumed_facts():
        console.print(f"assumed: {escape(fact.statement)}", style="dim", highlight=False)
