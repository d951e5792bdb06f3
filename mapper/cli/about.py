"""The commands that place nothing: chips, rules and schemas."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mapper.cli import completion
from mapper.cli.options import CHIP_HELP, Changes, Output
from mapper.cli.output import console, print_json, print_record, say
from mapper.errors import Finding, OptionsError
from mapper.wording import counted

__all__ = ["chips_check", "chips_list", "chips_schema", "chips_show", "explain", "schema"]


def explain(
    code: Annotated[
        str | None, Parameter(help="code of a rule; without one all are listed", completer=completion.rules)
    ] = None,
    /,
    *,
    page: Annotated[bool, Parameter(help="print the page of all rules as Markdown")] = False,
    output: Output = Output(),
) -> int:
    """Explain a rule by its code: what it says, in what unit, and the ways out."""
    from mapper.report.rules import rule_text, rules_page  # noqa: PLC0415
    from mapper.rules import Rule, by_code  # noqa: PLC0415

    try:
        rules = sorted(Rule, key=lambda entry: entry.code) if code is None else [by_code(code)]
    except KeyError:
        known = f"{min(r.code for r in Rule)} to {max(r.code for r in Rule)}; mapper explain lists them"
        raise OptionsError(Finding(f"explain {code}", "no rule has this code", code, known)) from None
    if output.as_json:
        print_json(rules=[asdict(rule.value) for rule in rules])
    elif page:
        print(rules_page(), end="")
    elif code is None:
        for rule in rules:
            say(f"{rule.code}  {rule.value.title}")
    else:
        print(rule_text(rules[0]))
    return 0


def chips_list(*, output: Output = Output()) -> int:
    """List the chips that come with the package, and the device names they go by."""
    from hwspec.catalog import load, names  # noqa: PLC0415

    specs = [load(name) for name in names()]
    if output.as_json:
        rows = [
            {"name": s.name, "title": s.title, "cores": s.core_count, "devices": s.devices} for s in specs
        ]
        print_json(chips=rows)
        return 0
    for spec in specs:
        devices = f"   devices: {', '.join(spec.devices)}" if spec.devices else ""
        say(f"{spec.name:12} {counted(spec.core_count, 'core')}{devices}")
    return 0


def chips_show(
    name: Annotated[str, Parameter(help=CHIP_HELP, completer=completion.chips)],
    /,
    *,
    changes: Changes = Changes(),
    output: Output = Output(),
) -> int:
    """Show a chip: memories, limits, errata, what is assumed."""
    from hwspec.catalog import load  # noqa: PLC0415

    spec = load(name, changes.changes)
    if output.as_json:
        print_record(spec.model_dump_json(indent=2))
    else:
        from mapper.report.text import print_chip  # noqa: PLC0415

        print_chip(console(), spec)
    return 0


def chips_check(
    file: Annotated[Path, Parameter(help="chip file (.toml)")],
    /,
    *,
    changes: Changes = Changes(),
    output: Output = Output(),
) -> int:
    """Check a chip file; every problem is named with file, field and value."""
    from hwspec.catalog import doubts, is_name, load  # noqa: PLC0415

    # A chip that ships, too: with --set it may not be sound.
    is_told = file.suffix == ".toml" or (not file.exists() and is_name(str(file)))
    spec = load(str(file) if is_told else f"./{file}", changes.changes)
    notes = doubts(spec)
    if output.as_json:
        print_json(name=spec.name, cores=spec.core_count, hash=spec.content_hash(), notes=notes)
    else:
        kinds = counted(len(spec.core_classes), "class", "classes")
        say(f"{file}: {spec.name} is sound: {counted(spec.core_count, 'core')} in {kinds}")
        for note in notes:
            say(f"note: {note}")
    return 0


def chips_schema() -> int:
    """Print the JSON schema of a chip specification."""
    from hwspec.check import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(), indent=2))
    return 0


def schema() -> int:
    """Print the JSON schema of a shape file."""
    from mapper.frontends.shapes import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(), indent=2))
    return 0
