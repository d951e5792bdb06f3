"""Damaged files never end in a fault of the program; `MAPPER_FUZZ_EXAMPLES=5000` runs longer."""

from __future__ import annotations

import io
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapper.frontends.yaml_core import yaml_of
from tests.malformed.mutation import (
    CHANGES,
    CUTS,
    TOKENS,
    Change,
    Cut,
    changed,
    damaged,
    json_text,
    pairs_of,
    toml_text,
)
from tests.malformed.workbench import COMMANDS, ROOT, Workbench

DATA = ROOT / "mapper" / "data"
READING = sorted((ROOT / "tests" / "data" / "reading").glob("*.nir"))
DIGITS = (DATA / "digits.nir").read_bytes()
CHIP = ROOT / "hwspec" / "chips" / "speck2f.toml"
EXAMPLES = int(os.environ.get("MAPPER_FUZZ_EXAMPLES", "5"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
# Which of the commands that take a kind of file: the remainder by their number.
NUMBER = st.integers(0, max(map(len, COMMANDS.values())) - 1)


def give(bench: Workbench, kind: str, name: str, content: bytes, number: int) -> None:
    """One of the kind's commands takes the file; whatever it holds, this must not be a fault."""
    bench.give(kind, name, content, number % len(COMMANDS[kind]))


# JSON: the kind, the name that is written, and where a sound one lies.
RECORDS = {
    "config": "config.json",
    "answer": "known_answer.json",
    "placement": "placement.json",
    "report": "report.json",
    "traffic": "traffic.json",
    "cell": "cache/*/*.json",
}


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", RECORDS)
@fuzz
@given(CHANGES, NUMBER)
def test_content_of_records(bench: Workbench, kind: str, changes: list[Change], number: int) -> None:
    path, name = record(bench, kind)
    text = json_text(changed(pairs_of(path.read_text("utf-8")), changes))
    give(bench, kind, name, text.encode("utf-8", "replace"), number)


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", RECORDS)
@fuzz
@given(st.one_of(CUTS, TOKENS), NUMBER)
def test_bytes_of_records(bench: Workbench, kind: str, cuts: list[Cut], number: int) -> None:
    path, name = record(bench, kind)
    give(bench, kind, name, damaged(path.read_bytes(), cuts), number)


def record(bench: Workbench, kind: str) -> tuple[Path, str]:
    """A sound file, and the name of a hostile one: a cell counts under its own name only."""
    path = next(iter(bench.folder.glob(RECORDS[kind])))
    return path, str(path.relative_to(bench.folder)) if kind == "cell" else f"hostile-{kind}.json"


NETWORKS = [
    pairs_of(json.dumps(yaml_of((DATA / name).read_text("utf-8")))) for name in ("example.yaml", "wide.yaml")
]
WRITERS: dict[str, Callable[[Any], str]] = {"json": json_text, "yaml": json_text, "toml": toml_text}


@fuzz
@given(st.sampled_from(NETWORKS), st.sampled_from(sorted(WRITERS)), CHANGES, NUMBER)
def test_content_of_shape_files(
    bench: Workbench, network: Any, suffix: str, changes: list[Change], number: int
) -> None:
    text = WRITERS[suffix](changed(network, changes))
    give(bench, "network", f"hostile.{suffix}", text.encode("utf-8", "replace"), number)


@fuzz
@given(st.one_of(CUTS, TOKENS), NUMBER)
def test_text_of_shape_files(bench: Workbench, cuts: list[Cut], number: int) -> None:
    give(bench, "network", "hostile.yaml", damaged((DATA / "example.yaml").read_bytes(), cuts), number)


VARIANT = {
    "extends": "speck2f", "name": "x", "title": "t", "core": {"0..3": {"kernel_words": "8Ki"}},
    "limits": {"strides": [1, 2]}, "routing": {"fan_out": 3}, "sources": {"core.*": {"evidence": "assumed", "source": "me"}},
}  # fmt: skip
CHIPS = [pairs_of(json.dumps(tree)) for tree in (tomllib.loads(CHIP.read_text("utf-8")), VARIANT)]


@fuzz
@given(st.sampled_from(CHIPS), CHANGES, NUMBER)
def test_content_of_chip_files(bench: Workbench, chip: Any, changes: list[Change], number: int) -> None:
    give(bench, "chip", "hostile.toml", toml_text(changed(chip, changes)).encode("utf-8", "replace"), number)


@fuzz
@given(st.one_of(CUTS, TOKENS), NUMBER)
def test_text_of_chip_files(bench: Workbench, cuts: list[Cut], number: int) -> None:
    give(bench, "chip", "hostile.toml", damaged(CHIP.read_bytes(), cuts), number)


def saved(save: Callable[..., None], *given: Any, **named: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *given, **named)
    return stream.getvalue()


EVENTS = np.array(
    [(1000, 0, 2, 3), (2000, 0, 5, 4)], [("t", "<i8"), ("p", "<u2"), ("y", "<u2"), ("x", "<u2")]
)
COLUMNS = {name: EVENTS[name] for name in ("t", "p", "y", "x")}
RECORDINGS = {
    "npy": saved(np.save, EVENTS),
    "packed.npz": saved(np.savez_compressed, events=EVENTS),
    "columns.npz": saved(np.savez, **COLUMNS),
    "csv": b"t,p,y,x\n1000,0,2,3\n2000,0,5,4\n",
    "savetxt.csv": b"# x y p t\n1 1 0 100\n2 2 1 110\n3 3 0 200\n",
    "seconds.csv": b"t;p;y;x\n0.001;0;1;1\n0.002;1;2;2\n",
    "aedat": b"#!AER-DAT2.0\r\n# raw\r\n" + bytes(16),
}


@fuzz
@given(st.sampled_from(sorted(RECORDINGS)), st.one_of(CUTS, TOKENS), NUMBER)
def test_recordings(bench: Workbench, name: str, cuts: list[Cut], number: int) -> None:
    give(bench, "events", f"hostile.{name}", damaged(RECORDINGS[name], cuts), number)


@settings(fuzz, max_examples=max(5, EXAMPLES // 10))
@given(CUTS, NUMBER)
def test_bytes_of_aedat4_files(bench: Workbench, cuts: list[Cut], number: int) -> None:
    """A tenth of the examples: each is decoded in a process of its own."""
    sound = (ROOT / "tests" / "data" / "twenty.aedat4").read_bytes()
    give(bench, "events", "hostile.aedat4", damaged(sound, cuts), number)


SPIKES = np.zeros((4, 1, 8, 8), np.uint8)
ARRAYS = {
    "expected": saved(np.savez, input=SPIKES, output=np.zeros((4, 10), np.uint8)),
    "labelled": saved(np.savez, rasters=SPIKES[None], labels=np.array([3])),
}


@fuzz
@given(st.sampled_from(sorted(ARRAYS)), CUTS, NUMBER)
def test_bytes_of_rasters(bench: Workbench, name: str, cuts: list[Cut], number: int) -> None:
    give(bench, "raster", f"hostile-{name}.npz", damaged(ARRAYS[name], cuts), number)


VALUES: list[Any] = [
    0, -1, 1.5, float("nan"), float("inf"), "same", "Conv2d", "IF", "Affine", "", True, 1 << 40,
    np.zeros(0), np.zeros((1, 1)), np.zeros((2, 2, 2, 2)), np.full((8, 1, 3, 3), np.nan), np.ones(10, complex),
    np.array([[b"a", b"b"]]), np.arange(3), np.zeros((3, 0)), np.full((4, 1, 8, 8), 1 << 40), SPIKES - 1.5,
    np.full((1, 4, 1, 8, 8), np.inf), np.array([1e300]), np.zeros((4, 10), "V8"),
]  # fmt: skip


@fuzz
@given(st.sampled_from(["input", "output", "rasters", "labels"]), st.sampled_from(range(len(VALUES))), NUMBER)
def test_content_of_rasters(bench: Workbench, name: str, value: int, number: int) -> None:
    sound: dict[str, Any] = (
        {"input": SPIKES, "output": np.zeros((4, 10))}
        if name.endswith("put")
        else {"rasters": SPIKES[None], "labels": np.array([3])}
    )
    give(bench, "raster", "hostile.npz", saved(np.savez, **sound | {name: VALUES[value]}), number)


@fuzz
@given(st.sampled_from([DATA / "digits.nir", *READING]), CUTS, NUMBER)
def test_bytes_of_nir_files(bench: Workbench, sound: Path, cuts: list[Cut], number: int) -> None:
    give(bench, "network", "hostile.nir", damaged(sound.read_bytes(), cuts), number)


Places = Sequence[tuple[int, int]]
PLACES = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(range(len(VALUES) + 2))), min_size=1, max_size=4
)


@fuzz
@given(st.sampled_from([DATA / "digits.nir", *READING]), PLACES, NUMBER)
def test_content_of_nir_files(bench: Workbench, sound: Path, changes: Places, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.nir"
        path.write_bytes(sound.read_bytes())
        with h5py.File(path, "r+") as file:
            for place, kind in changes:
                replace_one(file, place, kind)
        give(bench, "network", "hostile.nir", path.read_bytes(), number)


def replace_one(file: Any, place: int, kind: int) -> None:
    """One entry is something else, has another name, or is gone."""
    names: list[str] = []
    file.visit(names.append)
    if not names:
        return
    name = names[place % len(names)]
    if kind == len(VALUES) + 1 and f"{name}x" not in file:
        file.move(name, f"{name}x")
        return
    del file[name]
    if kind < len(VALUES):
        file[name] = VALUES[kind]
