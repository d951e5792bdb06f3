"""The equivalence check as terminal text and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mapper.emit.shared.config import ChipConfig
from mapper.equivalence.report import EquivalenceReport
from mapper.equivalence.sensitivity import Sensitivity
from mapper.report.plots import new_figure, plain, write_figure
from mapper.report.terminal import line, print_table
from mapper.report.text import print_readings
from mapper.sim.recording import RecordingSummary

__all__ = ["plot_equivalence", "print_equivalence", "print_simulation"]


def _decimals(*values: float | None) -> list[str]:
    return ["-" if value is None else f"{value:.3f}" for value in values]


def print_equivalence(console: Console, report: EquivalenceReport) -> None:
    """What is identical, what is not, and what that rests on."""
    size = f"{report.steps} steps of {report.dt_us} µs, {report.input_events} input events"
    line(console, f"{report.network} on {report.chip}: {size}")
    if report.is_equivalent:
        line(console, "configuration = network as read, in integers: identical in every layer and step")
    else:
        line(console, f"DIFFERENT, a fault of this program: {report.difference}")
    source = f"= {report.compared_with}" if report.compared_with else "is not compared with its source"
    line(console, f"network as read {source}")
    columns: tuple[str, ...] = ("layer", "float rate", "integer rate", "correlation", "argmax")
    rows: list[tuple[object, ...]] = []
    for rate in report.rates:
        numbers = _decimals(rate.float_rate, rate.integer_rate, rate.correlation)
        rows.append((rate.layer, *numbers, "same" if rate.same_argmax else "other"))
    print_table(console, columns, rows, title="integer against float")
    columns = ("layer", "in steps", "by spikes", "differing", "correlation", "order decides")
    depends, rows = {entry.layer: entry.neurons for entry in report.events.sensitivity}, []
    for spikes in report.events.layers:
        counts = (spikes.frame_spikes, spikes.event_spikes, spikes.differing)
        rows.append((spikes.layer, *counts, *_decimals(spikes.correlation), depends.get(spikes.layer, 0)))
    print_table(console, columns, rows, title="spike by spike against time steps (spikes; neurons)")
    rows = []
    for load in report.events.loads:
        limit = "-" if load.bandwidth is None else f"{load.bandwidth:.3g}"
        rows.append((load.core, load.layer, f"{load.synops_per_second:.3g}", limit))
    print_table(console, ("core", "layer", "SynOps/s", "bandwidth"), rows, title="load at this rate")
    for accuracy in report.accuracies:
        low, high = accuracy.interval
        share = f"{100 * accuracy.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        line(console, f"accuracy, {accuracy.kind}: {share}, {accuracy.samples} samples")
    for note in report.notes:
        line(console, f"note: {note}")
    print_readings(console, report.readings)


def print_simulation(
    console: Console, config: ChipConfig, summary: RecordingSummary, depends: tuple[Sensitivity, ...]
) -> None:
    """Totals of a recording that ran through a configuration, core by core."""
    seconds = max(summary.duration_us, 1) * 1e-6
    line(console, f"{config.chip}: {summary.events} events in {seconds:.3g} s")
    owners = config.interface.owners if config.interface else {}
    columns = ("core", "layer", "spikes", "SynOps", "SynOps/s", "at the bound", "beyond 16 bits", "decimated")
    rows = []
    for core, synops in summary.synops.items():
        counts = (summary.clamped[core], summary.saturated[core], summary.decimated[core])
        rate = f"{synops / seconds:.3g}"
        rows.append((core, owners.get(core, ""), summary.spikes[core], synops, rate, *counts))
    print_table(console, columns, rows, title="spike by spike")
    for name, spikes in summary.outputs.items():
        line(console, f"output {name}: {spikes} spikes")
    for number, ticks in summary.classes.items():
        what = f"class {number}" if number else "no class"
        line(console, f"readout: {what} at {ticks} ticks")
    print_readings(console, config.interface.readings if config.interface else ())
    if summary.outside:
        where = "outside the input's map, gates or crop"
        line(console, f"note: {summary.outside} events lay {where} and were left out")
    for (core, slot), spikes in summary.border.items():
        line(console, f"note: core {core}, destination {slot}: {spikes} spikes outside the pooled map")
    for entry in depends:
        span = f"{entry.total_min} to {entry.total_max} spikes, at most {entry.largest} apart in a neuron"
        verdict = (
            f"{entry.neurons} neurons depend on the order ({span})" if entry.neurons else "no dependence"
        )
        line(console, f"order, {entry.layer}: {verdict}")


def plot_equivalence(report: EquivalenceReport, path: Path) -> None:
    """Spike rates by layer, outputs of the float network against the chip's, and the outputs over time.

    Raises
    ------
    BackendMissingError, OptionsError
        As `new_figure` and `write_figure`.
    """
    figure = new_figure(path, 12, 4)
    bars, scatter, raster = figure.subplots(1, 3)
    names = [entry.layer for entry in report.rates]
    spikes = {entry.layer: entry for entry in report.events.layers}
    kinds = {
        "float": [entry.float_rate for entry in report.rates],
        "integer": [entry.integer_rate for entry in report.rates],
        "spike by spike": [
            entry.integer_rate * spikes[entry.layer].event_spikes / max(spikes[entry.layer].frame_spikes, 1)
            for entry in report.rates
        ],
    }
    for n, (kind, rates) in enumerate(kinds.items()):
        bars.bar([place + 0.27 * (n - 1) for place in range(len(names))], rates, 0.25, label=kind)
    bars.set_xticks(range(len(names)), [*map(plain, names)], rotation=45, ha="right")
    bars.set(ylabel="spikes per neuron and step", title="rates by layer")
    bars.legend()
    output = report.output
    scatter.scatter(output.float_counts, output.chip_counts, s=12)
    top = max(*output.float_counts, *output.chip_counts, 1)
    scatter.plot([0, top], [0, top], color="grey", linewidth=1)
    scatter.set(xlabel="spikes, float network", ylabel="spikes, chip", title=plain(f"output {output.name}"))
    milliseconds = [time / 1000 for time in output.times_us]
    raster.scatter(milliseconds, output.neurons, s=4, marker="|")
    raster.set(xlabel="time, ms", ylabel="neuron", title="output, spike by spike")
    write_figure(figure, path)
