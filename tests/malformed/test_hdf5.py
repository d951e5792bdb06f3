"""NIR files that are HDF5 and nothing that nir.write makes: refused by name, before anything is read."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mapper.frontends.from_nir import contents
from mapper.frontends.from_nir.contents import BYTES_MAX, TEXT_MAX
from tests.malformed.test_inputs import DIGITS, refused

Capture = pytest.CaptureFixture[str]
Edit = Callable[[Any], None]
WEIGHT = "node/nodes/conv1/weight"


def instead(value: Any, name: str = WEIGHT) -> Edit:
    """Something else in the place of an entry."""

    def change(file: Any) -> None:
        del file[name]
        file[name] = value

    return change


def made(name: str = WEIGHT, **words: Any) -> Edit:
    def change(file: Any) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, **words)

    return change


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((8, 1, 3, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8, 1, 3, 3))
    del file[WEIGHT]
    file.create_virtual_dataset(WEIGHT, layout)


def stored_outside(file: Any) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (8, 1, 3, 3), "f4", external=[("/etc/passwd", 0, 288)])


def cyclic(file: Any) -> None:
    file["node/nodes/conv1/again"] = file["node"]


def shared(file: Any) -> None:
    file.create_dataset("big", (1 << 23,), "f4", compression="gzip")
    for n in range(100):
        file[f"node/nodes/conv1/extra{n}"] = file["big"]


def reference(file: Any) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, data=file["node/nodes/conv1/bias"].ref, dtype=h5py.ref_dtype)


def long_texts(file: Any) -> None:
    del file["node/edges"]
    edges = file.create_dataset("node/edges", (4, 2), h5py.string_dtype())
    edges[:] = np.array([["x" * (TEXT_MAX + 1)] * 2] * 4, object)


def deep(file: Any) -> None:
    group = file["node/nodes/conv1"]
    for _ in range(200):
        group = group.create_group("g")


LINK = "/node/nodes/conv1/bias"
CASES: dict[str, tuple[Edit, str]] = {
    "soft-link": (instead(h5py.SoftLink(LINK)), "conv1/weight: is a link"),
    "broken-link": (instead(h5py.SoftLink("/nowhere")), "conv1/weight: is a link"),
    "link-to-itself": (instead(h5py.SoftLink(f"/{WEIGHT}")), "conv1/weight: is a link"),
    "soft-linked-group": (instead(h5py.SoftLink("/node"), "node/nodes/conv1"), "nodes/conv1: is a link"),
    "external-link": (instead(h5py.ExternalLink("other.h5", "/x")), "another file"),
    "external-edges": (instead(h5py.ExternalLink("other.h5", "/x"), "node/edges"), "another file"),
    "link-beside-the-graph": (instead(h5py.ExternalLink("other.h5", "/x"), "version"), "another file"),
    "virtual": (virtual, "another file or dataset"),
    "stored-outside": (stored_outside, "another file or dataset"),
    "cycle": (cyclic, "second name"),
    "hard-links": (shared, "second name"),
    "reference": (reference, "neither numbers nor texts"),
    "compound": (instead(np.zeros(3, [("a", "<i4"), ("b", "<f8")])), "neither numbers nor texts"),
    "complex": (instead(np.zeros((8, 1, 3, 3), complex)), "neither numbers nor texts"),
    "opaque": (instead(np.zeros(3, "V8")), "neither numbers nor texts"),
    "array-type": (made(shape=(3,), dtype=np.dtype(("<f4", (4,)))), "neither numbers nor texts"),
    "variable-length": (made(shape=(3,), dtype=h5py.vlen_dtype("f4")), "neither numbers nor texts"),
    "1e12-edges": (made("node/edges", shape=(10**12, 2), dtype="S1", chunks=(1024, 2)), "too much data"),
    "4-TB-beside-the-graph": (made("big", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(64, 64)), "too much"),
    "4-TB-of-metadata": (
        made("node/nodes/conv1/metadata/x", shape=(1 << 40,), dtype="f4", chunks=(64,)), "too much"),
    "a-huge-chunk": (
        made(shape=(1,), maxshape=(None,), dtype="f4", chunks=((1 << 30) - 1,)), "too much"),
    "edges-are-numbers": (instead(np.zeros((3, 2)), "node/edges"), "pairs of names"),
    "long-texts": (long_texts, "a text of 65537"),
    "deep": (deep, "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_nir_files_do_not_hold(case: str, tmp_path: Path, capsys: Capture) -> None:
    change, word = CASES[case]
    path = tmp_path / "net.nir"
    shutil.copy(DIGITS, path)
    with h5py.File(path, "r+") as file:
        change(file)
    start = time.monotonic()
    refused(["solve", str(path)], word, capsys, tmp_path)
    assert time.monotonic() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20


def test_too_many_objects(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "OBJECTS_MAX", 50)
    refused(["solve", str(DIGITS)], "too many groups", capsys, tmp_path)


def test_long_names_are_read_in_slices(tmp_path: Path, capsys: Capture) -> None:
    """Elements of variable length may all mean one text: never more of them at once than fit."""
    path = tmp_path / "net.nir"
    shutil.copy(DIGITS, path)
    with h5py.File(path, "r+") as file:
        del file["node/edges"]
        edges = file.create_dataset("node/edges", (3000, 2), h5py.string_dtype())
        edges[:] = np.array([["x" * TEXT_MAX, "y"]] * 3000, object)
    assert path.stat().st_size < BYTES_MAX
    refused(["solve", str(path)], "x", capsys, tmp_path)
