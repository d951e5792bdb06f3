"""Every holding rule at its bound and one unit beyond, for layers, pieces and relays."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.rules import Rule
from mapper.verify import verify
from tests.rules.instances import SITUATIONS, Situation, bounds

SEEDS = range(4)
HOLDING = {
    Rule.INPUT_SIZE,
    Rule.OUTPUT_SIZE,
    Rule.FEATURES,
    Rule.KERNEL_SIZE,
    Rule.KERNEL_SQUARE,
    Rule.STRIDE,
    Rule.PADDING,
    Rule.NUMBER_WIDTH,
    Rule.KERNEL_MEMORY,
    Rule.NEURON_MEMORY,
    Rule.BIAS_MEMORY,
    Rule.BANDWIDTH,
}
# A relay has one tap, stride 1, which every chip has, no padding and no bias.
NOT_OF_RELAYS = {Rule.KERNEL_SQUARE, Rule.STRIDE, Rule.PADDING, Rule.BIAS_MEMORY}


def situation(kind: str, seed: int) -> Situation:
    return SITUATIONS[kind](np.random.default_rng(seed))


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", SITUATIONS)
def test_a_bound_is_kept_exactly(kind: str, seed: int) -> None:
    case = situation(kind, seed)
    assert verify(case.networks, case.chip(), case.options, case.solution) == ()
    for occupant in case.occupants:
        for bound in bounds(occupant):
            inside, outside = (case.chip(*overrides) for overrides in (bound.inside, bound.outside))
            assert verify(case.networks, inside, case.options, case.solution) == (), str(bound)
            violations = verify(case.networks, outside, case.options, case.solution)
            places = {(violation.rule, violation.where) for violation in violations}
            assert places == {(bound.rule, f"core {bound.core}")}, str(bound)


@pytest.mark.parametrize("kind", SITUATIONS)
def test_every_rule_has_a_bound(kind: str) -> None:
    occupants = [occupant for seed in SEEDS for occupant in situation(kind, seed).occupants]
    tried = {bound.rule for occupant in occupants for bound in bounds(occupant)}
    assert tried == HOLDING - (NOT_OF_RELAYS if "relay" in kind else set())
