"""The equivalence check as terminal text and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mapper.emit.shared.config import ChipConfig
from mapper.equivalence.report import EquivalenceReport
from mapper.equivalence.sensitivity import Sensitivity
from mapper.report.accuracy import draw_accuracies, print_accuracies
from mapper.report.plots import new_figure, plain, write_figure
from mapper.report.terminal import line, print_table
from mapper.report.text import print_readings, print_rounding
from mapper.sim.recording import RecordingSummary
from mapper.wording import counted, join_names, titled

__all__ = ["plot_equivalence", "print_equivalence", "print_simulation"]


# Features of a layer that are named; JSON has all.
_FEATURES_MAX = 3
_ARGMAX = {True: "same", False: "other", None: "-"}


def _decimals(*values: float | None) -> list[str]:
    return ["-" if value is None else f"{value:.3f}" for value in values]


def print_equivalence(console: Console, report: EquivalenceReport, *, is_brief: bool = False) -> None:
    """What is identical, what is not, and what that rests on."""
    size = (
        f"{counted(report.steps, 'step')} of {report.dt_us} µs, {counted(report.input_events, 'input event')}"
    )
    line(console, f"{report.network} on {report.chip}: {size}")
    if report.silence.layers:
        line(console, f"WARNING: {report.silence.sentence}.", "bold")
    if report.is_equivalent and len(report.silence.layers) == len(report.rates):
        line(console, "configuration and network: not compared, since nothing spiked")
    elif report.is_equivalent:
        line(console, "configuration = network as read, in integers: identical in every layer and step")
    else:
        line(console, f"DIFFERENT, a fault of this program: {report.difference}")
    source = f"= {report.compared_with}" if report.compared_with else "is not compared with its source"
    line(console, f"network as read {source}")

    def title(name: str) -> str:
        return report.titles.get(name, titled(name))

    columns: tuple[str, ...] = ("layer", "float rate", "integer rate", "correlation", "argmax")
    rows: list[tuple[object, ...]] = []
    for rate in report.rates:
        numbers = _decimals(rate.float_rate, rate.integer_rate, rate.correlation)
        rows.append((title(rate.layer), *numbers, _ARGMAX[rate.same_argmax]))
    where = "" if report.judgement is None else f", over all samples of {report.judgement.data}"
    print_table(console, columns, rows, title=f"integer against float{where}")
    for rate in report.rates:
        for worst in rate.worst_features[:_FEATURES_MAX]:
            line(console, f"{title(rate.layer)}, {worst}")
        if (more := len(rate.worst_features) - _FEATURES_MAX) > 0:
            line(console, f"{title(rate.layer)}, {counted(more, 'more feature')} like that")
    print_rounding(console, report.rounding)
    columns = ("layer", "in steps", "by spikes", "differing", "correlation", "order decides")
    depends, rows = {entry.layer: entry.neurons for entry in report.events.sensitivity}, []
    for spikes in report.events.layers:
        counts = (spikes.frame_spikes, spikes.event_spikes, spikes.differing)
        rows.append(
            (title(spikes.layer), *counts, *_decimals(spikes.correlation), depends.get(spikes.layer, 0))
        )
    print_table(console, columns, rows, title="spike by spike against time steps (spikes; neurons)")
    rows = []
    for load in report.events.loads:
        limit = "-" if load.bandwidth is None else f"{load.bandwidth:.3g}"
        rows.append((load.core, title(load.layer), f"{load.synops_per_second:.3g}", limit))
    print_table(console, ("core", "layer", "SynOps/s", "bandwidth"), rows, title="load at this rate")
    print_accuracies(console, report.accuracies, report.judgement, title)
    for note in () if is_brief else report.notes:
        line(console, f"note: {note}")
    print_readings(console, () if is_brief else report.readings)


def print_simulation(
    console: Console,
    config: ChipConfig,
    summary: RecordingSummary,
    depends: tuple[Sensitivity, ...],
    *,
    is_brief: bool = False,
) -> None:
    """Totals of a recording that ran through a configuration, core by core; brief: without notes."""
    seconds = max(summary.duration_us, 1) * 1e-6
    line(console, f"{config.chip}: {counted(summary.events, 'event')} in {seconds:.3g} s")
    owners = config.interface.owners if config.interface else {}
    columns = ("core", "layer", "spikes", "SynOps", "SynOps/s", "at the bound", "beyond 16 bits", "decimated")
    rows = []
    for core, synops in summary.synops.items():
        counts = (summary.clamped[core], summary.saturated[core], summary.decimated[core])
        rate = f"{synops / seconds:.3g}"
        rows.append((core, titled(owners.get(core, "")), summary.spikes[core], synops, rate, *counts))
    if summary.silent:
        names = join_names([titled(owners.get(core, f"core {core}")) for core in summary.silent])
        line(console, f"WARNING: NO SPIKES in {names}: this recording shows nothing of them.", "bold")
    print_table(console, columns, rows, title="spike by spike")
    for name, spikes in summary.outputs.items():
        line(console, f"output {titled(name)}: {counted(spikes, 'spike')}")
    for number, ticks in summary.classes.items():
        what = f"class {number}" if number else "no class"
        line(console, f"readout: {what} at {counted(ticks, 'tick')}")
    if not is_brief:
        _print_notes(console, config, summary)
    for entry in depends:
        most = counted(entry.total_max, "spike")
        span = f"{entry.total_min} to {most}, at most {entry.largest} apart in a neuron"
        verdict = (
            f"{counted(entry.neurons, 'neuron depends', 'neurons depend')} on the order ({span})"
            if entry.neurons
            else "no dependence"
        )
        line(console, f"order, {titled(entry.layer)}: {verdict}")


def _print_notes(console: Console, config: ChipConfig, summary: RecordingSummary) -> None:
    print_readings(console, config.interface.readings if config.interface else ())
    if summary.outside:
        where = "outside the input's map, gates or crop"
        line(console, f"note: left out: {counted(summary.outside, 'event')} {where}")
    for (core, slot), spikes in summary.border.items():
        where = f"{counted(spikes, 'spike')} outside the pooled map"
        line(console, f"note: core {core}, destination {slot}: {where}")


def plot_equivalence(report: EquivalenceReport, path: Path) -> None:
    """Spike rates by layer, outputs of the float network against the chip's, and the outputs over time.

    Raises
    ------
    BackendMissingError, OptionsError
        As `new_figure` and `write_figure`.
    """
    judgement = report.judgement
    figure = new_figure(path, 12, 4 if judgement is None else 8)
    axes = figure.subplots(1 if judgement is None else 2, 3, squeeze=False)
    bars, scatter, raster = axes[0]
    if judgement is not None:
        draw_accuracies(axes[1], report.accuracies, judgement)
    names = [report.titles.get(entry.layer, titled(entry.layer)) for entry in report.rates]
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
