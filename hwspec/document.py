"""From the form people write (core ranges, chip-wide defaults) to a validated `ChipSpec`.

A *draft* is the chip as plain data with one dictionary a core; chip files, variants and overrides all
end here, so that every specification passes the same validation.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError

from hwspec.check import check, unsourced
from hwspec.errors import Finding, SpecError
from hwspec.inert import quoted
from hwspec.schema import ChipSpec, CoreSpec, InputSpec, LayerLimits, ReadoutSpec, RoutingSpec, SourceNote

__all__ = ["Draft", "build", "draft_of", "draft_of_table", "id_range", "meant", "number"]

_RANGE = re.compile(r"\s*(\d{1,7})\s*(?:\.\.\s*(\d{1,7})\s*)?")
# Memories are counted in powers of two: K is no thousand here, whoever writes it.
_WORDS = re.compile(r"([0-9]{1,9})\s*(?:([Kk])|(M))(?:i|iB)?")
CORES_MAX = 1_000_000
# In words of those who write chips, what the validator says in its own.
_PROBLEMS = {
    "extra_forbidden": "no such field",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "too_short": "must not be empty",
}
_WITHOUT_CORES = (
    'For a chip that is another one with changes begin with extends = "speck2f"; a whole one states its '
    'cores as in [core."0..8"]'
)
# What a chip's fields are called in files, where they have another name.
_FILE_NAMES = {"core_groups": "core"}


@dataclass
class Draft:
    """A chip while it is edited: `cores` hold every field, `head` everything else."""

    head: dict[str, Any]
    cores: list[dict[str, Any]]


def id_range(text: str) -> range | None:
    """The ids of "3" or "0..2" (inclusive); None for anything else."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    return range(first, last + 1) if first <= last < CORES_MAX else None


def number(value: object) -> object:
    """65536 for "64Ki", "64K" or "64KiB", 2097152 for "2Mi"; anything else as it is."""
    match = _WORDS.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) * (1 << 10 if match[2] else 1 << 20) if match else value


def meant(path: str, names: Sequence[str]) -> str:
    """Which field may be meant, as a question: one of these names, or one of another table; else nothing.

    Parameters
    ----------
    names
        Of the fields in the table of the path.
    """
    place, _, last = path.rpartition(".")
    fields = {
        name: f"{place}{name}"
        for place, table in (("core[0].", CoreSpec), ("limits.", LayerLimits), ("routing.", RoutingSpec))
        for name in table.model_fields
        if name != "limits"  # a table of its own
    } | {name: f"{place}.{name}".removeprefix(".") for name in names}
    near = get_close_matches(last, fields, n=1, cutoff=0.75)
    return f"Did you mean {fields[near[0]]}?" if near else ""


def draft_of(spec: ChipSpec) -> Draft:
    """A draft that builds the same specification again."""
    head = spec.model_dump(exclude={"core_groups"})
    # Equal cores share one dictionary: whoever changes a core's fields changes a copy.
    groups = [(group, group.core.model_dump()) for group in spec.core_groups]
    return Draft(head, [core for group, core in groups for _ in range(group.first, group.last + 1)])


