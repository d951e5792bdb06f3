"""The self-check every specification passes, and the JSON Schema of the file form's result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hwspec.errors import Finding
from hwspec.schema import ChipSpec, CoreSpec, LayerLimits

__all__ = ["check", "json_schema", "source_of", "unsourced"]

_CORE = re.compile(r"core(?:\[(\d+)(?:\.\.(\d+))?\])?\.(.+)")
_SECTIONS = ("routing", "input", "readout", "monitor")
_CORE_FACTS = (
    *(name for name in CoreSpec.model_fields if name != "limits"),
    *(f"limits.{name}" for name in LayerLimits.model_fields),
)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a resolved specification, as ``mapper chips show --json`` prints it."""
    return ChipSpec.model_json_schema()


def check(spec: ChipSpec) -> tuple[Finding, ...]:
    """Everything that contradicts itself or rests on no stated source; empty for a sound chip."""
    return (
        *_sizes("routing.poolings", spec.routing.poolings),
        *(_sizes("input.poolings", spec.input.poolings) if spec.input else ()),
        *_limits(spec),
        *_identifiers(spec),
        *_sources(spec),
    )


def _sizes(path: str, sizes: tuple[int, ...]) -> Iterator[Finding]:
    if list(sizes) != sorted(set(sizes)) or 1 not in sizes:
        yield Finding(path, "sizes must ascend, be distinct and contain 1", list(sizes))
    odd = [size for size in sizes if size & (size - 1)]
    if odd:
        yield Finding(path, "sizes must be powers of two: coordinates are divided by shifting", odd)


def _limits(spec: ChipSpec) -> Iterator[Finding]:
    for group in spec.core_groups:
        limits, where = group.core.limits, f"core[{group.first}..{group.last}].limits"
        if limits.kernel_size_min > limits.kernel_size_max:
            yield Finding(where, "kernel_size_min exceeds kernel_size_max", limits.kernel_size_min)
        if limits.padding_max >= limits.kernel_size_max:
            yield Finding(where, "padding_max must stay below kernel_size_max", limits.padding_max)
        yield from _sizes(f"{where}.strides", limits.strides)


def _identifiers(spec: ChipSpec) -> Iterator[Finding]:
    if any(group.first > group.last for group in spec.core_groups):
        yield Finding("core", "a range of ids runs backwards")
    stages = {
        "readout.destination_id": spec.readout.destination_id if spec.readout else None,
        "input.stage_id": spec.input.stage_id if spec.input else None,
    }
    known = [value for value in stages.values() if value is not None]
    if len(known) != len(set(known)):
        yield Finding(" and ".join(stages), "two stages share one destination number", known[0])
    if spec.emission is None:
        return
    for path, value in stages.items():
        if value is not None and value < spec.core_count:
            yield Finding(path, "the number is also a core's", value, f">= {spec.core_count}")
    if spec.core_count > spec.emission.destination_id_max + 1:
        bound = f"<= {spec.emission.destination_id_max + 1}"
        yield Finding("core", "more cores than destination numbers", spec.core_count, bound)


def unsourced(spec: ChipSpec) -> Iterator[str]:
    """Paths of the facts that no entry of the table of sources speaks of; of equal cores, the outer two."""
    entries = {pattern: _CORE.fullmatch(pattern) for pattern in spec.sources}
    plain = [pattern for pattern, core in entries.items() if core is None]
    for section in _SECTIONS:
        part = getattr(spec, section)
        if part is not None:
            yield from _left([f"{section}.{name}" for name in type(part).model_fields], plain)
    of_cores = [core for core in entries.values() if core is not None]
    for group in spec.core_groups:
        for core_id in {group.first, group.last}:
            tails = [core[3] for core in of_cores if _is_of(core, core_id)]
            yield from (f"core[{core_id}].{name}" for name in _left(_CORE_FACTS, tails))


def _left(facts: Iterable[str], patterns: Sequence[str]) -> Iterator[str]:
    named = set(patterns)
    return (name for name in facts if name not in named and not any(_tail(entry, name) for entry in named))


def _sources(spec: ChipSpec) -> Iterator[Finding]:
    for path in unsourced(spec):
        yield Finding(f"sources.{path}", "no source is named for this fact", next_step="Add it to [sources]")


def source_of(sources: Mapping[str, Any], path: str) -> str | None:
    """The most specific entry that speaks of a fact: a longer field path, then a shorter range of cores."""
    patterns = [pattern for pattern in sources if _matches(pattern, path)]
    return max(patterns, key=_specificity, default=None)


def _specificity(pattern: str) -> tuple[bool, int, bool, int]:
    core = _CORE.fullmatch(pattern)
    width = int(core[2] or core[1]) - int(core[1]) if core and core[1] else 10**9
    depth = (core[3] if core else pattern).count(".")
    return (not pattern.endswith("*"), depth, width < 10**9, -width)


def _matches(pattern: str, path: str) -> bool:
    pattern_core, path_core = _CORE.fullmatch(pattern), _CORE.fullmatch(path)
    if (pattern_core is None) != (path_core is None):
        return False
    if pattern_core is None or path_core is None:
        return _tail(pattern, path)
    return _is_of(pattern_core, int(path_core[1])) and _tail(pattern_core[3], path_core[3])


def _is_of(pattern: re.Match[str], core_id: int) -> bool:
    """Whether an entry about cores is about this one."""
    first = pattern[1]
    return first is None or int(first) <= core_id <= int(pattern[2] or first)


def _tail(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith(".*") and path.startswith(pattern[:-1]))
