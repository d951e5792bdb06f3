"""`DynapcnnNetwork` beside sinabs' own: whatever is done to both, samna gets the same configuration.

What differs on purpose is left out of the comparison, and this is all of it:

- No lower bound: sinabs 3.1.3 then scales weights by 1 at most, which rounds most of them to 0. Its network
  gets the integers from here (`Pair.bound_theirs`).
- A lower bound of 0 is -1 here, which samna's chips need (erratum threshold-low-zero).
- Numbers that are no integers: sinabs truncates them in a configuration, here they are rounded. Whatever is
  done ends with integers.
- Potentials that `forward` left: always in the configuration of sinabs; here with `initial_state="current"`,
  and refused beyond 16 bits, where sinabs writes what no field holds.
- Indices: sinabs counts from 1 behind a sensor stage, and branches in another order. Layers are told apart by
  their surrogate gradients.
- Checkpoints of sinabs whose layers have one shape are refused in branches, where their order tells nothing.
- The order of a core's destinations, which means nothing; and `readout`, of which sinabs sets no field.
- Bias words of a layer whose biases are all 0: none here.
- An average behind the last layer: sinabs sums, its networks here average as the module does.
- The gradient of a silent neuron: lost in sinabs, which sends all spikes through `lp_pool2d`; and of a
  potential at its lower bound, 0 in sinabs and half of it here.
- sinabs 3.1.3 cannot read a layer that feeds one layer through a pool and another without.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import nir
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from sinabs.activation import SingleExponential
from sinabs.nir import from_nir, to_nir
from torch import nn

import mapper
from mapper.frontends import NirOptions
from tests.sinabs.class_pair import OPERATIONS, Pair, differences
from tests.sinabs.wired import Drawn, drawn
from tests.stand_in.for_sinabs import install_for_sinabs

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "40"))
BACKEND = "sinabs.backend.dynapcnn"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The backend of sinabs, imported anew over a samna that has configurations."""
    with pytest.MonkeyPatch.context() as patch:
        install_for_sinabs(patch, tmp_path_factory.mktemp("samna"))
        for name in [name for name in sys.modules if name.startswith(BACKEND)]:
            patch.delitem(sys.modules, name)
        yield importlib.import_module(BACKEND)
        for name in [name for name in sys.modules if name.startswith(BACKEND)]:
            del sys.modules[name]


def made(seed: int) -> Drawn:
    return drawn(seed, importlib.import_module(f"{BACKEND}.dvs_layer").DVSLayer)


# Both warn of pools behind what is monitored, and this project of the numbers of layers.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(INSTANCES))
def test_same_configuration_whatever_is_done(backend: Any, seed: int) -> None:
    draw = np.random.default_rng(1000 + seed)
    pair = Pair(made(seed), backend.DynapcnnNetwork, draw)
    pair.assert_equal()
    done = []
    for n in draw.integers(0, len(OPERATIONS), 6):
        done.append(OPERATIONS[n].__name__)
        OPERATIONS[n](pair)
        pair.assert_equal()
    assert differences(*pair.configurations("speck2fmodule:0")) == [], done


def test_the_networks_are_of_all_kinds(backend: Any) -> None:
    """Without each of these the comparison would say less than it seems to."""
    cases = [made(seed) for seed in range(60)]
    modules = [module for case in cases for module in case.module.modules()]
    for kind in (nn.AvgPool2d, sl.SumPool2d, nn.Linear, sl.Merge):
        assert sum(isinstance(module, kind) for module in modules) >= 10
    for flag in (None, False, True):
        assert sum(case.input_shape is None and case.dvs_input is flag for case in cases) >= 3
    assert sum(case.input_shape is not None and case.dvs_input is True for case in cases) >= 3
    assert 10 < sum(case.is_chain for case in cases) < 50
    assert 10 < sum(case.is_bounded for case in cases) < 50
    neurons = [module for module in modules if isinstance(module, sl.IAFSqueeze)]
    for name in ("spike_fn", "reset_fn"):
        assert (
            len({getattr(module, name).__class__ for module in neurons} | {m.spike_fn for m in neurons}) > 2
        )


def test_a_difference_is_seen(backend: Any) -> None:
    """One weight, one threshold, one destination that differ: each is named."""
    pair = Pair(made(2), backend.DynapcnnNetwork, np.random.default_rng(0))
    mine, theirs = (network.conv.weight for network in pair.one())
    before = differences(*pair.configurations("speck2fmodule:0"))
    with torch.no_grad():
        mine[0, 0, 0, 0] = 3 if theirs[0, 0, 0, 0] == 2 else 2
    found = differences(*pair.configurations("speck2fmodule:0"))
    assert before == []
    assert len(found) == 1
    assert "weights[0][0][0][0]" in found[0]
    config = pair.mine.make_config(device="speck2fmodule:0")
    other = pair.mine.make_config(device="speck2fmodule:0")
    core = config.cnn_layers[pair.mine.find_chip_layer(0)]
    core.threshold_high += 1
    core.destinations[0].layer = (core.destinations[0].layer + 1) % 9
    places = [place.split(":")[0].split(".")[2] for place in differences(config, other)]
    assert places == ["destinations[0][2]", "threshold_high"]


