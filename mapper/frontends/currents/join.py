"""Several branches into one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mapper.errors import Finding, ShapeError
from mapper.frontends.currents.branch import Branch, Joined, addend_of
from mapper.frontends.currents.geometry import one_geometry
from mapper.frontends.currents.kernel import assembled, scale_notes, sum_note
from mapper.operations import Neuron, Shape
from mapper.wording import titled

__all__ = ["joined"]


def joined(
    name: str, branches: Sequence[Branch], neuron: Neuron | None, signals: Mapping[str, Shape]
) -> Joined:
    """The layer whose neurons integrate the sum of all branches.

    It has weights if all branches have, identities aside.

    Parameters
    ----------
    signals
        Output shape of every layer and input that the branches read, by name.

    Raises
    ------
    UnsupportedLayerError
        The branches cannot be brought to one map and one stride.
    ShapeError
        Shapes that do not follow, outputs of different shapes.
    """
    where = f"layer {titled(name)}"
    addends = [addend_of(where, branch, signals) for branch in branches]
    if len({addend.output for addend in addends}) > 1:
        shapes = ", ".join(f"{addend.name} {addend.output}" for addend in addends)
        step = "Give all of them the same number of features and the same map"
        raise ShapeError(
            Finding(where, "currents of different shapes add before its neurons", shapes, next_step=step)
        )
    if any(addend.conv.weight is None for addend in addends):
        addends = [replace(a, conv=replace(a.conv, weight=None, bias=None)) for a in addends]
    addends = one_geometry(name, addends, signals)
    known = dict(signals)
    for addend in addends:
        for layer in addend.passed_on.layers:
            known[layer.name] = addend.output._replace(features=layer.operation.out_features)
    draft, edges = assembled(name, addends, neuron, known)
    passed_on = [addend.passed_on for addend in addends]
    notes = [note for entry in passed_on for note in entry.notes]
    if len(addends) > 1:
        notes += [sum_note(draft, addends, known), *scale_notes(name, addends, known)]
    return Joined(
        (*(layer for entry in passed_on for layer in entry.layers), draft),
        (*(edge for entry in passed_on for edge in entry.edges), *edges),
        tuple(notes),
    )
