"""Every form, sensor and shared relay: CP-SAT against enumeration, on several networks at once."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from mapper.network import Edge, Layer
from mapper.operations import Convolution
from mapper.options import resolve
from mapper.question import Question, decide
from mapper.result import Result
from tests.property.agreement import apart, assert_agree, checked_best_division
from tests.property.divided_forms import forms_of
from tests.property.question_instances import Instance, random_question_instance
from tests.property.traits import traits

INSTANCES = 4 * int(os.environ.get("MAPPER_INSTANCES", "150"))
BLOCKS = 10

# How often each must be part of an optimum, in a thousand instances.
LEAST = {
    "several networks": 60,
    "folded": 100,
    "part of a pool folded": 60,
    "overlapping pool folded": 3,
    "filled up to a square": 5,
    "sensor moved in front": 3,
    "sensor relayed at an offset": 20,
    "stage pools": 30,
    "pieces": 80,
    "copies": 5,
    "relay of layer": 15,
    "relay of host": 8,
    "relay of sensor": 25,
    "relay shared by networks": 3,
    "aligned relay of layer": 3,
    "split relay of layer": 10,
    "split relay of sensor": 1,
    "relay that pools": 30,
    "relay behind a relay": 4,
    "several relays of a signal": 4,
    "shown by relays": 25,
    "shown by several relays": 15,
}


def written(layer: Layer, edges: tuple[Edge, ...]) -> tuple[object, ...]:
    """All that tells the forms of a layer apart."""
    operation = layer.operation
    assert isinstance(operation, Convolution)
    ends = tuple((edge.source, edge.path, edge.feature_offset) for edge in edges)
    return layer.input_shape, operation.kernel, operation.stride, operation.padding, ends


def check_forms(instance: Instance, result: Result, seed: int) -> None:
    """Every layer stands in a form that the oracle found to be exact."""
    networks, chip, _ = instance
    stage = result.require().dvs_stage
    for network, placed in zip(networks, result.networks, strict=True):
        for layer in network.layers:
            forms = forms_of(network, layer, chip, stage.pooling[0] if stage else None)
            exact = {written(form.layer, form.edges) for form in forms}
            assert written(placed.by_name[layer.name], placed.incoming[layer.name]) in exact, seed


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(BLOCKS))
def test_same_verdict_and_optimum(block: int) -> None:
    for seed in range(block * INSTANCES // BLOCKS, (block + 1) * INSTANCES // BLOCKS):
        networks, chip, options = instance = apart(*random_question_instance(seed))
        question = Question(networks, chip, options)
        result = decide(question, "reasons")
        assert_agree(question, result, seed)
        if result.solution is not None:
            check_forms(instance, result, seed)


@pytest.mark.no_cover
def test_the_oracle_keeps_the_rules_and_optima_make_every_move() -> None:
    mix: Counter[str] = Counter()
    count = max(INSTANCES, 600)
    for seed in range(count):
        networks, chip, options = random_question_instance(seed)
        answer = checked_best_division(networks, chip, resolve(options, networks, chip), seed)
        if answer is None:
            mix["infeasible"] += 1
            continue
        mix.update(traits(networks, answer.networks, answer.solution))
    rare = {trait: mix[trait] for trait, least in LEAST.items() if mix[trait] * 1000 < least * count}
    assert rare == {}
    assert count // 4 < mix["infeasible"] < count * 3 // 4
