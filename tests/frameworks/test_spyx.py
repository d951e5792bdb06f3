"""spyx' exports, held against what spyx computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frameworks.held import NETWORKS, hold, hold_example, recorder
from tests.frameworks.plans import Can, Plan, Stage, plan

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
# Its exporter writes neither groups nor dilation, whatever a convolution has, and no file without its biases.
CAN = Can(pools=("sum",), groups=False, dilation=False, bare_convolutions=False, oblong_kernels=False)
# Layers run before any input reaches them, and what their neurons fire then cannot be put into a start.
FIRES = "its biases make neurons fire in the"


def network(seed: int, leaky: bool = False) -> tuple[Any, Any]:
    import spyx.nn as spyx  # noqa: PLC0415  # collected without it
    from flax import nnx  # noqa: PLC0415

    drawn, rngs = plan(seed, CAN, counts=2), nnx.Rngs(seed)
    parts: list[Any] = []
    for n, (stage, shape) in enumerate(zip(drawn.stages, drawn.shapes, strict=True)):
        own = (*shape[1:], shape[0])
        parts += [spyx.Flatten()] if stage.is_flattened else []
        parts.append(weights(stage, entering(drawn, n), rngs))
        parts.append(
            spyx.LIF(own, beta=1.0, threshold=stage.threshold, rngs=rngs)
            if leaky
            else spyx.IF(own, stage.threshold)
        )
        parts += [] if stage.pool is None else [spyx.SumPool((2, 2), (2, 2), "VALID")]
    return spyx.Sequential(*parts), drawn


def entering(drawn: Plan, n: int) -> tuple[int, ...]:
    """The map, or list of values, that enters a stage: features first."""
    if n == 0:
        return drawn.frames.shape[1:]
    shape, before = drawn.shapes[n - 1], drawn.stages[n - 1]
    return shape if before.pool is None else (shape[0], shape[1] // 2, shape[2] // 2)


def weights(stage: Stage, shape: tuple[int, ...], rngs: Any) -> Any:
    """A layer with the stage's numbers; spyx flattens maps with their features last."""
    import jax.numpy as jnp  # noqa: PLC0415
    from flax import nnx  # noqa: PLC0415

    has_bias = stage.bias is not None
    if stage.is_linear:
        module = nnx.Linear(stage.weight.shape[1], len(stage.weight), use_bias=has_bias, rngs=rngs)
        weight = stage.weight
        if stage.is_flattened:
            weight = np.moveaxis(weight.reshape(-1, *shape), 1, -1).reshape(weight.shape)
        module.kernel[...] = jnp.asarray(weight.T)
    else:
        reads, kernel = stage.weight.shape[1], tuple(stage.weight.shape[2:])
        padding = "VALID" if stage.padding == 0 else ((stage.padding,) * 2,) * 2
        module = nnx.Conv(
            reads, len(stage.weight), kernel, strides=(stage.stride,) * 2, padding=padding,
            use_bias=has_bias, rngs=rngs,
        )  # fmt: skip
        module.kernel[...] = jnp.asarray(stage.weight.transpose(2, 3, 1, 0))
    if stage.bias is not None:
        module.bias[...] = jnp.asarray(stage.bias)
    return module


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_is_read_as_it_runs(seed: int, tmp_path: Path) -> None:
    hold(recorder("spyx"), *network(seed), tmp_path, may_refuse=FIRES)


@pytest.mark.parametrize("seed", range(NETWORKS // 5))
def test_leaky_neurons_with_a_beta_of_1_do_not_leak(seed: int, tmp_path: Path) -> None:
    hold(recorder("spyx"), *network(seed, leaky=True), tmp_path, may_refuse=FIRES)


def test_the_example(tmp_path: Path) -> None:
    hold_example(recorder("spyx"), tmp_path)
