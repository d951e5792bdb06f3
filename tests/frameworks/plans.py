"""Random networks as plain numbers, which every framework's builder makes a network of its own from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Can", "Plan", "Stage", "plan"]


@dataclass(frozen=True)
class Can:
    """What a framework's exporter writes.

    Attributes
    ----------
    pools
        Pools between neurons and the next weights: "average", "sum".
    maps
        Whether it writes convolutions at all.
    linear_behind_maps
        Whether it writes the flattening between a map and a linear layer.
    bare_convolutions
        Whether it writes convolutions without biases.
    oblong_kernels
        Whether it writes kernels that are not square.
    """

    pools: tuple[str, ...] = ()
    maps: bool = True
    linear_behind_maps: bool = True
    groups: bool = True
    dilation: bool = True
    bare_convolutions: bool = True
    padding: bool = True
    oblong_kernels: bool = True


@dataclass(frozen=True)
class Stage:
    """A convolution or linear layer, its neurons, and the pool behind them.

    Attributes
    ----------
    weight
        (features, input features / groups, height, width), or (features, input features).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    threshold: float
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    pool: tuple[str, int] | None = None
    is_flattened: bool = False

    @property
    def is_linear(self) -> bool:
        return self.weight.ndim == 2


@dataclass(frozen=True)
class Plan:
    """A chain of stages.

    Attributes
    ----------
    shapes
        (features, height, width) or (features,) that each stage's neurons have.
    frames
        (time, features, height, width), counts; or (time, features).
    """

    stages: tuple[Stage, ...]
    shapes: tuple[tuple[int, ...], ...]
    frames: NDArray[np.float32]


def plan(seed: int, can: Can, counts: int = 1) -> Plan:
    """A random network of 1 to 4 stages, with whole numbers as weights, biases and thresholds.

    So sums meet thresholds often, and every framework computes them exactly. An average pool of 2 makes
    quarters, which are exact as well.

    Parameters
    ----------
    counts
        Most spikes of one input pixel and step.
    """
    draw = np.random.default_rng(seed)
    is_flat = draw.integers(6) == 0 or not can.maps
    size: tuple[int, ...] = (
        (int(draw.integers(3, 20)),)
        if is_flat
        else (int(draw.integers(1, 4)), int(draw.integers(6, 13)), int(draw.integers(6, 13)))
    )
    frames = draw.integers(0, counts + 1, (24, *size)).astype(np.float32)
    frames *= draw.random(frames.shape) < 0.6
    stages: list[Stage] = []
    shapes: list[tuple[int, ...]] = []
    count = int(draw.integers(1, 5))
    for n in range(count):
        has_map = len(size) == 3 and min(size[1:]) > 1
        wants_linear = len(size) == 1 or (can.linear_behind_maps and (n == count - 1 or not has_map))
        stage = _linear(draw, size) if wants_linear else _convolution(draw, size, can)
        size = _after(stage, size)
        shapes.append(size)
        stages.append(stage)
        size = _pooled(stage, size)
    return Plan(tuple(stages), tuple(shapes), frames)


def _common(draw: np.random.Generator, features: int, sums: int, can_be_bare: bool = True) -> dict[str, Any]:
    """Biases and a threshold, for neurons that sum so many values."""
    has_bias = not can_be_bare or draw.integers(2) == 0
    bias = draw.integers(-3, 4, features).astype(np.float32) if has_bias else None
    # Grows with what is summed, so that neurons neither rest nor fire all the time.
    return {"bias": bias, "threshold": float(draw.integers(4, 8 + min(sums, 40)))}


def _convolution(draw: np.random.Generator, size: tuple[int, ...], can: Can) -> Stage:
    features, (reads, height, width) = int(draw.choice([2, 3, 4, 6])), size
    groups = reads if can.groups and features % reads == 0 and draw.integers(4) == 0 else 1
    kernel = (int(draw.integers(1, min(height, 3) + 1)), int(draw.integers(1, min(width, 3) + 1)))
    kernel = kernel if can.oblong_kernels else (min(kernel),) * 2
    dilation = 2 if can.dilation and 2 * max(kernel) < min(height, width) and draw.integers(4) == 0 else 1
    padding = int(draw.integers(0, 2)) if can.padding else 0
    rows, columns = (n + 2 * padding - dilation * (k - 1) for n, k in zip(size[1:], kernel, strict=True))
    pool = None
    if can.pools and min(rows, columns) >= 2 and draw.integers(2) == 0:
        pool = (str(draw.choice(can.pools)), 2)
    return Stage(
        draw.integers(-6, 8, (features, reads // groups, *kernel)).astype(np.float32),
        stride=1 if pool else int(draw.integers(1, 3)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        pool=pool,
        **_common(draw, features, reads // groups * kernel[0] * kernel[1], can.bare_convolutions),
    )


def _linear(draw: np.random.Generator, size: tuple[int, ...]) -> Stage:
    features, reads = int(draw.integers(2, 11)), int(np.prod(size))
    weight = draw.integers(-6, 8, (features, reads)).astype(np.float32)
    return Stage(weight, is_flattened=len(size) > 1, **_common(draw, features, reads))


def _after(stage: Stage, size: tuple[int, ...]) -> tuple[int, ...]:
    if stage.is_linear:
        return (len(stage.weight),)
    spans = [stage.dilation * (k - 1) + 1 for k in stage.weight.shape[2:]]
    rows, columns = (
        (n + 2 * stage.padding - span) // stage.stride + 1 for n, span in zip(size[1:], spans, strict=True)
    )
    return len(stage.weight), rows, columns


def _pooled(stage: Stage, size: tuple[int, ...]) -> tuple[int, ...]:
    if stage.pool is None:
        return size
    return size[0], size[1] // stage.pool[1], size[2] // stage.pool[1]
