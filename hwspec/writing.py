"""A chip as a file that `hwspec.catalog.load` reads back as the same chip."""

from __future__ import annotations

import json

from hwspec.schema import ChipSpec

__all__ = ["chip_toml"]


def chip_toml(chip: ChipSpec) -> str:
    """TOML of a chip of which every fact is noted in `sources`."""
    lines = [f"schema_version = {chip.schema_version}"]
    lines += [f"{key} = {_literal(getattr(chip, key))}" for key in ("name", "title")]
    for group in chip.core_groups:
        ids = str(group.first) if group.first == group.last else f"{group.first}..{group.last}"
        fields = group.core.model_dump(exclude={"limits", "fan_out"})
        lines += _section(f'core."{ids}"', fields)
    lines += _section("limits", chip.cores[0].limits.model_dump())
    for name in ("routing", "input", "readout", "monitor"):
        part = getattr(chip, name)
        lines += [] if part is None else _section(name, part.model_dump())
    notes = (
        f"{_literal(path)} = {{ evidence = {_literal(note.evidence)}, source = {_literal(note.source)} }}"
        for path, note in chip.sources.items()
    )
    return "\n".join([*lines, "", "[sources]", *notes]) + "\n"


def _section(name: str, fields: dict[str, object]) -> list[str]:
    stated = (f"{key} = {_literal(value)}" for key, value in fields.items() if value is not None)
    return ["", f"[{name}]", *stated]


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # JSON's strings and numbers are TOML's too, but for the character DEL.
    return json.dumps(value).replace("\x7f", "\\u007f")
