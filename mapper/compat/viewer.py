"""Modules without layers: the sensor alone, configured so that it can be watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mapper.errors import Finding, NetworkError
from mapper.frontends.from_torch.sensor import stage_of
from mapper.network import DvsSettings, Input, Network
from mapper.operations import Shape

__all__ = ["sensor_alone"]

_NOTHING = ("Identity", "Dropout", "Dropout2d", "Flatten")


def sensor_alone(
    module: nn.Module, stage: Any, input_shape: Sequence[int] | None, *, wants_sensor: bool
) -> Network | None:
    """The network of no layers behind the sensor, if the module is none; else None.

    Parameters
    ----------
    stage
        The module's `DVSLayer`, or None.

    Raises
    ------
    NetworkError
        The stage pools, which nothing reads; or neither stage nor sensor is there.
    """
    own = set() if stage is None else set(stage.modules())
    leaves = [m for m in module.modules() if m not in own and not list(m.children()) and m is not module]
    is_bare = not list(module.children()) and type(module) is not nn.Sequential
    if is_bare or any(type(leaf).__name__ not in _NOTHING for leaf in leaves):
        return None
    if stage is None and not wants_sensor:
        return None
    if stage is None and input_shape is None:
        step = "Give input_shape=(features, height, width)"
        raise NetworkError(Finding("network", "does not state its input shape", next_step=step))
    shape, settings, pool = (
        (Shape(*(input_shape or ())), DvsSettings(), None) if stage is None else stage_of(stage)
    )
    if pool is not None:
        problem = "pools the sensor, and no layer reads it"
        raise NetworkError(Finding("DVSLayer", problem, pool.size, (1, 1), next_step="Leave the pool out"))
    return Network(type(module).__name__, (Input("input", shape, settings),), (), (), ())
