"""Questions that were once answered wrongly: an optimum that is none, a fault of ours instead of a refusal."""

from __future__ import annotations

import pytest

import mapper
from hwspec.schema import ChipSpec
from mapper.network import DvsSettings, Edge, Input, Layer, Network, Output
from mapper.operations import Convolution, Pool, Shape
from mapper.reasons import Status
from tests.builders import chain, conv, pool, tiny_chip


@pytest.mark.parametrize("neuron_words", [(2048, 512), (512, 2048), (2048, 256), (256, 2048)])
def test_cores_that_differ_in_limits_keep_the_headroom_that_was_reached(
    neuron_words: tuple[int, int],
) -> None:
    chip = tiny_chip(*[(64, n, 16) for n in neuron_words], overrides=["core[1].limits.padding_max=2"])
    for seed in range(4):
        result = mapper.solve(chain([conv(2, 1)], (2, 8, 8)), chip, objective="headroom", seed=seed)
        headroom = result.require().objectives[1]
        assert result.status is Status.OPTIMAL
        # The layer's 128 neurons on the larger core, or its 4 weights of 64 on either.
        assert (headroom.value, headroom.bound) == ("15/16", "15/16")


@pytest.mark.parametrize(
    ("options", "best"),
    [
        ({"objective": "headroom"}, "3/4"),
        ({"objective": "balance", "traffic": {"input": 100, "conv0": 100, "conv1": 9}}, "1800"),
    ],
)
def test_merits_do_not_depend_on_the_seed(options: dict[str, object], best: str) -> None:
    sizes = [(64 * k, 128 * k, 16) for k in (1, 2, 4, 8)]
    chip = tiny_chip(*sizes, overrides=["core[1].limits.padding_max=2"])
    network = chain([conv(2, 3), conv(2, 3)], (2, 8, 8))
    for seed in range(6):
        result = mapper.solve(network, chip, seed=seed, **options)  # type: ignore[arg-type]  # keywords of a table
        merit = result.require().objectives[1]
        assert (result.status, merit.value, merit.bound) == (Status.OPTIMAL, best, best)


def _sensing(first: int, second: int) -> Network:
    """Two layers that read the sensor through pools of these sizes."""
    shape = Shape(1, 48, 48)
    sizes = {"a": first, "b": second}
    return Network(
        "sensing",
        (Input("in", shape, DvsSettings()),),
        tuple(
            Layer(name, Shape(1, 48 // n, 48 // n), Convolution(2, (3, 3), (2, 2)))
            for name, n in sizes.items()
        ),
        tuple(Edge("in", name, pool(n)) for name, n in sizes.items()),
        (Output("first", "a"), Output("second", "b")),
    )


@pytest.mark.parametrize(
    ("sizes", "fits"), [((4, 6), False), ((2, 3), False), ((8, 6), False), ((2, 4), True)]
)
def test_sensor_pools_that_no_stage_setting_divides(sizes: tuple[int, int], fits: bool) -> None:
    result = mapper.solve(_sensing(*sizes), "speck2f", repairs=0)
    if fits:
        assert result.status is Status.OPTIMAL
        return
    assert result.status is Status.INFEASIBLE
    assert result.report is not None
    assert "M111" in {entry.code for entry in result.report.unmet}


def _shifted(features: int) -> Network:
    """A host input that one layer reads pooled, behind the features of another."""
    shape = Shape(1, 8, 8)
    halved = (Pool("sum", (2, 2), (2, 2)),)
    return Network(
        "shifted",
        (Input("in", shape),),
        (
            Layer("a", shape, Convolution(features, (2, 2), (2, 2))),
            Layer("b", Shape(features + 1, 4, 4), Convolution(2, (1, 1))),
        ),
        (Edge("in", "a"), Edge("a", "b"), Edge("in", "b", halved, features)),
        (Output("out", "b"),),
    )


@pytest.mark.parametrize("features", [1, 2])
def test_a_chip_without_feature_shift_takes_no_relay_at_an_offset(features: int) -> None:
    def on(shift: str) -> ChipSpec:
        return mapper.load_chip("speck2f", [f"routing.feature_shift={shift}"])

    assert mapper.solve(_shifted(features), on("true")).status is Status.OPTIMAL
    refused = mapper.solve(_shifted(features), on("false"), repairs=0)
    assert refused.status is Status.INFEASIBLE
    assert refused.report is not None
    assert {entry.code for entry in refused.report.unmet} == {"M110"}
