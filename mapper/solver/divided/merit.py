"""Headroom and load of pieces: which values can occur, and the cores that leave at least so much."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from hwspec.memory import bias_words, kernel_words, neuron_words
from hwspec.schema import CoreSpec
from mapper.problem import Problem
from mapper.solver.divided.tables import Tables
from mapper.solver.objective import states_bandwidth

__all__ = ["cores_with", "merits_of"]


def merits_of(problem: Problem) -> list[Fraction]:
    """Every least merit that a placement can have, ascending: headroom, or the load with a minus sign."""
    if problem.options.objective == "balance":
        return sorted({-load for load in _loads(problem)})
    return sorted({share for share in _shares(problem) if share >= 0} | {Fraction(1)})


def _shares(problem: Problem) -> Iterator[Fraction]:
    cores = {entry.core for entry in problem.classes}
    for demand in {entry.core for entry in problem.demands}:
        taken, shape = demand.input_shape.features, demand.output_shape
        for core in cores:
            for features in range(1, shape.features + 1):
                # Kernel memory grows at powers of two alone.
                if features & (features - 1) == 0 or features == shape.features:
                    words = kernel_words(taken, features, *demand.kernel)
                    yield _left(words, core.kernel_words)
                yield _left(neuron_words(features, shape.height, shape.width), core.neuron_words)
                yield _left(bias_words(features, demand.bias_words > 0), core.bias_words)
    tables = Tables(problem)
    for signal in tables.signals:
        whole, height, width = signal.shape
        aligned = tables.aligned_levels(signal)
        for level in tables.levels(signal):
            if min(height, width) < level:
                continue
            for features in range(1 if level in aligned else whole, whole + 1):
                for core in cores:
                    yield _left(kernel_words(features, features, 1, 1), core.kernel_words)
                    words = neuron_words(features, height // level, width // level)
                    yield _left(words, core.neuron_words)


def _left(need: int, have: int) -> Fraction:
    return Fraction(have - need, have) if have else Fraction(1)


def _loads(problem: Problem) -> Iterator[Fraction]:
    shared = states_bandwidth(problem)
    bandwidths = {entry.core.synops_per_second if shared else 1 for entry in problem.classes}
    yield Fraction(0)
    for demand in {entry.core for entry in problem.demands}:
        (ky, kx), (sy, sx) = demand.kernel, demand.stride
        for features in range(1, demand.output_shape.features + 1):
            work = -(-demand.spikes_per_second * features * ky * kx // (sy * sx))
            yield from (Fraction(work, bandwidth or 1) for bandwidth in bandwidths)
    for n, network in enumerate(problem.networks):
        for name, shape in network.signal_shapes.items():
            work = problem.traffic[n].get(name, 0) * shape.features
            yield from (Fraction(work, bandwidth or 1) for bandwidth in bandwidths)


def cores_with(problem: Problem, merit: Fraction) -> tuple[CoreSpec, ...]:
    """Per class, a core that offers just what leaves this merit."""
    if problem.options.objective == "balance":
        shared = states_bandwidth(problem)
        return tuple(_slower(entry.core, -merit, shared) for entry in problem.classes)
    return tuple(_smaller(entry.core, 1 - merit) for entry in problem.classes)


def _smaller(core: CoreSpec, share: Fraction) -> CoreSpec:
    names = ("kernel_words", "neuron_words", "bias_words")
    return core.model_copy(update={name: int(getattr(core, name) * share) for name in names})


def _slower(core: CoreSpec, load: Fraction, shared: bool) -> CoreSpec:
    stated = core.synops_per_second
    bandwidth = int(load * stated) if shared and stated else int(load)
    if stated is not None:
        bandwidth = min(bandwidth, stated)
    return core.model_copy(update={"synops_per_second": bandwidth})
