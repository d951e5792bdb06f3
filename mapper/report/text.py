"""Results as terminal text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import StringIO

from rich.console import Console

from hwspec.display import text
from hwspec.schema import AssumedFact, ChipSpec
from mapper.asking import TIME_LIMIT, WORK_LIMIT
from mapper.operations import Shape
from mapper.passes.rounding import RoundingLoss, rounding_losses
from mapper.reasons import FeasibilityReport, Status
from mapper.record import RELAY_OF, CoreUse, core_use
from mapper.references import layer_key
from mapper.report.terminal import heading, line, print_cores, print_table
from mapper.report.words import assumed_paths, changed_chip, destination, placed_words, reasons, refused_words
from mapper.result import Result
from mapper.rules import Rule
from mapper.solution import DVS
from mapper.wording import counted, join_names, join_numbers
from mapper.work import lacking, layer_work

__all__ = [
    "divisions",
    "print_chip",
    "print_readings",
    "print_report",
    "print_result",
    "print_rounding",
    "report_text",
    "result_text",
]


def print_result(console: Console, result: Result, *, is_brief: bool = False) -> None:
    """The placement, its proof, and the facts it rests on; or the report of why there is none.

    Parameters
    ----------
    is_brief
        Leave out what neither answers nor proves: the solver's times, notes, readings, assumed facts.
    """
    name = join_names([network.name for network in result.networks])
    if result.report is not None:
        print_report(console, result.report, name, is_brief=is_brief)
        if not is_brief:
            print_readings(console, result.readings)
        return
    solution, chip = result.require(), result.chip
    heading(console, f"{name} on {chip.name}", f"{placed_words(result.status)}.")
    _print_layers(console, result)
    for stage in solution.objectives:
        proof = "proven" if stage.proven else f"bound {stage.bound}"
        line(console, f"{stage.name.replace('_', ' ')}: {stage.value} ({proof})")
    if result.status is Status.OPTIMAL:
        line(console, f"proven among {join_names(['whole layers', *result.moves])}")
    if is_brief:
        return
    statistics = result.statistics
    line(console, f"solver: {statistics.wall_s * 1e3:.1f} ms in {counted(statistics.solves, 'solve')}")
    if statistics.interrupted:
        line(console, "Interrupted: this is the best placement found so far.")
    for network in result.networks:
        for note in network.notes:
            line(console, f"note: {note}")
    print_rounding(console, rounding_losses(result.given))
    print_readings(console, result.readings)
    _print_assumed(console, chip.name, chip.assumed_facts())


def print_readings(console: Console, readings: Iterable[object]) -> None:
    """What was taken for granted while reading, one line each."""
    for reading in readings:
        line(console, f"read: {reading}")


def print_rounding(console: Console, losses: Iterable[RoundingLoss]) -> None:
    """What rounding to integers took away, one line each."""
    for loss in losses:
        line(console, f"rounding: {loss}", "bold")


def _print_layers(console: Console, result: Result) -> None:
    solution, uses = result.require(), [use for use in core_use(result) if use.layer is not None]
    labels: dict[int | str, str] = {use.core: use.label for use in uses}
    monitored = {monitor.source for monitor in solution.monitors}
    rows = []
    for use in sorted(uses, key=lambda use: _row_order(result, use)):
        targets = [
            destination(labels.get(route.target, str(route.target)), route.pooling, route.feature_shift)
            for route in solution.routes
            if route.source == use.core
        ]
        targets += ["monitor"] * (use.core in monitored)
        memories = (use.kernel_words, use.neuron_words, use.bias_words)
        words = (f"{taken}/{have}" if have else "-" for taken, have in memories)
        rows.append((use.label, use.core, Shape(*use.shape), *words, ", ".join(targets)))
    columns = ("layer", "core", "shape", "kernel", "neuron", "bias", "sends to")
    print_table(console, columns, rows, right=("core", "kernel", "neuron", "bias"))
    places = {use.core: f"{use.label} (core {use.core})" for use in uses}
    if solution.host_entries:
        entries = ", ".join(dict.fromkeys(places[entry.core] for entry in solution.host_entries))
        line(console, f"events from the host enter at {entries}")
    fed = [places[r.target] for r in solution.routes if r.source == DVS and isinstance(r.target, int)]
    if fed and solution.dvs_stage:
        pooling = "x".join(map(str, solution.dvs_stage.pooling))
        line(console, f"the sensor, pooled {pooling}, feeds {', '.join(fed)}")
    for sentence in divisions(result):
        line(console, sentence)


def _row_order(result: Result, use: CoreUse) -> tuple[bool, int, int, bool, tuple[int, int]]:
    """Layers in their networks' order, the copies and pieces of each together, then relays."""
    network = use.network or 0
    places = {layer.name: n for n, layer in enumerate(result.networks[network].layers)}
    index = places.get(use.layer or "", 0)
    return (
        use.role == "relay" and use.label.startswith(RELAY_OF),
        network,
        index,
        use.role == "copy",
        use.features,
    )


