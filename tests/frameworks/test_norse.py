"""norse's exports, held against what norse computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.held import NETWORKS, hold, hold_example, recorder
from tests.frameworks.modules import chain
from tests.frameworks.plans import Can, plan

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
# Its exporter leaves pools and flattening out, and breaks off at a convolution without biases.
CAN = Can(linear_behind_maps=False, bare_convolutions=False)


def network(seed: int) -> tuple[Any, Any]:
    import norse.torch as norse  # noqa: PLC0415  # collected without it
    import torch  # noqa: PLC0415
    from norse.torch.functional.iaf import IAFParameters  # noqa: PLC0415

    def neurons(threshold: float, _: Any) -> Any:
        return norse.IAFCell(IAFParameters(v_th=torch.as_tensor(threshold)))

    drawn = plan(seed, CAN)
    return chain(drawn, neurons, {}, sequential=norse.SequentialState), drawn


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_is_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    hold(recorder("norse"), *network(seed), tmp_path)


def test_the_example(tmp_path: Path) -> None:
    hold_example(recorder("norse"), tmp_path)
