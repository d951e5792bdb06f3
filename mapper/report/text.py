"""Results as terminal text: tables that read well at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hwspec.schema import AssumedFact, ChipSpec
from mapper.operations import Shape
from mapper.record import CoreUse, core_use
from mapper.references import layer_key
from mapper.result import FeasibilityReport, Result, Status
from mapper.solution import DVS, Relay
from mapper.wording import join_names, join_numbers

__all__ = ["divisions", "print_chip", "print_report", "print_result"]


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
    name = join_names([network.name for network in result.networks])
    if result.report is not None:
        print_report(console, result.report, name)
        return
    solution, chip = result.require(), result.chip
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
    solution, uses = result.require(), core_use(result)
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
    labels = {use.core: _label(result, use) for use in uses if use.layer is not None}
    monitored = {monitor.source for monitor in solution.monitors}
    for use in sorted(uses, key=lambda use: _row_order(result, use)):
        if use.layer is None:
            continue
        targets = [
            _target(
                labels.get(r.target, str(r.target)) if isinstance(r.target, int) else r.target,
                r.pooling,
                r.feature_shift,
            )
            for r in solution.routes
            if r.source == use.core
        ]
        if use.core in monitored:
            targets.append("monitor")
        table.add_row(
            escape(labels[use.core]),
            str(use.core),
            str(_shape(result, use)),
            _share(use.kernel_words),
            _share(use.neuron_words),
            _share(use.bias_words),
            escape(", ".join(targets)),
        )
    console.print(table)
    entries = [f"{labels[e.core]} (core {e.core})" for e in solution.host_entries]
    sensor = [
        f"{labels[r.target]} (core {r.target})"
        for r in solution.routes
        if r.source == DVS and isinstance(r.target, int)
    ]
    if entries:
        console.print(f"events from the host enter at {escape(', '.join(entries))}", highlight=False)
    if sensor and solution.dvs_stage:
        pooling = "x".join(map(str, solution.dvs_stage.pooling))
        console.print(f"the sensor, pooled {pooling}, feeds {escape(', '.join(sensor))}", highlight=False)
    for sentence in divisions(result):
        console.print(escape(sentence), highlight=False)


def _row_order(result: Result, use: CoreUse) -> tuple[int, int, int, tuple[int, int]]:
    """Layers in their network's order, the copies and pieces of each together, then relays."""
    network = result.networks[use.network]
    index = network.index.get(use.layer or "", len(network.layers))
    return use.network, index + (use.role == "relay") * 10_000, use.role == "copy", use.features


def _label(result: Result, use: CoreUse) -> str:
    """What a core is called in tables; a piece by its features."""
    name = layer_key(result.networks, use.network, use.layer or "")
    stop = result.networks[use.network].signal_shapes[use.layer or ""].features
    span = "" if use.features == (0, stop) else f"[{use.features[0]}:{use.features[1]}]"
    if use.role == "relay":
        return f"relay of {name}{span}"
    return f"{name}{span}{' copy' if use.role == 'copy' else ''}"


def _shape(result: Result, use: CoreUse) -> Shape:
    """Features of a core and its map, pooled for a relay."""
    shape = result.networks[use.network].signal_shapes[use.layer or ""]
    pooling = 1
    for place in result.require().placements:
        if place.core == use.core and isinstance(place.body, Relay):
            pooling = place.body.pooling
    features = use.features[1] - use.features[0]
    return Shape(features, shape.height // pooling, shape.width // pooling)


def divisions(result: Result) -> Iterator[str]:
    """What was cut, copied or passed on, and why: one sentence each."""
    parts: dict[tuple[int, str], list[CoreUse]] = {}
    for use in core_use(result):
        if use.layer is not None and use.role in ("piece", "copy"):
            parts.setdefault((use.network, use.layer), []).append(use)
        elif use.role == "relay":
            name = layer_key(result.networks, use.network, use.layer or "")
            yield f"core {use.core} passes {name} on: it has more targets, or pools, than its own core serves"
    for (number, layer), uses in parts.items():
        name = layer_key(result.networks, number, layer)
        cores = [use.core for use in uses if use.role == "piece"]
        if cores:
            where = join_numbers(sorted(cores))
            yield f"{name} is cut over cores {where}: no core that is left holds it whole"
        if any(use.role == "copy" for use in uses):
            where = join_numbers(sorted(use.core for use in uses if use.role == "copy"))
            yield f"{name} stands a second time on core {where}: it has more targets than one core serves"


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
