"""Numbers and verdicts as every view of a result writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hwspec.inert import quoted
from hwspec.schema import AssumedFact
from hwspec.variant import SET
from mapper.asking import spoken
from mapper.reasons import FeasibilityReport, Status
from mapper.rules import Rule
from mapper.wording import join_numbers

__all__ = [
    "assumed_paths",
    "changed_chip",
    "destination",
    "placed_words",
    "reasons",
    "refused_words",
    "share_text",
]


def share_text(used: int, offered: int) -> str:
    """Whole percents, rounded down, so that only what is full says 100."""
    if not offered:
        return "-"
    percent = 100 * used // offered
    return "<1 %" if used and not percent else f"{percent} %"


def destination(name: str, pooling: int, shift: int) -> str:
    """A target with pool and feature shift, where it has them: "conv1 /2 +8"."""
    return " ".join([name] * bool(name) + [f"/{pooling}"] * (pooling != 1) + [f"+{shift}"] * (shift != 0))


def changed_chip(chip: str, overrides: Iterable[str]) -> str:
    """How changes of a chip are asked for."""
    return spoken(
        command=" ".join(f'{SET} "{override}"' for override in overrides),
        python=f"load_chip({quoted(chip)}, {quoted([*overrides], 10**6)})",
    )


def placed_words(status: str) -> str:
    """What a placement is, by its status."""
    proof = "proven optimal" if status == Status.OPTIMAL else "optimum not proven"
    return f"placed, {proof}, checked"


def assumed_paths(facts: Iterable[AssumedFact]) -> list[str]:
    """Paths of assumed facts, those of several cores in one: "core[0..63].kernel_words"."""
    cores: dict[tuple[str, str], list[int]] = {}
    for fact in facts:
        core = re.fullmatch(r"core\[([0-9]+)\](.*)", fact.path)
        key = ("core", core[2]) if core else (fact.path, "")
        cores.setdefault(key, []).extend([int(core[1])] if core else [])
    return [
        f"{name}[{join_numbers(numbers)}]{rest}" if numbers else name
        for (name, rest), numbers in cores.items()
    ]


def refused_words(report: FeasibilityReport) -> str:
    """What is said of a network that has no placement."""
    if report.status is Status.UNDECIDED:
        return "undecided"
    return f"does not fit, proven ({report.nature})"


def reasons(report: FeasibilityReport) -> Iterator[str]:
    """What cannot hold together, what to give up or to train without, and what a limit left undone."""
    if report.conflict is not None:
        kind = "smallest conflict" if report.conflict.irreducible else "a conflict, perhaps not the smallest"
        yield f"{kind}: {report.conflict.sentence}"
    if report.correction is not None:
        yield report.correction.sentence
    codes = {entry.code for entry in report.unmet}
    codes |= {entry.code for entry in report.conflict.requirements} if report.conflict else set()
    if Rule.BIAS_MEMORY.code in codes:
        yield "layers that are trained without biases (bias=False) ask for no bias words"
    yield from (f"not done: {left_undone}" for left_undone in report.cut_short)
