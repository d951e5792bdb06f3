"""sinabs' exports, held against what sinabs computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.held import NETWORKS, hold, hold_example, recorder
from tests.frameworks.modules import chain
from tests.frameworks.plans import Can, plan

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
CAN = Can(pools=("sum",))


def network(seed: int, bound: str = "none", **more: Any) -> tuple[Any, Any]:
    import sinabs.layers as sl  # noqa: PLC0415  # collected without it

    drawn = plan(seed, CAN, counts=2)

    def neurons(threshold: float, _: Any) -> Any:
        bounds = {"none": None, "threshold": -threshold, "number": -2.0}
        return sl.IAFSqueeze(batch_size=1, spike_threshold=threshold, min_v_mem=bounds[bound], **more)

    return chain(drawn, neurons, {"sum": sl.SumPool2d}), drawn


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_is_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    hold(recorder("sinabs"), *network(seed, ("none", "threshold", "number")[seed % 3]), tmp_path)


@pytest.mark.parametrize("seed", range(NETWORKS // 5))
def test_other_spikes_and_resets_are_part_of_the_command(seed: int, tmp_path: Path) -> None:
    from sinabs.activation import MembraneReset, SingleSpike  # noqa: PLC0415

    more = ({"spike_fn": SingleSpike}, {"reset_fn": MembraneReset()})[seed % 2]
    hold(recorder("sinabs"), *network(seed, "threshold", **more), tmp_path)


def test_the_example(tmp_path: Path) -> None:
    hold_example(recorder("sinabs"), tmp_path)
