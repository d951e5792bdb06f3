"""SpikingJelly's exports, held against what SpikingJelly computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.held import NETWORKS, hold, hold_example, recorder
from tests.frameworks.modules import chain
from tests.frameworks.plans import Can, plan

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
# Its exporter refuses groups.
CAN = Can(pools=("average",), groups=False, oblong_kernels=False)


def network(seed: int) -> tuple[Any, Any]:
    from spikingjelly.activation_based import layer, neuron  # noqa: PLC0415  # collected without it

    drawn = plan(seed, CAN, counts=2)

    def neurons(threshold: float, _: Any) -> Any:
        return neuron.IFNode(v_threshold=threshold)

    return chain(drawn, neurons, {"average": layer.AvgPool2d}, layer), drawn


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_is_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    hold(recorder("spikingjelly"), *network(seed), tmp_path)


@pytest.mark.parametrize("step_s", [1e-3, 1.0, 0.005])
def test_another_step_is_part_of_the_command(
    step_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = recorder("spikingjelly")
    monkeypatch.setattr(script, "STEP_S", step_s)
    hold(script, *network(5), tmp_path)


def test_the_example(tmp_path: Path) -> None:
    hold_example(recorder("spikingjelly"), tmp_path)
