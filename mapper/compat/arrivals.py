"""Spike by spike, as far as one can train through it: a step's spikes in parts, one behind the other.

On the chip a spike that arrives is added, compared and answered before the next one. A time step that adds up
all of its spikes first sees neither the potentials between them nor that an arrival brings one spike at most.
Here a step is cut into parts, and the spikes that enter the network go through it part by part; in a part a
neuron spikes no more often than spikes reach it. With as many parts as spikes enter in a step, layers that
read the input compute what the event simulator does, but for several spikes of a pixel. Taken for granted is:

- Spikes enter by feature, row and column, those of a pixel together. All that one part causes is over before
  the next; within a part, a layer adds up what reaches it. The chip's order of spikes is no part of it.
- A neuron is compared when spikes reach it. Biases are added where a step begins, and the bound holds then.
- A spike over a cycle arrives a part later. Potentials are not of 16 bits; there are no pieces and relays.

It is a stand-in: what a configuration does, the event simulator says (`mapper verify NETWORK --data DATA`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from mapper.errors import Finding, NetworkError, OptionsError
from mapper.references import whole_number

__all__ = ["PARTS", "Arrivals", "Semantics", "checked_parts", "checked_semantics", "in_parts", "in_steps"]

Semantics: TypeAlias = Literal["steps", "events"]
PARTS = 32
"""Of a step: digits have 19 spikes in one, 41 at most."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What reaches neurons beside currents.

    Attributes
    ----------
    counts
        Spikes that reach each neuron, by frame, (frames, 1, height, width).
    bias
        By feature; None for none.
    begins
        For each frame of a sample whether a time step begins with it.
    """

    counts: torch.Tensor
    bias: torch.Tensor | None
    begins: Sequence[bool]


def checked_semantics(given: object) -> Semantics:
    """The word, if it is one.

    Raises
    ------
    OptionsError
        It is none.
    """
    for word in get_args(Semantics):
        if isinstance(given, str) and given == word:
            return word  # type: ignore[no-any-return]  # one of its own words
    step = '"steps" adds up a time step, "events" takes its spikes one after the other'
    raise OptionsError(Finding("semantics", "is unknown", given, ", ".join(get_args(Semantics)), "", step))


def checked_parts(given: object) -> int:
    """The number of parts, if it is one.

    Raises
    ------
    OptionsError
        It is none.
    """
    parts = whole_number(given)
    if parts is None or parts < 1:
        step = "As many as spikes enter in a step are as good as more"
        raise OptionsError(Finding("parts", "must be a number of parts of a step", given, ">= 1", "", step))
    return parts


def in_parts(frames: torch.Tensor, parts: int) -> torch.Tensor:
    """Every step's spikes shared out over its parts, as evenly as they can be, in the order of the map.

    Parameters
    ----------
    frames
        Spike counts, (batch, time, features, height, width).

    Returns
    -------
    torch.Tensor
        (batch, time * parts, features, height, width); no gradient passes to the frames.

    Raises
    ------
    NetworkError
        The frames are no spike counts.
    """
    counts = frames.detach().to(torch.float64)
    if bool(((counts < 0) | (counts != counts.round())).any()):
        step = 'Give whole numbers from 0, or set semantics to "steps"'
        low, high = float(counts.min()), float(counts.max())
        raise NetworkError(
            Finding("input", "spikes one after the other are counted", (low, high), "", "", step)
        )
    flat = counts.flatten(2)
    ends = flat.cumsum(2)
    bounds = torch.arange(parts + 1, device=flat.device, dtype=flat.dtype)[:, None] * ends[:, :, None, -1:]
    bounds = (bounds / parts).floor()
    begin, end = (ends - flat)[:, :, None], ends[:, :, None]
    shared = torch.minimum(end, bounds[:, :, 1:]) - torch.maximum(begin, bounds[:, :, :-1])
    return shared.clamp(min=0).to(frames.dtype).reshape(len(frames), -1, *frames.shape[2:])


def in_steps(spikes: torch.Tensor, parts: int) -> torch.Tensor:
    """The spikes of (batch, time * parts, ...) by step, (batch, time, ...)."""
    return spikes.reshape(len(spikes), -1, parts, *spikes.shape[2:]).sum(2)
