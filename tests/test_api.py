"""The Python interface."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import mapper
from mapper.equivalence import labelled_data
from mapper.errors import InfeasibleError, NetworkError, OptionsError, UndecidedError
from mapper.operations import Convolution, Shape
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.references import natural_key
from mapper.rules import Rule, by_code
from mapper.sim.network import simulate
from mapper.wording import join_names, join_numbers
from tests.builders import chain, conv, gesture, tiny_chip


def test_find_chip_layer_counts_as_users_do() -> None:
    result = mapper.solve(gesture(), chip="speck2fmodule:0", pins={"conv3": 4})
    assert result.find_chip_layer("conv3") == 4
    assert result.find_chip_layer(3) == 4
    assert result.find_chip_layer(-6) == 4
    assert sorted(result.find_chip_layer(n) for n in range(9)) == list(range(9))
    with pytest.raises(OptionsError, match=r"-9\.\.8"):
        result.find_chip_layer(9)
    with pytest.raises(OptionsError, match="Did you mean"):
        result.find_chip_layer("con3")


def test_a_pin_that_takes_the_last_fitting_core_is_named() -> None:
    report = mapper.check(gesture(), pins={"conv3": 5}).report
    assert report is not None
    assert report.sentence().startswith(
        "conv5 and conv7 each need more than 32768 kernel words; only core 6 of speck2f is left that has it "
        "(core 5 is pinned to conv3)."
    )


def test_require_says_why_not() -> None:
    result = mapper.check(gesture(), chip="speck2cmini")
    with pytest.raises(InfeasibleError) as caught:
        result.require()
    assert caught.value.report is result.report
    with pytest.raises(InfeasibleError):
        result.find_chip_layer(0)
    undecided = mapper.solve(gesture(), options=SolveOptions(work_limit=1e-12))
    if undecided.solution is None:
        with pytest.raises(UndecidedError, match="work limit"):
            undecided.require()


def test_lazy_names_are_all_there() -> None:
    assert set(mapper.__all__) <= set(dir(mapper))
    assert all(getattr(mapper, name) is not None for name in mapper.__all__)
    with pytest.raises(AttributeError):
        _ = mapper.nothing


def test_two_inputs_and_a_cycle_are_placed() -> None:
    base = chain([conv(4), conv(4)], (4, 8, 8))
    extra = mapper.Input("second", Shape(4, 8, 8))
    edges = (*base.edges, mapper.Edge("second", "conv1"), mapper.Edge("conv1", "conv0", (), 0, 1))
    network = base.replacing(inputs=(*base.inputs, extra), edges=edges)
    solution = mapper.solve(network).require()
    assert {entry.input for entry in solution.host_entries} == {"input", "second"}


def test_readout_monitor_silences_spike_monitors() -> None:
    network = chain([Convolution(4, (16, 16))])
    quiet = mapper.solve(network, readout="conv0", readout_monitor=True).require()
    assert quiet.monitors == ()
    assert (
        mapper.check(network, readout="conv0", readout_monitor=True, monitors=("conv0",)).report is not None
    )
    assert mapper.check(network, readout_monitor=True).report is not None
    assert mapper.check(network, chip="dynapcnn", readout="conv0").report is not None


def test_several_reasons_on_one_layer() -> None:
    chip = tiny_chip((64, 4096, 64), (4096, 64, 64))
    report = mapper.check(chain([conv(4)], (4, 16, 16)), chip=chip).report
    assert report is not None
    assert "No core" in report.sentence()
    left = mapper.check(chain([conv(4)]), forbidden_cores=tuple(range(9))).report
    assert left is not None
    assert "forbidden" in left.sentence()
    dvs = chain([conv(4)], (2, 8, 8), dvs=True)
    assert mapper.check(dvs, chip=mapper.load_chip("speck2f", ["input=none"])).report is not None


def test_malformed_networks_are_refused_with_every_problem() -> None:
    good = chain([conv(4), conv(4)])
    with pytest.raises(NetworkError) as caught:
        mapper.Network("bad", good.inputs * 2, good.layers[:1], good.edges, ())
    assert len(caught.value.findings) == 3
    with pytest.raises(NetworkError, match="no layer"):
        mapper.Network("none", good.inputs, (), (), ())
    with pytest.raises(NetworkError, match="nothing feeds"):
        good.replacing(edges=good.edges[:1])
    with pytest.raises(NetworkError, match="beyond the target"):
        good.replacing(edges=(good.edges[0], mapper.Edge("conv0", "conv1", (), 3)))
    with pytest.raises(NetworkError, match="another size"):
        good.replacing(inputs=(mapper.Input("input", Shape(2, 9, 9)),))
    with pytest.raises(NetworkError, match="delay"):
        good.replacing(edges=(good.edges[0], mapper.Edge("conv0", "conv1", (), 0, -1)))
    with pytest.raises(NetworkError, match="weights have the shape"):
        chain([conv(4, weight=np.ones((1, 1, 1, 1)))])
    with pytest.raises(NetworkError, match="biases"):
        chain([conv(4, bias=np.ones(3))])
    for neuron in (mapper.Neuron(np.ones(3)), mapper.Neuron(initial_potential=np.ones(3))):
        with pytest.raises(NetworkError):
            good.replacing(
                layers=(mapper.Layer("conv0", Shape(2, 16, 16), conv(4), (), neuron), good.layers[1])
            )
    with pytest.raises(NetworkError, match="leaves nothing"):
        good.replacing(outputs=(mapper.Output("o", "conv1", (mapper.Pool("sum", (99, 99), (99, 99)),)),))


def test_digits_is_what_its_card_says() -> None:
    card = json.loads((files("mapper") / "data" / "digits.json").read_text(encoding="utf-8"))
    assert card["float_accuracy"] >= 0.97
    assert abs(card["integer_accuracy"] - card["float_accuracy"]) <= 0.01
    network = prepare(mapper.load_network("digits"))
    with np.load(str(files("mapper") / "data" / "digits_test.npz"), allow_pickle=False) as data:
        images, labels = data["images"][:60].astype(int), data["labels"][:60]
    steps = np.arange(card["steps"])[:, None, None]
    right = 0
    for image, label in zip(images, labels, strict=True):
        raster = ((steps + 1) * image // 16 - steps * image // 16)[:, None]
        counts = simulate(network, {"input": raster}).outputs["fc"].sum(axis=0).ravel()
        right += int(np.argmax(counts)) == label
    assert right >= 56


def test_small_helpers() -> None:
    assert sorted(["conv10", "conv2", "a"], key=natural_key) == ["a", "conv2", "conv10"]
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b", "c"]) == "a, b and c"
    assert join_numbers([3, 0, 1, 2, 8]) == "0..3, 8"
    assert by_code("m201") is Rule.KERNEL_MEMORY
    with pytest.raises(KeyError):
        by_code("M999")
    assert Path(str(files("mapper") / "py.typed")).exists()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"time_limit": 3}, r"time_limit \(did you mean time_limit_s\?\)"),
        ({"pin": {}}, r"pin \(did you mean pins\?\)"),
        ({"relu_as_if": 1.0}, r"did you mean torch=TorchOptions\(relu_as_if=\.\.\.\)\?"),
        ({"objectiv": "index"}, r"did you mean objective\?"),
        ({"input_shap": (1, 8, 8)}, r"did you mean input_shape\?"),
        ({"zebra": 1}, r"unknown keyword: zebra\. There are add_output_neuron, chip,"),
    ],
)
@pytest.mark.parametrize("call", [mapper.solve, mapper.check, mapper.verify_equivalence])
def test_unknown_keywords_name_what_is_meant(call: Any, given: dict[str, Any], meant: str) -> None:
    with pytest.raises(TypeError, match=meant):
        call("digits", **given)


def test_all_errors_have_one_root() -> None:
    public = [getattr(mapper, name) for name in mapper.__all__]
    errors = [entry for entry in public if isinstance(entry, type) and issubclass(entry, Exception)]
    assert mapper.SpecError in errors
    assert [e for e in errors if not issubclass(e, mapper.MapperError | Warning)] == []
    with pytest.raises(mapper.MapperError, match="Did you mean speck2f") as caught:
        mapper.solve("digits", chip="spek2f")
    assert (type(caught.value), caught.value.exit_code) == (mapper.SpecError, 2)


def test_no_networks_are_no_answer() -> None:
    with pytest.raises(mapper.MapperError, match="networks: there are none"):
        mapper.solve([])


def test_options_of_another_kind_are_named_all_at_once() -> None:
    with pytest.raises(
        mapper.MapperError,
        match=r"2 problems:[^~]*nir: must be a NirOptions[^~]*torch: must be a TorchOptions",
    ):
        mapper.solve("digits", nir=3, torch=1.0)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(mapper.MapperError, match=r"calibrate: must be samples \(got list\)"):
        mapper.TorchOptions("auto", calibrate=[1])  # type: ignore[arg-type]
    with pytest.raises(mapper.MapperError, match=r'Give mapper\.equivalence\.read_labelled\("train\.npz"\)'):
        mapper.TorchOptions("auto", calibrate="train.npz")  # type: ignore[arg-type]


def test_the_class_says_how_it_is_given_thresholds_of_samples() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU())
    with pytest.raises(
        mapper.MapperError, match=r"Make the class of load_network\(module, input_shape, torch=TorchOptions\("
    ):
        mapper.DynapcnnNetwork(module, (2, 8, 8), relu_as_if="auto")  # type: ignore[arg-type]  # what is tested
    samples = labelled_data([(np.eye(8)[None].repeat(2, 0), 0)] * 3, (2, 8, 8))
    network = mapper.load_network(module, (2, 8, 8), torch=mapper.TorchOptions("auto", calibrate=samples))
    assert isinstance(mapper.DynapcnnNetwork(network), nn.Module)
