"""Chips by name, device name or file."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hwspec.arguments import Checker
from hwspec.document import Draft, build, draft_of, draft_of_table, number
from hwspec.errors import Finding, SpecError, unreadable
from hwspec.inert import as_text, quoted
from hwspec.schema import ChipSpec
from hwspec.toml_text import toml_of
from hwspec.variant import SET, apply_overrides, edit

__all__ = ["doubts", "is_name", "is_shipped", "load", "names", "resolve_device"]

_checked = Checker(SpecError)
_FILE_BYTES_MAX = 1 << 20
# Files that extend one another.
_CHAIN_MAX = 20
_VARIANT_KEYS = {
    "extends",
    "name",
    "title",
    "set",
    "changes",
    "core",
    "limits",
    "sources",
    "errata",
    "devices",
}


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Names of the chips that come with the package."""
    folder = files("hwspec") / "chips"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def resolve_device(name: str) -> str:
    """The chip behind a chip or device name: "speck2f" for "speck2fmodule:0".

    Raises
    ------
    SpecError
        No chip has this name; close names are listed.
    """
    plain = name.strip().lower()
    head, _, index = plain.partition(":")
    if index and not index.isdecimal():
        head = plain
    if head in names():
        return head
    devices = {device: chip for chip in names() for device in _shipped(chip).devices}
    if head in devices:
        return devices[head]
    close = get_close_matches(head, [*names(), *devices], n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else "A path to a file ends in .toml"
    raise SpecError(
        Finding(f"chip {name}", "no chip or device has this name", None, ", ".join(names()), next_step=hint)
    )


def is_name(text: str) -> bool:
    """Whether a text is the name of a chip or device that is known."""
    try:
        resolve_device(text)
    except SpecError:
        return False
    return True


def is_shipped(spec: ChipSpec) -> bool:
    """Whether a chip is, fact for fact, one that comes with the package: one that can be bought."""
    return spec.name in names() and _shipped(spec.name).content_hash() == spec.content_hash()


def doubts(spec: ChipSpec) -> tuple[str, ...]:
    """What of a sound chip is hardly meant, a sentence each."""
    told = []
    if not any(group.core.fan_out for group in spec.core_groups):
        told.append("no core has a destination (fan_out=0): no network of two layers can be placed")
    if spec.name in names() and not is_shipped(spec):
        other = f"it is another chip than the {spec.name} that ships: what is written for it would say"
        told.append(f'{other} "{spec.name}". Give it a name of its own')
    return tuple(told)


@_checked
def load(name: str | Path, overrides: str | Sequence[str] = ()) -> ChipSpec:
    """A chip by name, device name (with or without ":index") or path of a TOML file.

    Parameters
    ----------
    overrides
        Changes as `hwspec.variant` describes them; a single one may stand alone.

    Raises
    ------
    SpecError
        Unknown name, unreadable file, or a specification that does not hold.
    """
    text = str(name)
    spec = (
        _from_file(Path(name), ())
        if text.endswith(".toml") or "/" in text
        else _shipped(resolve_device(text))
    )
    return apply_overrides(spec, (overrides,) if isinstance(overrides, str) else overrides)


@lru_cache(maxsize=32)
def _shipped(chip: str) -> ChipSpec:
    text = (files("hwspec") / "chips" / f"{chip}.toml").read_text(encoding="utf-8")
    return build(draft_of_table(tomllib.loads(text), f"{chip}.toml"), f"{chip}.toml")


def _read(path: Path) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(Finding(str(path), "is no regular file", next_step="Copy its content into one"))
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise SpecError(
                Finding(str(path), "file too large", path.stat().st_size, _FILE_BYTES_MAX, "bytes")
            )
        return toml_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(Finding(str(path), unreadable(error))) from None
    except UnicodeDecodeError:
        raise SpecError(Finding(str(path), "is not UTF-8 text")) from None
    except ValueError as error:
        problem = (
            f"is not TOML: {error}" if path.suffix == ".toml" else "is no chip file, which ends in .toml"
        )
        raise SpecError(Finding(str(path), problem)) from None


def _from_file(path: Path, chain: tuple[Path, ...]) -> ChipSpec:
    table, where = _read(path), path.name
    home = path.resolve()
    if home in chain:
        raise SpecError(Finding(str(path), "extends itself", " -> ".join(p.name for p in chain)))
    if len(chain) > _CHAIN_MAX:
        raise SpecError(Finding(str(path), "is extended by too many files", len(chain), _CHAIN_MAX))
    source = f"stated in {as_text(where)} without a source"
    if "extends" not in table:
        table.setdefault("name", as_text(path.stem))
        return build(draft_of_table(table, where), where, default_source=source)
    parent = table["extends"]
    if not isinstance(parent, str):
        raise SpecError(Finding(f"{where}: extends", "must be a chip name or a path", quoted(parent)))
    if parent.endswith(".toml"):
        base = _from_file(path.parent / parent, (*chain, home))
    else:
        try:
            base = _shipped(resolve_device(parent))
        except SpecError as error:
            named = (replace(found, where=f"{where}: extends: {found.where}") for found in error.findings)
            raise SpecError(*named) from None
    draft = draft_of(base)
    _change(draft, table, where)
    draft.head["name"] = table.get("name", as_text(path.stem))
    draft.head["title"] = table.get("title", f"{base.title}, changed")
    draft.head["devices"] = ()
    return build(draft, where, default_source=source, base=base)


def _change(draft: Draft, table: dict[str, Any], where: str) -> None:
    """Apply a variant file's changes: paths under [set], lines of `changes`, and plain tables."""
    findings: list[Finding] = []
    changed: list[str] = []
    lines = table.get("changes", [])
    entries = table.get("set", {})
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise SpecError(Finding(f"{where}: changes", 'must be a list of strings like "-core[8]"'))
    if not isinstance(entries, dict):
        raise SpecError(Finding(f"{where}: set", "must be a table of paths"))
    for name in ("core", "limits", "sources"):
        if not isinstance(table.get(name, {}), dict):
            raise SpecError(Finding(f"{where}: {name}", "must be a table", quoted(table[name])))
    if wrong := [ids for ids, section in table.get("core", {}).items() if not isinstance(section, dict)]:
        raise SpecError(*(Finding(f"{where}: core.{ids}", "must be a table") for ids in wrong))
    for line in lines:
        findings += filter(None, [edit(draft, line, changed)])
    plain = {key: value for key, value in table.items() if key not in _VARIANT_KEYS}
    for path, value in (*_flat(entries), *_flat(plain), *_core_lines(table)):
        findings += filter(None, [edit(draft, f"{path}={_literal(value)}", changed)])
    if findings:
        raise SpecError(*(replace(f, where=f"{where}: {f.where.removeprefix(f'{SET} ')}") for f in findings))
    note = {"evidence": "assumed", "source": f"changed in {where}"}
    draft.head["sources"] |= dict.fromkeys(changed, note) | table.get("sources", {})


def _flat(table: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    entries: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            entries += _flat(value, f"{prefix}{key}.")
        else:
            entries.append((f"{prefix}{key}", value))
    return entries


def _core_lines(table: dict[str, Any]) -> list[tuple[str, object]]:
    entries = _flat({"limits": table.get("limits", {})})
    for ids, section in table.get("core", {}).items():
        entries += [(f"core[{ids}].{path}", value) for path, value in _flat(section)]
    return entries


def _literal(value: object) -> str:
    value = number(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
