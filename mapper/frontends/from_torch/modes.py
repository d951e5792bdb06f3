"""Whether a module computes the same in another mode: while gradients are recorded, or while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mapper.frontends.from_torch.rerun import Rerun
from mapper.frontends.from_torch.trace import FAILURES
from mapper.frontends.from_torch.values import entries

__all__ = ["Modes"]


@dataclass(frozen=True, slots=True)
class Modes:
    """One call of a copy of a module, to be made in several modes.

    Attributes
    ----------
    dtype, paths
        As `Rerun` takes them.
    frames
        What forward is given.
    """

    root: nn.Module
    dtype: torch.dtype | None
    paths: tuple[str, ...]
    frames: Sequence[torch.Tensor]

    def differs_with_gradients(self) -> bool:
        """Whether one bit of what its neurons get or give, or of its result, changes with gradients.

        One that cannot run while they are recorded differs not.
        """
        try:
            with torch.enable_grad():
                seen = self._run({})
        except FAILURES:  # the user's code may fail in any way
            return False
        return not _same(seen, self._run({}))

    def differs_in_training(self, flags: Mapping[str, bool]) -> bool:
        """Whether that changes, by more than rounding, with these training flags by module path."""
        try:
            seen = self._run(flags)
        except FAILURES:  # the user's code may fail in any way
            return True
        return not _same(seen, self._run({}), 1e-4)

    def _run(self, training: Mapping[str, bool]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        rerun = Rerun(self.root, self.dtype, self.paths)
        for path, module in rerun.module.named_modules():
            module.training = training.get(path, False)
        call = rerun(self.frames, {})
        seen = [tensor for calls in (call.came, call.gave) for path in calls for tensor in calls[path]]
        results: list[Any] = [value for _, value in entries(call.result, "")]
        return seen + [value.detach() for value in results if isinstance(value, torch.Tensor)]


def _same(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor], share: float = 0.0) -> bool:
    """Whether tensors are equal, up to a share of the largest value in each."""
    if [tensor.shape for tensor in left] != [tensor.shape for tensor in right]:
        return False
    pairs = [(a.double(), b.double()) for a, b in zip(left, right, strict=True) if a.numel()]
    return all(float((a - b).abs().max()) <= share * float(b.abs().max()) for a, b in pairs)
