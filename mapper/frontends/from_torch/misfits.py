"""Layers that take another number of features or values than reaches them, and the change that mends it."""

from __future__ import annotations

from typing import Any

from torch import nn

from mapper.asking import INPUT_SHAPE, spoken
from mapper.frontends.from_torch.values import MisfitError, Signal
from mapper.operations import Shape
from mapper.wording import counted

__all__ = ["misfit", "misfit_of_norm"]


def misfit(module: Any, signal: Signal, input_shape: Shape | None) -> MisfitError | None:
    """Why the weights of a module cannot read a signal; None if they can.

    Parameters
    ----------
    module
        An `nn.Conv2d` or `nn.Linear`.
    input_shape
        (features, height, width) of the network's input where the signal is it; None where layers make it.
    """
    if isinstance(module, nn.Linear):
        return _of_values(module, signal, input_shape)
    got, takes = "x".join(map(str, signal.dims)), int(module.in_channels)
    is_map = signal.dims == tuple(signal.shape)
    if len(signal.dims) == 3 and not is_map:
        problem = f"reads a map of {got} that was made of {signal.shape}: a spike keeps its feature and place"
        return MisfitError(problem, "Convolve before flattening, or keep linear layers behind the first one")
    if not is_map:
        problem = f"takes a map of {counted(takes, 'feature')}, and gets {got} values in a row"
        return MisfitError(problem, "Convolve before flattening")
    arriving = signal.shape.features
    if arriving == takes:
        return None
    problem = f"takes {counted(takes, 'feature')}, and gets {arriving}, of a map of {got}"
    steps = [*_shapes(takes, input_shape), *_convolution(module, arriving)]
    steps += [] if input_shape else [f"let what is before it give {takes}"]
    return MisfitError(problem, _either(steps))


def misfit_of_norm(kind: str, takes: int, shape: Shape, dims: tuple[int, ...]) -> MisfitError:
    """Why a batch norm cannot read currents, of as many dimensions as it takes or not."""
    got = "x".join(map(str, dims))
    fitting = "BatchNorm1d" if len(dims) == 1 else "BatchNorm2d"
    of = " in a row" if kind == "BatchNorm1d" else ""
    problem = f"takes {counted(takes, 'feature')}{of}, and gets {got}"
    return MisfitError(problem, f"Write {fitting}({shape.features})")


def _of_values(module: nn.Linear, signal: Signal, input_shape: Shape | None) -> MisfitError | None:
    got, takes, arriving = "x".join(map(str, signal.dims)), int(module.in_features), signal.shape.size
    if len(signal.dims) == 1 and arriving == takes:
        return None
    written = f"Linear({arriving}, {module.out_features})"
    if len(signal.dims) == 1:
        steps = [f"write {written}", *([] if input_shape else [f"let what is before it give {takes}"])]
        if input_shape is None:
            steps.append(f"check {INPUT_SHAPE}, from which the sizes of all maps follow")
        return MisfitError(f"takes {counted(takes, 'value')}, and gets {arriving}", _either(steps))
    problem = f"takes {counted(takes, 'value')} in a row, and gets a map of {got}, which has {arriving}"
    change = "" if arriving == takes else f" and write {written}"
    return MisfitError(problem, f"Put nn.Flatten() before it{change}")


def _convolution(module: Any, arriving: int) -> list[str]:
    """The convolution that reads so many features, if only that number must change."""
    if arriving % module.groups:
        return []
    rows, columns = module.kernel_size
    kernel = str(rows) if rows == columns else f"({rows}, {columns})"
    is_plain = (module.groups, module.stride, module.padding, module.dilation) == (1, (1, 1), (0, 0), (1, 1))
    more = "" if is_plain and module.bias is not None else ", ..."
    return [f"write Conv2d({arriving}, {module.out_channels}, {kernel}{more})"]


def _shapes(takes: int, given: Shape | None) -> list[str]:
    """The shape of the input that has so many features: with the axes as they may be meant."""
    if given is None:
        return []
    is_last = given.width == takes != given.features
    shape = (given.width, given.features, given.height) if is_last else (takes, given.height, given.width)
    typed = spoken(command=",".join(map(str, shape)), python=str(shape))
    return [f"Give {INPUT_SHAPE.to(typed, typed)}{', features first' if is_last else ''}"]


def _either(steps: list[str]) -> str:
    text = ", or ".join(steps)
    return text[:1].upper() + text[1:]
