"""Networks, chips, configurations and solutions as one table each, for `print` and for notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from io import StringIO

from rich.console import Console

from hwspec.display import html, text
from hwspec.schema import ChipSpec
from mapper.emit.shared.config import ChipConfig
from mapper.equivalence.report import EquivalenceReport
from mapper.network import Edge, Network
from mapper.operations import Convolution
from mapper.passes.legalize.stride import times
from mapper.report.equivalence import print_equivalence
from mapper.report.notebook import page
from mapper.report.terminal import heading, line, print_table
from mapper.report.text import print_chip
from mapper.report.tuning import print_tuning
from mapper.report.words import destination
from mapper.solution import Relay, Solution
from mapper.tuning.run import TuneResult
from mapper.wording import counted, join_numbers, titled

__all__ = ["Table", "table_of"]


@dataclass(frozen=True)
class Table:
    """What is shown of a value: a title, a table, and what else there is to say."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    lines: tuple[str, ...] = ()


@singledispatch
def table_of(value: object) -> Table:
    """A value as a table.

    Raises
    ------
    TypeError
        It is none that has one.
    """
    raise TypeError(f"nothing lists a {type(value).__name__}")


@table_of.register
def _network(network: Network) -> Table:
    rows = []
    for layer in network.layers:
        operation = layer.operation
        kernel = times(operation.kernel) if isinstance(operation, Convolution) else "all"
        stride = times(operation.stride) if isinstance(operation, Convolution) else "-"
        threshold = "none" if layer.neuron is None else _threshold(layer.neuron.threshold)
        sources = ", ".join(_read(network, edge) for edge in network.incoming[layer.name])
        rows.append((layer.title, sources, layer.input_shape, layer.output_shape, kernel, stride, threshold))
    inputs = (
        f"input {network.title(i.name)}: {i.shape} from the {'host' if i.dvs is None else 'sensor'}"
        for i in network.inputs
    )
    outputs = (f"output {entry.name}: {network.title(entry.source)}" for entry in network.outputs)
    notes = (f"note: {note}" for note in network.notes)
    readings = (f"read: {taken}" for taken in network.readings)
    weights = "with weights" if network.has_weights else "by shapes alone"
    return Table(
        f"{network.name}: {counted(len(network.layers), 'layer')}, {weights}",
        ("layer", "reads", "input", "output", "kernel", "stride", "threshold"),
        tuple(rows),
        (*inputs, *outputs, *notes, *readings),
    )


def _threshold(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "by feature"


def _read(network: Network, edge: Edge) -> str:
    pool = edge.pool
    pooled = "" if pool is None else f" /{pool.size[0] if len({*pool.size}) == 1 else times(pool.size)}"
    later = " (a step later)" if edge.delay_steps else ""
    shift = f" +{edge.feature_offset}" if edge.feature_offset else ""
    return f"{network.title(edge.source)}{pooled}{shift}{later}"


@table_of.register
def _chip(chip: ChipSpec) -> Table:
    rows = (
        (join_numbers(same.core_ids), core.kernel_words, core.neuron_words, core.bias_words, core.fan_out)
        for same in chip.core_classes
        for core in [same.core]
    )
    devices = (f"devices: {', '.join(chip.devices)}",) if chip.devices else ()
    errata = (f"erratum {entry.code}: {entry.statement} [{entry.evidence}]" for entry in chip.errata)
    assumed = (f"assumed: {fact.statement}" for fact in chip.assumed_facts())
    head = ("cores", "kernel words", "neuron words", "bias words", "fan-out")
    return Table(f"{chip.name}: {chip.title}", head, tuple(rows), (*devices, *errata, *assumed))


@table_of.register
def _config(config: ChipConfig) -> Table:
    rows = []
    places = config.interface.places if config.interface else ()
    holds = {place.core: name for name, place in places}
    for core, layer in enumerate(config.hardware.cnn_layers):
        if (size := layer.dimensions) is None:
            continue
        shape = f"{size.output_shape.feature_count}x{size.output_shape.size.y}x{size.output_shape.size.x}"
        targets = (
            destination(str(entry.layer), entry.pooling, entry.feature_shift)
            for entry in layer.destinations
            if entry.enable
        )
        monitored = "yes" if layer.monitor_enable else ""
        rows.append((core, holds.get(core, ""), shape, size.kernel_size, ", ".join(targets), monitored))
    head = ("core", "layer", "map", "kernel", "sends to core", "monitored")
    used = f"{len(rows)} of {counted(len(config.hardware.cnn_layers), 'core')}"
    notes = () if config.interface is None else tuple(f"note: {note}" for note in config.interface.notes)
    return Table(f"configuration for {config.chip}: {used} configured", head, tuple(rows), notes)


@table_of.register
def _solution(solution: Solution) -> Table:
    rows = []
    for place in sorted(solution.placements, key=lambda place: place.core):
        body = place.body
        what = f"relay of {titled(body.signal)}" if isinstance(body, Relay) else titled(body.layer)
        targets = (
            destination(str(route.target), route.pooling, route.feature_shift)
            for route in solution.routes
            if route.source == place.core
        )
        rows.append((place.core, what, f"{place.features[0]}..{place.features[1] - 1}", ", ".join(targets)))
    lines = (
        f"{stage.name.replace('_', ' ')}: {stage.value} ({'proven' if stage.proven else 'not proven'})"
        for stage in solution.objectives
    )
    head = ("core", "holds", "features", "sends to core")
    return Table(f"solution: {counted(len(rows), 'core')}", head, tuple(rows), tuple(lines))


def _printed(show: Callable[[Console], None]) -> str:
    stream = StringIO()
    show(Console(file=stream, no_color=True, force_jupyter=False))
    return stream.getvalue().strip("\n")


def _show_table(console: Console, table: Table) -> None:
    subject, _, rest = table.title.partition(": ")
    heading(console, subject, rest)
    print_table(console, table.head, table.rows)
    for sentence in table.lines:
        line(console, sentence)


@text.register(Network)
@text.register(ChipConfig)
@text.register(Solution)
def _table_text(value: object) -> str:
    return _printed(lambda console: _show_table(console, table_of(value)))


@html.register(Network)
@html.register(ChipSpec)
@html.register(ChipConfig)
@html.register(Solution)
def _table_html(value: object) -> str:
    table = table_of(value)
    return page(table.title, head=table.head, rows=table.rows, paragraphs=table.lines)


@text.register
def _chip_text(chip: ChipSpec) -> str:
    return _printed(lambda console: print_chip(console, chip))


@text.register
def _equivalence_text(report: EquivalenceReport) -> str:
    return _printed(lambda console: print_equivalence(console, report))


@text.register
def _tuned_text(tuned: TuneResult) -> str:
    return _printed(lambda console: print_tuning(console, tuned))


@html.register(EquivalenceReport)
@html.register(TuneResult)
def _printed_html(value: object) -> str:
    lines = str(value).splitlines()
    return page(lines[0], paragraphs=[], printed=lines)
