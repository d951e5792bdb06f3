"""The solver against the oracle: the same verdict and an optimum as good; the oracle against the checker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Question
from mapper.reasons import Status
from mapper.result import Result
from mapper.solution import Solution
from mapper.verify import verify
from tests.property.divided_oracle import Answer, best_division

__all__ = ["apart", "assert_agree", "checked_best_division"]

# By networks (the very objects), what a chip is and options.
_ANSWERS: dict[tuple[tuple[NormalNetwork, ...], str, SolveOptions], Answer | None] = {}


def apart(
    networks: tuple[NormalNetwork, ...], chip: ChipSpec, options: SolveOptions
) -> tuple[tuple[NormalNetwork, ...], ChipSpec, SolveOptions]:
    """The instance without joint relays and fused siblings, which `test_offers` enumerates."""
    return networks, chip, replace(options, joint=False, fusion=False)


def assert_agree(question: Question, result: Result, seed: int) -> None:
    """The verdict and the optimum are the oracle's, and the solution reaches it by the rules."""
    chip, options = question.chip, question.resolved
    expected = _known(question.networks, chip, options)
    if expected is None:
        assert result.status is Status.INFEASIBLE, seed
        return
    assert result.status is Status.OPTIMAL, seed
    assert result.solution is not None, seed
    assert verify(result.networks, chip, options, result.solution) == (), seed
    _assert_takes(result.solution, chip, expected, seed)
    values = {stage.name: stage.value for stage in result.solution.objectives}
    assert values["cores"] == expected.cores, seed
    assert values["capacity_bits"] == expected.capacity_bits, seed
    assert values.get("layers_on_own_core", 0) == expected.on_own_core, seed


def checked_best_division(
    networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions, seed: int
) -> Answer | None:
    """The oracle's answer, whose solution keeps the rules and reaches the optimum it states."""
    answer = _known(networks, chip, options)
    if answer is not None:
        assert verify(answer.networks, chip, options, answer.solution) == (), seed
        _assert_takes(answer.solution, chip, answer, seed)
    return answer


def _known(networks: Sequence[NormalNetwork], chip: ChipSpec, options: SolveOptions) -> Answer | None:
    """The oracle's answer, which several tests ask for: `joint` and `fusion` are nothing to it."""
    asked = tuple(networks), chip.content_hash(), replace(options, joint=False, fusion=False)
    if asked not in _ANSWERS:
        _ANSWERS[asked] = best_division(networks, chip, options)
    return _ANSWERS[asked]


def _assert_takes(solution: Solution, chip: ChipSpec, expected: Answer, seed: int) -> None:
    """Every body on a core of its own, and as many cores and bits as the optimum."""
    used = [placement.core for placement in solution.placements]
    assert len(used) == len(set(used)) == expected.cores, seed
    assert sum(chip.cores[core].capacity_bits for core in used) == expected.capacity_bits, seed
