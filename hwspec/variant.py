"""Chips that do not exist yet: changed facts, added and removed cores, always validated anew.

An override is ``PATH=VALUE``: ``core[5].kernel_words=131072``, ``core[0..2].neuron_words=64Ki``,
``routing.fan_out=4``, ``limits.output_width_max=128`` (all cores), ``input=none``. ``+core[9..12]=core[5]``
adds cores like core 5 at the end, ``-core[8]`` removes one; later ids move down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hwspec.asking import Option
from hwspec.document import CORES_MAX, Draft, build, draft_of, id_range, meant, number
from hwspec.errors import Finding, SpecError
from hwspec.schema import ChipSpec, CoreSpec
from hwspec.toml_text import toml_of

__all__ = ["SET", "apply_overrides", "edit"]

SET = Option("--set", "overrides")
"""What changes are called that are asked for."""

_CORE_PATH = re.compile(r"core\[([^]]*)\]\.([a-z_.]+)")
_ADD = re.compile(r"\+core\[([^]]*)\]=core\[(\d{1,7})\]")
_LIKE_KI = re.compile(r"([0-9]{1,9})\s*([km])i?b?", re.IGNORECASE)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_REMOVE = re.compile(r"-core\[([^]]*)\]")


def apply_overrides(spec: ChipSpec, overrides: Sequence[str], *, name: str | None = None) -> ChipSpec:
    """A new specification with some facts changed, validated in full.

    Parameters
    ----------
    overrides
        As the module says; applied in order.
    name
        Name of the variant; by default the old name with "+changes".

    Raises
    ------
    SpecError
        Every override that names no field, no core or an impossible value.
    """
    if not overrides:
        return spec
    draft = draft_of(spec)
    findings: list[Finding] = []
    changed: list[str] = []
    for override in overrides:
        problem = edit(draft, override, changed)
        if problem:
            findings.append(problem)
    if findings:
        raise SpecError(*findings)
    draft.head["name"] = name or f"{spec.name.removesuffix('+changes')}+changes"
    draft.head["sources"] |= {path: {"evidence": "assumed", "source": "override"} for path in changed}
    return build(draft, str(SET), default_source="override", base=spec)


def edit(draft: Draft, override: str, changed: list[str]) -> Finding | None:
    """Apply one override to a draft; what is wrong with it, or None.

    Parameters
    ----------
    changed
        Paths of the facts changed so far; this one is added.
    """
    text = override.strip()
    if match := _ADD.fullmatch(text):
        return _add(draft, override, match[1], int(match[2]), changed)
    if match := _REMOVE.fullmatch(text):
        return _remove(draft, override, match[1])
    path, separator, value = text.partition("=")
    if not separator:
        return Finding(
            f"{SET} {override}",
            "not of the form PATH=VALUE",
            next_step='Example: "core[5].kernel_words=128Ki"',
        )
    words = _LIKE_KI.fullmatch(value.strip())
    if words is not None and number(value.strip()) == value.strip():
        unit, factor = ("Ki", 1 << 10) if words[2] in "kK" else ("Mi", 1 << 20)
        step = f"Memories are counted in words: write {words[1]}{unit} for {words[1]} x {factor} of them"
        return Finding(f"{SET} {override}", "is no number", value.strip(), next_step=step)
    problem = _assign(draft, path.strip(), _value(value.strip()))
    if problem is None:
        changed.append(path.strip() if not path.startswith("limits.") else f"core.{path.strip()}")
        return None
    return Finding(
        f"{SET} {override}", problem.problem, problem.value, problem.limit, next_step=problem.next_step
    )


def _value(text: str) -> object:
    if text.lower() == "none":
        return None
    ki = number(text)
    if ki != text:
        return ki
    if _DECIMAL.fullmatch(text):
        return int(text)  # as TOML has it, at a tenth of the time
    try:
        table = toml_of(f"value = {text}")
    except ValueError:
        return text
    # More lines than one would say more than one thing.
    return table["value"] if len(table) == 1 else text


def _add(draft: Draft, override: str, ids_text: str, model: int, changed: list[str]) -> Finding | None:
    ids, count = id_range(ids_text), len(draft.cores)
    if ids is None or ids.start != count:
        return Finding(f"{SET} {override}", "added ids must follow the last core", ids_text, f"{count}..N")
    if model >= count:
        return Finding(f"{SET} {override}", "no such core to copy", model, f"0..{count - 1}")
    if count + len(ids) > CORES_MAX:
        return Finding(f"{SET} {override}", "too many cores", count + len(ids), f"<= {CORES_MAX}")
    draft.cores += [draft.cores[model]] * len(ids)
    changed.append(f"core[{ids_text}].*")
    return None


def _remove(draft: Draft, override: str, ids_text: str) -> Finding | None:
    ids, count = id_range(ids_text), len(draft.cores)
    if ids is None or ids.stop > count or len(ids) == count:
        return Finding(
            f"{SET} {override}", "no such cores to remove, or none would be left", ids_text, f"0..{count - 1}"
        )
    del draft.cores[ids.start : ids.stop]
    return None


def _assign(draft: Draft, path: str, value: object) -> Finding | None:
    if match := _CORE_PATH.fullmatch(path):
        ids, count = id_range(match[1]), len(draft.cores)
        if ids is None or ids.stop > count:
            step = "A range is written 0..5, its first core first"
            return Finding("", "no such core", match[1], f"0..{count - 1}", next_step=step)
        return _assign_cores(draft, ids, match[2], value)
    if path.startswith("limits."):
        return _assign_cores(draft, range(len(draft.cores)), path, value)
    problem = _assign_in(draft.head, path, value, tuple(ChipSpec.model_fields))
    if path == "routing.fan_out" and problem is None:
        return _assign_cores(draft, range(len(draft.cores)), "fan_out", value)
    return problem


def _assign_cores(draft: Draft, ids: Iterable[int], path: str, value: object) -> Finding | None:
    edited: dict[int, dict[str, Any]] = {}
    for core_id in ids:
        core = draft.cores[core_id]
        if id(core) not in edited:
            fresh = _copied(core)
            problem = _assign_in(fresh, path, value, tuple(CoreSpec.model_fields))
            if problem:
                return problem
            edited[id(core)] = fresh
        draft.cores[core_id] = edited[id(core)]
    return None


def _copied(table: dict[str, Any]) -> dict[str, Any]:
    """The table and those in it; nothing else that one holds is ever changed in place."""
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in table.items()}


def _assign_in(table: dict[str, Any], path: str, value: object, fields: Sequence[str]) -> Finding | None:
    *heads, last = path.split(".")
    inner: Any = table
    for head in heads:
        inner = inner.get(head) if isinstance(inner, Mapping) else None
    if not isinstance(inner, dict) or last not in inner or (not heads and last in ("core_groups", "sources")):
        names = fields if not heads or not isinstance(inner, Mapping) else tuple(inner)
        return Finding("", "no such field", path, ", ".join(names), next_step=meant(path, names))
    inner[last] = value
    return None