def draft_of_table(table: Mapping[str, Any], where: str) -> Draft:
    """A draft from a chip file's table.

    Raises
    ------
    SpecError
        Core ranges with gaps or overlaps, or sections that are not tables.
    """
    head = {key: copy.deepcopy(value) for key, value in table.items() if key not in ("core", "limits")}
    limits, sections = table.get("limits", {}), table.get("core", {})
    if not isinstance(limits, Mapping) or not isinstance(sections, Mapping):
        raise SpecError(
            Finding(f"{where}: core, limits", "must be tables", next_step="See `mapper chips schema`")
        )
    routing = table.get("routing")
    fan_out = routing.get("fan_out") if isinstance(routing, Mapping) else None
    by_id: dict[int, dict[str, Any]] = {}
    findings: list[Finding] = []
    for text, section in sections.items():
        ids = id_range(text)
        if ids is None or not isinstance(section, Mapping):
            example = '[core."0..2"] or [core."3"]'
            findings.append(Finding(f"{where}: core.{text}", "not a range of core ids", text, example))
            continue
        core = {"fan_out": fan_out, **{key: number(value) for key, value in section.items()}}
        own = core.get("limits", {})
        core["limits"] = {**limits, **own} if isinstance(own, Mapping) else own
        for core_id in ids:
            if core_id in by_id:
                findings.append(Finding(f"{where}: core.{text}", "core stated twice", core_id))
                break
            by_id[core_id] = core
    missing = [n for n in range(max(by_id, default=-1) + 1) if n not in by_id]
    if missing:
        findings.append(
            Finding(f"{where}: core", "ids must run from 0 without a gap", f"no core {missing[0]}")
        )
    if findings:
        raise SpecError(*findings)
    return Draft(head, [by_id[n] for n in range(len(by_id))])


def build(
    draft: Draft, where: str, *, default_source: str | None = None, base: ChipSpec | None = None
) -> ChipSpec:
    """Validate a draft in full.

    Parameters
    ----------
    where
        Name of the file or override, for messages.
    default_source
        Source, of evidence class "assumed", for facts the draft names no source for; None refuses them.
    base
        The chip this one is a variant of: its emission section stays only within that chip's limits.

    Raises
    ------
    SpecError
        Every field that is missing, unknown or out of range, and every failed self-check.
    """
    groups: list[dict[str, Any]] = []
    for core_id, core in enumerate(draft.cores):
        if groups and (groups[-1]["core"] is core or groups[-1]["core"] == core):
            groups[-1]["last"] = core_id
        else:
            groups.append({"first": core_id, "last": core_id, "core": core})
    head = {**draft.head, "core_groups": groups}
    head.setdefault("sources", {})
    try:
        spec = ChipSpec.model_validate(head)
    except ValidationError as error:
        raise SpecError(*_findings(error, groups, where)) from None
    if base is not None and spec.emission is not None and not _within(spec, base):
        spec = spec.model_copy(update={"emission": None})
    if default_source is not None:
        spec = _with_default_sources(spec, default_source)
    findings = check(spec)
    if findings:
        raise SpecError(
            *(
                Finding(f"{where}: {f.where}", f.problem, f.value, f.limit, f.unit, f.next_step)
                for f in findings
            )
        )
    return spec


def _with_default_sources(spec: ChipSpec, source: str) -> ChipSpec:
    open_paths = _general(unsourced(spec))
    if not open_paths:
        return spec
    note = SourceNote(evidence="assumed", source=source)
    return spec.model_copy(update={"sources": {**spec.sources, **dict.fromkeys(open_paths, note)}})


def _within(variant: ChipSpec, base: ChipSpec) -> bool:
    """Whether the vendor's objects of the base hold whatever the variant's say."""
    if variant.core_count > base.core_count or not set(variant.routing.poolings) <= set(
        base.routing.poolings
    ):
        return False
    if not (_stage_within(variant.input, base.input) and _readout_within(variant.readout, base.readout)):
        return False
    return all(_core_within(core, base.cores[n]) for n, core in enumerate(variant.cores))


def _stage_within(stage: InputSpec | None, base: InputSpec | None) -> bool:
    if stage is None or base is None:
        return stage is None
    sizes = ((getattr(stage, name), getattr(base, name)) for name in ("height", "width", "fan_out"))
    return set(stage.poolings) <= set(base.poolings) and all(own <= most for own, most in sizes)


def _readout_within(readout: ReadoutSpec | None, base: ReadoutSpec | None) -> bool:
    if readout is None or base is None:
        return readout is None
    windows = set(readout.windows_ticks) <= set(base.windows_ticks)
    same = readout.feature_spacing == base.feature_spacing
    return same and windows and readout.classes_max <= base.classes_max


