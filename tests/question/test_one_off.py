"""What the solver holds networks and chips to, exactly at the bound and one beyond, in places that few networks reach.

A solver that is one off the checker's rules ends in a fault of ours; one off the other way refuses what fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import pytest

from hwspec.catalog import load
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Pair, Pool, Shape
from mapper.options import SolveOptions, resolve
from mapper.question import Question, decide
from mapper.reasons import Status
from mapper.result import Result
from mapper.solution import LayerPart, Relay
from mapper.solver.stages import best_merit
from tests.builders import chain, conv, pool, tiny_chip

FITS, NOT = Status.OPTIMAL, Status.INFEASIBLE


def answer(network: NormalNetwork, *overrides: str, options: SolveOptions = SolveOptions()) -> Result:
    chip = load("speck2f", list(overrides))
    asked = replace(resolve(options, (network,), chip), repairs=0)
    return decide(Question((network,), chip, asked), "reasons")


def codes(result: Result) -> set[str]:
    assert result.report is not None
    return {entry.rule for entry in result.report.unmet}


def read_by(network: NormalNetwork, sources: dict[str, str]) -> NormalNetwork:
    """The network with other sources of some layers."""
    edges = tuple(replace(e, source=sources.get(e.target, e.source)) for e in network.edges)
    return network.replacing(edges=edges)


def sensing(size: Pair, pools: Pair, settings: DvsSettings) -> NormalNetwork:
    layer = NormalLayer(
        "conv0", Shape(2, size[0] // pools[0], size[1] // pools[1]), conv(1, 8, stride=(8, 8))
    )
    path = (Pool("sum", pools, pools),)
    entry = Input("input", Shape(2, *size), settings)
    return NormalNetwork("n", (entry,), (layer,), (Edge("input", "conv0", path),), (Output("o", "conv0"),))


@pytest.mark.parametrize(
    ("size", "status"), [((128, 128), FITS), ((130, 128), NOT), ((128, 130), NOT), ((126, 128), FITS)]
)
def test_the_sensor_has_so_many_rows_and_columns(size: Pair, status: Status) -> None:
    result = answer(sensing(size, (2, 2), DvsSettings()))
    assert result.status is status
    if status is NOT:
        assert codes(result) == {"dvs_stage"}


@pytest.mark.parametrize(("swap", "pooling", "cut"), [(False, (2, 4), (7, 7)), (True, (4, 2), (7, 7))])
def test_a_stage_that_swaps_its_axes_pools_before(swap: bool, pooling: Pair, cut: Pair) -> None:
    stage = answer(sensing((16, 32), (2, 4), DvsSettings(swap_axes=swap))).require().dvs_stage
    assert stage is not None
    assert (stage.pooling, stage.cut, stage.swap) == (pooling, cut, swap)


@pytest.mark.parametrize(("features", "status"), [(60, FITS), (61, NOT)])
def test_a_class_every_four_features_can_be_read_out(features: int, status: Status) -> None:
    network = chain([Convolution(features, (8, 8))], (2, 8, 8))
    assert answer(network, options=SolveOptions(readout="conv0")).status is status


@pytest.mark.parametrize(("readers", "status"), [(1, FITS), (2, NOT)])
def test_the_readout_takes_a_destination(readers: int, status: Status) -> None:
    network = chain([Convolution(4, (8, 8)), *[conv(4, 1)] * readers], (2, 8, 8))
    network = read_by(network, {f"conv{n + 1}": "conv0" for n in range(readers)})
    options = SolveOptions(readout="conv0", relays=False, max_copies=1, max_pieces=1)
    result = answer(network, "readout.feature_spacing=1", options=options)
    assert result.status is status
    if status is NOT:
        assert codes(result) == {"fan_out"}


@pytest.mark.parametrize(("pools", "status"), [((2, 2), FITS), ((2, 4), NOT)])
def test_a_pool_that_is_not_square_and_has_no_room_in_the_kernel(pools: Pair, status: Status) -> None:
    """A kernel of 16 rows is as large as there is: it takes up nothing of a pool."""
    network = chain([conv(1, 1), conv(1, 16, padding=(0, 0))], (1, 16 * pools[0], 16 * pools[1]), (1,))
    second = replace(network.layers[1], input_shape=Shape(1, 16, 16))
    edges = (network.edges[0], replace(network.edges[1], path=(Pool("sum", pools, pools),)))
    result = answer(network.replacing(layers=(network.layers[0], second), edges=edges))
    assert result.status is status
    if status is NOT:
        assert codes(result) == {"pooling"}


@pytest.mark.parametrize(("rate", "status"), [(8, FITS), (9, NOT)])
def test_operations_are_rounded_up(rate: int, status: Status) -> None:
    """9 spikes a second into one feature at every second row and column are 2.25 operations a second, not 2."""
    network = chain([conv(1, 1, stride=(2, 2))], (1, 8, 8))
    options = SolveOptions(traffic=(("input", rate),))
    result = answer(network, "core[0..8].synops_per_second=2", options=options)
    assert result.status is status


def test_copies_read_as_their_layers_do() -> None:
    """conv1 has three readers and needs a copy; then conv0 has three and needs one, too."""
    network = read_by(
        chain([conv(2)] * 6, (1, 4, 4)),
        {"conv2": "conv0", "conv3": "conv1", "conv4": "conv1", "conv5": "conv1"},
    )
    solution = answer(network, options=SolveOptions(relays=False, fusion=False)).require()
    bodies = [place.body for place in solution.placements]
    assert {b.layer for b in bodies if isinstance(b, LayerPart) and b.copy_index} == {"conv0", "conv1"}


@pytest.mark.parametrize(("cores", "status"), [(3, FITS), (2, NOT)])
def test_relays_in_pieces_pass_on_every_feature(cores: int, status: Status) -> None:
    """A relay of the 7 features that the host sends fits no core; small ones hold 3 of them."""
    network = chain([conv(4, 9)], (7, 32, 32), input_path=pool(2))
    chip = tiny_chip((4096, 1024, 0), *[(64, 3 * 1024, 0)] * cores)
    result = decide(Question((network,), chip, SolveOptions(repairs=0)))
    assert result.status is status
    if status is FITS:
        relays = [p.features for p in result.require().placements if isinstance(p.body, Relay)]
        assert relays == [(0, 3), (3, 6), (6, 7)]


def test_equal_memory_never_costs_a_core() -> None:
    """Two small cores have together what the large one has; which names are preferred must not matter."""
    large, small, other = (1024, 2048, 0), (512, 1024, 0), (1024, 1024, 0)
    for order in ((large, small, small, other, other), (small, small, other, other, large)):
        for names in (("a", "b"), ("b", "a"), ("one", "two"), ("x", "y")):
            network = renamed(chain([conv(8), conv(8)], (16, 16, 16)), names)
            result = decide(Question((network,), tiny_chip(*order), SolveOptions(repairs=0)))
            assert result.status is FITS
            assert len(result.require().placements) == 3


def renamed(network: NormalNetwork, names: Sequence[str]) -> NormalNetwork:
    new = {layer.name: name for layer, name in zip(network.layers, names, strict=True)}
    return network.replacing(
        layers=tuple(replace(layer, name=new[layer.name]) for layer in network.layers),
        edges=tuple(
            replace(e, source=new.get(e.source, e.source), target=new[e.target]) for e in network.edges
        ),
        outputs=tuple(replace(output, source=new[output.source]) for output in network.outputs),
    )


def test_the_fewest_requirements_come_before_those_that_are_preferred() -> None:
    """Of two layers that one core holds, the other one misses two memories of the others by little."""
    network = chain([conv(32), conv(32)], (32, 8, 8))
    chip = tiny_chip(*[(16380, 2045, 0)] * 5, (16384, 2048, 0))
    options = SolveOptions(repairs=0, max_pieces=1, max_copies=1, relays=False)
    report = decide(Question((network,), chip, options), "reasons").report
    assert report is not None
    assert report.correction is not None
    assert [entry.kind for entry in report.correction.requirements] == ["cores"]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_best_merit_is_found_wherever_it_lies(count: int) -> None:
    merits = [Fraction(n, 9) for n in range(count)]
    for best in merits:
        for start in merits[: merits.index(best) + 1]:
            for eager in (False, True):

                def reach(
                    least: Fraction, best: Fraction = best, eager: bool = eager
                ) -> Fraction | Literal[False]:
                    return (best if eager else least) if least <= best else False

                assert best_merit(merits, start, reach) == best


def test_a_limit_leaves_a_merit_that_nothing_exceeds() -> None:
    merits = [Fraction(n, 9) for n in range(8)]
    for tries in range(4):
        left = iter(range(tries))

        def reach(least: Fraction) -> Fraction | Literal[False] | None:
            return None if next(left, None) is None else (least if least <= merits[5] else False)  # noqa: B023

        assert best_merit(merits, merits[2], reach) >= merits[5]
