"""Plans as torch modules; each framework brings its own neurons and pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from tests.frameworks.plans import Plan, Stage

__all__ = ["chain"]


def chain(
    plan: Plan,
    neurons: Callable[[float, tuple[int, ...]], nn.Module],
    pools: Mapping[str, Callable[[int], nn.Module]],
    layers: Any = nn,
    sequential: Callable[..., Any] = nn.Sequential,
) -> Any:
    """Weights, neurons and pools one after the other.

    Parameters
    ----------
    neurons
        From a threshold and the shape of the map.
    layers
        Where `Conv2d`, `Linear` and `Flatten` come from.
    """
    parts: list[nn.Module] = []
    for stage, shape in zip(plan.stages, plan.shapes, strict=True):
        parts += [layers.Flatten()] if stage.is_flattened else []
        parts += [_weights(stage, layers), neurons(stage.threshold, shape)]
        parts += [] if stage.pool is None else [pools[stage.pool[0]](stage.pool[1])]
    return sequential(*parts)


def _weights(stage: Stage, layers: Any) -> nn.Module:
    has_bias, (features, reads) = stage.bias is not None, stage.weight.shape[:2]
    if stage.is_linear:
        module = layers.Linear(reads, features, bias=has_bias)
    else:
        module = layers.Conv2d(
            reads * stage.groups, features, tuple(stage.weight.shape[2:]), stride=stage.stride,
            padding=stage.padding, dilation=stage.dilation, groups=stage.groups, bias=has_bias,
        )  # fmt: skip
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(stage.weight))
        if stage.bias is not None:
            module.bias.copy_(torch.as_tensor(stage.bias))
    return module  # type: ignore[no-any-return]  # of a namespace that is given