def divisions(result: Result) -> Iterator[str]:
    """What was cut, copied or passed on, and why: one sentence each."""
    cores: dict[tuple[int, str, str], list[int]] = {}
    for use in core_use(result):
        if use.role == "relay":
            name = use.label.removeprefix(RELAY_OF)
            why = "it has more targets, or pools, than its own core serves"
            if name == use.label:
                why = "more cores read all of it than its sources serve"
            yield f"core {use.core} passes {name} on: {why}"
        elif use.network is not None and use.layer is not None and use.role != "layer":
            cores.setdefault((use.network, use.layer, use.role), []).append(use.core)
    for (number, layer, role), held in cores.items():
        name, where = layer_key(result.networks, number, layer), join_numbers(held)
        if role == "piece":
            at_this = " at this traffic" if _lacks_bandwidth(result, number, layer) else ""
            yield f"{name} is cut over cores {where}: no core that is left holds it whole{at_this}"
        else:
            core, times = ("core", "a second time") if len(held) == 1 else ("cores", "again")
            yield f"{name} stands {times} on {core} {where}: it has more targets than one core serves"


def _lacks_bandwidth(result: Result, number: int, layer: str) -> bool:
    """Whether some core would hold a layer whole but for the spikes that reach it."""
    network, traffic = result.networks[number], dict(result.options.traffic)
    keys = {layer_key(result.networks, number, name): name for name in network.signal_shapes}
    rates = {name: traffic[key] for key, name in keys.items() if key in traffic}
    work = layer_work(network, network.by_name[layer], rates)
    return any({lack.rule for lack in lacking(work, core)} == {Rule.BANDWIDTH} for core in result.chip.cores)


@text.register
def report_text(report: FeasibilityReport) -> str:
    """What the command line prints of a report, without colour."""
    return _plain(lambda console: print_report(console, report))


@text.register
def result_text(result: Result) -> str:
    """What the command line prints of a result, without colour."""
    return _plain(lambda console: print_result(console, result))


def _plain(show: Callable[[Console], None]) -> str:
    stream = StringIO()
    show(Console(file=stream, no_color=True, force_jupyter=False))
    return stream.getvalue().rstrip("\n")


def print_report(
    console: Console, report: FeasibilityReport, network: str = "", *, is_brief: bool = False
) -> None:
    """Why a network does not fit, one sentence a reason."""
    heading(console, f"{network} on {report.chip}".removeprefix(" on "), f"{refused_words(report)}.")
    for sentence in report.sentences():
        line(console, f"- {sentence}")
    if report.status is Status.UNDECIDED:
        line(console, f"to decide it, leave {TIME_LIMIT} and {WORK_LIMIT} out, or raise them")
    for reason in reasons(report):
        line(console, reason)
    _print_repairs(console, report)
    if not is_brief:
        _print_assumed(console, report.chip, report.assumed_facts)


def _print_repairs(console: Console, report: FeasibilityReport) -> None:
    """What would mend it, and how to try that."""
    if report.repairs:
        line(console, "repairs, each solved and checked:")
    for number, repair in enumerate(report.repairs, start=1):
        line(console, f" {number}. {repair.sentence}")
        if repair.overrides:
            line(console, f"    {changed_chip(report.chip, repair.overrides)}", is_whole=True)
    if not report.repairs and report.repairs_missing:
        kinds = ", ".join(kind.replace("_", " ") for kind in report.repairs_missing)
        line(console, f"tried, and none works on its own: {kinds}")
    if report.repairs_note is not None:
        line(console, report.repairs_note)


def _print_assumed(console: Console, chip: str, facts: tuple[AssumedFact, ...]) -> None:
    """Name the facts that no source states; `chips show` tells the sentences."""
    if facts:
        text = f"rests on assumed facts of {chip}: {', '.join(assumed_paths(facts))} (see chips show)"
        line(console, text, "dim")


def print_chip(console: Console, chip: ChipSpec) -> None:
    """A chip's cores, limits, stages and errata."""
    heading(console, chip.name, chip.title)
    if chip.devices:
        line(console, f"devices: {', '.join(chip.devices)}")
    print_cores(console, chip)
    limits = chip.cores[0].limits
    line(
        console,
        f"input map up to {limits.input_height_max}x{limits.input_width_max}, neuron map up to "
        f"{limits.output_height_max}x{limits.output_width_max}, {limits.output_features_max} features, "
        f"kernel {limits.kernel_size_min}..{limits.kernel_size_max}, "
        f"strides {', '.join(map(str, limits.strides))}, "
        f"padding up to {limits.padding_max}, pools {', '.join(map(str, chip.routing.poolings))}",
    )
    for erratum in chip.errata:
        line(console, f"erratum {erratum.code}: {erratum.statement} [{erratum.evidence}]")
    for fact in chip.assumed_facts():
        line(console, f"assumed: {fact.statement}", "dim")
