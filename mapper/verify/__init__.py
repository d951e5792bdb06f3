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
from mapper.verify.case import Case, Violation

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
    parts = []
    for placement in solution.placements:
        if isinstance(placement.body, LayerPart):
            layer = networks[placement.body.network].by_name[placement.body.layer]
            parts.append((placement, layer, chip.cores[placement.core]))
    routes_of: dict[int | str, list[Route]] = defaultdict(list)
    for route in solution.routes:
        routes_of[route.source].append(route)
    case = Case(networks, chip, options, solution, parts, routes_of)
    return tuple(violation for check in CHECKS.values() for violation in check(case))


def _unknown(networks: tuple[Network, ...], chip: ChipSpec, solution: Solution) -> Iterator[Violation]:
    """Names and numbers that point nowhere; without them the checks need no look-before-you-leap."""
    cores = range(len(chip.cores))
    for placement in solution.placements:
        body, where = placement.body, f"core {placement.core}"
        if placement.core not in cores:
            yield Violation(Rule.PLACED, where, f"{chip.name} has no such core")
        if not isinstance(body, LayerPart):
            yield Violation(Rule.PLACED, where, "relays are not placed by this version")
        elif body.network not in range(len(networks)) or body.layer not in networks[body.network].by_name:
            yield Violation(Rule.PLACED, where, f"no network has a layer {body.layer}")
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
    Rule.PLACED: layers.check_placed,
    Rule.ONE_LAYER_PER_CORE: layers.check_one_layer_per_core,
    Rule.FAN_OUT: wiring.check_fan_out,
    Rule.DVS_FAN_OUT: wiring.check_dvs_fan_out,
    Rule.CONNECTION: wiring.check_connection,
    Rule.READOUT: wiring.check_readout,
    Rule.MONITOR: wiring.check_monitor,
    Rule.PIN: layers.check_pin,
    Rule.FORBIDDEN_CORE: layers.check_forbidden_core,
}
