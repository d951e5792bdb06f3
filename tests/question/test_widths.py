"""What is placed can be written: numbers stand on cores whose fields are as wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwspec.catalog import load
from mapper import solve
from mapper.emit.read.diff import diff
from mapper.emit.write.build import build_config
from mapper.errors import NetworkError
from mapper.network import Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Shape
from mapper.options import SolveOptions
from mapper.question import Question, decide
from mapper.reasons import Status
from mapper.result import Result
from mapper.rules import Rule
from mapper.solution import Relay
from tests.builders import chain, conv, weighted

SHAPE = Shape(1, 4, 4)


def decided(weight: int = 1, bias: int = 0, neuron: Neuron = Neuron(7, -20), *overrides: str) -> Result:
    """One layer of these integers."""
    biases = np.full(2, bias) if bias else None
    operation = Convolution(2, (1, 1), weight=np.full((2, 1, 1, 1), weight), bias=biases, has_bias=bool(bias))
    layer = NormalLayer("a", SHAPE, operation, neuron=neuron)
    network = NormalNetwork("n", (Input("in", SHAPE),), (layer,), (Edge("in", "a"),), (Output("o", "a"),))
    return decide(Question((network,), load("speck2f", overrides), SolveOptions()))


STATE = np.full((2, 4, 4), 40_000)
WIDEST: list[dict[str, Any]] = [
    {"weight": 127}, {"weight": -128}, {"bias": 32_767}, {"bias": -32_768}, {"neuron": Neuron(32_767, -32_768)},
]  # fmt: skip
TOO_WIDE: list[dict[str, Any]] = [
    {"weight": 128}, {"weight": -129}, {"bias": 32_768}, {"bias": -32_769}, {"neuron": Neuron(32_768, -1)},
    {"neuron": Neuron(5, -32_769)}, {"neuron": Neuron(5, -3, "subtract", "multi", STATE)},
]  # fmt: skip


@pytest.mark.parametrize("numbers", WIDEST, ids=str)
def test_what_fits_its_fields_is_written(numbers: dict[str, Any]) -> None:
    result = decided(**numbers)
    assert diff(result.networks, build_config(result)) == ()


@pytest.mark.parametrize("numbers", TOO_WIDE, ids=str)
def test_what_no_field_holds_is_refused_by_the_question(numbers: dict[str, Any]) -> None:
    result = decided(**numbers)
    assert result.status is Status.INFEASIBLE
    assert result.report is not None
    assert {entry.code for entry in result.report.unmet} == {Rule.NUMBER_WIDTH.code}


@pytest.mark.parametrize("neuron", [Neuron(0, -1), Neuron(5, 0), Neuron(5, 3), Neuron(5.5, -3)], ids=str)
def test_a_neuron_that_no_core_has_is_bad_input(neuron: Neuron) -> None:
    with pytest.raises(NetworkError, match="layer a: "):
        build_config(decided(neuron=neuron))


def test_wide_weights_keep_off_narrow_cores() -> None:
    result = solve("digits", load("speck2f", ["core[4..8].limits.weight_bits=4"]))
    assert {placement.core for placement in result.require().placements} == {0, 1, 2, 3}
    assert diff(result.networks, build_config(result)) == ()
    assert solve("digits", load("speck2f", ["limits.weight_bits=4"])).status is Status.INFEASIBLE


def test_relays_are_written_in_the_bits_that_a_core_has() -> None:
    network = weighted(
        chain([conv(2, 1), conv(2, 9)], (2, 32, 32), (8,)), np.random.default_rng(0), integer=True
    )
    cores = [f"core[{n}].limits.{bits}_bits=2" for n in range(7) for bits in ("weight", "state")]
    result = decide(Question((network,), load("speck2f", cores), SolveOptions()))
    relays = [
        placement.core for placement in result.require().placements if isinstance(placement.body, Relay)
    ]
    assert relays
    assert max(relays) < 7
    config = build_config(result)
    assert {config.hardware.cnn_layers[core].threshold_high for core in relays} == {1}
    assert diff(result.networks, config) == ()
