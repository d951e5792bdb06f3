"""The checker of a solution: networks, chip and options against what was decided.

Plain loops over the solution, its own arithmetic from the raw formulas, no solver, and none of the
indexes the solver works with. This is the one intended second copy of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.rules import Rule
from mapper.solution import Solution
from mapper.verify import arrivals, layers, objectives, rewriting, sensor, wiring
from mapper.verify.case import Case, Violation
from mapper.verify.form import malformations

__all__ = ["CHECKS", "Violation", "verify"]

Check: TypeAlias = Callable[[Case], Iterator[Violation]]


def verify(
    networks: tuple[NormalNetwork, ...],
    chip: ChipSpec,
    options: SolveOptions,
    solution: Solution,
    given: tuple[NormalNetwork, ...] | None = None,
) -> tuple[Violation, ...]:
    """Every rule that the solution breaks; empty for a solution that is right.

    Whatever stands in the solution is answered by violations. Where a value has the wrong type or names
    what does not exist, these alone are reported: the other checks rest on such values.

    Parameters
    ----------
    networks
        As they were placed.
    options
        With layer references resolved to names.
    given
        As they were given, before anything was rewritten for the chip; None where nothing was.
    """
    malformed = tuple(malformations(networks, chip, solution))
    if malformed:
        return malformed
    case = Case.of(networks, chip, options, solution, given)
    return tuple(violation for check in CHECKS.values() for violation in check(case))


CHECKS: Mapping[Rule, Check] = {
    **{rule: layers.on_each_core(rule) for rule in layers.HOLDING},
    Rule.POOLING: wiring.check_pooling,
    Rule.FEATURE_SHIFT: wiring.check_feature_shift,
    Rule.INPUT_POOLING: wiring.check_input_pooling,
    Rule.DVS_STAGE: sensor.check_dvs_stage,
    Rule.PLACED: layers.check_placed,
    Rule.ONE_LAYER_PER_CORE: layers.check_one_layer_per_core,
    Rule.FAN_OUT: wiring.check_fan_out,
    Rule.DVS_FAN_OUT: wiring.check_dvs_fan_out,
    Rule.CONNECTION: arrivals.check_connection,
    Rule.READOUT: wiring.check_readout,
    Rule.WHOLE: layers.check_whole,
    Rule.MONITOR: wiring.check_monitor,
    Rule.PIN: layers.check_pin,
    Rule.FORBIDDEN_CORE: layers.check_forbidden_core,
    Rule.MOVES: layers.check_moves,
    Rule.OBJECTIVE: objectives.check_objective,
    Rule.REWRITTEN: rewriting.check_rewritten,
}
