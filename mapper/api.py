"""The steps in one call: read, prepare, solve, check. Every solution is verified before it is returned."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwspec.catalog import load as load_chip
from hwspec.schema import ChipSpec
from mapper.activity import doing
from mapper.arguments import checked
from mapper.asking import READOUT
from mapper.deadline import Deadline
from mapper.errors import Finding, MissingNeuronError, OptionsError, warn_caller
from mapper.frontends import Concerns, InputFrom, as_trained, load_with_source, other_readings
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes import PrepareOptions, ReadoutSpacing, append_output_neuron, prepare
from mapper.passes.legalize import form_like
from mapper.process import collector
from mapper.question import Question, decide
from mapper.references import LayerReference, layer_key, networks_apart, resolve_reference
from mapper.result import Result
from mapper.wording import join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mapper.equivalence import DataOptions, EquivalenceReport, LabelledData
    from mapper.equivalence.labelled import Encoding
    from mapper.equivalence.run import Recording
    from mapper.events import Events
    from mapper.frontends import NirOptions, TorchOptions

__all__ = ["check", "solve", "verify_equivalence"]


@checked.but(rest=SolveOptions)
def solve(
    network: Network | str | Path | object | Sequence[Any],
    chip: ChipSpec | str | Path = "speck2f",
    *,
    options: SolveOptions | None = None,
    input_shape: tuple[int, int, int] | None = None,
    nir: NirOptions | None = None,
    torch: TorchOptions | None = None,
    input_from: InputFrom | None = None,
    add_output_neuron: float | None = None,
    pins: Mapping[LayerReference, int] | Sequence[tuple[LayerReference, int]] | None = None,
    **changes: Any,
) -> Result:
    """Place a network on a chip, with proof, or say why it does not fit.

    Parameters
    ----------
    network
        A `Network`, "digits", a NIR or shape file, a NIR graph, a torch or sinabs module, or
        "file.py:factory" or "package.module:factory", which is imported and called. A list or tuple of these
        shares the chip: their layers are then called "network:layer".
    chip
        A specification, chip or device name, or a chip file.
    options
        Requests to the solver; `pins` and further keywords (fields of `SolveOptions`) change single ones.
    input_shape
        (features, height, width), where the file does not tell.
    nir
        How to read a NIR file where it leaves something open.
    torch
        How to read a torch module where it leaves something open, or with weights of a file.
    input_from
        "sensor" or "host" for all inputs, or by input name; None takes what the network states.
    add_output_neuron
        Threshold of the neurons that are appended to output layers without any, > 0.

    Returns
    -------
    Result
        Its solution has passed the independent checker. `Result.require` raises if there is none.

    Raises
    ------
    NetworkError, SpecError, OptionsError
        Input that cannot be used, with everything that is wrong with it.
    VerificationError
        The checker rejects the solution: a fault of this package.
    """
    options = replace(options or SolveOptions(), **changes)
    spec = chip if isinstance(chip, ChipSpec) else load_chip(chip)
    several = list(network) if isinstance(network, list | tuple) else [network]
    if not several:
        raise OptionsError(Finding("networks", "there are none", next_step="Name one, or a list of some"))
    read = _read(several, input_shape, nir, torch, input_from)
    if pins is not None:
        if options.pins:
            raise OptionsError(Finding("pins", "are given twice, on their own and in options"))
        options = replace(options, pins=pins)  # type: ignore[arg-type]  # `resolve` reads mappings and pairs
    ready = _prepared(read, spec, options, add_output_neuron)
    return _placed(Question(ready, spec, options))


def _read(
    several: Sequence[Any],
    input_shape: tuple[int, int, int] | None,
    nir: NirOptions | None,
    torch: TorchOptions | None,
    input_from: InputFrom | None,
) -> tuple[Network, ...]:
    """Networks under names of their own, each with the options that concern it."""
    doing("reading the network" if len(several) == 1 else f"reading {len(several)} networks")
    how = (input_shape, nir, torch, input_from, Concerns(is_alone=len(several) == 1))
    read = networks_apart([load_with_source(entry, *how)[0] for entry in several])
    how[-1].require()
    return read


def _prepared(
    networks: tuple[Network, ...], chip: ChipSpec, options: SolveOptions, add_output_neuron: float | None
) -> tuple[NormalNetwork, ...]:
    """All chip-free passes; where only output neurons are missing, the error says what they would change."""
    spacing: dict[str, ReadoutSpacing] = {}
    if options.readout is not None and chip.readout is not None:
        key = resolve_reference(networks, options.readout, READOUT)
        for number, network in enumerate(networks):
            for name in network.index:
                if layer_key(networks, number, name) == key:
                    spacing[network.name] = ReadoutSpacing(name, chip.readout.feature_spacing)

    @collector(put_off=True)
    def ready(threshold: float | None) -> tuple[NormalNetwork, ...]:
        return tuple(
            prepare(network, PrepareOptions(add_output_neuron=threshold, readout=spacing.get(network.name)))
            for network in networks
        )

    try:
        return ready(add_output_neuron)
    except MissingNeuronError as error:
        if not error.only_outputs:
            raise
        # The way out is tried before it is offered; the threshold does not matter to the placement.
        tried = Question(ready(1.0), chip, SolveOptions(repairs=0))
        fits = _placed(tried).solution is not None
        verdict = f"with them it {'fits' if fits else 'does not fit'} {chip.name} (tried)"
        findings = (
            replace(finding, next_step=f"{finding.next_step}; {verdict}") for finding in error.findings
        )
        raise MissingNeuronError(*findings, only_outputs=True) from None


def _placed(question: Question) -> Result:
    """Decide, and look for repairs if it does not fit, all within limits that count from here.

    OR-Tools is loaded before: what that takes says nothing about the question.
    """
    from mapper.solver.budget import Budget  # noqa: PLC0415

    budget = Budget(question.resolved)
    doing(f"placing {join_names([network.name for network in question.networks])} on {question.chip.name}")
    result = decide(question, budget=budget)
    if result.report is None:
        return result
    from mapper.repairs.find import with_repairs  # noqa: PLC0415

    return with_repairs(question, result, budget)


@checked
def check(
    network: Network | str | Path | object | Sequence[Any],
    chip: ChipSpec | str | Path = "speck2f",
    **keywords: Any,
) -> Result:
    """The verdict alone: as `solve`; the result's `status` and `report` say whether and why not.

    Raises
    ------
    NetworkError, SpecError, OptionsError, VerificationError
        As `solve`.
    """
    return solve(network, chip, **keywords)


@checked.but("encode", rest=solve)
def verify_equivalence(
    network: Network | str | Path | object,
    chip: ChipSpec | str | Path = "speck2f",
    *,
    events: Events | None = None,
    rate: float = 0.05,
    steps: int | None = None,
    seed: int = 0,
    dt_us: int = 1000,
    drop_outside: bool = False,
    data: str | Path | LabelledData | None = None,
    encode: Encoding = "accumulate",
    workers: int | None = None,
    expect: str | Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
    nir: NirOptions | None = None,
    torch: TorchOptions | None = None,
    input_from: InputFrom | None = None,
    add_output_neuron: float | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> EquivalenceReport:
    """Place a network, emit its configuration, simulate both, and say how alike they are.

    `is_equivalent` of the report is False only through a fault of ours.

    Parameters
    ----------
    events, drop_outside
        A recording for the one input, None for random spikes; leave out what its map does not hold, and tell.
    rate, steps, seed, dt_us
        Of random spikes: probability per pixel and step, steps (of images too; 50; digits 16); µs of a step.
    data, encode, workers, progress
        What `labelled_data` makes or `read_labelled` reads, its images as `DataOptions` says; as in `tally`.
    expect
        A .npz file of `read_expectation`: what the network as read must give exactly, and from what.
    options
        As in `solve`; `time_limit_s` bounds simulation too, and labelled samples left out are noted.

    Raises
    ------
    InfeasibleError, UndecidedError, TimeLimitError
        There is no placement, or a limit came before all was compared.
    NetworkError, SpecError, OptionsError, EventError
        Input that cannot be used; a network that differs from the spikes that are expected of it.
    """
    from mapper.equivalence import DataOptions, run  # noqa: PLC0415  # simulators load slowly

    read, source = load_with_source(network, input_shape, nir, torch, input_from)
    labelled = _labelled(data, read, DataOptions(steps, encode, seed, dt_us, drop_outside))
    others = other_readings(network, input_shape, nir)
    read, recording = _held(read, expect, others, add_output_neuron, dt_us, events)
    start_s = time.perf_counter()
    result = solve(read, chip, add_output_neuron=add_output_neuron, **options)
    floating = _floating(read, result, add_output_neuron)
    deadline = Deadline.after(result.options.time_limit_s, start_s)
    given = (events, drop_outside, labelled)
    recording = recording or _stimulus(result.networks[0], given, dt_us, (rate, steps, seed), deadline)
    more = (labelled, deadline, progress, None, as_trained(source, torch), workers)
    return _told(run.check_equivalence(result, floating, recording, *more))


def _told(report: EquivalenceReport) -> EquivalenceReport:
    """The same report; that something never spiked is no mere line of it."""
    if report.silence.layers:
        warn_caller(report.silence.sentence)
    return report


def _labelled(
    data: str | Path | LabelledData | None, network: Network, how: DataOptions
) -> LabelledData | None:
    """Labelled data as it is, or read for a network; it must go with it."""
    from mapper.equivalence.judge import check_labels  # noqa: PLC0415
    from mapper.equivalence.labelled import read_labelled  # noqa: PLC0415

    found = read_labelled(data, network.inputs[0].shape, how) if isinstance(data, str | Path) else data
    check_labels(found, network)
    return found


def _require_one_input(events: Events | None) -> None:
    if events is not None:
        raise OptionsError(Finding("events", "are given twice, as a recording and with what is expected"))


def _floating(read: Network, result: Result, add_output_neuron: float | None) -> NormalNetwork:
    """A network of `Result.given` before rounding."""
    result.require()
    unrounded = PrepareOptions(add_output_neuron=add_output_neuron, quantize=False)
    given = prepare(read, unrounded)
    # What was rewritten is compared as it was given.
    is_given = result.given[0] is not result.networks[0]
    return given if is_given else form_like(given, result.networks[0], result.chip)


def _stimulus(
    network: NormalNetwork,
    given: tuple[Events | None, bool, LabelledData | None],
    dt_us: int,
    random: tuple[float, int | None, int],
    deadline: Deadline,
) -> Recording:
    """Recorded events, without those outside if so asked; or samples; or random ones as asked for."""
    from mapper.equivalence import STEPS, run  # noqa: PLC0415

    (events, drop_outside, labelled), (rate, asked, seed) = given, random
    steps = asked or STEPS
    if events is not None:
        return run.recording_of(network, events, dt_us, drop_outside=drop_outside)
    if labelled is not None:
        return run.recording_of_data(network, labelled, steps, dt_us)
    return run.random_recording(network, rate, steps, dt_us, seed, deadline)


def _held(
    read: Network,
    expect: str | Path | None,
    others: Iterable[tuple[str, Callable[[], Network]]],
    add_output_neuron: float | None,
    dt_us: int,
    events: Events | None,
) -> tuple[Network, Recording | None]:
    """The network once it gives what is expected of it, saying so, and the recording it was held against."""
    if expect is None:
        return read, None
    from mapper.equivalence import expected  # noqa: PLC0415

    _require_one_input(events)
    whole = append_output_neuron(read, add_output_neuron)
    expectation = expected.read_expectation(Path(expect), whole)
    equal = filter(None, (read.compared_with, expected.compared(whole, expectation, others)))
    held = read.replacing(compared_with="; = ".join(equal))
    return held, expected.recorded(expectation, dt_us)
