"""The sensor stage: one setting for all it feeds, and no shift of features."""

from __future__ import annotations

from dataclasses import replace

from mapper.network import DvsSettings, Network
from mapper.passes.legalize import legalize
from tests.builders import conv
from tests.passes.legal_networks import (
    CHIP,
    WIDE_SENSOR,
    behind,
    fields,
    legal,
    paths,
    pooled,
    sensor_pair,
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

    def with_settings(base: Network, dvs: DvsSettings) -> Network:
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
