"""Other readings of a NIR source: what could explain spikes that differ from the network as read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from mapper.frontends import NirOptions
from mapper.frontends.from_nir.origins import ORIGINS

__all__ = ["alternatives"]

_OPTIONS = {
    "reset": ("--reset", ("subtract", "zero")),
    "spike_mode": ("--spike-mode", ("multi", "single")),
    "fires_at": ("--fires-at", ("reached", "above")),
    "v_min": ("--v-min", ("none", "threshold")),
}
_STEPS_S = (1e-4, 1e-3, 1.0)


def alternatives(options: NirOptions) -> Iterator[tuple[str, NirOptions]]:
    """(words to add on the command line, options): single facts first, then frameworks, then all facts."""
    tried: set[NirOptions] = {options}
    # A fact alone answers nothing where nobody says who wrote the file.
    single = () if options.source is None else _one_fact(options)
    for words, other in (*single, *_frameworks(), *_all_facts(options)):
        if other not in tried:
            tried.add(other)
            yield words + _left_out(options, other), other


def _left_out(options: NirOptions, other: NirOptions) -> str:
    """What of the command must go so that the words hold."""
    gone = [
        option
        for name, (option, _) in {**_OPTIONS, "dt": ("--dt", ()), "source": ("--from", ())}.items()
        if getattr(options, name) is not None and getattr(other, name) is None
    ]
    return f" (and without {', '.join(gone)})" if gone else ""


def _one_fact(options: NirOptions) -> Iterator[tuple[str, NirOptions]]:
    for name, (option, values) in _OPTIONS.items():
        for value in values:
            yield f"{option} {value}", replace(options, **{name: value})  # type: ignore[arg-type]  # as named


def _frameworks() -> Iterator[tuple[str, NirOptions]]:
    for source, origin in ORIGINS.items():
        bare = NirOptions(source=source)  # type: ignore[arg-type]  # the names are those of the table
        if origin.has_bound:
            for bound in ("none", "threshold"):
                yield f"--from {source} --v-min {bound}", replace(bare, v_min=bound)
        elif origin.r_per_step:
            for step in _STEPS_S:
                yield f"--from {source} --dt {step:g}", replace(bare, dt=step)
        else:
            yield f"--from {source}", bare


def _all_facts(options: NirOptions) -> Iterator[tuple[str, NirOptions]]:
    for values in product(*(values for _, values in _OPTIONS.values())):
        facts = dict(zip(_OPTIONS, values, strict=True))
        words = " ".join(f"{_OPTIONS[name][0]} {value}" for name, value in facts.items())
        yield words, NirOptions(dt=options.dt, **facts)  # type: ignore[arg-type]  # as named
