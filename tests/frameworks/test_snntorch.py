"""snnTorch's exports, held against what snnTorch computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frameworks.held import NETWORKS, hold, hold_example, recorder
from tests.frameworks.modules import chain
from tests.frameworks.plans import Can, plan

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
# The package nir infers wrong sizes behind kernels that are not square, and refuses the graph.
CAN = Can(pools=("average",), oblong_kernels=False)


def network(seed: int, **more: Any) -> tuple[Any, Any]:
    import snntorch  # noqa: PLC0415  # collected without it
    from torch import nn  # noqa: PLC0415

    drawn = plan(seed, CAN, counts=2)

    def neurons(threshold: float, _: Any) -> Any:
        return snntorch.Leaky(beta=1.0, threshold=threshold, init_hidden=True, **more)

    return chain(drawn, neurons, {"average": nn.AvgPool2d}), drawn


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_is_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    hold(recorder("snntorch"), *network(seed), tmp_path)


@pytest.mark.parametrize("seed", range(NETWORKS // 5))
def test_reset_to_zero_takes_the_option(seed: int, tmp_path: Path) -> None:
    hold(recorder("snntorch"), *network(seed, reset_mechanism="zero"), tmp_path, " --reset zero")


def test_the_example(tmp_path: Path) -> None:
    hold_example(recorder("snntorch"), tmp_path)


def test_thresholds_per_feature(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    whole, drawn = network(4)
    draw = np.random.default_rng(4)
    neurons = [module for module in whole if hasattr(module, "threshold")]
    for module, shape in zip(neurons, drawn.shapes, strict=True):
        chosen = draw.integers(4, 12, (shape[0], *[1] * (len(shape) - 1))).astype(np.float32)
        module.threshold = torch.as_tensor(chosen)
    hold(recorder("snntorch"), whole, drawn, tmp_path)
