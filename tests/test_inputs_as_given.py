"""What is put into networks and configurations: each value as it is, or one refusal of ours with the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper import equivalence, events
from mapper.arrays import plain_array
from mapper.compat.frames import way_out
from mapper.errors import ConfigError, EventError, NetworkError, OptionsError
from tests.test_wrong_arguments import is_said_by_us, refusal

COUNTS = np.random.default_rng(0).integers(0, 3, (4, 1, 8, 8))


def fixed(array: Any) -> Any:
    array.flags.writeable = False
    return array


# The same counts, in all types that hold them.
KINDS: Mapping[str, Callable[[], Any]] = {
    **{name: lambda name=name: COUNTS.astype(name) for name in ("i1", ">i4", ">f4", ">f8", "u1", "u2", "u8")},  # type: ignore[misc]
    "long": lambda: COUNTS.astype(np.longdouble),
    "half": lambda: COUNTS.astype(np.float16),
    "strided": lambda: np.repeat(COUNTS, 2, -1)[..., ::2],
    "turned": lambda: np.ascontiguousarray(COUNTS[..., ::-1])[..., ::-1],
    "columns first": lambda: np.asfortranarray(COUNTS),
    "read-only": lambda: fixed(COUNTS.copy()),
    "masked nowhere": lambda: np.ma.array(COUNTS),
    "list": COUNTS.tolist,
    "gradients": lambda: torch.tensor(COUNTS, dtype=torch.float32).requires_grad_(),
    "sparse": lambda: torch.tensor(COUNTS).to_sparse(),
    "bfloat16": lambda: torch.tensor(COUNTS).bfloat16(),
    "float8": lambda: torch.tensor(COUNTS).to(torch.float8_e4m3fn),
    "unsigned": lambda: torch.tensor(COUNTS).to(torch.uint16),
}
# What is none, with the reason.
NONE: Mapping[str, tuple[Callable[[], Any], str]] = {
    "masked": (lambda: np.ma.array(COUNTS, mask=COUNTS > 0), r"give array\.filled\(0\)"),
    "meta": (lambda: torch.tensor(COUNTS).to("meta"), "has no values"),
    "ragged": (lambda: [[1], [1, 2]], "is no array"),
    "text": (lambda: COUNTS.astype(str), r"<U21|integers|whole numbers"),
    "complex": (lambda: COUNTS.astype(complex), r"complex128|integers|whole numbers"),
    "object": (lambda: COUNTS.astype(object), r"dtype object|integers|whole numbers"),
    "not finite": (lambda: COUNTS * np.nan, r"got nan|integers|whole numbers"),
}
# Of floats these say that they are to be converted.
INTEGERS_ALONE = ("events_from_raster", "write_raster")


@pytest.fixture(scope="module")
def config() -> mapper.ChipConfig:
    return mapper.build_config(mapper.solve("digits"))


@pytest.fixture
def ways(config: mapper.ChipConfig, tmp_path: Any) -> dict[str, Callable[[Any], Any]]:
    """By name, what takes counts, and gives back what came of them."""

    def written(raster: Any) -> Any:
        events.write_raster(tmp_path / "r.npy", raster)
        return events.read_raster(tmp_path / "r.npy")

    def sampled(raster: Any) -> Any:
        return equivalence.labelled_data([(raster, 0)], (1, 8, 8)).rasters[0]

    def judged(raster: Any) -> Any:
        data = equivalence.LabelledData("some", [raster], np.array([0]))
        return mapper.verify_equivalence("digits", data=data).output.float_counts

    return {
        "simulate_config": lambda raster: mapper.simulate_config(config, {"input": raster}).spikes[3],
        "events_from_raster": lambda raster: events.events_from_raster(raster, 1000)["t"],
        "write_raster": written,
        "labelled_data": sampled,
        "LabelledData": judged,
    }


@pytest.mark.filterwarnings("ignore:NO SPIKES")
@pytest.mark.parametrize(
    "way", ["simulate_config", "events_from_raster", "write_raster", "labelled_data", "LabelledData"]
)
def test_counts_of_every_type_are_the_same_counts(way: str, ways: dict[str, Callable[[Any], Any]]) -> None:
    expected = np.asarray(ways[way](COUNTS))
    assert expected.any()
    for name, make in KINDS.items():
        given = make()
        is_float = torch.is_tensor(given) and given.is_floating_point()
        if way in INTEGERS_ALONE and (is_float or getattr(given, "dtype", np.dtype(int)) in _floats()):
            told = str(refusal(lambda: ways[way](given)))  # noqa: B023
            assert (".to(torch.int64)" if is_float else ".astype(numpy.int64)") in told, name
            continue
        assert np.array_equal(expected, ways[way](given)), name
    for name, (make, text) in NONE.items():
        with pytest.raises((ConfigError, EventError), match=text):
            ways[way](make())
        assert is_said_by_us(refusal(lambda: ways[way](make()))), name  # type: ignore[arg-type]  # noqa: B023


def _floats() -> list[Any]:
    return [np.dtype(name) for name in (">f4", ">f8", "f2", np.longdouble)]


def test_arrays_stay_what_they_are() -> None:
    whole = np.arange(3)
    assert plain_array(whole) is whole
    largest = np.array([2**64 - 1], ">u8")
    assert int(plain_array(largest)[0]) == 2**64 - 1
    assert plain_array(largest).dtype.isnative


def test_frames_of_every_type_are_the_same_frames() -> None:
    network = net((1, 8, 8))
    expected = network(torch.tensor(COUNTS).float())
    assert expected.any()
    for make in KINDS.values():
        given = make()
        if torch.is_tensor(given):
            network.reset_states()
            assert torch.equal(expected, network(given))
    whole = 2**24 + 1
    module = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    one = mapper.DynapcnnNetwork(nn.Sequential(module, nn.ReLU()), (1, 1, 1), False, False, relu_as_if=1.0)
    assert int(one(torch.full((1, 1, 1, 1), whole)).item()) == whole
    with pytest.raises(NetworkError, match="has no values"):
        network(torch.zeros(1, 1, 8, 8, device="meta"))


def net(shape: tuple[int, int, int]) -> mapper.DynapcnnNetwork:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(shape[0], 3, 3, bias=False), nn.ReLU())
    return mapper.DynapcnnNetwork(module, shape, relu_as_if=0.3)


@pytest.mark.parametrize(
    ("shape", "given", "step", "followed"),
    [
        ((2, 6, 8), (2, 6, 8), "Give x[None]", lambda x: x[None]),
        ((2, 6, 8), (4, 6, 8, 2), "Give x.permute(0, 3, 1, 2)", lambda x: x.permute(0, 3, 1, 2)),
        ((2, 6, 8), (6, 8, 2), "Give x.permute(2, 0, 1)[None]", lambda x: x.permute(2, 0, 1)[None]),
        ((2, 6, 8), (4, 2, 8, 6), "Give x.permute(0, 1, 3, 2)", lambda x: x.permute(0, 1, 3, 2)),
        ((2, 6, 8), (4, 8, 6, 2), "Give x.permute(0, 3, 2, 1)", lambda x: x.permute(0, 3, 2, 1)),
        ((1, 6, 8), (6, 8), "Give x[None, None]", lambda x: x[None, None]),
        ((1, 6, 8), (4, 6, 8), "Give x[:, None]", lambda x: x[:, None]),
        (
            (2, 6, 8),
            (3, 4, 2, 6, 8),
            "Set batch_size to 3 and give x.flatten(0, 1)",
            lambda x: x.flatten(0, 1),
        ),
        (
            (2, 6, 8),
            (3, 4, 6, 8, 2),
            "Set batch_size to 3 and give x.permute(0, 1, 4, 2, 3).flatten(0, 1)",
            lambda x: x.permute(0, 1, 4, 2, 3).flatten(0, 1),
        ),
    ],
)
def test_frames_of_other_axes_are_told_how_to_turn_them(
    shape: tuple[int, int, int], given: tuple[int, ...], step: str, followed: Callable[[Any], Any]
) -> None:
    network, x = net(shape), torch.arange(float(np.prod(given))).reshape(given)
    with pytest.raises(
        NetworkError, match=r"input: must be \(batch \* time, features, height, width\)"
    ) as told:
        network(x)
    assert str(told.value).endswith(step)
    if "batch_size" in step:
        network.batch_size = given[0]
    assert network(followed(x)).shape[1] == 3


def test_frames_of_no_such_map_are_told_what_is_expected() -> None:
    told = str(refusal(lambda: net((2, 6, 8))(torch.ones(4, 2, 5, 8))))
    assert told.endswith("(got (4, 2, 5, 8); allowed: (batch * time, 2, 6, 8))")
    assert way_out((6, 6, 6), (6, 6, 6)) == "Give x[None]"
    array = np.ones((4, 2, 6, 8), ">f8")[:, :, ::-1]
    told = str(refusal(lambda: net((2, 6, 8))(array)))
    assert 'torch.tensor(numpy.array(x, "float32")) is one of this array' in told
    assert net((2, 6, 8))(torch.tensor(np.array(array, "float32"))).shape == (4, 3, 4, 6)


@pytest.mark.parametrize("call", [mapper.simulate_config, mapper.simulate_events])
def test_inputs_are_given_by_the_names_there_are(config: mapper.ChipConfig, call: Any) -> None:
    for given in (COUNTS, [COUNTS], None, "input", 3):
        with pytest.raises(OptionsError, match=r'inputs: must be a mapping .*Give \{"input": \.\.\.\}$'):
            call(config, given)
    with pytest.raises(OptionsError, match=r'Give \{"NAME": \.\.\., and the core by input_cores'):
        call(config.model_copy(update={"interface": None}), COUNTS)
    with pytest.raises(ConfigError, match=r"allowed: input\)"):
        call(config, {"inputs": COUNTS})
    with pytest.raises(ConfigError, match=r"x\[None\] is one time step of it"):
        mapper.simulate_config(config, {"input": COUNTS[0]})


def test_events_that_are_none_name_the_input_and_how_files_are_read(config: mapper.ChipConfig) -> None:
    some = np.zeros(3, events.EVENT_DTYPE)
    back = some.copy()
    back["t"] = [5, 1, 2]
    mask: Any = [(0,) * 4, (1,) * 4, (0,) * 4]
    hidden: Any = np.ma.array(some, mask=mask)
    for given, said in (
        ("some.npy", r'input input: .* mapper\.events\.read_events\("some\.npy"\)'),
        (None, r"input input: is no array of events \(got None\)\. Give an array with the fields t, p, y, x"),
        ([1, 2], r"input input: is no array of events"),
        (back, r'mapper\.events\.events_from\(events, order="sort"\)$'),
        (hidden, r'array\.data\[~array\.mask\["t"\]\]$'),
    ):
        with pytest.raises(EventError, match=said):
            mapper.simulate_events(config, {"input": given})  # type: ignore[dict-item]  # as tested
    sound = [events.events_from(back, order="sort"), hidden.data[~hidden.mask["t"]], np.ma.array(some)]
    for ways in sound:
        assert mapper.simulate_events(config, {"input": ways}).spikes
    for end_us in (float("nan"), float("inf"), -1.0):
        with pytest.raises(OptionsError, match="end_us: must be a finite number"):
            mapper.simulate_events(config, {"input": some}, end_us=end_us)
    nested = torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged)
    with pytest.raises(ConfigError, match="is a nested tensor"):
        mapper.simulate_config(config, {"input": nested})


def test_no_frames_are_told() -> None:
    with pytest.raises(NetworkError, match=r"^input: holds no frames \(got \(0, 2, 6, 8\)"):
        net((2, 6, 8))(torch.zeros(0, 2, 6, 8))


def test_maps_whose_features_come_last_are_turned_as_is_said(config: mapper.ChipConfig) -> None:
    last = COUNTS.transpose(0, 2, 3, 1)
    with pytest.raises(
        ConfigError, match=r"^input input: has not the map .* Give array\.transpose\(0, 3, 1, 2\)$"
    ):
        mapper.simulate_config(config, {"input": last})
    assert mapper.simulate_config(config, {"input": last.transpose(0, 3, 1, 2)}) == mapper.simulate_config(
        config, {"input": COUNTS}
    )
