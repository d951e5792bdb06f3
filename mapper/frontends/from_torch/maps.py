"""Steps that change a map: pools in whatever way they are written, every so many rows, zeros around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from mapper.frontends.from_torch.values import (
    Current,
    MisfitError,
    Part,
    RefusalError,
    Signal,
    Value,
    followed,
    full_shape,
)
from mapper.operations import Pool, shape_after
from mapper.references import whole_number
from mapper.wording import titled

__all__ = ["every", "over_map", "pooled", "surrounded"]

_ON_THE_HOST = {
    "sum": ("sum", "Leave it to the host, which counts the spikes"),
    "average": ("mean", "Leave it to the host; over rows and columns of a map it is a pool: mean((2, 3))"),
}


def pooled(value: Value, pool: Pool | None) -> Value:
    """The value after a pool, or as it is; a pool of currents waits for the neurons.

    Raises
    ------
    MisfitError
        A pool larger than its map, or of something flattened.
    """
    if pool is None:
        return value
    if isinstance(value, Signal):
        return followed(value, pool)
    try:
        shape = shape_after(value.shape, (pool,))
    except ValueError as error:
        raise MisfitError(str(error), "Check the input shape and the pools before it") from None
    if value.dims != tuple(value.shape):
        raise MisfitError("pools flattened currents", "Pool first, flatten then", value.dims)
    return replace(value, shape=shape, dims=tuple(shape), between=(*value.between, pool))


def over_map(kind: Literal["sum", "average"], value: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """A mean or sum over rows, columns or both, which is a pool.

    Raises
    ------
    RefusalError
        Over anything else.
    """
    shape, count = value.shape, len(value.leads)
    given = dim if isinstance(dim, tuple | list) else (dim,) if whole_number(dim) is not None else ()
    axes = {(n + len(full_shape(value)) if n < 0 else n) - count for n in given}
    rows_and_columns = value.dims == (shape.features, shape.height * shape.width) and axes == {1}
    map_dims = tuple(shape[: len(value.dims)]) == value.dims and set(shape[len(value.dims) :]) <= {1}
    if not axes or not (rows_and_columns or (map_dims and axes <= {*range(1, len(value.dims))})):
        name, step = _ON_THE_HOST[kind]
        raise RefusalError(f"{name}: cores only integrate and fire", step)
    size = tuple(shape[n] if n in axes or rows_and_columns else 1 for n in (1, 2))
    pool = None if size == (1, 1) else Pool(kind, (size[0], size[1]), (size[0], size[1]))
    result = pooled(replace(value, dims=tuple(shape)), pool)
    dims = [1 if n in axes else length for n, length in enumerate(value.dims)]
    return replace(result, dims=tuple(n for i, n in enumerate(dims) if keepdim or i not in axes))


def every(value: Value, index: Any) -> Value:
    """Every so many rows and columns of a map, as indexing with steps picks them.

    Raises
    ------
    RefusalError
        Any other part.
    """
    entries, count = list(index if isinstance(index, tuple) else (index,)), len(full_shape(value))
    if entries.count(...) == 1:
        place = entries.index(...)
        entries[place : place + 1] = [slice(None)] * (count - len(entries) + 1)
    entries += [slice(None)] * (count - len(entries))
    steps = [
        entry.step or 1
        for entry in entries
        if isinstance(entry, slice) and entry.start in (None, 0) and entry.stop is None
    ]
    whole = len(steps) == count and value.dims == tuple(value.shape) and {*steps[:-2]} == {1}
    if not whole or min(steps) < 1:
        raise RefusalError("takes a part of a signal", "Give each part a layer of its own")
    return value if {*steps} == {1} else pooled(value, Pool("sum", (1, 1), (steps[-2], steps[-1])))


def surrounded(signal: Value, pad: Any, mode: str = "constant", value: Any = None) -> Value:
    """Zeros around a map, which the convolution behind it takes, or beside the features: places left out.

    Raises
    ------
    RefusalError
        Other padding, or of currents.
    """
    widths = tuple(pad) if isinstance(pad, tuple | list) else (pad,) * 4
    if mode != "constant" or value not in (None, 0):
        kind = mode if mode != "constant" else value
        raise RefusalError("pads with something else than zeros", "Pad with zeros", kind, "zeros")
    if isinstance(signal, Current):
        problem = f"pads the currents of layer {titled(signal.layer)} before its neurons"
        raise RefusalError(problem, "Pad the spikes behind the neurons", instead=replace(signal, sure=False))
    whole = all((whole_number(n) or 0) >= 0 and whole_number(n) is not None for n in widths)
    if len(signal.dims) != 3 or len(widths) not in (2, 4, 6) or not whole:
        problem = "pads something else than rows, columns and features of a map, or crops"
        raise RefusalError(problem, "Pad the map, by numbers from 0", widths, ">= 0")
    left, right, top, bottom, first, last = (*widths, 0, 0, 0, 0)[:6]
    (above, below), (before, behind) = signal.margins
    features, height, width = signal.dims
    return replace(
        signal,
        parts=tuple(Part(part.source, part.path, part.offset + first) for part in signal.parts),
        shape=signal.shape._replace(features=features + first + last),
        dims=(features + first + last, height + top + bottom, width + left + right),
        margins=((above + top, below + bottom), (before + left, behind + right)),
    )
