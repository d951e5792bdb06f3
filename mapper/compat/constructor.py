"""What a `DynapcnnNetwork` is made with, in the two orders that scripts write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from torch import nn

from mapper.errors import Finding, OptionsError
from mapper.references import whole_number

__all__ = ["JUDGED", "LEFT_OUT", "Arguments", "LeftOut", "Shape3", "samples_and_steps"]

Shape3 = tuple[int, int, int]

# Of a `DynapcnnNetwork`, arguments with words of their own for what is wrong with them.
JUDGED = (
    "snn", "dvs_input", "discretize", "semantics", "batch_size", "weight_rescaling_fn", "relu_as_if",
)  # fmt: skip


class LeftOut(Enum):
    """The value of an argument that nobody gave."""

    LEFT_OUT = "left out"


LEFT_OUT = LeftOut.LEFT_OUT


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a `DynapcnnNetwork` is made with, beside the module and its input shape."""

    dvs_input: bool | LeftOut | None
    discretize: bool
    batch_size: int | None
    weight_rescaling_fn: Callable[[Sequence[float]], float] | None

    def with_positions(self, more: Sequence[Any]) -> Arguments:
        """These arguments, and those given by position in the documented order or in that of sinabs 3.1.

        Raises
        ------
        OptionsError
            Both orders are possible, or too many were given, or one is given twice.
        """
        if not more:
            return self
        documented = ("dvs_input", "discretize")
        newer = ("batch_size", "dvs_input", "discretize", "weight_rescaling_fn")
        first = more[0]
        step = "Write the names: batch_size=..., dvs_input=..., discretize=..."
        is_flag = isinstance(first, bool | np.bool_)
        if first is None and len(more) == 2:
            problem = "None may be dvs_input, or batch_size as in sinabs 3.1"
            raise OptionsError(Finding("third argument", problem, next_step=step))
        names = documented if is_flag or (first is None and len(more) == 1) else newer
        if len(more) > len(names):
            problem = "more than DynapcnnNetwork takes by position"
            raise OptionsError(Finding("arguments", problem, len(more) + 2, len(names) + 2, "", step))
        default = Arguments(LEFT_OUT, True, None, None)
        twice = [name for name in names[: len(more)] if getattr(self, name) is not getattr(default, name)]
        if twice:
            raise OptionsError(Finding(twice[0], "is given by position and by name", next_step=step))
        return replace(self, **dict(zip(names, more, strict=False)))

    def checked(self) -> Arguments:
        """The same with plain types.

        Raises
        ------
        OptionsError
            A batch size below 1, flags that are none, a rescaling that is no function.
        """
        size = None if self.batch_size is None else whole_number(self.batch_size)
        if self.batch_size is not None and (size is None or size < 1):
            raise OptionsError(Finding("batch_size", "must be a whole number", self.batch_size, ">= 1"))
        for name in ("dvs_input", "discretize"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_ | LeftOut) and (
                value is not None or name == "discretize"
            ):
                raise OptionsError(Finding(name, "must be True or False", value))
        rescaling = self.weight_rescaling_fn
        if rescaling is not None and not callable(rescaling):
            step = "Give a function from a list of factors to one of them, as max, or None"
            raise OptionsError(
                Finding("weight_rescaling_fn", "must be a function", rescaling, next_step=step)
            )
        flag = self.dvs_input
        flag = bool(flag) if isinstance(flag, bool | np.bool_) else flag
        return replace(self, batch_size=size, discretize=bool(self.discretize), dvs_input=flag)


def samples_and_steps(snn: nn.Module) -> tuple[int | None, int | None]:
    """(batch size, time steps of a sample), one of them, as the spiking layers state it; else (1, None)."""
    for name in ("batch_size", "num_timesteps"):
        stated = {getattr(module, name, None) for module in snn.modules()}
        sizes = {size for size in map(whole_number, stated) if size is not None and size > 0}
        if len(sizes) == 1:
            return (sizes.pop(), None) if name == "batch_size" else (None, sizes.pop())
    return 1, None
