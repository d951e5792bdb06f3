"""What is right in another type than the one that is written: paths, devices, numbers of every library."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper import boards, equivalence, events, tuning
from mapper.errors import EventError, OptionsError

# The same number in every type that there is of it.
FIVES: tuple[Any, ...] = (
    5, 5.0, np.int64(5), np.uint8(5), np.float16(5), np.float32(5), np.array(5), np.array(5.0),
    torch.tensor(5), torch.tensor(5.0), Fraction(5), Decimal(5),
)  # fmt: skip
# What is no whole number, or none at all.
OTHERS: tuple[Any, ...] = (
    5.5, np.float32(5.5), torch.tensor(5.5), Fraction(11, 2), Decimal("5.5"), Decimal("nan"), Decimal("inf"),
    float("nan"), float("inf"), np.array("5"), np.array([5, 5]), np.array(True), np.bool_(True), True, 5 + 0j,
    np.complex64(5), torch.tensor(5j), "5", b"5", None,
)  # fmt: skip


def kind(value: object) -> str:
    return f"{type(value).__name__} {value}"


@pytest.fixture(scope="module")
def config() -> mapper.ChipConfig:
    return mapper.build_config(mapper.solve("digits"))


def some_events() -> Any:
    return np.array([(5, 0, 1, 1), (9, 1, 2, 2)], events.EVENT_DTYPE)


def test_labelled_data_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, rasters=np.ones((2, 3, 1, 8, 8), int), labels=np.array([0, 1]))
    data = equivalence.read_labelled(path)
    assert data.name == "some"
    assert len(data.rasters) == 2
    report = mapper.verify_equivalence("digits", data=path, workers=1)
    assert len(report.accuracies) > 0
    with pytest.raises(EventError, match=r"none\.npz: is no labelled data"):
        equivalence.read_labelled(tmp_path / "none.npz")
    missing = tmp_path / "none.npz"
    with pytest.raises(EventError, match=r"none\.npz: is no labelled data"):
        tuning.tuned_by("digits", calibrate=missing)


def test_sources_of_events_may_be_paths() -> None:
    with pytest.raises(EventError, match=r"^recording\.npy, field p: is missing"):
        events.events_from({"t": [1], "x": [1], "y": [1]}, source=Path("recording.npy"))


def test_a_device_of_torch_is_one(config: mapper.ChipConfig) -> None:
    inputs = {"input": np.ones((2, 1, 8, 8), int)}
    named = mapper.simulate_config(config, inputs, device="cpu")
    assert mapper.simulate_config(config, inputs, device=torch.device("cpu")).synops == named.synops
    with pytest.raises(OptionsError) as caught:
        mapper.simulate_config(config, inputs, device=5)  # type: ignore[arg-type]
    assert str(caught.value) == 'device: must be text or a torch.device (got 5). Write "cpu" or "cuda:0"'


def test_a_device_of_a_chip_is_told_with_a_chip() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 6), nn.ReLU())
    network: Any = mapper.DynapcnnNetwork(module, (2, 6, 6), relu_as_if=1.0)
    for method in (network.place, network.plain_config, network.make_config):
        with pytest.raises(
            OptionsError, match=r"^device: must be text or a path.*allowed: a name as .speck2f"
        ):
            method(device=5)
    with pytest.raises(OptionsError, match=r"^device: must be text \(got 5\)$"):
        boards.find_board(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("five", FIVES, ids=kind)
def test_a_number_is_one_in_every_type(five: Any) -> None:
    bare = nn.Sequential(nn.Conv2d(2, 3, 6))
    assert mapper.solve(bare, input_shape=(2, 6, 6), add_output_neuron=five).status is mapper.Status.OPTIMAL
    network = mapper.DynapcnnNetwork(bare, (2, 6, 6), add_output_neuron=five, discretize=False)
    neuron = network.network.layers[0].neuron
    assert neuron is not None
    assert neuron.threshold == 5
    options = mapper.EventOptions(seed=five, spike_limit=five, tick_us=five)
    assert {type(entry) for entry in (options.seed, options.spike_limit)} == {int}
    assert type(options.tick_us) in (int, float)
    assert options == mapper.EventOptions(seed=5, spike_limit=5, tick_us=5)


@pytest.mark.parametrize("five", FIVES, ids=kind)
def test_a_whole_number_is_one_in_every_type(five: Any) -> None:
    operation = mapper.Convolution(five, (five, five))
    assert (operation.out_features, operation.kernel) == (5, (5, 5))
    assert {type(entry) for entry in (operation.out_features, *operation.kernel)} == {int}
    assert type(mapper.Linear(five).out_features) is int
    assert mapper.Input("a", mapper.Shape(five, five, five)).shape == mapper.Shape(5, 5, 5)
    raster = events.raster_from_events(some_events(), (2, 6, 6), 1000, steps=five)
    assert raster.counts.shape == (5, 2, 6, 6)
    assert mapper.EmitOptions(decimators={"a": five}).decimators == {"a": 5}


@pytest.mark.parametrize("five", FIVES, ids=kind)
def test_a_seed_of_every_type_is_run_by(five: Any, config: mapper.ChipConfig) -> None:
    one = np.array([(5, 0, 1, 1)], events.EVENT_DTYPE)
    options = mapper.EventOptions(order="random", seed=five, tick_us=five)
    plain = mapper.EventOptions(order="random", seed=5, tick_us=5)
    spikes = mapper.simulate_events(config, {"input": one}, options).spikes
    assert spikes == mapper.simulate_events(config, {"input": one}, plain).spikes


@pytest.mark.filterwarnings("ignore:NO SPIKES")
def test_verification_takes_a_seed_of_torch() -> None:
    seeded = mapper.verify_equivalence("digits", steps=2, seed=torch.tensor(5))  # type: ignore[arg-type]
    assert str(seeded) == str(mapper.verify_equivalence("digits", steps=2, seed=5))


@pytest.mark.parametrize("other", OTHERS, ids=kind)
def test_what_is_no_whole_number_is_refused(other: Any) -> None:
    with pytest.raises(OptionsError, match=r"^seed: must be a whole number \(got "):
        mapper.EventOptions(seed=other)


PAIRS: tuple[Any, ...] = (
    (3, 3), (3.0, 3.0), [3, 3], np.array((3, 3)), np.array((3.0, 3.0)), torch.tensor((3, 3)), torch.Size((3, 3)),
)  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=kind)
def test_pairs_are_tuples_of_integers(pair: Any) -> None:
    made: tuple[Callable[[], tuple[int, int]], ...] = (
        lambda: mapper.Convolution(5, pair).kernel,
        lambda: mapper.Pool("sum", pair, pair).stride,
        lambda: mapper.DvsSettings(origin=pair).origin,
        lambda: mapper.NoiseFilter(size=pair).size,
    )
    for make in made:
        found = make()
        assert found == (3, 3)
        assert isinstance(found, tuple)
        assert {type(entry) for entry in found} == {int}


@pytest.mark.parametrize("shape", [[1, 8, 8], np.array((1, 8, 8)), torch.tensor((1.0, 8.0, 8.0))], ids=kind)
def test_shapes_are_read_in_every_type(shape: Any) -> None:
    assert mapper.load_network("digits", input_shape=shape).inputs[0].shape == mapper.Shape(1, 8, 8)


def test_a_number_is_an_array_without_axes_where_a_network_has_arrays() -> None:
    potential = mapper.Neuron(initial_potential=5).initial_potential  # type: ignore[arg-type]
    mean = mapper.BatchNorm(mean=0).mean  # type: ignore[arg-type]
    assert isinstance(potential, np.ndarray)
    assert isinstance(mean, np.ndarray)
    assert (potential.shape, mean.shape) == ((), ())
    threshold = np.array([1.0, 2.0, 3.0])
    assert np.array_equal(mapper.Neuron(threshold).threshold, threshold)


def test_events_in_arrays_that_could_mask_some_are_events() -> None:
    plain = some_events()
    masked = np.ma.MaskedArray(plain)
    pixels = np.array([(0, 1, 1)], events.hot_pixels(plain).dtype)
    assert len(events.hot_pixels(masked)) == 0
    assert events.without_pixels(masked, np.ma.MaskedArray(pixels)).tolist() == [(9, 1, 2, 2)]
    hidden = np.ma.MaskedArray(plain, mask=[True, False])
    with pytest.raises(EventError, match="a masked array, whose mask would be lost"):
        events.hot_pixels(hidden)
