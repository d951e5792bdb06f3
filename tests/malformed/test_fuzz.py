"""Damaged files never end in a fault of the program; `MAPPER_FUZZ_EXAMPLES=5000` runs longer."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwspec import catalog
from mapper.cli.entry import run

ROOT = Path(__file__).resolve().parents[2]
DIGITS = (ROOT / "mapper" / "data" / "digits.nir").read_bytes()
SHAPES = (ROOT / "mapper" / "data" / "example.yaml").read_bytes()
CHIP = (Path(catalog.__file__).parent / "chips" / "speck2f.toml").read_bytes()
EXAMPLES = int(os.environ.get("MAPPER_FUZZ_EXAMPLES", "60"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Cut = tuple[int, int, bytes]
CUTS = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4
)
WORDS = st.sampled_from(
    [
        b"-1",
        b"0",
        b"nan",
        b"inf",
        b"true",
        b"[]",
        b"{}",
        b'"x"',
        b"99999999999999999999",
        b"1.5",
        b"null",
        b"\n",
        b"- ",
        b": ",
    ]
)


def damaged(content: bytes, cuts: list[Cut]) -> bytes:
    """Bytes replaced, inserted and left out at some places."""
    data = bytearray(content)
    for place, length, new in cuts:
        start = place % (len(data) + 1)
        data[start : start + length] = new
    return bytes(data)


def ends_well(name: str, content: bytes, words: Callable[[str], list[str]]) -> None:
    """Whatever the file holds: placed, infeasible, bad input or undecided, and never a fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(words(str(path)))
        assert status in (0, 1, 2, 3), err.getvalue()
        assert "Traceback" not in err.getvalue() + out.getvalue()
        assert (status == 2) == bool(err.getvalue())
        assert [entry.name for entry in Path(folder).iterdir()] == [name]


def check_network(path: str) -> list[str]:
    return ["check", path, "--repairs", "1"]


@fuzz
@given(CUTS)
def test_bytes_of_nir_files(cuts: list[Cut]) -> None:
    ends_well("net.nir", damaged(DIGITS, cuts), check_network)


@fuzz
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 12), WORDS), min_size=1, max_size=3))
def test_text_of_shape_files(cuts: list[Cut]) -> None:
    ends_well("net.yaml", damaged(SHAPES, cuts), check_network)


@fuzz
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 12), WORDS), min_size=1, max_size=3))
def test_text_of_chip_files(cuts: list[Cut]) -> None:
    ends_well("chip.toml", damaged(CHIP, cuts), lambda path: ["chips", "check", path])


VALUES: list[Any] = [
    0, -1, 1.5, float("nan"), float("inf"), "same", "Conv2d", "IF", "Affine", "", True, 1 << 40,
    np.zeros(0), np.zeros((1, 1)), np.zeros((2, 2, 2, 2)), np.full((8, 1, 3, 3), np.nan), np.ones(10, complex),
    np.array([[b"a", b"b"]]), np.arange(3), np.zeros((3, 0)),
]  # fmt: skip


@fuzz
@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(range(len(VALUES) + 2))), min_size=1, max_size=4)
)
def test_contents_of_nir_files(changes: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.nir"
        path.write_bytes(DIGITS)
        with h5py.File(path, "r+") as file:
            for place, kind in changes:
                names: list[str] = []
                file.visit(names.append)
                if not names:
                    break
                name = names[place % len(names)]
                if kind == len(VALUES) + 1 and name in file:
                    file.move(name, f"{name}x")
                    continue
                del file[name]
                if kind < len(VALUES):
                    file[name] = VALUES[kind]
        ends_well("net.nir", path.read_bytes(), check_network)
