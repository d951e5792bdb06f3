"""Tables in narrow terminals: words break where they are put together, and nowhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mapper.report.terminal import print_table

COLUMNS = ("layer", "shape", "kernel", "sends to", "bottleneck")
ROWS = (
    ("first[0:16]", "16x64x64", "512/16384", "left&middle&right /2", "neuron memory of core 0"),
    ("stem", "8x32x32", "2560/16384", "class /4", "cores"),
)
PARTS = "first[0: 16] 16x64x64 512/ 16384 left& middle& right /2 neuron memory stem 8x32x32 2560/ class /4 cores bottleneck"


def printed(width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    print_table(console, COLUMNS, ROWS)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [50, 54, 60, 70, 80, 100, 200])
def test_no_part_of_a_word_is_broken(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    for part in PARTS.split():
        assert part in text, (width, part, text)


def test_what_fits_is_not_broken_at_all() -> None:
    assert all(cell in printed(120) for row in ROWS for cell in row)


def test_where_not_even_parts_fit_nothing_goes_over_the_edge() -> None:
    assert max(map(len, printed(24).splitlines())) <= 24
