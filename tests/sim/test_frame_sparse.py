"""Spike by spike or by convolution, a frame simulation gives the same, whatever the density says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mapper.emit.shared.config import ChipConfig, Destination
from mapper.sim import frame_run
from mapper.sim.config_frame import FrameResult, simulate_config
from tests.sim.handmade import config, core
from tests.sim.test_config_frame import CASES, placed, random_input, random_network

SPARSE, DENSE = 0, 1 << 40


def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is used from now on."""
    calls: list[str] = []
    for name in ("_spread", "_convolved"):
        original = getattr(frame_run.Run, name)

        def counted(self: Any, *given: Any, name: str = name, original: Any = original) -> Any:
            calls.append(name)
            return original(self, *given)

        monkeypatch.setattr(frame_run.Run, name, counted)
    return calls


def outcome(found: FrameResult) -> Any:
    arrays = (found.spikes, found.state.potentials, found.state.history, found.layers, found.outputs)
    shown = [{name: array.tolist() for name, array in each.items()} for each in arrays]
    return shown, found.synops, found.beyond_16_bits


def both(made: ChipConfig, x: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """The one result of both ways, and of that by density; which of them the last one used."""
    results = []
    standard = frame_run._DENSE_SPEED
    for speed in (SPARSE, DENSE, standard):
        monkeypatch.setattr(frame_run, "_DENSE_SPEED", speed)
        calls = used(monkeypatch)
        results.append(outcome(simulate_config(made, x)))
    monkeypatch.setattr(frame_run, "_DENSE_SPEED", standard)
    assert results[0] == results[1]
    assert results[2] == results[1]
    return results[0], calls


def test_random_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: set[str] = set()
    for seed in range(CASES // 3):
        network, made = placed(random_network(seed))
        draw = np.random.default_rng(seed)
        (name, x), density = *random_input(network, draw, 2, 9).items(), draw.choice([0.01, 0.1, 1.0])
        _, calls = both(made, {name: x * (draw.random(x.shape) < density)}, monkeypatch)
        kinds |= {*calls}
    assert kinds == {"_spread", "_convolved"}


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_strides_paddings_and_pools(
    stride: int, pad: int, kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 33 and 40 features: runs that end within a vector. Pools over odd maps leave a row and a column out.
    draw, size = np.random.default_rng(kernel), 13
    side = (size + 2 * pad - kernel) // stride + 1
    first = core(
        draw.integers(-128, 128, (33, 2, kernel, kernel)), size, high=150, low=-100, pad=pad, stride=stride,
        to=(Destination(layer=1, enable=True, pooling=2, feature_shift=3),),
        biases=draw.integers(-50, 50, 33), leak_enable=True,
    )  # fmt: skip
    second = core(draw.integers(-20, 20, (40, 36, 1, 1)), side // 2, high=30)
    x = draw.integers(0, 4, (6, 2, size, size)) * (draw.random((6, 2, size, size)) < 0.1)
    (shown, _, _), _ = both(config(first, second), {"in": x}, monkeypatch)
    assert np.count_nonzero(shown[0][0]) > 10
    assert np.count_nonzero(shown[0][1]) > 10


def test_where_single_precision_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    # 127 a spike: counts up to 130,000 stay below 2^24, above them nothing is added spike by spike.
    one = config(core(np.full((1, 1, 1, 1), 127), 2, high=32767))
    for most, way in ((130_000, "_spread"), (140_000, "_convolved")):
        x = np.zeros((3, 1, 2, 2), np.int64)
        x[0, 0, 0, 1], x[1, 0, 1, 1] = most, 1
        monkeypatch.setattr(frame_run, "_DENSE_SPEED", SPARSE)
        calls = used(monkeypatch)
        found = simulate_config(one, {"in": x})
        assert set(calls) == {way}
        assert found.spikes[0][0, 0, 0, 1] == 127 * most // 32767
        assert found.state.potentials[0][0, 0, 0, 1] == 127 * most % 32767


def test_the_density_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    made = config(core(draw.integers(-9, 9, (32, 16, 3, 3)), 16, pad=1))
    for density, way in ((0.002, "_spread"), (0.5, "_convolved")):
        calls = used(monkeypatch)
        simulate_config(made, {"in": draw.random((20, 16, 16, 16)) < density})
        assert set(calls) == {way}
