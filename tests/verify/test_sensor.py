"""The sensor stage at its bounds, and relays behind it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from hwspec.catalog import load
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Pair, Pool, Shape
from mapper.options import SolveOptions, resolve
from mapper.rules import Rule
from mapper.solution import DVS, DvsStage, HostEntry, LayerPart, Monitor, Placement, Relay, Route, Solution
from mapper.verify import verify
from tests.builders import conv


def reader(name: str, shape: Shape, pools: Pair, settings: DvsSettings) -> NormalNetwork:
    """One layer of one tap that reads the sensor pooled."""
    size = (shape.height // pools[0], shape.width // pools[1])
    layer = NormalLayer("conv0", Shape(shape.features, *size), conv(2, 1))
    path = (Pool("sum", pools, pools),) if pools != (1, 1) else ()
    edges = (Edge("input", "conv0", path),)
    return NormalNetwork(name, (Input("input", shape, settings),), (layer,), edges, (Output("o", "conv0"),))


def rules(networks: tuple[NormalNetwork, ...], solution: Solution, *overrides: str) -> set[Rule]:
    chip = load("speck2f", list(overrides))
    return {entry.rule for entry in verify(networks, chip, resolve(SolveOptions(), networks, chip), solution)}


def direct(networks: tuple[NormalNetwork, ...], stage: DvsStage) -> Solution:
    """Each network's layer on a core of its own, fed by the stage."""
    cores = range(len(networks))
    return Solution(
        tuple(Placement(n, LayerPart(n, "conv0"), (0, 2)) for n in cores),
        tuple(Route(DVS, n, n) for n in cores),
        (),
        tuple(Monitor(n, n, "conv0", (0, 2)) for n in cores),
        stage,
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("pooling", [1, 2, 4])
def test_the_cut_out_may_reach_the_sensors_edge_and_not_beyond(axis: int, pooling: int) -> None:
    for first, expected in ((0, False), (-1, True), (128 // pooling - 8, False), (128 // pooling - 7, True)):
        origin = tuple(first if n == axis else 3 for n in (0, 1))
        settings = DvsSettings(origin=(origin[0], origin[1]))
        network = reader("n", Shape(2, 8 * pooling, 8 * pooling), (pooling, pooling), settings)
        stage = DvsStage(False, (pooling, pooling), settings.origin, (origin[0] + 7, origin[1] + 7))
        assert rules((network,), direct((network,), stage)) == ({Rule.DVS_STAGE} if expected else set())


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("change", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_cut_one_row_or_column_off_is_a_violation(change: Pair, swap: bool) -> None:
    network = reader("n", Shape(2, 12, 20), (2, 2), DvsSettings(swap_axes=swap))
    height, width = (10, 6) if swap else (6, 10)
    stage = DvsStage(False, (2, 2), (0, 0), (height - 1, width - 1), swap=swap)
    assert rules((network,), direct((network,), stage)) == set()
    off = replace(stage, cut=(stage.cut[0] + change[0], stage.cut[1] + change[1]))
    assert Rule.DVS_STAGE in rules((network,), direct((network,), off))


@pytest.mark.parametrize("pooling", [1, 2])
def test_rows_that_fill_no_pool_may_pass_but_no_row_that_the_input_has_not(pooling: int) -> None:
    """A stage that pools less than the edge: its map may have rows that fill no pool behind it."""
    sizes: dict[int, set[int]] = {8: {8}, 9: {8, 9}}
    for size, allowed in sizes.items():
        whole = Shape(2, size * pooling, size * pooling)
        network = reader("n", whole, (2 * pooling, 2 * pooling), DvsSettings())
        for height, width in product(range(7, 11), repeat=2):
            stage = DvsStage(False, (pooling, pooling), (0, 0), (height - 1, width - 1))
            expected = set() if {height, width} <= allowed else {Rule.DVS_STAGE}
            assert rules((network,), relayed(network, stage, 2)) == expected


def relayed(network: NormalNetwork, stage: DvsStage, hop: int) -> Solution:
    """The sensor through a relay, pooled behind it."""
    features = network.inputs[0].shape.features
    return Solution(
        (Placement(0, LayerPart(0, "conv0"), (0, 2)), Placement(1, Relay(None, DVS), (0, features))),
        (Route(DVS, 0, 1), Route(1, 0, 0, hop)),
        (),
        (Monitor(0, 0, "conv0", (0, 2)),),
        stage,
    )


def test_a_swapped_stage_pools_the_networks_rows_as_its_columns() -> None:
    network = reader("n", Shape(2, 8, 32), (1, 4), DvsSettings(swap_axes=True))
    stage = DvsStage(False, (4, 1), (0, 0), (7, 7), swap=True)
    assert rules((network,), direct((network,), stage)) == set()
    assert Rule.DVS_STAGE in rules((network,), direct((network,), replace(stage, pooling=(1, 4))))


@pytest.mark.parametrize(
    ("pools", "stage", "hop", "expected"),
    [
        ((8, 8), (4, 4), 2, set()),
        ((8, 8), (2, 2), 4, set()),
        ((8, 4), (4, 2), 2, set()),
        ((4, 4), (4, 4), 1, set()),
        ((8, 8), (4, 4), 1, {Rule.CONNECTION}),
        ((8, 8), (4, 4), 4, {Rule.CONNECTION}),
        ((8, 4), (4, 4), 2, {Rule.DVS_STAGE, Rule.CONNECTION}),
        ((2, 2), (4, 4), 1, {Rule.DVS_STAGE, Rule.CONNECTION}),
        ((8, 8), (1, 1), 8, {Rule.POOLING}),
    ],
)
def test_what_the_stage_leaves_of_a_pool_a_relay_does(
    pools: Pair, stage: Pair, hop: int, expected: set[Rule]
) -> None:
    network = reader("n", Shape(2, 32, 32), pools, DvsSettings())
    setting = DvsStage(False, stage, (0, 0), (32 // stage[0] - 1, 32 // stage[1] - 1))
    assert rules((network,), relayed(network, setting, hop)) == expected


def test_a_pool_whose_stride_is_not_its_size_cannot_be_the_sensors() -> None:
    network = reader("n", Shape(2, 16, 16), (2, 2), DvsSettings())
    layer = replace(network.layers[0], input_shape=Shape(2, 15, 15))
    edges = (Edge("input", "conv0", (Pool("sum", (2, 2), (1, 1)),)),)
    network = network.replacing(layers=(layer,), edges=edges)
    for pooling in ((1, 1), (2, 2)):
        stage = DvsStage(False, pooling, (0, 0), (14, 14))
        assert Rule.DVS_STAGE in rules((network,), direct((network,), stage))


def two_pools() -> tuple[tuple[NormalNetwork, ...], Solution]:
    """Two networks, pools of 4 and 8, behind one stage of 4: the second through a relay."""
    networks = tuple(reader(f"n{size}", Shape(2, 32, 32), (size, size), DvsSettings()) for size in (4, 8))
    solution = direct(networks, DvsStage(False, (4, 4), (0, 0), (7, 7)))
    relay = Placement(2, Relay(None, DVS), (0, 2))
    routes = (Route(DVS, 0, 0), Route(DVS, 1, 2), Route(2, 0, 1, 2))
    return networks, replace(solution, placements=(*solution.placements, relay), routes=routes)


def test_edges_may_pool_differently() -> None:
    networks, solution = two_pools()
    assert rules(networks, solution) == set()
    straight = replace(solution, routes=(Route(DVS, 0, 0), Route(DVS, 1, 1), *solution.routes[1:]))
    assert Rule.CONNECTION in rules(networks, straight)


def test_a_second_relay_shows_what_the_first_pools() -> None:
    network = reader("n", Shape(2, 64, 64), (8, 8), DvsSettings())
    stage = DvsStage(False, (2, 2), (0, 0), (31, 31))
    placements = (
        Placement(0, LayerPart(0, "conv0"), (0, 2)),
        Placement(1, Relay(None, DVS), (0, 2)),
        Placement(2, Relay(None, DVS, 2), (0, 2)),
    )
    routes = (Route(DVS, 0, 1), Route(1, 0, 2, 2), Route(2, 0, 0, 2))
    solution = Solution(placements, routes, (), (Monitor(0, 0, "conv0", (0, 2)),), stage)
    assert rules((network,), solution) == set()
    unpooled = replace(placements[2], body=Relay(None, DVS, 1))
    assert rules((network,), replace(solution, placements=(*placements[:2], unpooled))) == {Rule.CONNECTION}


def test_all_inputs_of_the_sensor_agree_on_its_features() -> None:
    merged, plain = (reader(f"n{n}", Shape(n, 8, 8), (1, 1), DvsSettings()) for n in (1, 2))
    for merge in (False, True):
        stage = DvsStage(merge, (1, 1), (0, 0), (7, 7))
        assert (rules((merged,), direct((merged,), stage)) == set()) == merge
        assert (rules((plain,), direct((plain,), stage)) == set()) != merge
        assert Rule.DVS_STAGE in rules((merged, plain), direct((merged, plain), stage))
    wide = reader("n", Shape(3, 8, 8), (1, 1), DvsSettings())
    stage = DvsStage(False, (1, 1), (0, 0), (7, 7))
    assert rules((wide,), direct((wide,), stage)) == {Rule.DVS_STAGE}
    assert rules((wide,), direct((wide,), stage), "input.features=3") == set()
    both = rules((plain, wide), direct((plain, wide), stage), "input.features=3")
    assert both == {Rule.DVS_STAGE}


def test_all_networks_agree_on_origin_mirror_and_gates() -> None:
    one = reader("one", Shape(2, 8, 8), (1, 1), DvsSettings())
    stage = DvsStage(False, (1, 1), (0, 0), (7, 7))
    for settings in (DvsSettings((1, 0)), DvsSettings(mirror=(True, False)), DvsSettings(on_channel=False)):
        other = reader("other", Shape(2, 8, 8), (1, 1), settings)
        assert rules((one, other), direct((one, other), stage)) == {Rule.DVS_STAGE}
    same = reader("other", Shape(2, 8, 8), (1, 1), DvsSettings())
    assert rules((one, same), direct((one, same), stage)) == set()


def concatenated() -> tuple[NormalNetwork, Solution]:
    """The sensor at offset 2 of a layer's input, behind the layer's own first two features."""
    shape = Shape(2, 8, 8)
    layers = (NormalLayer("conv0", shape, conv(2, 1)), NormalLayer("conv1", Shape(4, 8, 8), conv(3, 1)))
    edges = (Edge("input", "conv0"), Edge("conv0", "conv1"), Edge("input", "conv1", (), 2))
    network = NormalNetwork(
        "n", (Input("input", shape, DvsSettings()),), layers, edges, (Output("o", "conv1"),)
    )
    solution = Solution(
        (Placement(0, LayerPart(0, "conv0"), (0, 2)), Placement(1, LayerPart(0, "conv1"), (0, 3))),
        (Route(DVS, 0, 0), Route(0, 0, 1), Route(DVS, 1, 1, 1, 2)),
        (),
        (Monitor(1, 0, "conv1", (0, 3)),),
        DvsStage(False, (1, 1), (0, 0), (7, 7)),
    )
    return network, solution


def test_the_sensors_destinations_have_no_shift() -> None:
    network, solution = concatenated()
    assert rules((network,), solution) == {Rule.FEATURE_SHIFT}
    unshifted = replace(solution, routes=(*solution.routes[:2], Route(DVS, 1, 1)))
    assert rules((network,), unshifted) == {Rule.CONNECTION}
    relay = Placement(2, Relay(None, DVS), (0, 2))
    routes = (*solution.routes[:2], Route(DVS, 1, 2), Route(2, 0, 1, 1, 2))
    through = replace(solution, placements=(*solution.placements, relay), routes=routes)
    assert rules((network,), through) == set()


def test_the_host_shifts_its_own_events() -> None:
    network, solution = concatenated()
    network = network.replacing(inputs=(Input("input", Shape(2, 8, 8)),))
    entries = (HostEntry(0, "input", 0), HostEntry(0, "input", 1, 2))
    solution = replace(solution, routes=(Route(0, 0, 1),), host_entries=entries, dvs_stage=None)
    assert rules((network,), solution) == set()
    assert rules((network,), solution, "routing.feature_shift=false") == set()
    negative = replace(solution, host_entries=(entries[0], replace(entries[1], feature_shift=-2)))
    assert Rule.FEATURE_SHIFT in rules((network,), negative)


def test_the_sensors_destinations_do_not_pool() -> None:
    network = reader("n", Shape(2, 16, 16), (2, 2), DvsSettings())
    solution = direct((network,), DvsStage(False, (1, 1), (0, 0), (15, 15)))
    pooled = replace(solution, routes=(Route(DVS, 0, 0, 2),))
    assert rules((network,), pooled) == {Rule.POOLING}


def test_a_stage_that_nothing_reads_is_a_violation() -> None:
    network = reader("n", Shape(2, 8, 8), (1, 1), DvsSettings())
    network = network.replacing(inputs=(Input("input", Shape(2, 8, 8)),))
    stage = DvsStage(False, (1, 1), (0, 0), (7, 7))
    solution = replace(direct((network,), stage), routes=(), host_entries=(HostEntry(0, "input", 0),))
    assert rules((network,), replace(solution, dvs_stage=None)) == set()
    assert rules((network,), solution) == {Rule.DVS_STAGE}


def test_the_sensors_rate_is_a_relays_work() -> None:
    networks, solution = two_pools()
    traffic = (("n4:input", 70), ("n8:input", 100))
    for bandwidth, expected in ((200, set()), (199, {Rule.BANDWIDTH})):
        chip = load("speck2f", [f"core[2].synops_per_second={bandwidth}"])
        options = resolve(SolveOptions(traffic=traffic), networks, chip)
        assert {entry.rule for entry in verify(networks, chip, options, solution)} == expected


def test_the_sensor_has_so_many_destinations() -> None:
    networks = tuple(reader(f"n{n}", Shape(2, 8, 8), (1, 1), DvsSettings()) for n in range(3))
    stage = DvsStage(False, (1, 1), (0, 0), (7, 7))
    assert rules(networks[:2], direct(networks[:2], stage)) == set()
    assert rules(networks, direct(networks, stage)) == {Rule.DVS_FAN_OUT}
    assert rules(networks, direct(networks, stage), "input.fan_out=3") == set()


def test_a_host_cannot_send_the_sensors_events() -> None:
    network = reader("n", Shape(2, 8, 8), (1, 1), DvsSettings())
    stage = DvsStage(False, (1, 1), (0, 0), (7, 7))
    solution = replace(direct((network,), stage), routes=(), host_entries=(HostEntry(0, "input", 0),))
    assert rules((network,), solution) == {Rule.CONNECTION}
