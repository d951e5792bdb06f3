"""Other readings of a NIR source: what could explain spikes that differ from the network as read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from mapper.asking import DT, FIRES_AT, RESET, SOURCE, SPIKE_MODE, V_MIN, Option, names, together
from mapper.frontends import NirOptions
from mapper.frontends.from_nir.origins import ORIGINS

__all__ = ["alternatives"]

# Facts of neurons, by option, and what each can be.
_FACTS: Mapping[Option, tuple[str, ...]] = {
    RESET: ("subtract", "zero"),
    SPIKE_MODE: ("multi", "single"),
    FIRES_AT: ("reached", "above"),
    V_MIN: ("none", "threshold"),
}
_STEPS_S = (1e-4, 1e-3, 1.0)
Wishes = tuple[tuple[Option, Any], ...]


def alternatives(options: NirOptions) -> Iterator[tuple[str, NirOptions]]:
    """(what to ask for, options): single facts first, then frameworks, then all facts."""
    tried: set[NirOptions] = {options}
    # A fact alone answers nothing where nobody says who wrote the file.
    single = () if options.source is None else _one_fact()
    bare = NirOptions()
    for base, wishes in (
        *((options, wishes) for wishes in single),
        *((bare, wishes) for wishes in _frameworks()),
        *((NirOptions(dt=options.dt), wishes) for wishes in _all_facts()),
    ):
        other = replace(base, **{option.written: value for option, value in wishes})
        if other not in tried:
            tried.add(other)
            yield together(*wishes) + _left_out(options, other), other


def _left_out(options: NirOptions, other: NirOptions) -> str:
    """What was asked for and must go so that the words hold."""
    gone = [
        option
        for option in (*_FACTS, DT, SOURCE)
        if getattr(options, option.written) is not None and getattr(other, option.written) is None
    ]
    return f" (and without {names(gone)})" if gone else ""


def _one_fact() -> Iterator[Wishes]:
    for option, values in _FACTS.items():
        for value in values:
            yield ((option, value),)


def _frameworks() -> Iterator[Wishes]:
    for source, origin in ORIGINS.items():
        if origin.has_bound:
            for bound in _FACTS[V_MIN]:
                yield (SOURCE, source), (V_MIN, bound)
        elif origin.r_per_step:
            for step in _STEPS_S:
                yield (SOURCE, source), (DT, step)
        else:
            yield ((SOURCE, source),)


def _all_facts() -> Iterator[Wishes]:
    for values in product(*_FACTS.values()):
        yield tuple(zip(_FACTS, values, strict=True))
