"""rockpool's exports, held against what rockpool computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.held import NETWORKS, hold, hold_example, recorder
from tests.frameworks.plans import Can, plan

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
CAN = Can(maps=False)


def network(seed: int) -> tuple[Any, Any]:
    import torch  # noqa: PLC0415  # collected without them
    from rockpool.nn.combinators import Sequential  # noqa: PLC0415
    from rockpool.nn.modules import LIFNeuronTorch, LinearTorch  # noqa: PLC0415

    drawn = plan(seed, CAN, counts=2)
    parts: list[Any] = []
    for stage in drawn.stages:
        features, reads = stage.weight.shape
        weight = torch.as_tensor(stage.weight.T.copy())
        bias = {} if stage.bias is None else {"bias": torch.as_tensor(stage.bias)}
        parts.append(LinearTorch((reads, features), weight=weight, has_bias=bool(bias), **bias))
        parts.append(LIFNeuronTorch((features,), tau_mem=float("inf"), threshold=stage.threshold, bias=0.0))
    return Sequential(*parts), drawn


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_is_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    hold(recorder("rockpool"), *network(seed), tmp_path)


def test_the_example(tmp_path: Path) -> None:
    hold_example(recorder("rockpool"), tmp_path)
