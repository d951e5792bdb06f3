"""The checker of a solution: networks, chip and options against what was decided.

Plain loops over the solution, its own arithmetic from the raw formulas, no solver, and none of the
indexes the solver works with. This is the one intended second copy of the rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.solution import DVS, READOUT, LayerPart, Route, Solution
from mapper.verify import layers, wiring
from mapper.verify.case import Case, Violation, body_of

__all__ = ["CHECKS", "Violation", "verify"]

Check: TypeAlias = Callable[[Case], Iterator[Violation]]


def verify(
    networks: tuple[Network, ...], chip: ChipSpec, options: SolveOptions, solution: Solution
) -> tuple[Violation, ...]:
    """Every rule that the solution breaks; empty for a solution that is right.

    Parameters
    ----------
    networks
        In normal form, as they were given to the solver.
    options
        With layer references resolved to names.
    """
    unknown = list(_unknown(networks, chip, solution))
    if unknown:
        return tuple(unknown)
    bodies = [body_of(entry, networks, chip, solution.dvs_stage) for entry in solution.placements]
    routes_of: dict[int | str, list[Route]] = defaultdict(list)
    for route in solution.routes:
        routes_of[route.source].append(route)
    case = Case(networks, chip, options, solution, bodies, routes_of)
    return tuple(violation for check in CHECKS.values() for violation in check(case))


def _unknown(networks: tuple[Network, ...], chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    """Names and numbers that point nowhere; without them the checks need no look-before-you-leap."""
    cores = range(len(chip.cores))
    for placement in solution.placements:
        body, where = placement.body, f"core {placement.core}"
        if placement.core not in cores:
            yield Violation(Rule.PLACED, where, f"{chip.name} has no such core")
        if body.network not in range(len(networks)):
            yield Violation(Rule.PLACED, where, f"there is no network {body.network}")
            continue
        signals = networks[body.network].signal_shapes
        if isinstance(body, LayerPart):
            if body.layer not in networks[body.network].by_name:
                yield Violation(Rule.PLACED, where, f"no network has a layer {body.layer}")
            continue
        if body.signal not in signals or body.pooling < 1 or min(signals[body.signal][1:]) < body.pooling:
            yield Violation(
                Rule.PLACED, where, f"no signal {body.signal} to be relayed, pooled {body.pooling}"
            )
        elif not 0 <= placement.features[0] < placement.features[1] <= signals[body.signal].features:
            yield Violation(Rule.PLACED, where, f"relays features {placement.features} of {body.signal}")
    for route in solution.routes:
        if route.source != DVS and route.source not in cores:
            yield Violation(Rule.CONNECTION, f"route from {route.source}", f"{chip.name} has no such core")
        if route.target != READOUT and route.target not in cores:
            yield Violation(Rule.CONNECTION, f"route to {route.target}", f"{chip.name} has no such core")
    for entry in solution.host_entries:
        known = entry.network in range(len(networks)) and entry.core in cores
        if not known or entry.input not in {i.name for i in networks[entry.network].inputs}:
            yield Violation(
                Rule.CONNECTION, f"host entry {entry.input}", f"no such input, or core {entry.core}"
            )


CHECKS: Mapping[Rule, Check] = {
    Rule.INPUT_SIZE: layers.check_input_size,
    Rule.OUTPUT_SIZE: layers.check_output_size,
    Rule.FEATURES: layers.check_features,
    Rule.KERNEL_SIZE: layers.check_kernel_size,
    Rule.KERNEL_SQUARE: layers.check_kernel_square,
    Rule.STRIDE: layers.check_stride,
    Rule.PADDING: layers.check_padding,
    Rule.POOLING: wiring.check_pooling,
    Rule.FEATURE_SHIFT: wiring.check_feature_shift,
    Rule.INPUT_POOLING: wiring.check_input_pooling,
    Rule.DVS_STAGE: wiring.check_dvs_stage,
    Rule.KERNEL_MEMORY: layers.check_kernel_memory,
    Rule.NEURON_MEMORY: layers.check_neuron_memory,
    Rule.BIAS_MEMORY: layers.check_bias_memory,
    Rule.BANDWIDTH: layers.check_bandwidth,
    Rule.PLACED: layers.check_placed,
    Rule.ONE_LAYER_PER_CORE: layers.check_one_layer_per_core,
    Rule.FAN_OUT: wiring.check_fan_out,
    Rule.DVS_FAN_OUT: wiring.check_dvs_fan_out,
    Rule.CONNECTION: wiring.check_connection,
    Rule.READOUT: wiring.check_readout,
    Rule.WHOLE: layers.check_whole,
    Rule.MONITOR: wiring.check_monitor,
    Rule.PIN: layers.check_pin,
    Rule.FORBIDDEN_CORE: layers.check_forbidden_core,
    Rule.MOVES: layers.check_moves,
}
