"""Every rule about what a core holds, at its bound and one unit beyond, on chips that leave no other way.

Each core has just the memories of what the hand-made placement puts there, and no kernel may take up a
pool. So the placement is possible at the bound, and beyond it another one is only where enumeration finds
that a kernel may be filled up to a square.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest

from hwspec.memory import bias_words, kernel_words, neuron_words
from hwspec.schema import ChipSpec
from mapper.operations import Convolution
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.rules import Rule
from mapper.solution import LayerPart, Placement, Relay
from mapper.verify import verify
from tests.property.divided_oracle import best_division
from tests.rules.instances import SITUATIONS, Bound, Occupant, Situation, bounds

# What a rewrite of the layer may mend: a kernel filled up to a square.
MENDED = {Rule.KERNEL_SQUARE}
# Facts of one core alone; others belong to all, as on every chip there is.
OWN = ("kernel_words", "neuron_words", "bias_words", "synops_per_second", "output_features_max")


def words(situation: Situation, placement: Placement) -> tuple[int, int, int]:
    """Kernel, neuron and bias words of what stands on a core."""
    occupant = next((one for one in situation.occupants if one.core == placement.core), None)
    if occupant is None:
        part = placement.body
        assert isinstance(part, LayerPart)
        layer = situation.networks[part.network].by_name[part.layer]
        assert isinstance(layer.operation, Convolution)
        made = layer.output_shape._replace(features=placement.features[1] - placement.features[0])
        conv = layer.operation
        occupant = Occupant(placement.core, layer.input_shape, made, 0, conv.kernel, has_bias=conv.has_bias)
    made = occupant.made
    return (
        kernel_words(occupant.read.features, made.features, *occupant.kernel),
        neuron_words(*made),
        bias_words(made.features, occupant.has_bias),
    )


def tight_chip(situation: Situation, kind: str, *overrides: str) -> ChipSpec:
    """Each core as large as what stands there; of a layer that reads no pool, strides are free."""
    sizes = [
        f"core[{placement.core}].{memory}={number}"
        for placement in situation.solution.placements
        for memory, number in zip(
            ("kernel_words", "neuron_words", "bias_words"), words(situation, placement), strict=True
        )
    ]
    stays = ["limits.strides=[1]", "input.poolings=[1, 2]"]
    if "host" not in kind and "sensor" not in kind:
        stays.append("routing.poolings=[1, 2]")
    stays = [] if kind in ("layer", "piece") else stays
    return situation.chip(*sizes, *stays, *overrides)


def for_all(situation: Situation, kind: str, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Limits of layers and pieces hold on all cores; of relays on theirs, for what they read stands elsewhere."""
    cores = f"core[0..{len(situation.solution.placements) - 1}]."
    return tuple(
        text
        if kind not in ("layer", "piece") or any(name in text for name in OWN)
        else cores + text.split(".", 1)[1]
        for text in overrides
    )


def pools_alike(situation: Situation) -> bool:
    """Whether nothing else can pool as the placement does: as much before a layer's relay as behind it."""
    bodies = [placement.body for placement in situation.solution.placements]
    hops = {body.pooling for body in bodies if isinstance(body, Relay) and body.signal == "source"}
    pools = {edge.source: edge.pool for edge in situation.networks[0].edges}
    pool = pools.get("source")
    return all(hop * hop == (pool.size[0] if pool else 1) for hop in hops)


def cases(kind: str) -> Iterator[tuple[Situation, Bound]]:
    draws = (SITUATIONS[kind](np.random.default_rng([zlib.crc32(kind.encode()), seed])) for seed in count())
    for situation in islice(filter(pools_alike, draws), 2):
        for occupant in situation.occupants:
            yield from ((situation, bound) for bound in bounds(occupant))


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", SITUATIONS)
def test_the_solver_keeps_every_bound_to_the_unit(kind: str) -> None:
    refused: set[Rule] = set()
    tried: set[Rule] = set()
    for situation, bound in cases(kind):
        chip = tight_chip(situation, kind, *for_all(situation, kind, bound.inside))
        options = replace(situation.options, repairs=0, joint=False, fusion=False)
        assert verify(situation.networks, chip, options, situation.solution) == (), bound
        inside = decide(Question(situation.networks, chip, options), "reasons")
        assert inside.status is Status.OPTIMAL, bound
        assert len(inside.require().placements) <= len(situation.solution.placements), bound
        chip = tight_chip(situation, kind, *for_all(situation, kind, bound.outside))
        question = Question(situation.networks, chip, options)
        result, other = decide(question, "reasons"), best_division(situation.networks, chip, options)
        assert result.status is (Status.INFEASIBLE if other is None else Status.OPTIMAL), bound
        assert fits(question) is (other is not None), bound
        tried.add(bound.rule)
        if other is None:
            refused.add(bound.rule)
        else:
            used = [placement.core for placement in result.require().placements]
            bits = sum(chip.cores[core].capacity_bits for core in used)
            assert (len(used), bits) == (other.cores, other.capacity_bits), bound
            assert bound.rule in MENDED, bound
    assert tried - refused <= MENDED
    assert {
        Rule.INPUT_SIZE,
        Rule.OUTPUT_SIZE,
        Rule.FEATURES,
        Rule.KERNEL_MEMORY,
        Rule.NEURON_MEMORY,
    } <= refused
    assert {Rule.KERNEL_SIZE, Rule.BANDWIDTH, Rule.NUMBER_WIDTH} <= refused
