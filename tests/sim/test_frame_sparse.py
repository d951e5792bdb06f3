"""Spike by spike or by convolution, a frame simulation gives the same, whatever the density says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mapper.emit.shared.config import ChipConfig, Destination
from mapper.sim import frame_run
from mapper.sim.compiling import compiled
from mapper.sim.config_frame import FrameResult, simulate_config
from mapper.sim.vector_add import LANES
from mapper.sim.vector_spread import fire, fire_plainly, ones, over_lanes, spread_row, spread_row_plainly
from tests.sim.handmade import config, core
from tests.sim.test_config_frame import CASES, placed, random_input, random_network

SPARSE, DENSE = 1 << 60, -(1 << 60)


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
    standard = frame_run._CALL
    for call in (SPARSE, DENSE, standard):
        monkeypatch.setattr(frame_run, "_CALL", call)
        calls = used(monkeypatch)
        results.append(outcome(simulate_config(made, x)))
    monkeypatch.setattr(frame_run, "_CALL", standard)
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


@pytest.mark.parametrize(
    ("most", "way"),
    [
        # 127 a spike: up to 257 of them are less than a potential of 16 bits, beside the threshold.
        (1, "_spread"), (257, "_spread"), (258, "_spread"), (32_767, "_spread"), (32_768, "_convolved"),
        # Sums stay below 2^24 up to here; beyond, neurons are in 64 bits.
        (130_000, "_convolved"), (140_000, "_convolved"),
    ],
)  # fmt: skip
def test_where_counts_and_sums_end(most: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = config(core(np.full((1, 1, 1, 1), 127), 2, high=200))
    x = np.zeros((3, 1, 2, 2), np.int64)
    x[0, 0, 0, 1], x[1, 0, 1, 1] = most, 1
    for call in (SPARSE, DENSE):
        monkeypatch.setattr(frame_run, "_CALL", call)
        calls = used(monkeypatch)
        found = simulate_config(one, {"in": x})
        assert set(calls) == {way if call == SPARSE else "_convolved"}
        assert found.spikes[0][:, 0, 0, 1].tolist() == [127 * most // 200, 0, 0]
        assert found.spikes[0][:, 0, 1, 1].tolist() == [0, 0, 0]
        assert found.state.potentials[0][0, 0, 0].tolist() == [0, 127 * most % 200]
        assert found.state.potentials[0][0, 0, 1].tolist() == [0, 127]
        assert found.synops == {0: most + 1}


@pytest.mark.parametrize("to_zero", [False, True])
@pytest.mark.parametrize("low", [0, -7, -32768])
@pytest.mark.parametrize("high", [1, 2, 9, 32767])
def test_neurons_fire_often(high: int, low: int, to_zero: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # 1 to 20 times in a step and more, at the start above the threshold or below the bound, by the reference's rules.
    draw = np.random.default_rng(high)
    weights, bias = draw.integers(-9, 10, (37, 3, 1, 1)), draw.integers(-3, 4, 37)
    made = config(
        core(
            weights, 2, high=high, low=low, initial=11, biases=bias, leak_enable=True, return_to_zero=to_zero
        )
    )
    x = draw.integers(0, 6, (40, 3, 2, 2))
    potential, wanted = np.full((37, 2, 2), 11), []
    for frame in x:
        potential = potential + np.einsum("oi,iyx->oyx", weights[:, :, 0, 0], frame) + bias[:, None, None]
        wanted.append(np.maximum(potential, 0) // high)
        kept = np.where(wanted[-1] > 0, 0, potential) if to_zero else potential - wanted[-1] * high
        potential = np.maximum(kept, low)
    (shown, _, _), _ = both(made, {"in": x}, monkeypatch)
    assert np.array_equal(shown[0][0], wanted)
    assert np.array_equal(shown[1][0], potential[None])


@compiled(is_kept=False)
def fired(potentials: Any, spikes: Any, place: int, number: int, high: int, low: int, kept: int) -> Any:
    found = fire(potentials, spikes, place, number, high, low, kept)
    return found, ones(np.int64(found)), over_lanes(potentials, 0, high)


@compiled(is_kept=False)
def spread(potentials: Any, weights: Any, counts: Any, given: Any, found: Any, spans: Any, sizes: Any) -> Any:
    features, of_feature, of_place, taps, rows, pitch, tap_pitch = sizes
    return spread_row(
        potentials, weights, counts, (given[0], given[1], given[2]), found, given[3], spans, features,
        of_feature, of_place, taps, rows, pitch, tap_pitch,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_vectors_are_what_plain_python_says(kind: type[Any]) -> None:
    for seed in range(30):
        draw = np.random.default_rng(seed)
        number, high = int(draw.integers(1, 200)), int(draw.integers(1, 60))
        start = np.zeros(number + LANES, kind)
        start[:number] = draw.integers(-100, 300, number)
        given = (3, number, high, -50, int(draw.choice([-1, 0])))
        results = []
        for function in (fired, plainly):
            potentials, spikes = start.copy(), np.zeros(number + 2 * LANES, np.int16)
            found = function(potentials, spikes, *given)
            results.append((found, potentials[:number].tolist(), spikes[3 : 3 + number].tolist()))
        assert results[0] == results[1]
        features, columns, run = (int(draw.integers(1, n)) for n in (9, 8, 70))
        counts = draw.integers(0, 3, 5 + features * columns).astype(np.int16)
        where = np.flatnonzero(counts[5:])
        taps = 3 * run
        weights = draw.integers(-128, 128, features * taps + 7 + LANES).astype(kind)
        spans = np.stack(
            [draw.integers(0, 30, columns), np.arange(columns) % 2, draw.integers(0, run, columns)]
        )
        magic = [((1 << 32) + n - 1) // n for n in (features, features)]
        sizes = (features, *magic, taps, 2, 90, run)
        before, after, plain = (draw.integers(-99, 99, 400).astype(kind) for _ in range(3))
        after[:], plain[:] = before, before
        if len(where):
            padded = np.append(where, 0).astype(np.int32)
            flat, begun = np.ascontiguousarray(spans.T).reshape(-1), (7, 5, 5, len(where))
            reached = spread(after, weights, counts, begun, padded, flat, sizes)
            assert reached == spread_row_plainly(
                plain, weights, counts, begun[:3], padded, len(where), flat, *sizes
            )
            assert np.array_equal(after, plain)


def plainly(potentials: Any, spikes: Any, place: int, number: int, high: int, low: int, kept: int) -> Any:
    found = fire_plainly(potentials, spikes, place, number, high, low, kept)
    over = sum(1 << n for n in range(LANES) if potentials[n] >= high)
    return found, found.bit_count(), over


def test_the_density_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    made = config(core(draw.integers(-9, 9, (32, 16, 3, 3)), 16, pad=1))
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    for density, way in ((0.002, "_spread"), (1.0, "_convolved")):
        calls = used(monkeypatch)
        simulate_config(made, {"in": draw.random((20, 16, 16, 16)) < density})
        assert set(calls) == {way}
