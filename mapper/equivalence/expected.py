"""Spikes that a user recorded in the framework of a network, held against the network as it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapper.equivalence.run import Recording
from mapper.errors import EventError, Finding, NetworkError
from mapper.events import events_from_raster
from mapper.events.numpy_files import arrays_of
from mapper.network import Network
from mapper.sim.network import simulate
from mapper.texts import irregular, unreachable
from mapper.wording import counted, other_shape

__all__ = ["Expectation", "compared", "read_expectation", "recorded"]

# So many readings that agree are told; one is the rule.
_TOLD_MAX = 3
# Of one neuron in one step: what 32 bits hold.
_COUNT_MAX = (1 << 31) - 1

Alternative = tuple[str, Callable[[], Network]]


@dataclass(frozen=True)
class Expectation:
    """Counts per step, by name of input and output.

    Attributes
    ----------
    inputs, outputs
        (time, features, height, width), or (time, features) of maps of one pixel.
    """

    source: str
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]

    def until(self, steps: int) -> Expectation:
        """The first steps alone."""
        inputs, outputs = (
            {name: array[:steps] for name, array in arrays.items()} for arrays in (self.inputs, self.outputs)
        )
        return Expectation(self.source, inputs, outputs)


@dataclass(frozen=True)
class _Difference:
    """The first value that differs."""

    output: str
    step: int
    neuron: int
    expected: int
    computed: int
    differing: int
    values: int


def read_expectation(path: Path, network: Network) -> Expectation:
    """Spikes of a .npz file: arrays by input and output name, or `input` and `output` of one each.

    Raises
    ------
    EventError
        The file cannot be read, lacks an array, or holds what are no counts of these shapes.
    """
    problem = unreachable(path) or irregular(path)
    if problem is None and path.suffix.lower() != ".npz":
        problem = "is no .npz file"
    if problem is not None:
        step = "Write it by numpy.savez(path, input=..., output=...)"
        raise EventError(Finding(str(path), problem, next_step=step))
    arrays = arrays_of(path)
    shapes = {entry.name: tuple(entry.shape) for entry in network.inputs}
    inputs = _named(path, arrays, list(shapes), "input")
    outputs = _named(path, arrays, [output.name for output in network.outputs], "output")
    if single := [name for name, array in (inputs | outputs).items() if not array.ndim]:
        problem = "holds a single number where it takes spike counts by step"
        raise EventError(Finding(str(path), problem, ", ".join(single), "(time, features, height, width)"))
    lengths = {name: len(array) for name, array in (inputs | outputs).items()}
    findings = []
    if len({*lengths.values()}) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        step = "Record output and input over the same steps"
        findings.append(Finding(str(path), "numbers of steps differ", listed, next_step=step))
    for name, array in (inputs | outputs).items():
        is_number = array.dtype.kind in "biuf"
        if not is_number or not np.all((array >= 0) & (array <= _COUNT_MAX) & (array == np.floor(array))):
            problem = f"must hold spike counts: whole numbers, 0..{_COUNT_MAX}"
            findings.append(Finding(f"{path}: {name}", problem))
    for name, shape in shapes.items():
        if not _fits(inputs[name], shape):
            findings.append(other_shape(f"{path}: {name}", name, inputs[name].shape, shape, ("time",)))
    known = {*inputs, *outputs, "input", "output"}
    if extra := [name for name in arrays if name not in known]:
        problem = "holds arrays that the network has not"
        findings.append(Finding(str(path), problem, ", ".join(extra), ", ".join((*inputs, *outputs))))
    if findings:
        raise EventError(*findings)
    inputs = {name: array.reshape(len(array), *shapes[name]) for name, array in inputs.items()}
    return Expectation(path.name, inputs, outputs)


def _fits(array: NDArray[Any], shape: tuple[int, ...]) -> bool:
    """Whether counts per step have a map's shape, or are a list of values where the map is one."""
    is_list = array.ndim == 2 and len(shape) == 3 and array.shape[1] == int(np.prod(shape))
    return array.shape[1:] == tuple(shape) or is_list


