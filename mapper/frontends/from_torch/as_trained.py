"""A module as its user trained it, on labelled samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mapper.errors import Finding, NetworkError
from mapper.frontends.from_torch.plan import is_of_sinabs, plan_of
from mapper.frontends.from_torch.rerun import Rerun, untouched
from mapper.frontends.from_torch.trace import FAILURES
from mapper.frontends.from_torch.weights import with_weights

__all__ = ["AsTrained"]

# Beside sinabs, whose neurons are a StatefulLayer each.
_FRAMEWORKS = {"snntorch", "spikingjelly", "norse"}


class AsTrained:
    """A module that answers samples, and stays as it is.

    A module without spiking neurons has no time: it is shown one frame a sample, an image or the mean of the
    steps. Others get the steps, and their outputs are added up.

    Parameters
    ----------
    weights
        A file with a state dict, or None.
    """

    def __init__(self, module: nn.Module, weights: str | Path | None = None) -> None:
        self._module, self._weights = module, weights
        self._neurons = [path for path, entry in module.named_modules() if _is_neuron(entry)]
        self.is_analog = not self._neurons

    def answers(self, rasters: Sequence[NDArray[Any]], frames: Sequence[NDArray[Any]]) -> list[int]:
        """The class of each sample, the first of equals; -1, no answer, where all outputs are 0.

        Raises
        ------
        NetworkError
            The module cannot be run so, with the reason.
        """
        failed: list[BaseException] = []
        for axes in (1, 2):
            try:
                with self._ready():
                    return list(self._of_frames(frames) if self.is_analog else self._of_steps(rasters, axes))
            # The user's code may fail in any way, and sys.exit there is no end of ours.
            except FAILURES as error:
                failed.append(error)
            if self.is_analog:
                break
        text = " ".join(str(failed[0]).split())[:300] or type(failed[0]).__name__
        step = "Let its forward take a frame, or the steps of one sample, and return one tensor"
        raise NetworkError(
            Finding(type(self._module).__name__, f"cannot be run as trained: {text}", next_step=step)
        )

    @contextmanager
    def _ready(self) -> Iterator[None]:
        weights = nullcontext() if self._weights is None else with_weights(self._module, Path(self._weights))
        with redirect_stdout(sys.stderr), weights, untouched(self._module):
            yield

    def _of_frames(self, frames: Sequence[NDArray[Any]]) -> Iterator[int]:
        given = torch.from_numpy(np.stack(frames).astype(np.float64))
        values = _values(Rerun(self._module, None, ())([given], {}).result, len(frames))
        yield from map(_class, values)

    def _of_steps(self, rasters: Sequence[NDArray[Any]], axes: int) -> Iterator[int]:
        plan = plan_of(self._module, self._neurons, axes)
        fixed = any(
            int(getattr(m, "num_timesteps", 0) or 0) for m in self._module.modules() if is_of_sinabs(m)
        )
        for raster in rasters:
            rerun = Rerun(self._module, None, ())
            # One call for all steps, unless the module wants so many, or one, at a time.
            size = plan.steps if fixed or plan.steps == 1 else len(raster)
            total: Any = 0.0
            for start in range(0, len(raster), size):
                steps = torch.from_numpy(raster[start : start + size].astype(np.float64))
                # All samples of a batch are the same one; the first is looked at.
                batch = steps.expand(plan.samples, *steps.shape)
                given = batch if axes == 2 else batch.flatten(0, 1)
                values = _values(rerun([given], {}).result, plan.samples * len(steps))
                total = total + values[: len(steps)].sum(axis=0)
            yield _class(total)


def _is_neuron(module: nn.Module) -> bool:
    """Whether a module keeps potentials, by the frameworks that are read."""
    kinds = type(module).__mro__
    packages = {str(kind.__module__).partition(".")[0] for kind in kinds}
    is_of_framework = bool(packages & _FRAMEWORKS) and not any(True for _ in module.children())
    return is_of_framework or any(kind.__name__ == "StatefulLayer" for kind in kinds)


def _class(values: Any) -> int:
    return int(values.argmax()) if values.any() else -1


def _values(result: Any, count: int) -> NDArray[Any]:
    """Outputs by frame, whatever their shape."""
    if isinstance(result, tuple | list) and result:
        result = result[0]
    return np.asarray(result.detach().to(torch.float64).numpy()).reshape(count, -1)
