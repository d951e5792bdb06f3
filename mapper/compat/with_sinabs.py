"""Neurons that sinabs' own tools take for theirs: its hooks look for its classes."""

from __future__ import annotations

from sinabs.layers import SqueezeMixin, StatefulLayer
from torch import nn

from mapper.compat.neurons import IntegrateAndFire

__all__ = ["SqueezedNeurons"]


class SqueezedNeurons(IntegrateAndFire, SqueezeMixin, StatefulLayer):  # type: ignore[misc]  # sinabs has no types
    """`IntegrateAndFire`, found by sinabs' `SNNAnalyzer` and hooks; all that it does is its first class's."""

    __repr__ = nn.Module.__repr__
    # `StatefulLayer` copies itself by the arguments of its constructors, which are others here.
    __deepcopy__ = None