def neurons(width: float = 0.5) -> nn.Module:
    module: nn.Module = sl.IAFSqueeze(
        batch_size=1, min_v_mem=-1.0, surrogate_grad_fn=SingleExponential(width)
    )
    return module


def test_an_average_behind_the_last_layer(backend: Any) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), neurons(), nn.AvgPool2d(2))
    x = torch.tensor(np.random.default_rng(0).integers(0, 9, (5, 1, 4, 4)), dtype=torch.float32)
    mine, theirs = mapper.DynapcnnNetwork(module, (1, 4, 4)), backend.DynapcnnNetwork(module, (1, 4, 4))
    expected = theirs(x) / 4
    assert expected.any()
    assert torch.equal(mine(x), expected)


def test_silent_neurons_learn_here_alone(backend: Any) -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), neurons())
    x = torch.zeros(3, 1, 2, 2)
    x[0, 0, 0, 0] = 1
    with torch.no_grad():
        module[0].weight.fill_(0.4)  # type: ignore[operator]
    gradients = []
    kinds: tuple[Any, ...] = (mapper.DynapcnnNetwork, backend.DynapcnnNetwork)
    for kind in kinds:
        network = kind(module, (1, 2, 2))
        made = network(x)
        assert not made.any()
        made.sum().backward()
        (weight,) = network.parameters()
        gradients.append(float(weight.grad))
    assert gradients[0] > 0
    assert gradients[1] == 0


class Swapped(nn.Module):
    """Its layers are not registered in the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.second_spikes = nn.Conv2d(2, 3, 1, bias=False), neurons(2.0)
        self.first, self.first_spikes = nn.Conv2d(1, 2, 1, bias=False), neurons(1.0)

    def forward(self, x: torch.Tensor) -> Any:
        return self.second_spikes(self.second(self.first_spikes(self.first(x))))


def test_surrogates_are_their_layers(backend: Any) -> None:
    kinds: tuple[Any, ...] = (backend.DynapcnnNetwork, mapper.DynapcnnNetwork)
    for kind in kinds:
        layers = kind(Swapped(), (1, 4, 4)).dynapcnn_layers.values()
        assert [layer.spk_layer.surrogate_grad_fn.grad_width for layer in layers] == [1.0, 2.0]


@pytest.mark.parametrize("flag", [True, False, None])
def test_the_stage_is_the_modules(backend: Any, flag: bool | None) -> None:
    """Also whether the sensor is on, which `dvs_input` says."""
    stage = importlib.import_module(f"{BACKEND}.dvs_layer").DVSLayer((16, 16), (2, 2), flip_x=True)
    module = nn.Sequential(stage, nn.Conv2d(2, 4, 3), neurons())
    mine: Any = mapper.DynapcnnNetwork(module, dvs_input=flag)
    theirs = backend.DynapcnnNetwork(module, dvs_input=flag)
    assert mine.dvs_layer.get_config_dict() == theirs.dvs_layer.get_config_dict()


def test_a_bound_that_is_taken_away_changes_no_weight() -> None:
    network = mapper.DynapcnnNetwork(nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), neurons()), (1, 4, 4))
    layer = network.dynapcnn_layers[0]
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([50.0, -20.0]).reshape(2, 1, 1, 1))
    layer.spk.min_v_mem = None  # type: ignore[assignment]  # as its docstring says
    (found,) = network.network.layers
    assert np.asarray(found.operation.weight).ravel().tolist() == [50, -20]


def meeting(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with the spikes of the first neurons added to those of the second, as in a residual block."""
    first, _, third = (name for name, node in graph.nodes.items() if isinstance(node, nir.Conv2d))
    spikes = next(target for source, target in graph.edges if source == first)
    return nir.NIRGraph(graph.nodes, [*graph.edges, (spikes, third)])


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:sinabs.nir")
def test_what_sinabs_makes_of_a_nir_graph_is_the_graph(backend: Any, joins: bool) -> None:
    """The way of sinabs' page "NIR to Speck": graph, nirtorch's executor, class."""
    first, *more = (nn.Conv2d(n, 4, 3, padding=1, bias=False) for n in (2, 4, 4))
    module = nn.Sequential(first, neurons(), *(part for c in more for part in (c, neurons())))
    graph = to_nir(module, torch.zeros(1, 2, 8, 8))
    graph = meeting(graph) if joins else graph
    read = mapper.load_network(graph, nir=NirOptions(source="sinabs", v_min="threshold"))
    by_graph = mapper.DynapcnnNetwork(read).plain_config("speck2f")
    network = mapper.DynapcnnNetwork(from_nir(graph, batch_size=1), (2, 8, 8))
    assert network.plain_config("speck2f").hardware == by_graph.hardware
    assert len(network.structure.incoming[network.structure.layers[-1].name]) == 1 + joins
