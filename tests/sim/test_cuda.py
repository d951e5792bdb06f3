"""On a GPU the same numbers come out as on the CPU, whatever the process says about TF32."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mapper.sim.config_frame import simulate_config
from tests.compat.test_dynapcnn import events
from tests.compat.test_one_network import made
from tests.sim.test_config_frame import placed, random_input, random_network

pytestmark = pytest.mark.cuda

CASES = int(os.environ.get("MAPPER_INSTANCES", "60"))


@pytest.fixture(params=[False, True], ids=["exact", "tf32"], autouse=True)
def tf32(request: Any) -> Iterator[None]:
    """The process's own wishes, both ways."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = request.param
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("most", [1, 5_000])
def test_a_configuration_runs_alike(seed: int, most: int) -> None:
    network = random_network(seed)
    _, config = placed(network)
    x = {k: most * v for k, v in random_input(network, np.random.default_rng(seed), 2, 6).items()}
    here, there = (simulate_config(config, x, device=device) for device in ("cpu", "cuda"))
    for name, spikes in here.layers.items():
        assert np.array_equal(spikes, there.layers[name]), name
    assert here.synops == there.synops
    assert here.beyond_16_bits == there.beyond_16_bits
    for core, potential in here.state.potentials.items():
        assert np.array_equal(potential, there.state.potentials[core])


@pytest.mark.parametrize("most", [1, 5_000])
def test_the_class_runs_trains_and_is_configured_alike(most: int) -> None:
    here = made()
    there = copy.deepcopy(here).to("cuda")
    assert there.device.startswith("cuda")
    x = most * events(8, seed=5)
    assert torch.equal(here(x), there(x.to("cuda")).cpu())
    before = there.plain_config("speck2f")
    assert before == here.plain_config("speck2f")
    optimizer = torch.optim.SGD(there.parameters(), lr=1e-2 / most)
    there.reset_states()
    there(x.to("cuda")).square().mean().backward()
    optimizer.step()
    after = there.plain_config("speck2f")
    assert after != before
    back = there.to("cpu")
    assert back.plain_config("speck2f") == after
    here.load_state_dict(back.state_dict())
    assert here.plain_config("speck2f").hardware == after.hardware


@pytest.mark.parametrize("parts", [1, 8])
def test_the_class_trains_through_single_spikes_alike(parts: int) -> None:
    here = made(semantics="events")
    here.parts = parts
    there = copy.deepcopy(here).to("cuda")
    x = events(6, seed=5)
    assert torch.equal(here(x), there(x.to("cuda")).cpu())
    for network, spikes in ((here, x), (there, x.to("cuda"))):
        network.reset_states()
        network(spikes).square().mean().backward()
    grads = [[parameter.grad for parameter in network.parameters()] for network in (here, there)]
    for one, other in zip(*grads, strict=True):
        assert one is not None
        assert other is not None
        assert one.abs().sum() > 0
        assert torch.allclose(one, other.cpu(), rtol=1e-4, atol=1e-6)
