"""The reading check on sinabs' own layers: no alarm where a module is what it says, none missing elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, SingleSpike
from torch import nn

from mapper.errors import UnsupportedLayerError
from mapper.frontends import TorchOptions, load_network
from tests.frontends.random_modules import SHAPE, check_random_modules

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "60"))


def bounded() -> nn.Module:
    module: nn.Module = sl.IAFSqueeze(batch_size=1, min_v_mem=-1.0)
    return module


NEURONS: list[Callable[[], nn.Module]] = [
    bounded,
    lambda: sl.IAFSqueeze(batch_size=1),
    lambda: sl.IAFSqueeze(batch_size=1, spike_fn=SingleSpike),
    lambda: sl.IAFSqueeze(num_timesteps=7, min_v_mem=-0.5, reset_fn=MembraneReset()),
    nn.ReLU,
]


@pytest.mark.parametrize("neurons", NEURONS)
def test_random_modules_are_equal_or_refused(neurons: Callable[[], nn.Module]) -> None:
    refused = check_random_modules(INSTANCES, neurons, bounded, sl.SumPool2d)
    assert INSTANCES // 12 < refused < INSTANCES // 2


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(sl.FlattenTime(), nn.Conv2d(2, 4, 3), sl.UnflattenTime(batch_size=2), sl.IAF()),
        nn.Sequential(sl.Repeat(nn.Conv2d(2, 4, 3)), sl.IAF(), sl.Repeat(nn.Conv2d(4, 2, 3)), sl.IAF()),
        nn.Sequential(nn.Conv2d(2, 4, 3), sl.IAFSqueeze(batch_size=4, num_timesteps=3)),
        nn.Sequential(nn.Conv2d(2, 4, 3), sl.NeuromorphicReLU()),
    ],
    ids=range(4),
)
def test_batch_and_time(module: nn.Module) -> None:
    torch.manual_seed(0)
    assert len(load_network(module.eval(), SHAPE, torch=TorchOptions(1.0)).layers) in (1, 2)


@pytest.mark.parametrize(
    "neurons", [sl.LIFSqueeze(tau_mem=10.0, batch_size=1), sl.IAF()], ids=("leak", "time")
)
def test_neurons_that_are_refused_are_told_those_that_are_read(neurons: nn.Module) -> None:
    """IAF by itself would take the features of a convolution as time."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 4, 3)
    with pytest.raises(UnsupportedLayerError) as caught:
        load_network(nn.Sequential(convolution, neurons), SHAPE)
    (finding,) = caught.value.findings
    assert "IAFSqueeze" in finding.next_step
    assert "IAF and" not in finding.next_step
    assert ("dimension 1 as time" in finding.problem) == isinstance(neurons, sl.IAF)
    followed = nn.Sequential(convolution, sl.IAFSqueeze(batch_size=1))
    assert load_network(followed.eval(), SHAPE).layers


def test_linear_layers_before_neurons_with_time_read_batch_and_time() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(2), nn.Linear(2 * 8 * 8, 4), sl.IAF())
    assert load_network(module.eval(), (2, 8, 8)).layers


def test_a_lower_bound_far_away_rounds_potentials() -> None:
    """The bound is added and taken away again: in single precision that moves a potential by 0.06."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), sl.IAFSqueeze(batch_size=1, min_v_mem=-1e6))
    assert load_network(module.eval(), SHAPE).layers
