"""From drafts without input shapes to a network: shapes follow from the inputs and the edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mapper.errors import Finding, ShapeError
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.operations import (
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Linear,
    Neuron,
    Scale,
    Shape,
    shape_after,
)
from mapper.reading import Reading
from mapper.wording import counted

__all__ = ["LayerDraft", "build_network", "left_to_host"]


@dataclass(frozen=True, slots=True, eq=False)
class LayerDraft:
    """A layer before its input shape is known.

    Attributes
    ----------
    in_features
        Input features as the weights state them, or None.
    """

    name: str
    operation: Convolution | Linear
    between: tuple[BatchNorm | Dropout | Scale, ...] = ()
    neuron: Neuron | None = None
    in_features: int | None = None

    @property
    def title(self) -> str:
        """What messages call it, as `Layer.title`."""
        return Layer(self.name, Shape(1, 1, 1), self.operation).title


def build_network(
    name: str,
    inputs: Sequence[Input],
    drafts: Sequence[LayerDraft],
    edges: Sequence[Edge],
    outputs: Sequence[Output],
    notes: Sequence[str] = (),
    *,
    delays_stated: frozenset[int] = frozenset(),
) -> Network:
    """Infer every layer's input shape and every edge's delay.

    An edge to the same or an earlier layer is delayed by one step unless its index is in
    `delays_stated`. A linear layer flattens what reaches it unflattened.

    Raises
    ------
    NetworkError, ShapeError
        Names or shapes that do not follow, everything at once.
    """
    position = {entry.name: -1 for entry in inputs} | {d.name: n for n, d in enumerate(drafts)}
    timed = []
    for n, edge in enumerate(edges):
        back = position.get(edge.source, -1) >= position.get(edge.target, len(drafts))
        timed.append(edge if n in delays_stated else replace(edge, delay_steps=int(back)))
    maps = _infer(inputs, drafts, timed)
    linear = {draft.name for draft in drafts if isinstance(draft.operation, Linear)}
    ready = [_flattened(edge, maps[edge.target]) if edge.target in linear else edge for edge in timed]
    layers = []
    for draft in drafts:
        shape = maps[draft.name]
        shape = Shape(shape.size, 1, 1) if draft.name in linear else shape
        layers.append(Layer(draft.name, shape, draft.operation, draft.between, draft.neuron))
    return Network(name, tuple(inputs), tuple(layers), tuple(ready), tuple(outputs), tuple(notes))


def left_to_host(outputs: Sequence[Output]) -> list[Reading]:
    """Factors behind the last layers: a core sends spikes, and whoever reads them multiplies."""
    factors = {o.name: math.prod(s.factor for s in o.path if isinstance(s, Scale)) for o in outputs}
    return [
        Reading(f"output {name}", f"a factor of {factor:g} is left to the host", "a core sends spikes")
        for name, factor in factors.items()
        if factor != 1
    ]


def _flattened(edge: Edge, shape: Shape) -> Edge:
    """An edge into a linear layer, its offset counted in values of the flattened map."""
    if any(isinstance(step, Flatten) for step in edge.path):
        return edge
    offset = edge.feature_offset * shape.height * shape.width
    return replace(edge, path=(*edge.path, Flatten()), feature_offset=offset)


def _infer(inputs: Sequence[Input], drafts: Sequence[LayerDraft], edges: Sequence[Edge]) -> dict[str, Shape]:
    """The map that reaches each layer, before any flattening that the edges do not state."""
    signals = {entry.name: entry.shape for entry in inputs}
    incoming: dict[str, list[Edge]] = {draft.name: [] for draft in drafts}
    for edge in edges:
        incoming.get(edge.target, []).append(edge)
    widths = {draft.name: draft.operation.out_features for draft in drafts}
    shapes: dict[str, Shape] = {}
    findings: list[Finding] = []
    waiting = list(drafts)
    # Sweep until nothing new follows. One known source gives the map; features of the others are known
    # from their operations, so that cycles need no second look.
    while waiting:
        left = []
        for draft in waiting:
            shape = _shape_of(draft, incoming[draft.name], signals, widths, findings)
            if shape is None:
                left.append(draft)
            else:
                shapes[draft.name], signals[draft.name] = shape, _output(draft, shape)
        if findings:
            raise ShapeError(*dict.fromkeys(findings))
        if len(left) == len(waiting):
            raise ShapeError(
                *(Finding(f"layer {d.title}", "its input shape does not follow from any input") for d in left)
            )
        waiting = left
    return shapes


def _output(draft: LayerDraft, shape: Shape) -> Shape:
    return Layer(draft.name, shape, draft.operation).output_shape


def _shape_of(
    draft: LayerDraft,
    edges: Sequence[Edge],
    signals: Mapping[str, Shape],
    widths: Mapping[str, int],
    findings: list[Finding],
) -> Shape | None:
    """Map that reaches a draft; None while no source is known."""
    if not edges:
        findings.append(
            Finding(f"layer {draft.title}", "nothing feeds it", next_step="Connect it or remove it")
        )
        return None
    known = [edge for edge in edges if edge.source in signals]
    if not known:
        return None
    arriving = []
    for edge in known:
        try:
            arriving.append((edge, shape_after(signals[edge.source], edge.path)))
        except ValueError as error:
            findings.append(Finding(f"layer {draft.title} (from {edge.source})", str(error)))
    if not arriving:
        return None
    features = max(
        *(edge.feature_offset + shape.features for edge, shape in arriving),
        *(edge.feature_offset + widths.get(edge.source, 0) for edge in edges if edge.source not in signals),
        0,
    )
    height, width = arriving[0][1][1:]
    stated = draft.in_features if isinstance(draft.operation, Convolution) or height * width == 1 else None
    shape = Shape(stated or features, height, width)
    # What comes around a cycle is known by its number of features alone, which a flattening multiplies.
    is_whole = len(arriving) == len(edges)
    if stated is not None and (features > stated or (is_whole and features < stated)):
        problem = f"its weights read {counted(stated, 'feature')}, and {features} arrive"
        findings.append(Finding(f"layer {draft.title}", problem))
    if isinstance(draft.operation, Convolution) and min(_output(draft, shape)) < 1:
        extent = "x".join(map(str, draft.operation.extent))
        size = f"{shape.height}x{shape.width}"
        findings.append(
            Finding(f"layer {draft.title}", f"a kernel of {extent} leaves nothing of a map of {size}")
        )
        return None
    return shape
