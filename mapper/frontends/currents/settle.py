"""Drafts of sums whose shapes are not known yet: shapes first, sums then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mapper.errors import Finding, NetworkError, ShapeError, UnsupportedLayerError
from mapper.frontends.currents.branch import Branch, Joined
from mapper.frontends.currents.join import joined
from mapper.frontends.inference import LayerDraft
from mapper.network import Edge, Input, Layer
from mapper.operations import Convolution, Linear, Neuron, Pool, Shape, shape_after
from mapper.wording import titled

__all__ = ["JointDraft", "settle"]


@dataclass(frozen=True, slots=True, eq=False)
class JointDraft:
    """A layer of several branches before any shape is known.

    Attributes
    ----------
    branches
        Each with its own edges.
    neuron
        What integrates the sum of their currents, or None.
    """

    name: str
    branches: tuple[Branch, ...]
    neuron: Neuron | None = None


def settle(
    inputs: Sequence[Input], drafts: Sequence[LayerDraft | JointDraft], edges: Sequence[Edge]
) -> Joined:
    """All layers, with sums of currents as layers of one kernel, and all edges: what `build_network` takes.

    Parameters
    ----------
    edges
        Into the layers that are no sums.

    Raises
    ------
    UnsupportedLayerError, ShapeError
        As `joined` says, of all sums at once.
    """
    into: dict[str, list[Edge]] = {draft.name: [] for draft in drafts}
    for edge in edges:
        into.get(edge.target, []).append(edge)
    branches = {
        draft.name: draft.branches
        if isinstance(draft, JointDraft)
        else (Branch(draft.name, draft.operation, tuple(into[draft.name]), draft.between),)
        for draft in drafts
    }
    signals = _signals({entry.name: entry.shape for entry in inputs}, branches)
    layers: list[LayerDraft] = []
    added: list[Edge] = []
    notes: list[str] = []
    errors: list[NetworkError] = []
    for draft in drafts:
        if isinstance(draft, LayerDraft):
            layers.append(draft)
            continue
        try:
            sources = [edge.source for branch in draft.branches for edge in branch.edges]
            if any(source not in signals for source in sources):
                problem = "its input shape does not follow from any input"
                raise ShapeError(Finding(f"layer {titled(draft.name)}", problem))
            result = joined(draft.name, draft.branches, draft.neuron, signals)
        except NetworkError as error:
            errors.append(error)
            continue
        layers += result.layers
        added += result.edges
        notes += result.notes
    if errors:
        findings = dict.fromkeys(finding for error in errors for finding in error.findings)
        unsupported = any(isinstance(error, UnsupportedLayerError) for error in errors)
        raise (UnsupportedLayerError if unsupported else ShapeError)(*findings)
    return Joined(tuple(layers), (*edges, *added), tuple(notes))


def _signals(inputs: Mapping[str, Shape], branches: Mapping[str, tuple[Branch, ...]]) -> dict[str, Shape]:
    """Output shapes as far as they follow; one known source gives a map, which cycles need."""
    signals, waiting = dict(inputs), list(branches)
    while waiting:
        left = []
        for name in waiting:
            shapes = (_output(branch, signals) for branch in branches[name])
            shape = next((shape for shape in shapes if shape is not None), None)
            if shape is None:
                left.append(name)
            else:
                signals[name] = shape
        if len(left) == len(waiting):
            break
        waiting = left
    return signals


def _output(branch: Branch, signals: Mapping[str, Shape]) -> Shape | None:
    operation = branch.operation
    known = [edge for edge in branch.edges if edge.source in signals]
    if isinstance(operation, Linear):
        return Shape(operation.out_features, 1, 1) if known else None
    if not known or (operation is None and len(known) < len(branch.edges)):
        return None
    pools = tuple(step for step in branch.between if isinstance(step, Pool))
    try:
        arriving = [(edge, shape_after(signals[edge.source], edge.path)) for edge in known]
        features = max(edge.feature_offset + shape.features for edge, shape in arriving)
        shape = arriving[0][1]._replace(features=features)
        if isinstance(operation, Convolution):
            shape = Layer(branch.name, shape, operation).output_shape
        return shape_after(shape, pools)
    except ValueError:
        return None
