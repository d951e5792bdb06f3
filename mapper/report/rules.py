"""The rules as text: one of them for the terminal, all of them as a page of the guide."""

from __future__ import annotations

from mapper.rules import Nature, Rule

__all__ = ["rule_text", "rules_page"]

_NATURES: dict[Nature, str] = {
    "structural": "a value outside what the chip can express",
    "capacity": "memory words",
    "count": "numbers of layers and cores",
    "routing": "destinations",
    "output": "what is read of the chip, by its readout stage and its monitors",
    "request": "what the user asked for",
}


def rule_text(rule: Rule) -> str:
    """Code, title, statement, unit, kind of limit and ways out of one rule."""
    text = rule.value
    return (
        f"{text.code} {text.title}\n{text.statement}\n"
        f"Counted in {text.unit}. Kind of limit: {text.nature} ({_NATURES[text.nature]}).\n"
        f"Ways out: {text.ways_out}"
    )


def rules_page() -> str:
    """All rules as Markdown, ordered by code."""
    head = (
        "# Rules\n\nEvery placement keeps to these rules; the solver and the independent checker each know "
        "all of them. Codes never change their meaning. This page is generated: "
        "`python -m mapper explain --page > mapper/guide/rules.md`.\n"
    )
    sections = (
        f"## {text.code} {text.title}\n\n{text.statement}\n\n- counted in: {text.unit}\n"
        f"- kind of limit: {text.nature}, {_NATURES[text.nature]}\n- ways out: {text.ways_out}\n"
        for text in sorted((rule.value for rule in Rule), key=lambda text: text.code)
    )
    return "\n".join([head, *sections])
