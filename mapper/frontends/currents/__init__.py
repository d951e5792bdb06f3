"""Currents that add before a neuron, as one layer: ``neuron(A(x) + B(y))``.

One core computes the sum exactly: its input is the concatenation of x and y, its kernel is [A | B], each
where it has to stand among zeros. An identity skip is a kernel of ones. Where both read the same signal the
kernels simply add. What this needs is one geometry: one map that all of them read, and one stride.

A pool on the way to one of them can go into its kernel. A 1x1 kernel with a stride, on a larger map than the
others', reads every stride-th row and column, which no destination can pick out: a layer of its own passes
these on, spike by spike.
"""

from __future__ import annotations

from mapper.frontends.currents.branch import Branch, Joined
from mapper.frontends.currents.join import joined
from mapper.frontends.currents.settle import JointDraft, settle

__all__ = ["Branch", "Joined", "JointDraft", "joined", "settle"]