def _named(path: Path, arrays: Mapping[str, Any], names: list[str], word: str) -> dict[str, NDArray[Any]]:
    chosen = {name: arrays[name] for name in names if name in arrays}
    if not chosen and len(names) == 1 and word in arrays:
        chosen = {names[0]: arrays[word]}
    missing = [name for name in names if name not in chosen]
    if missing:
        wanted = ", ".join(missing) + (f' (or "{word}")' if len(names) == 1 else "")
        raise EventError(Finding(str(path), f"has no array of {wanted}", ", ".join(arrays) or None))
    return {name: np.asarray(array) for name, array in chosen.items()}


def recorded(expectation: Expectation, dt_us: int) -> Recording:
    """The inputs as a recording of a time step's length in microseconds."""
    counts = {name: array.astype(np.int64) for name, array in expectation.inputs.items()}
    events = {name: events_from_raster(array, dt_us) for name, array in counts.items()}
    return Recording(counts, events, dt_us)


def compared(network: Network, expectation: Expectation, alternatives: Iterable[Alternative] = ()) -> str:
    """Hold the network as read against the spikes; what was found equal, in words.

    Parameters
    ----------
    alternatives
        (words, network): other readings of the same source, tried where this one differs.

    Raises
    ------
    NetworkError
        The first difference, and readings without any; or what nobody answers, and answers that agree.
    EventError
        No output ever spikes.
    """
    values = sum(array.size for array in expectation.outputs.values())
    if not any(array.any() for array in expectation.outputs.values()):
        problem = "holds no output spike, which shows nothing of any neuron"
        step = "Record an input under which the outputs spike"
        raise EventError(Finding(expectation.source, problem, 0, ">= 1", "spikes", step))
    difference = _first_difference(network, expectation)
    unanswered = [reading for reading in network.readings if reading.is_open]
    if difference is None and not unanswered:
        late = max(output.late_steps for output in network.outputs)
        aligned = f", aligned by {counted(late, 'step')}" if late else ""
        return f"the spikes of {expectation.source}, all {values} values{aligned}"
    # Most readings are refuted by the steps up to the first difference, and cost no more.
    start = expectation if difference is None else expectation.until(difference.step + 1)
    agreeing = (words for words, read in alternatives if _agrees(read, start, expectation))
    told = ", or with ".join(islice(agreeing, _TOLD_MAX))
    step = f"With {told} all {values} values agree" if told else ""
    if difference is None:
        problem = f"{unanswered[0].taken}, and {expectation.source} shows no difference but decides nothing"
        raise NetworkError(Finding(network.name, problem, next_step=step or f"Add {unanswered[0].otherwise}"))
    raise NetworkError(_finding(difference, expectation, step))


def _finding(difference: _Difference, expectation: Expectation, step: str) -> Finding:
    return Finding(
        f"output {difference.output}",
        f"the network as read differs from {expectation.source} first in step {difference.step}, neuron "
        f"{difference.neuron} (read: {difference.computed} spikes, recorded: {difference.expected}), and "
        f"in {difference.differing} of {difference.values} values",
        next_step=step
        or "Check how the spikes were recorded: states reset, evaluation mode, counts per step",
    )


def _agrees(read: Callable[[], Network], *expectations: Expectation) -> bool:
    try:
        network = read()
        return all(_first_difference(network, expectation) is None for expectation in expectations)
    except NetworkError:
        return False


def _first_difference(network: Network, expectation: Expectation) -> _Difference | None:
    computed = simulate(network, expectation.inputs).outputs
    for output in network.outputs:
        ours, theirs = computed[output.name], expectation.outputs[output.name]
        where = f"{expectation.source}: {output.name}"
        if not _fits(theirs, ours.shape[1:]):
            problem = "has another shape than the network's output"
            raise EventError(
                replace(
                    other_shape(where, output.name, theirs.shape, ours.shape[1:], ("time",)), problem=problem
                )
            )
        # Until the first spike can have come through, the framework shows none.
        late = min(output.late_steps, len(ours))
        ours, theirs = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
        ours = np.concatenate([np.zeros_like(ours[:late]), ours[: len(ours) - late]])
        differing = np.argwhere(ours != theirs)
        if len(differing):
            step, neuron = map(int, differing[0])
            return _Difference(
                output.name, step, neuron, int(theirs[step, neuron]),
                int(ours[step, neuron]), len(differing), theirs.size,
            )  # fmt: skip
    return None
