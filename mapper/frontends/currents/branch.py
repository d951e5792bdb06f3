"""What adds up, and each addend as a dense convolution of a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from mapper.errors import Finding, ShapeError, UnsupportedLayerError
from mapper.folding import Between, dense, folded
from mapper.frontends.inference import LayerDraft
from mapper.network import Edge, Layer
from mapper.operations import Convolution, Flatten, Linear, Pair, Pool, Shape, shape_after

__all__ = ["Addend", "Branch", "Joined", "addend_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One addend of a current.

    Attributes
    ----------
    name
        What messages call it: the name of its weights, or of the signal of an identity skip.
    operation
        Its weights; None for an identity skip, where each spike adds 1.
    edges
        The signals it reads; offsets as for a layer of its own, targets do not matter. Behind a `Flatten`
        offsets count single values.
    between
        What stands between the weights (or the signal) and the sum, in order. What a spike of an identity
        skip is worth is a `Scale`; see `mapper.folding.feature_scale` for factors by feature.
    features
        Of an identity skip, where its last features get no spikes: how many it has.
    """

    name: str
    operation: Convolution | Linear | None
    edges: tuple[Edge, ...]
    between: tuple[Between, ...] = ()
    features: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A sum of currents as a layer.

    Attributes
    ----------
    layers
        The layer itself last, before it those that pass a part of a signal on to it.
    edges
        All edges into them.
    notes
        What is worth telling.
    """

    layers: tuple[LayerDraft, ...] = ()
    edges: tuple[Edge, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Addend:
    """A branch as a dense convolution of a map.

    Attributes
    ----------
    size, output
        (height, width) of the map it reads; what it adds.
    cost
        What was done to bring it into this form, to compare forms by.
    passed_on
        The layer before it that passes its signal on, if it needs one.
    """

    name: str
    edges: tuple[Edge, ...]
    size: Pair
    conv: Convolution
    output: Shape
    is_identity: bool
    cost: int = 0
    passed_on: Joined = field(default_factory=Joined)

    @property
    def geometry(self) -> tuple[Pair, Pair]:
        """Map and stride; a stride that is never taken does not count, and is 0."""
        rows, columns = (
            0 if n == 1 else stride for stride, n in zip(self.conv.stride, self.output[1:], strict=True)
        )
        return self.size, (rows, columns)


def addend_of(where: str, branch: Branch, signals: Mapping[str, Shape]) -> Addend:
    """The branch as a convolution.

    Parameters
    ----------
    where
        What findings are about.

    Raises
    ------
    UnsupportedLayerError
        Signals of different maps, flattened, or pools where there is no map.
    ShapeError
        Shapes that do not follow.
    """
    edges, shape, flat = _unflattened(where, branch, signals)
    conv, reads = _convolution(where, branch, shape, flat)
    if shape.features > reads:
        area = shape.height * shape.width if flat else 1
        problem = f"the weights of {branch.name} read another number of values than arrive"
        raise ShapeError(Finding(where, problem, shape.features * area, reads * area))
    conv = dense(conv, reads)
    output = Layer(branch.name, shape._replace(features=reads), conv).output_shape
    if min(output) < 1:
        problem = f"the kernel and pools of {branch.name} leave nothing of its map"
        raise ShapeError(Finding(where, problem, f"{shape.height}x{shape.width}"))
    size = (shape.height, shape.width)
    return Addend(branch.name, edges, size, conv, output, branch.operation is None)


def _refuse(where: str, problem: str, step: str, value: object = None) -> NoReturn:
    raise UnsupportedLayerError(Finding(where, problem, value, next_step=step))


def _unflattened(
    where: str, branch: Branch, signals: Mapping[str, Shape]
) -> tuple[tuple[Edge, ...], Shape, bool]:
    """Edges without flattening, what arrives by them as a map, and whether it was flattened."""
    edges: list[Edge] = []
    maps: dict[str, Pair] = {}
    features, flat = 0, False
    for edge in branch.edges:
        kinds = [type(step) for step in edge.path]
        if Flatten in kinds and Pool in kinds[kinds.index(Flatten) :]:
            _refuse(where, f"a flattened signal of {edge.source} is pooled", "Pool first, flatten then")
        path = tuple(step for step in edge.path if not isinstance(step, Flatten))
        try:
            shape = shape_after(signals[edge.source], path)
        except ValueError as error:
            raise ShapeError(Finding(f"{where} (from {edge.source})", str(error))) from None
        flat = flat or Flatten in kinds
        maps[edge.source] = shape[1:]
        area = shape.height * shape.width if Flatten in kinds else 1
        offset, rest = divmod(edge.feature_offset, area)
        if rest:
            _refuse_mixed(where, branch, maps)
        edges.append(replace(edge, path=path, feature_offset=offset))
        features = max(features, offset + shape.features)
    features = max(features, 0 if branch.operation else branch.features)
    if not edges:
        raise ShapeError(Finding(where, f"nothing feeds {branch.name}", next_step="Connect it or remove it"))
    sizes = {*maps.values()}
    if len(sizes) > 1:
        _refuse_mixed(where, branch, maps)
    return tuple(edges), Shape(features, *sizes.pop()), flat


def _refuse_mixed(where: str, branch: Branch, maps: Mapping[str, Pair]) -> NoReturn:
    text = ", ".join(f"{source} {height}x{width}" for source, (height, width) in maps.items())
    problem = f"signals of different maps meet in {branch.name}, and a core reads one"
    _refuse(where, problem, "Pool them to one map, or give each a layer of its own with neurons", text)


def _convolution(where: str, branch: Branch, shape: Shape, flat: bool) -> tuple[Convolution, int]:
    """The branch's weights as a convolution of the map that arrives, and the features they read."""
    operation = branch.operation or _identity(shape, flat)
    try:
        operation = folded(operation, branch.between)
    except ValueError as error:
        _refuse(where, f"{branch.name} {error}", "Leave the pool out")
    weight: Any = operation.weight
    if isinstance(operation, Convolution):
        if flat and shape[1:] != (1, 1):
            _refuse(where, f"{branch.name} convolves a flattened map", "Flatten behind it", shape)
        return operation, shape.features if weight is None else weight.shape[1] * operation.groups
    reads = shape.features
    if weight is not None:
        reads, rest = divmod(weight.shape[1], shape.height * shape.width)
        if rest:
            problem = f"the weights of {branch.name} read another number of values than arrive"
            raise ShapeError(Finding(where, problem, shape.size, weight.shape[1]))
        weight = weight.reshape(operation.out_features, reads, shape.height, shape.width)
    conv = Convolution(
        out_features=operation.out_features,
        kernel=(shape.height, shape.width),
        has_bias=operation.has_bias,
        weight=weight,
        bias=operation.bias,
        declared=operation.declared,
    )
    return conv, reads


def _identity(shape: Shape, flat: bool) -> Convolution | Linear:
    if flat and shape[1:] != (1, 1):
        return Linear(shape.size, weight=np.eye(shape.size, dtype=np.float32))
    weight = np.eye(shape.features, dtype=np.float32)[:, :, None, None]
    return Convolution(shape.features, (1, 1), weight=weight)
