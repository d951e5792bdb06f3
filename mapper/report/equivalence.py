"""The equivalence check as terminal text and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mapper.emit.shared.config import ChipConfig
from mapper.equivalence.report import EquivalenceReport
from mapper.equivalence.sensitivity import Sensitivity
from mapper.report.plots import new_figure, write_figure
from mapper.report.terminal import line, table
from mapper.sim.recording import RecordingSummary

__all__ = ["plot_equivalence", "print_equivalence", "print_simulation"]


def _numbers(title: str, *columns: str) -> Table:
    return table(*columns, right=columns[1:], title=title)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def print_equivalence(console: Console, report: EquivalenceReport) -> None:
    """What is identical, what is not, and what that rests on."""
    size = f"{report.steps} steps of {report.dt_us} µs, {report.input_events} input events"
    line(console, f"{report.network} on {report.chip}: {size}")
    if report.difference is None:
        text = "configuration = integer network: identical in every layer and step"
    else:
        text = f"DIFFERENT, a fault of this program: {report.difference}"
    line(console, text)
    rates = _numbers("integer against float", "layer", "float rate", "integer rate", "correlation", "argmax")
    for entry in report.rates:
        same = "same" if entry.same_argmax else "other"
        numbers = (entry.float_rate, entry.integer_rate, entry.correlation)
        rates.add_row(escape(entry.layer), *map(_number, numbers), same)
    console.print(rates)
    columns = ("layer", "in steps", "by spikes", "differing", "correlation", "order decides")
    events = _numbers("spike by spike against time steps (spikes; neurons)", *columns)
    depends = {entry.layer: entry.neurons for entry in report.events.sensitivity}
    for layer in report.events.layers:
        numbers_shown = (layer.frame_spikes, layer.event_spikes, layer.differing)
        shown = (*map(str, numbers_shown), _number(layer.correlation), str(depends.get(layer.layer, 0)))
        events.add_row(escape(layer.layer), *shown)
    console.print(events)
    loads = _numbers("load at this rate", "core", "layer", "SynOps/s", "bandwidth")
    for load in report.events.loads:
        limit = "-" if load.bandwidth is None else f"{load.bandwidth:.3g}"
        loads.add_row(str(load.core), escape(load.layer), f"{load.synops_per_second:.3g}", limit)
    console.print(loads)
    for accuracy in report.accuracies:
        low, high = accuracy.interval
        share = f"{100 * accuracy.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        line(console, f"accuracy, {accuracy.kind}: {share}, {accuracy.samples} samples")
    for note in report.notes:
        line(console, f"note: {note}")


def print_simulation(
    console: Console, config: ChipConfig, summary: RecordingSummary, depends: tuple[Sensitivity, ...]
) -> None:
    """Totals of a recording that ran through a configuration, core by core."""
    seconds = max(summary.duration_us, 1) * 1e-6
    head = f"{summary.events} events in {seconds:.3g} s"
    line(console, f"{config.chip}: {head}")
    owners = config.interface.owners if config.interface else {}
    columns = ("core", "layer", "spikes", "SynOps", "SynOps/s", "at the bound", "beyond 16 bits", "decimated")
    cores = _numbers("spike by spike", *columns)
    for core, synops in summary.synops.items():
        counts = (summary.clamped[core], summary.saturated[core], summary.decimated[core])
        rate = f"{synops / seconds:.3g}"
        shown = (str(summary.spikes[core]), str(synops), rate, *map(str, counts))
        cores.add_row(str(core), escape(owners.get(core, "")), *shown)
    console.print(cores)
    for name, spikes in summary.outputs.items():
        line(console, f"output {name}: {spikes} spikes")
    for number, ticks in summary.classes.items():
        what = f"class {number}" if number else "no class"
        line(console, f"readout: {what} at {ticks} ticks")
    if summary.outside:
        text = f"note: {summary.outside} events lay outside the input's map, gates or crop and were left out"
        line(console, text)
    for (core, slot), spikes in summary.border.items():
        text = f"core {core}, destination {slot}: {spikes} spikes outside the pooled map"
        line(console, f"note: {text}")
    for entry in depends:
        span = f"{entry.total_min} to {entry.total_max} spikes, at most {entry.largest} apart in a neuron"
        told = f"{entry.neurons} neurons depend on the order ({span})" if entry.neurons else "no dependence"
        line(console, f"order, {entry.layer}: {told}")


def plot_equivalence(report: EquivalenceReport, path: Path) -> None:
    """Spike rates by layer, outputs of the float network against the chip's, and the outputs over time.

    Raises
    ------
    BackendMissingError
        matplotlib is not installed.
    OptionsError
        The file ends in neither .png nor .svg, or cannot be written.
    """
    figure = new_figure(path, 12, 4)
    bars, scatter, raster = figure.subplots(1, 3)
    _draw_rates(bars, report)
    output = report.output
    scatter.scatter(output.float_counts, output.chip_counts, s=12)
    top = max(*output.float_counts, *output.chip_counts, 1)
    scatter.plot([0, top], [0, top], color="grey", linewidth=1)
    scatter.set(xlabel="spikes, float network", ylabel="spikes, chip", title=f"output {output.name}")
    milliseconds = [time / 1000 for time in output.times_us]
    raster.scatter(milliseconds, output.neurons, s=4, marker="|")
    raster.set(xlabel="time, ms", ylabel="neuron", title="output, spike by spike")
    write_figure(figure, path)


def _draw_rates(axes: Any, report: EquivalenceReport) -> None:
    names = [entry.layer for entry in report.rates]
    chip = {entry.layer: entry for entry in report.events.layers}
    neurons = {entry.layer: entry for entry in report.rates}
    kinds = {
        "float": [entry.float_rate for entry in report.rates],
        "integer": [entry.integer_rate for entry in report.rates],
        "spike by spike": [
            neurons[name].integer_rate * chip[name].event_spikes / max(chip[name].frame_spikes, 1)
            for name in names
        ],
    }
    for n, (kind, rates) in enumerate(kinds.items()):
        axes.bar([place + 0.27 * (n - 1) for place in range(len(names))], rates, 0.25, label=kind)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set(ylabel="spikes per neuron and step", title="rates by layer")
    axes.legend()
