"""Everything public that is given what it cannot take says so itself: which argument, what it got, what it takes."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper import boards, equivalence, events, tuning
from mapper.errors import MapperError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mapper", "mapper.events", "mapper.boards", "mapper.equivalence", "mapper.tuning")
# What the package makes, and nobody else has a reason to.
ANSWERS = {
    mapper.ChipConfig, mapper.FeasibilityReport, mapper.Result, mapper.Status,
    boards.Board, boards.BoardInfo, events.EventRaster, events.MonitorEvents,
    equivalence.Accuracy, equivalence.Difference, equivalence.EquivalenceReport, equivalence.EventComparison,
    equivalence.FeatureRates, equivalence.FrameDifference, equivalence.Judgement, equivalence.KnownAnswer,
    equivalence.LayerRates, equivalence.LostIn, equivalence.OutputTrace, equivalence.Sensitivity,
    tuning.Step, tuning.TuneResult, tuning.Tuned,
}  # fmt: skip
# What types are called.
ALIASES = {"Events", "Raster", "TimeUnit"}


def public() -> dict[str, Any]:
    """By name, all that can be called and that users call."""
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            entry = getattr(module, name)
            is_error = isinstance(entry, type) and issubclass(entry, Exception)
            if callable(entry) and not is_error and name not in ALIASES and entry not in ANSWERS:
                found[f"{package}.{name}"] = entry
    for owner, names in METHODS.items():
        found |= {f"{owner.__name__}.{name}": getattr(owner, name) for name in names}
    return found


# Of what is made already, what is asked; `Result` and the rest of the class like sinabs' have answers alone.
METHODS: Mapping[type, tuple[str, ...]] = {
    mapper.DynapcnnNetwork: (
        "find_chip_layer", "find_chip_layers", "forward", "is_compatible_with", "make_config", "place",
        "plain_config", "reset_states", "why_incompatible_with",
    ),
    mapper.Result: ("find_chip_layer", "find_chip_layers"),
    events.EventWriter: ("append",),
}  # fmt: skip
# Arguments of which Python itself says what is wrong with their names.
PASSED_ON = {"mapper.DynapcnnCompatibleNetwork"}
# What takes minutes with its default.
LONG = {("mapper.tuning.tuned_by", "tuning")}
# What is judged as a whole, by what takes it.
USED_BY: Mapping[str, Callable[[Any], object]] = {
    "mapper.Shape": lambda shape: mapper.Input("a", shape),
    "mapper.events.EventWriter": lambda writer: writer.__exit__(None, None, None),
    "mapper.SolveOptions": lambda options: mapper.solve(tiny(), options=options),
}
OF_PYTHON = {
    *PASSED_ON,
    "mapper.Shape",
    "DynapcnnNetwork.forward",
    "Result.find_chip_layer",
    "Result.find_chip_layers",
}


def rasters() -> list[Any]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 2, (3, 2, 6, 6)) for _ in range(4)]


def tiny() -> mapper.Network:
    weight = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype(np.float32)
    layer = mapper.Layer("a", mapper.Shape(2, 6, 6), mapper.Convolution(3, (6, 6), weight=weight))
    entry = mapper.Input("input", mapper.Shape(2, 6, 6))
    return mapper.Network(
        "tiny", (entry,), (layer,), (mapper.Edge("input", "a"),), (mapper.Output("a", "a"),)
    )


def right(folder: Path, writer: events.EventWriter) -> dict[str, dict[str, Any]]:
    """By name, arguments with which everything goes well."""
    torch.manual_seed(0)
    net = tiny()
    result = mapper.solve(net)
    config = mapper.build_config(result)
    mapper.write_config(config, folder / "config.json")
    some = np.array([(5, 0, 1, 1), (9, 1, 2, 2)], events.EVENT_DTYPE)
    events.write_events(folder / "some.npy", some)
    raster = rasters()[0]
    events.write_raster(folder / "raster.npy", raster)
    data = equivalence.LabelledData("some", rasters(), np.arange(4) % 3)
    shape, pair = mapper.Shape(2, 6, 6), (3, 3)
    spikes = {"input": some}
    tuned = tuning.Tuned(None, {"depth": np.arange(4)})  # type: ignore[arg-type]  # nobody looks at it
    module = nn.Sequential(nn.Conv2d(2, 3, 6), nn.ReLU())
    placed = mapper.DynapcnnNetwork(module, (2, 6, 6), relu_as_if=1.0)
    placed.place()
    part = {"a": np.zeros((3, 3, 1, 1), int)}
    array = np.zeros(3, np.float32)
    return {
        "mapper.BatchNorm": dict.fromkeys(("mean", "variance", "scale", "shift"), array) | {"epsilon": 1e-5},
        "mapper.Convolution": {"out_features": 4, "kernel": pair},
        "mapper.DvsSettings": {},
        "mapper.DynapcnnNetwork": {"snn": module, "input_shape": (2, 6, 6), "relu_as_if": 1.0},
        "mapper.Edge": {"source": "a", "target": "b"},
        "mapper.EmitOptions": {},
        "mapper.EventOptions": {},
        "mapper.Input": {"name": "a", "shape": shape},
        "mapper.Layer": {"name": "a", "input_shape": shape, "operation": mapper.Convolution(4, pair)},
        "mapper.Linear": {"out_features": 3},
        "mapper.Network": {"name": "a", "inputs": net.inputs, "layers": net.layers, "edges": net.edges, "outputs": net.outputs},
        "mapper.Neuron": {},
        "mapper.NirOptions": {},
        "mapper.NoiseFilter": {},
        "mapper.Output": {"name": "a", "source": "b"},
        "mapper.Pool": {"kind": "sum", "size": pair, "stride": pair},
        "mapper.Shape": {"features": 1, "height": 2, "width": 3},
        "mapper.SolveOptions": {},
        "mapper.TorchOptions": {},
        "mapper.build_config": {"result": result},
        "mapper.check": {"network": net},
        "mapper.diff": {"left": config, "right": net},
        "mapper.extract": {"config": config},
        "mapper.load_chip": {"name": "speck2f"},
        "mapper.load_network": {"source": "digits"},
        "mapper.read_config": {"path": folder / "config.json"},
        "mapper.simulate_config": {"config": config, "inputs": {"input": raster}},
        "mapper.simulate_events": {"config": config, "inputs": spikes},
        "mapper.solve": {"network": net},
        "mapper.verify_equivalence": {"network": net, "steps": 2},
        "mapper.write_config": {"config": config, "path": folder / "written.json"},
        "mapper.events.EventWriter": {"path": folder / "events.npy"},
        "mapper.events.MonitoredLayer": {"parts": [], "shape": (3, 1, 1)},
        "mapper.events.events_from": {"array": some},
        "mapper.events.events_from_dvs": {"dvs_events": []},
        "mapper.events.events_from_raster": {"raster": raster, "dt_us": 1000},
        "mapper.events.events_from_spikes": {"spikes": [], "layers": {}},
        "mapper.events.hot_pixels": {"events": some},
        "mapper.events.is_raster": {"path": folder / "raster.npy"},
        "mapper.events.raster_from_events": {"events": some, "shape": (2, 6, 6), "dt_us": 1000},
        "mapper.events.read_events": {"path": folder / "some.npy"},
        "mapper.events.read_raster": {"path": folder / "raster.npy"},
        "mapper.events.spikes_of": {"events": some, "entries": [], "make_spike": dict},
        "mapper.events.unwrap_timestamps": {"times": np.arange(3)},
        "mapper.events.without_pixels": {"events": some, "pixels": events.hot_pixels(some)},
        "mapper.events.write_events": {"path": folder / "e.npy", "events": some},
        "mapper.events.write_raster": {"path": folder / "r.npy", "raster": raster},
        "mapper.boards.Listening": {},
        "mapper.boards.find_board": {"device": "speck2fmodule:0"},
        "mapper.boards.list_boards": {},
        "mapper.boards.loses_first_event": {"board": None},
        "mapper.boards.open_board": {"device": "speck2fmodule:0", "config": config},
        "mapper.equivalence.DataOptions": {},
        "mapper.equivalence.LabelledData": {"name": "a", "rasters": rasters(), "labels": np.arange(4)},
        "mapper.equivalence.compare_events": {"config": config, "frames": part, "inputs": spikes, "chip": result.chip, "duration_us": 3000},
        "mapper.equivalence.count_ranges": {"config": config, "inputs": spikes, "shapes": {"a": (3, 1, 1)}},
        "mapper.equivalence.first_difference": {"network": part, "chip": part},
        "mapper.equivalence.known_answer": {"config": config, "chip": result.chip},
        "mapper.equivalence.labelled_data": {"dataset": [(rasters()[0], 1)], "shape": (2, 6, 6)},
        "mapper.equivalence.layer_rates": {"floats": part, "integers": part},
        "mapper.equivalence.layer_shapes": {"config": config},
        "mapper.equivalence.read_labelled": {"source": "digits"},
        "mapper.equivalence.sensitivity": {"counts": {"a": np.zeros((4, 3, 1, 1), int)}},
        "mapper.tuning.Harder": {},
        "mapper.tuning.Knobs": {},
        "mapper.tuning.TuneOptions": {},
        "mapper.tuning.answers_by_order": {"result": result, "data": data},
        "mapper.tuning.gains": {"before": tuned, "after": tuned, "labels": np.arange(4)},
        "mapper.tuning.tuned_by": {"chip": "speck2f", "network": net, "calibrate": data, "tuning": tuning.TuneOptions(2, time_limit_s=0.05)},
        "mapper.tuning.tuned_network": {"network": result.given[0], "knobs": {}},
        "mapper.tuning.worth": {"network": net, "data": data},
        "DynapcnnNetwork.find_chip_layer": {"self": placed, "layer_idx": 0},
        "DynapcnnNetwork.find_chip_layers": {"self": placed, "layer_idx": 0},
        "DynapcnnNetwork.forward": {"self": placed, "x": torch.ones(1, 2, 6, 6)},
        "DynapcnnNetwork.is_compatible_with": {"self": placed, "device_type": "speck2f"},
        "DynapcnnNetwork.make_config": {"self": placed, "device": "speck2f"},
        "DynapcnnNetwork.place": {"self": placed},
        "DynapcnnNetwork.plain_config": {"self": placed},
        "DynapcnnNetwork.reset_states": {"self": placed},
        "DynapcnnNetwork.why_incompatible_with": {"self": placed, "device_type": "speck2f"},
        "Result.find_chip_layer": {"self": result, "layer": "a"},
        "Result.find_chip_layers": {"self": result, "layer": "a"},
        "EventWriter.append": {"self": writer, "events": some},
    }  # fmt: skip


def arguments_of(entry: Any) -> Any:
    """What holds the arguments of something against its annotations, if anything does."""
    function = vars(entry).get("__init__") if isinstance(entry, type) else entry
    return getattr(function, "arguments", None)


PUBLIC = public()
WALKED = sorted({*PUBLIC} - PASSED_ON)
CHECKED = sorted({*PUBLIC} - OF_PYTHON)
# Of each kind something that is wrong nearly everywhere.
ODD: tuple[Any, ...] = (
    None, object(), -1, 0, 2**70, float("nan"), float("inf"), -0.5, "", "nonsense", [], {}, (), [object()],
    {"x": object()}, {"a": -1}, Path("missing"), Path(), lambda *_: 0, np.array([]), np.zeros(3), True, 1.5,
    (1, 2), (0, 0), (1, 2, 3), (-1, 0, 0), b"x", ("a", "b", "c"), 3, 2.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("right")
    with events.EventWriter(folder / "more.npy") as writer:
        yield right(folder, writer)


def asked(name: str, given: Mapping[str, Mapping[str, Any]]) -> tuple[Callable[..., object], dict[str, Any]]:
    """What is called, and arguments with which it goes well."""
    values = dict(given[name])
    owner = values.pop("self", None)
    call = PUBLIC[name] if owner is None else partial(PUBLIC[name], owner)
    return call, values


def refusal(call: Callable[[], object]) -> Exception | None:
    """The error that a call ends with."""
    try:
        call()
    except Exception as error:  # whatever comes is judged
        return error
    return None


def test_everything_public_is_walked(given: dict[str, Any]) -> None:
    assert {*given} == {*WALKED}
    assert {*PUBLIC} > OF_PYTHON


@pytest.mark.parametrize("name", CHECKED)
def test_everything_public_is_held_against_its_annotations(name: str) -> None:
    assert arguments_of(PUBLIC[name]) is not None, "decorate it by mapper.arguments.checked"


@pytest.mark.parametrize("name", CHECKED)
def test_names_that_type_checkers_alone_import_are_classes_of_ours(name: str) -> None:
    """Else every value of such an annotation would be refused."""
    arguments = arguments_of(PUBLIC[name])
    judged = (entry for word, entry in arguments.parameters.items() if word not in arguments.apart)
    trees = [ast.parse(entry.annotation) for entry in judged if isinstance(entry.annotation, str)]
    words = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    module = vars(sys.modules[arguments.function.__module__])
    unseen = words - {*module, *dir(builtins), *dir(collections.abc), *arguments.checker.kinds}
    ours = [vars(sys.modules[name]) for name in [*sys.modules] if name.startswith(("mapper.", "hwspec."))]
    assert [word for word in unseen if not any(isinstance(names.get(word), type) for names in ours)] == []


@pytest.mark.parametrize("name", CHECKED)
def test_a_misspelt_keyword_is_told_which_was_meant(name: str, given: dict[str, Any]) -> None:
    call, values = asked(name, given)
    for word in arguments_of(PUBLIC[name]).known:
        with pytest.raises(TypeError, match=rf"^unknown keyword: {word}z \(did you mean .+\?\)\. There are "):
            call(**values, **{f"{word}z": 1})
    with pytest.raises(TypeError, match=r"^unknown keyword: qqqqq\. "):
        call(**values, qqqqq=1)


def is_said_by_us(error: Exception) -> bool:
    """Whether a line of ours raises it, so that it is no accident of what was given."""
    if isinstance(error, MapperError):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno or 0)
    is_ours = any(Path(last.filename).is_relative_to(ROOT / package) for package in ("mapper", "hwspec"))
    return is_ours and "raise" in line and type(error) in (TypeError, ValueError, RuntimeError, ImportError)


@pytest.mark.no_cover
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WALKED)
def test_whatever_is_given_is_taken_or_refused_in_our_own_words(
    name: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, values = asked(name, given)
    use: Callable[[Any], object] = USED_BY.get(name, lambda made: made)
    forms = getattr(arguments_of(PUBLIC[name]), "forms", {})
    for argument, entry in inspect.signature(call).parameters.items():
        if entry.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        tried = [value for value in ODD if value is not None or (name, argument) not in LONG]
        errors = [refusal(lambda: use(call(**{**values, argument: value}))) for value in tried]  # noqa: B023
        for value, error in zip(tried, errors, strict=True):
            assert error is None or is_said_by_us(error), (argument, value, error)
            if argument in forms and not forms[argument].fits(value):
                assert f"{argument}: must be " in str(error), (argument, value)
        # What takes nearly everything is asked for nothing.
        assert len([error for error in errors if error]) >= 5, argument


def test_the_walk_notices_what_it_is_for() -> None:
    nothing: Any = None
    accidents: tuple[Callable[[], object], ...] = (
        lambda: len(nothing),
        lambda: {}[nothing],
        lambda: nothing.networks,
        lambda: -nothing,
    )
    for accident in accidents:
        error = refusal(accident)
        assert error is not None
        assert not is_said_by_us(error)
    error = refusal(lambda: mapper.load_chip("speckf"))
    assert error is not None
    assert is_said_by_us(error)
