"""Narrow integers: equal to wide ones wherever something is computed with them, and as small as they should be."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import mapper
from hwspec.catalog import load
from mapper.emit.read.diff import diff
from mapper.emit.read.extract import extract
from mapper.emit.shared.file import config_text, read_config, write_config
from mapper.emit.shared.tensor import Tensor
from mapper.equivalence.silence import mute_layers
from mapper.errors import MapperError
from mapper.events import events_from_raster
from mapper.frontends import NirOptions
from mapper.integers import is_constant, narrowed, widened
from mapper.network import Edge
from mapper.normal_form import NormalLayer, NormalNetwork
from mapper.operations import Neuron, Pool
from mapper.passes import prepare
from mapper.passes.legalize.joints import passing_on
from mapper.sim.config_frame import simulate_config
from mapper.sim.event import simulate_events
from mapper.sim.network import simulate
from mapper.work import layer_work
from tests.builders import chain, conv
from tests.passes.legal_networks import random_network
from tests.passes.random_forms import random_forms_network
from tests.phase_networks import random_phase_network

EXTREMES = (-128, 127, -127, 0, 1, -1, 100)
ENDS = [1 << 7, 1 << 15, 1 << 31]


@pytest.mark.parametrize("half", ENDS)
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_narrowest_type_holds_both_ends(half: int, beyond: int) -> None:
    size = max(2, half.bit_length() // 8 << beyond)
    for ends in ([-half - beyond, 0], [0, half - 1 + beyond]):
        array = np.array(ends, np.int64)
        assert narrowed(array).dtype.itemsize == size
        assert np.array_equal(narrowed(array), array)
        assert Tensor.of(array).array.tolist() == ends


def test_what_has_no_64_bits_is_refused() -> None:
    assert Tensor.of(np.array([2**63 - 1], np.uint64)).array.tolist() == [2**63 - 1]
    with pytest.raises(ValueError, match="64 bits"):
        Tensor.of(np.array([2**63], np.uint64))
    with pytest.raises(ValueError, match="64 bits"):
        Tensor((1,), str(2**63))


def test_tensors_are_equal_whatever_type_they_came_in() -> None:
    draw = np.random.default_rng(0)
    for high in (2, 128, 40_000, 1 << 40):
        array = draw.integers(-high, high, (3, 5, 2))
        others = [array.astype(kind) for kind in (np.int8, np.int16, np.int32, np.int64)]
        same = [Tensor.of(other) for other in others if np.array_equal(other, array)]
        same += [Tensor(array.shape, " ".join(map(str, array.ravel())))]
        # In memory the other way round.
        same += [Tensor.of(np.asfortranarray(array))]
        assert len({(tensor.values, hash(tensor)) for tensor in same}) == 1
        assert all(tensor == same[0] for tensor in same)
    assert Tensor.of(np.array([True, False])) == Tensor.of(np.array([1, 0]))
    assert Tensor.of(np.array([True, False])).values == "1 0"


def test_a_tensor_shares_only_what_nobody_can_change() -> None:
    array = np.array([[1, 2], [3, 4]], np.int16)
    view = array.T
    view.flags.writeable = False
    tensor = Tensor.of(view)
    array[:] = 0
    assert tensor.array.tolist() == [[1, 3], [2, 4]]
    array.flags.writeable = False
    assert is_constant(array.T)
    assert np.shares_memory(Tensor.of(array.T).array, array)
    with pytest.raises(ValueError, match="read-only"):
        tensor.array[0, 0] = 1


def extreme(network: NormalNetwork, seed: int) -> NormalNetwork:
    """The network with weights at the ends of 8 bits, biases of 8 and starts of 16, all of 64 bits."""
    draw = np.random.default_rng(seed)

    def of(layer: NormalLayer) -> NormalLayer:
        shape = (layer.operation.out_features, layer.input_shape.features, *layer.operation.kernel)
        bias = draw.choice([-128, 127, 0], shape[0]) if layer.operation.has_bias else None
        start = draw.choice([-32768, 32767, 0], layer.output_shape) if seed % 2 else None
        weight = draw.choice(EXTREMES, shape)
        neuron = replace(layer.neuron, threshold=int(draw.choice([1, 100, 128, 300])), minimum=-32768)
        if layer.neuron.initial_potential is not None or start is not None:
            neuron = replace(neuron, initial_potential=start)
        return replace(layer, operation=replace(layer.operation, weight=weight, bias=bias), neuron=neuron)

    return network.replacing(layers=tuple(map(of, network.layers)))


def in_few_bytes(network: NormalNetwork) -> NormalNetwork:
    """The same numbers in the narrowest types; potentials and biases too, as a user may give them."""
    layers = []
    for layer in network.layers:
        conv, start = layer.operation, layer.neuron.initial_potential
        conv = replace(
            conv, weight=narrowed(conv.weight), bias=None if conv.bias is None else narrowed(conv.bias)
        )
        neuron = replace(layer.neuron, initial_potential=None if start is None else narrowed(start))
        layers.append(replace(layer, operation=conv, neuron=neuron))
    return network.replacing(layers=tuple(layers))


def spikes_in(network: NormalNetwork, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {entry.name: draw.integers(0, 3, (3, *entry.shape)) for entry in network.inputs}


MAKERS = {"forms": random_forms_network, "legal": random_network, "phases": random_phase_network}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("block", range(4))
def test_extremes_come_out_as_in_64_bits(kind: str, block: int) -> None:
    """Pools in kernels, fused siblings, phases, relays; both simulations; files; what a core must hold."""
    placed = 0
    for seed in range(block * 8, block * 8 + 8):
        made = MAKERS[kind](seed)
        if made is None:
            continue
        wide = extreme(made, seed)
        narrow = in_few_bytes(wide)
        given = spikes_in(wide, seed)
        expected, found = (simulate(network, given) for network in (wide, narrow))
        for name, spikes in expected.spikes.items():
            assert np.array_equal(spikes, found.spikes[name]), (seed, name)
        assert mute_layers(wide) == mute_layers(narrow)
        for layer in wide.layers:
            assert layer_work(wide, layer) == layer_work(narrow, narrow.by_name[layer.name])
        results = [mapper.solve(network, repairs=0, time_limit_s=20) for network in (wide, narrow)]
        assert results[0].status == results[1].status, seed
        if results[0].solution is None or results[0].status != results[1].status:
            continue
        assert results[0].networks[0].notes == results[1].networks[0].notes
        try:
            configs = [mapper.build_config(result) for result in results]
        except MapperError:
            continue
        assert config_text(configs[0]) == config_text(configs[1]), seed
        assert diff(configs[0], results[1].networks[0]) == ()
        assert diff(extract(configs[1]), results[0].networks[0]) == ()
        placed += 1
    assert placed


def test_both_simulations_of_a_configuration_hold_at_the_ends() -> None:
    """One weight of -128 beside its 64-bit bound, and spikes that add up far beyond 8 bits."""
    network = chain([conv(2, 1), conv(1, 1)], (300, 1, 1))
    first, second = network.layers
    weight = np.full((2, 300, 1, 1), -128)
    weight[1] = 127
    layers = (
        replace(first, operation=replace(first.operation, weight=weight), neuron=Neuron(127, -32768)),
        replace(
            second,
            operation=replace(second.operation, weight=np.array([[[[-128]], [[127]]]])),
            neuron=Neuron(127, -32768),
        ),
    )
    config = mapper.build_config(mapper.solve(network.replacing(layers=layers)))
    seen = simulate_config(config, {"input": np.ones((1, 300, 1, 1), np.int64)})
    assert seen.layers["conv0"].ravel().tolist() == [0, 300]
    assert seen.layers["conv1"].ravel().tolist() == [300]
    events = events_from_raster(np.ones((1, 300, 1, 1), np.int64), 1000)
    counted = simulate_events(config, {"input": events})
    assert len(counted.outputs["out"]) == 300
    # The first neuron is at -128 * 256 after 256 events; the others leave 16 bits.
    assert sum(counted.saturated.values()) == 300 - 256


def test_identity_cores_of_wider_chips_are_not_held_to_the_weights_of_a_layer() -> None:
    network = prepare(chain([conv(4)]).replacing(layers=(weighted(chain([conv(4)]).layers[0]),)))
    assert network.is_integer
    assert network.layers[0].operation.weight.dtype == np.int16  # type: ignore[union-attr]  # it has weights
    unit, kind, neuron = passing_on(network, 32767)
    assert np.full(1, unit).astype(kind).tolist() == [32767] == [neuron.threshold]


def weighted(layer: NormalLayer) -> NormalLayer:
    shape = (layer.operation.out_features, layer.input_shape.features, *layer.operation.kernel)
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return replace(layer, operation=replace(layer.operation, weight=weight), neuron=Neuron(1.0, -1.0))


def test_a_fold_of_the_least_weight_is_told_in_full() -> None:
    """Where pools overlap weights of -128 add up: the reason names 512, not what is left of it in 8 bits."""
    network = chain([conv(1, 1), conv(1, 2)], (1, 9, 9))
    for dtype in (np.int64, np.int8):
        layers = tuple(
            replace(
                layer,
                operation=replace(
                    layer.operation,
                    padding=(0, 0),
                    weight=np.full((1, 1, *layer.operation.kernel), -128, dtype),
                ),
                neuron=Neuron(128, -128),
                input_shape=layer.input_shape if n == 0 else layer.input_shape._replace(height=8, width=8),
            )
            for n, layer in enumerate(network.layers)
        )
        edges = (
            network.edges[0],
            Edge("conv0", "conv1", (Pool("sum", (2, 2), (1, 1)),)),
        )
        result = mapper.check(network.replacing(layers=layers, edges=edges), repairs=0)
        assert result.solution is None
        assert result.report is not None
        assert any("add up to 512" in entry.sentence for entry in result.report.unmet), dtype


FEATURES, DEPTH = 256, 4


def deep_file(path: Path) -> int:
    """A NIR file of some 2 million weights; how many."""
    draw = np.random.default_rng(0)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([FEATURES, 2, 2])})}
    edges, last = [], "input"
    for n in range(DEPTH):
        weight = draw.standard_normal((FEATURES, FEATURES, 3, 3)).astype(np.float32)
        ones = np.ones((FEATURES, 2, 2), np.float32)
        bias = np.zeros(FEATURES, np.float32)
        nodes |= {f"c{n}": nir.Conv2d((2, 2), weight, 1, 1, 1, 1, bias), f"n{n}": nir.IF(ones, ones)}
        edges += [(last, f"c{n}"), (f"c{n}", f"n{n}")]
        last = f"n{n}"
    nodes["output"] = nir.Output({"output": np.array([FEATURES, 2, 2])})
    nir.write(path, nir.NIRGraph(nodes=nodes, edges=[*edges, (last, "output")]))
    return DEPTH * FEATURES * FEATURES * 9


def test_memory_from_file_to_file_and_back(tmp_path: Path) -> None:
    """Numpy's memory is counted; a layer at a time is a quarter of all here, and less in deeper networks."""
    count = deep_file(tmp_path / "deep.nir")
    chip = load("dynapcnn", ["core[0..8].kernel_words=1048576"])
    mapper.solve("digits")
    config = None
    peaks = {}
    for name in ("emitted", "read back", "compared"):
        tracemalloc.start()
        if name == "emitted":
            nir_options = NirOptions(source="sinabs", v_min="none")
            result = mapper.solve(tmp_path / "deep.nir", chip, nir=nir_options)
            config = mapper.build_config(result)
            write_config(config, tmp_path / "config.json")
        elif name == "read back":
            again = read_config(tmp_path / "config.json")
        else:
            assert diff(again, result.networks[0]) == ()
        peaks[name] = tracemalloc.get_traced_memory()[1] / count
        tracemalloc.stop()
    assert config == again
    # In bytes a weight: 4 as given, 2 in the network, 1 of kill bits.
    assert peaks["emitted"] < 10, peaks
    assert peaks["read back"] < 10, peaks
    assert peaks["compared"] < 4, peaks
    assert widened(np.int8(-128)) == -128
