"""The sensor stage: one setting for all it feeds, and no shift of features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwspec.catalog import load
from mapper.network import DvsSettings, Edge, Input, Output
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Convolution, Neuron, Pair, Pool, Shape
from mapper.passes.legalize import Forms, legal_forms, legalize
from tests.builders import conv, weighted
from tests.passes.legal_networks import (
    CHIP,
    WIDE_SENSOR,
    assert_same_spikes,
    behind,
    fields,
    legal,
    paths,
    pooled,
    sensor_pair,
    spelled_out,
    untouched,
)


def test_the_sensor_pools_per_axis() -> None:
    assert untouched(behind(pooled((2, 4)), conv(3), (16, 16), "sensor"))
    ready = legal(behind(pooled(8), conv(3, 3, padding=(1, 1)), (64, 64), "sensor"))
    assert paths(ready) == [(4, 4)]
    assert fields(ready.by_name["t"]) == ((6, 6), (2, 2), (2, 2))
    ready = legal(behind(pooled((8, 4)), conv(3, 3, padding=(1, 1)), (32, 24), "sensor"))
    assert paths(ready) == [(4, 4)]
    # Three rows of taps are six now; the columns are as they were until the kernel is squared.
    assert ready.by_name["t"].operation.weight is not None
    assert fields(ready.by_name["t"])[0] in ((6, 6), (7, 7))


def test_one_setting_of_the_sensor_stage_for_all_it_feeds() -> None:
    (eight,), (four,), (two,), (three,) = pooled(8), pooled(4), pooled(2), pooled(3)
    for first, second, kept in ((eight, four, (4, 4)), (two, eight, (2, 2)), (two, None, None)):
        ready = legal(sensor_pair(first, second))
        assert [paths(ready, name) for name in "ab"] == [[kept], [kept]]
    # 3 cannot be folded, so the pool of 8 stays too: the settings would differ.
    assert untouched(sensor_pair(eight, three))


def test_cut_out_and_mirror_of_the_sensor_keep_their_meaning() -> None:
    network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (40, 40), "sensor")
    odd = behind(pooled(8), conv(3, 2, padding=(0, 0)), (44, 44), "sensor")

    def with_settings(base: NormalNetwork, dvs: DvsSettings) -> NormalNetwork:
        return base.replacing(inputs=(replace(base.inputs[0], dvs=dvs),))

    legal(with_settings(network, DvsSettings(mirror=(True, False))))
    legal(odd)
    assert untouched(with_settings(odd, DvsSettings(mirror=(True, False))))
    assert untouched(with_settings(network, DvsSettings(origin=(1, 0))))
    assert untouched(with_settings(network, DvsSettings(swap_axes=True)))
    # 132 rows: pools of 8 fit 128 rows of sensor, pools of 4 do not.
    large = behind(pooled(8), conv(3, 2, padding=(0, 0)), (132, 132), "sensor")
    assert untouched(large)
    legal(large, WIDE_SENSOR)


def test_a_chip_without_a_sensor_stage_changes_nothing_behind_a_sensor() -> None:
    network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (40, 40), "sensor")
    assert legalize(network, CHIP.model_copy(update={"input": None})) is network


def stages(network: NormalNetwork, *, relays: bool = True, shared_stage: bool = False) -> dict[Pair, Forms]:
    every = legal_forms(network, CHIP, relays=relays, shared_stage=shared_stage)
    assert {forms.source is network for forms in every} == {True}
    return {forms.stage: forms for forms in every if forms.stage is not None}


def kept(forms: Forms, layer: str) -> list[Pair | None]:
    return [form.edges[0].pool.size if form.edges[0].pool else None for form in forms.layers[layer]]


def test_a_sensor_pool_is_the_stage_times_relays_times_the_kernel() -> None:
    network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (64, 64), "sensor")
    # Whatever a smaller setting can do, the largest does with less.
    found = stages(network)
    assert list(found) == [(4, 4)]
    assert kept(found[4, 4], "t") == [(4, 4), (8, 8)]
    assert found[4, 4].network({"t": 1}) is network
    assert spelled_out(network, CHIP, (4, 4)) is not None
    assert {s: kept(f, "t") for s, f in stages(network, relays=False).items()} == {(4, 4): [(4, 4)]}
    shared = stages(network, shared_stage=True)
    assert list(shared)[:4] == [(4, 4), (2, 4), (4, 2), (1, 4)]
    assert kept(shared[2, 2], "t") == [(2, 2), (4, 4), (8, 8)]
    # Squares alone follow a stage that is none: 2x4 leaves 4x2, of which relays do 2x2.
    assert kept(shared[2, 4], "t") == [(2, 4), (4, 8)]


def test_two_sensor_pools_meet_at_the_smaller() -> None:
    (two,), (four,), (eight,) = pooled(2), pooled(4), pooled(8)
    for first, second, stage, choices in (
        (two, four, (2, 2), [(2, 2), (4, 4)]),
        (four, eight, (4, 4), [(4, 4), (8, 8)]),
        (None, two, (1, 1), [None, (2, 2)]),
    ):
        found = stages(sensor_pair(first, second))
        assert list(found) == [stage]
        assert kept(found[stage], "a") == [first.size if first else None]
        assert kept(found[stage], "b") == choices
    # A pool that no stage divides: the smallest pool, and nothing rewritten.
    network = sensor_pair(eight, pooled(3)[0])
    for relays in (False, True):
        (forms,) = legal_forms(network, CHIP, relays=relays)
        assert forms.stage == (3, 3)
        assert forms.network() is network


def test_a_setting_that_does_more_for_one_layer_and_less_for_another_stays() -> None:
    network = sensor_pair(Pool("sum", (4, 4), (4, 4)), Pool("sum", (2, 4), (2, 4)))
    found = stages(network)
    assert list(found) == [(2, 4), (2, 2)]
    # 2x4 serves b as it is, and a with rows folded; at 2x2 a relay spares a the fold.
    assert (kept(found[2, 4], "a"), kept(found[2, 4], "b")) == ([(2, 4)], [(2, 4)])
    assert (kept(found[2, 2], "a"), kept(found[2, 2], "b")) == ([(2, 2), (4, 4)], [(2, 2)])


def test_of_settings_that_leave_relays_the_same_the_larger_stays() -> None:
    """Squared, 1x2 taps behind 4x8 are least; the stage does 2x4 of it, or 1x2, and one relay the rest."""
    network = behind(pooled(8), Convolution(2, (1, 2), (1, 1), (2, 2)), (48, 48), "sensor")
    found = stages(network)
    assert list(found) == [(4, 4), (2, 4)]
    assert kept(found[4, 4], "t") == [(4, 4)]
    assert kept(found[2, 4], "t") == [(4, 8)]
    assert kept(stages(network, shared_stage=True)[1, 2], "t") == [(4, 8)]


def test_a_smaller_setting_is_tried_for_what_stands_beside_the_sensor() -> None:
    """Sensor and layer into one: both keep pools that leave the kernel the same factor."""
    entry, other = Input("in", Shape(2, 16, 16), DvsSettings()), Input("side", Shape(2, 32, 32))
    layers = (
        NormalLayer("a", other.shape, conv(2, 1)),
        NormalLayer("t", Shape(4, 4, 4), conv(3, 2, padding=(0, 0))),
    )
    edges = (Edge("in", "t", pooled(4)), Edge("side", "a"), Edge("a", "t", pooled(8), 2))
    network = NormalNetwork("beside", (entry, other), layers, edges, (Output("out", "t"),))
    ready = legal(network)
    assert paths(ready) == [(2, 2), (4, 4)]
    found = stages(network)
    assert list(found) == [(2, 2), (4, 4)]
    # At 4x4 nothing is folded, and a relay does the pool of 8.
    assert found[4, 4].network() is network


def test_what_a_relay_does_behind_the_stage_keeps_the_meaning_of_cut_out_and_mirror() -> None:
    for size, dvs, legal_stages in (
        (40, DvsSettings(mirror=(True, False)), [(4, 4)]),
        (44, DvsSettings(), [(4, 4)]),
        (44, DvsSettings(mirror=(False, True)), []),
        (40, DvsSettings(origin=(0, 1)), []),
        (40, DvsSettings(swap_axes=True), []),
    ):
        network = behind(pooled(8), conv(3, 2, padding=(0, 0)), (size, size), "sensor")
        network = network.replacing(inputs=(replace(network.inputs[0], dvs=dvs),))
        found = stages(network)
        if legal_stages:
            assert list(found) == legal_stages
            assert kept(found[4, 4], "t") == [(4, 4), (8, 8)]
        else:
            assert {stage: kept(forms, "t") for stage, forms in found.items()} == {(8, 8): [(8, 8)]}


def concatenated(*parts: tuple[str, int], features: int) -> NormalNetwork:
    """A layer "t" that reads two features of each source at an offset; "eye" is the sensor."""
    shape = Shape(2, 8, 8)
    names = dict.fromkeys(name for name, _ in parts)
    inputs = [Input(name, shape, DvsSettings() if name == "eye" else None) for name in names]
    layer = NormalLayer("t", Shape(features, 8, 8), conv(3), neuron=Neuron(7, -20))
    edges = tuple(Edge(name, "t", (), offset) for name, offset in parts)
    network = NormalNetwork("joined", tuple(inputs), (layer,), edges, (Output("out", "t"),))
    return weighted(network, np.random.default_rng(0), integer=True)


@pytest.mark.parametrize(
    ("parts", "features", "offsets"),
    [
        # Behind one, between two, with a gap on either side.
        ((("a", 0), ("eye", 2)), 4, [2, 0]),
        ((("a", 0), ("eye", 2), ("b", 4)), 6, [2, 0, 4]),
        ((("a", 1), ("eye", 5)), 9, [3, 0]),
        # What overlaps moves together, and keeps its distances.
        ((("a", 0), ("b", 3), ("eye", 2)), 5, [3, 1, 0]),
        ((("a", 0), ("b", 1), ("eye", 3), ("c", 4)), 6, [3, 4, 0, 1]),
        # Twice the sensor at one offset.
        ((("a", 0), ("eye", 2), ("eye", 2)), 4, [2, 0, 0]),
    ],
)
def test_the_sensors_features_come_first(
    parts: tuple[tuple[str, int], ...], features: int, offsets: list[int]
) -> None:
    network = concatenated(*parts, features=features)
    ready = legalize(network, CHIP)
    assert [edge.feature_offset for edge in ready.edges] == offsets
    assert_same_spikes(network, ready)
    (note,) = ready.notes
    (old,) = {offset for name, offset in parts if name == "eye"}
    assert note.startswith(f"t: the features of eye moved from {old} to 0")
    assert legalize(ready, CHIP) is ready
    bare = network.replacing(
        layers=tuple(replace(x, operation=replace(x.operation, weight=None)) for x in network.layers)
    )
    assert legalize(bare, CHIP).edges == ready.edges


@pytest.mark.parametrize(
    "parts",
    [
        # In front already, inside another span, and twice at two offsets.
        (("eye", 0), ("a", 2), ("b", 4)),
        (("a", 0), ("eye", 1), ("b", 4)),
        (("eye", 0), ("a", 2), ("eye", 4)),
    ],
)
def test_features_that_cannot_move_stay(parts: tuple[tuple[str, int], ...]) -> None:
    network = concatenated(*parts, features=6)
    assert legalize(network, CHIP) is network


def test_a_sensor_in_front_costs_nothing_in_any_form() -> None:
    network = concatenated(("a", 0), ("eye", 2), features=4)
    network = network.replacing(
        inputs=tuple(replace(entry, shape=Shape(2, 64, 64)) for entry in network.inputs),
        edges=tuple(replace(edge, path=pooled(8)) for edge in network.edges),
    )
    for forms in legal_forms(network, CHIP, shared_stage=True):
        for n, form in enumerate(forms.layers["t"]):
            assert [edge.feature_offset for edge in form.edges] == [2, 0]
            assert "moved from 2 to 0" in form.notes[0]
            assert_same_spikes(network, forms.network({"t": n}))


def test_only_a_sensor_whose_stage_cannot_shift_moves() -> None:
    network = concatenated(("a", 0), ("eye", 2), features=4)
    assert legalize(network, CHIP.model_copy(update={"input": None})) is network
    assert legalize(network, load("speck2f", ["routing.feature_shift=false"])) is network
    both = (replace(entry, dvs=None) for entry in network.inputs)
    host = network.replacing(inputs=tuple(both))
    assert legalize(host, CHIP) is host