def _core_within(core: CoreSpec, base: CoreSpec) -> bool:
    pairs = [
        (getattr(core, f), getattr(base, f))
        for f in ("kernel_words", "neuron_words", "bias_words", "fan_out")
    ]
    limits = [name for name in LayerLimits.model_fields if name.endswith(("_max", "_bits"))]
    pairs += [(getattr(core.limits, name), getattr(base.limits, name)) for name in limits]
    square = core.limits.kernel_square or not base.limits.kernel_square
    return square and set(core.limits.strides) <= set(base.limits.strides) and all(a <= b for a, b in pairs)


def _general(paths: Iterable[str]) -> list[str]:
    """Core fields without their ids: a stated path is more specific and keeps its own source."""
    return list(dict.fromkeys(re.sub(r"^core\[[^]]*\]", "core", path) for path in paths))


def _findings(error: ValidationError, groups: list[dict[str, Any]], where: str) -> Iterator[Finding]:
    """Each cause once: what a table lacks together, and what many cores have, which one line says."""
    wrong: list[tuple[int | None, str, str, str | None, str]] = []
    lacking: dict[tuple[int | None, str], list[str]] = {}
    for entry in error.errors(include_url=False, include_context=False):
        location, kind, value = [str(part) for part in entry["loc"]], entry["type"], entry.get("input")
        if location == ["core_groups"] and groups:
            continue  # none is left of those that are wrong, each of which is told
        core = int(location[1]) if len(location) > 1 and location[0] == "core_groups" else None
        path = location if core is None else location[3:]
        if location == ["core_groups"] or kind == "missing":
            lacking.setdefault((core, ".".join(path[:-1])), []).append(_FILE_NAMES.get(path[-1], path[-1]))
            continue
        problem = _PROBLEMS.get(kind) or entry["msg"].removeprefix("Value error, ")
        step = ""
        if kind == "extra_forbidden":
            place = [*([] if core is None else [f"core[{_ids(groups[core])}]"]), *path]
            step = meant(".".join(place), _siblings(place))
        text = None if isinstance(value, dict | list | tuple) else quoted(value)
        wrong.append((core, ".".join(path), re.sub("^Input should", "should", problem), text, step))
    for (core, table), names in lacking.items():
        *others, last = names
        listed = f"{', '.join(others)} and {last}" if others else last
        step = _WITHOUT_CORES if "core" in names else ""
        wrong.append((core, table, f"lacks {listed}", None, step))
    alike: dict[tuple[str, str, str | None, str], list[int]] = {}
    for core, field, problem, text, step in wrong:
        alike.setdefault((field, problem, text, step), []).extend([] if core is None else [core])
    for (field, problem, text, step), cores in alike.items():
        if not cores or field != "fan_out" or ("routing.fan_out", problem, text, step) not in alike:
            spot = _place(field, cores, groups)
            yield Finding(f"{where}: {spot}" if spot else where, problem, text, next_step=step)


def _ids(first: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> str:
    start, end = first["first"], (last or first)["last"]
    return f"{start}" if start == end else f"{start}..{end}"


def _place(path: str, cores: Sequence[int], groups: Sequence[Mapping[str, Any]]) -> str:
    """A field, of the chip or of the cores of these groups; what all cores share stands in [limits]."""
    if not cores or (path.startswith("limits.") and len(cores) == len(groups) > 1):
        return path
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    end = f".{path}" if path else ""
    return ", ".join(f"core[{_ids(groups[run[0]], groups[run[-1]])}]{end}" for run in runs)


def _siblings(location: Sequence[str]) -> tuple[str, ...]:
    """Names of the fields beside one that there is none of."""
    table: Any = CoreSpec if location[0].startswith("core[") else ChipSpec
    for name in location[1 if table is CoreSpec else 0 : -1]:
        field = getattr(table, "model_fields", {}).get(name)
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        table = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
    return tuple(getattr(table, "model_fields", ()))
