"""A number of things is said as `mapper.wording.counted` says it: nobody reads of "1 cores"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from mapper.wording import counted

ROOT = Path(__file__).resolve().parents[1]
NOUNS = (
    "arguments|biases|cells|chips|classes|columns|cores|counts|destinations|differences|events|features|frames|layers|"
    "networks|pieces|pixels|problems|repairs|rows|runs|samples|sizes|solves|spikes|states|steps|tensors|"
    "thresholds|variants"
)
# What stands between a number and its noun.
BETWEEN = "more|further|other|random|extra|whole|labelled|free|spare"
PLURAL = re.compile(rf" (?:(?:{BETWEEN}) )*(?:{NOUNS})\b")
# By module and what stands around the noun, why the number is never one, or no number of these.
NEVER_ONE: Mapping[tuple[str, str], str] = {
    ("mapper/frontends/from_torch/steps.py", "{len(arguments)} arguments"): "one is what is wanted",
    ("mapper/verify/layers.py", "{keys.count(name)} cores"): "said of a body that stands twice",
    ("mapper/verify/wiring.py", "{len(cores)} cores"): "said where several show one output",
    ("mapper/verify/layers.py", "{count} pieces"): "more than are allowed, of which there is one at least",
    ("mapper/repairs/chip.py", "{destinations} destinations"): "more than there are",
    ("mapper/boards/listening.py", "{fullest} events"): "more than a buffer holds",
    ("mapper/events/rasters.py", "{len(late)} events"): "one is said apart",
    ("mapper/frontends/currents/kernel.py", "{draft.in_features} features"): "of several that add up",
    ("mapper/frontends/currents/kernel.py", "{steps} steps"): "steps of a size, whose number is a ratio",
    ("mapper/passes/scale.py", "{wide.input_shape.features} features"): "of several that add up",
    ("mapper/passes/scale.py", "{wide_features} features"): "of several that add up",
    ("mapper/report/text.py", "{limits.output_features_max} features"): "of a whole family of chips",
    ("mapper/wellformed.py", "{problem} features"): "is no number",
    ("mapper/work.py", "{f} features"): "a formula, whose factors are named alike",
    ("mapper/work.py", "{spikes} spikes"): "a formula, whose factors are named alike",
    ("mapper/solver/divided/decisive.py", "{len(names)} layers"): "one is said apart",
    ("mapper/api.py", "{len(several)} networks"): "one is said apart",
    ("mapper/equivalence/run.py", "{cells} pixels"): "says which of two limits is exceeded",
    ("mapper/repairs/network.py", "{after} pixels"): "a size, as in 32x32 pixels",
    ("hwspec/errors.py", "{len(lines)} problems"): "one is no list",
    ("mapper/frontends/from_nir/origins.py", "{source} runs"): "is a verb",
    ("mapper/compat/arguments.py", "{len(state)} samples"): "one is what is wanted",
    ("mapper/equivalence/expected.py", "{difference.computed} spikes"): "a difference of two numbers",
    ("mapper/equivalence/rates.py", "{self.float_spikes} spikes"): "a mean, with its fraction",
    ("mapper/report/accuracy.py", "{spikes} spikes"): "a mean, rounded",
    ("mapper/report/accuracy.py", "{', '.join(map(str, points))} steps"): "is a list",
    ("mapper/passes/rounding.py", "{steps} steps"): "what rounds to zero takes two at least",
}


def plurals() -> Iterator[tuple[str, str]]:
    """Modules, and what is filled in before a plural."""
    for package in ("mapper", "hwspec"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else []
                for filled, text in pairwise(parts):
                    if isinstance(filled, ast.FormattedValue) and isinstance(text, ast.Constant):
                        found = PLURAL.match(str(text.value))
                        if found:
                            yield (
                                path.relative_to(ROOT).as_posix(),
                                f"{{{ast.unparse(filled.value)}}}{found[0]}",
                            )


def test_numbers_that_may_be_one_are_counted() -> None:
    assert {*plurals()} == {*NEVER_ONE}


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("core",), "1 core"),
        (0, ("core",), "0 cores"),
        (1, ("event lies", "events lie"), "1 event lies"),
        (2, ("class", "classes"), "2 classes"),
    ],
)
def test_counted(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said
