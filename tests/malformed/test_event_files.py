"""Recordings that are damaged, claim too much, or come from elsewhere: read as they are meant, or named."""

from __future__ import annotations

import io
import os
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mapper.equivalence.labelled import read_labelled
from mapper.errors import EventError
from mapper.events import EVENT_DTYPE, read_events, read_raster
from mapper.events.numpy_files import BYTES_MAX

ROWS = [(100, 0, 1, 1), (110, 1, 2, 2), (200, 0, 3, 3)]


def header(text: str, version: int = 1) -> bytes:
    """The head of an .npy file with any text in it."""
    body = text.encode().ljust(118) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(body))
    return b"\x93NUMPY" + bytes([version, 0]) + size + body


def described(shape: str, kind: str = "'<i8'") -> bytes:
    return header(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}")


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def bomb() -> bytes:
    """A thousandth of what it unpacks to: 1 GiB of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as entry:
        entry.write(described(f"({(1 << 30) // 8},)"))
        for _ in range(64):
            entry.write(bytes(1 << 24))
    return stream.getvalue()


def flipped(content: bytes, place: int) -> bytes:
    data = bytearray(content)
    data[place] ^= 0x10
    return bytes(data)


def with_64_bits(content: bytes, size: int | None = None, shift: int = 0) -> bytes:
    """An archive whose end is written as torch does: with a record of 64 bits, and its locator."""
    end = content[-22:]
    count, there, offset = struct.unpack("<10xHII2x", end)
    stated = there if size is None else size
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, stated, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(content) - 22 + shift, 1)
    return content[:-22] + record + locator + end


EVENTS = saved(np.array(ROWS * 200, EVENT_DTYPE))
HEAD = "{'descr': '<i8', 'fortran_order': False, 'shape': "
GOOD = zipped(("events.npy", EVENTS))
ENCRYPTED = GOOD.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
FILES: dict[str, tuple[bytes, str]] = {
    "unclosed.npy": (header(HEAD), "header"),
    "tokens.npy": (header("{'descr': '<i8', 'shape"), "header"),
    "deep.npy": (header("(" * 100), "header"),
    "calls.npy": (header("__import__('os').system('true')"), "header"),
    "text.npy": (header("not python"), "header"),
    "version.npy": (b"\x93NUMPY\x09\x00" + bytes(100), "header"),
    "1e12.npy": (described("(999999999999,)"), "claims"),
    "empty-type.npy": (described("(999999999999,)", "'V0'"), "claims"),
    "more.npy": (described("(100,)") + bytes(100), "claims 800 bytes, and 100"),
    "negative.npy": (described("(-1,)"), "shape"),
    "boolean.npy": (described("(True,)"), "shape"),
    "objects.npy": (described("(1,)", "'|O'") + b"cos\nsystem\n(S'true'\ntR.", "pickle"),
    "field.npy": (described("(1,)", "[('t', '|O')]") + bytes(8), "pickle"),
    "cut.npz": (GOOD[:-30], "read"),
    "flip.npz": (flipped(GOOD, 100), "read"),
    "encrypted.npz": (ENCRYPTED, "encrypted"),
    "lzma.npz": (zipped(("a.npy", EVENTS), method=zipfile.ZIP_LZMA), "compressed"),
    "bzip.npz": (zipped(("a.npy", EVENTS), method=zipfile.ZIP_BZIP2), "compressed"),
    "claims.npz": (zipped(("a.npy", described("(999999999999,)"))), "claims"),
    "objects.npz": (zipped(("a.npy", described("(1,)", "'|O'") + b"x")), "pickle"),
    "none.npz": (zipped(("readme", b"hello")), "header"),
    "many.npz": (zipped(*((f"{n}.npy", b"") for n in range(1001))), "1001 arrays"),
    "directory.npz": (zipped(*((f"{'x' * 60_000}{n}.npy", b"") for n in range(20))), "list of contents"),
    "zip64-directory.npz": (with_64_bits(GOOD, 1 << 40), "list of contents"),
    "zip64-elsewhere.npz": (with_64_bits(GOOD, shift=-56), "end record of 64 bits"),
    "zip64-none.npz": (with_64_bits(GOOD).replace(b"PK\6\6", b"PK\6\0"), "end record of 64 bits"),
    "hidden.npz": (zipped(*((f"{'x' * 60_000}{n}.npy", b"") for n in range(20)))[:-6] + b"PK\5\6\0\0", "read: its list"),
    "twice.csv": (b"t,t,p,y,x\n1,1,1,1,1\n", "both mean"),
    "long.csv": (b"t" * 200_000, "field"),
    "number.csv": (b"t,p,y,x\n" + b"9" * 100_000 + b",1,1,1\n", "field t"),
    "quotes.csv": (b'"' * 5000, "csv"),
    "nul.csv": (b"t,p,y,x\n1,\x00,1,1\n", "read"),
    "latin.csv": (b"t,p,y,x\n1,\xff,1,1\n", "read"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    content, word = FILES[name]
    (tmp_path / name).write_bytes(content)
    start = time.monotonic()
    with pytest.raises(EventError, match=word) as caught:
        read_events(tmp_path / name)
    assert name.partition(".")[0] in str(caught.value)
    assert len(str(caught.value)) < 20_000
    assert time.monotonic() - start < 5


def test_an_archive_of_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    path.write_bytes(with_64_bits(GOOD))
    assert len(read_events(path, order="any")) == 600


def test_a_file_of_torch_is_told_as_such(tmp_path: Path) -> None:
    images, path = torch.rand(3, 1, 8, 8), tmp_path / "small.pt"
    torch.save({"images": images}, path)
    with pytest.raises(
        EventError, match=r"torch\.save, a pickle.*numpy\.savez\(FILE, images=x\.numpy\(\)"
    ) as told:
        read_labelled(str(path))
    assert str(told.value).endswith("labels=y.numpy())")
    np.savez(tmp_path / "small.npz", images=images.numpy(), labels=torch.arange(3).numpy())
    assert len(read_labelled(str(tmp_path / "small.npz")).labels) == 3
    path.rename(tmp_path / "events.npz")
    with pytest.raises(EventError, match=r"torch\.save.*NAME=x\.numpy\(\)"):
        read_events(tmp_path / "events.npz")


@pytest.mark.no_cover
def test_a_bomb(tmp_path: Path) -> None:
    (tmp_path / "bomb.npz").write_bytes(bomb())
    assert (tmp_path / "bomb.npz").stat().st_size < BYTES_MAX // 100
    for read in (read_events, read_raster):
        with pytest.raises(EventError, match=str(BYTES_MAX)):
            read(tmp_path / "bomb.npz")


def test_every_bit_of_an_archive(tmp_path: Path) -> None:
    """Whatever bit is flipped: the same events, or one error."""
    path = tmp_path / "e.npz"
    for place in range(0, len(GOOD), 3):
        path.write_bytes(flipped(GOOD, place))
        try:
            assert len(read_events(path)) == 600
        except EventError:
            continue


def test_a_sparse_file_of_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "sparse.npy"
    path.write_bytes(described("(100000000000,)"))
    os.truncate(path, 128 + 8 * 10**11)
    with pytest.raises(EventError, match="claims"):
        read_events(path)


def test_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.npy")
    os.mkfifo(tmp_path / "e.csv")
    os.symlink("/dev/zero", tmp_path / "zero.npy")
    for name in ("e.npy", "e.csv", "zero.npy"):
        with pytest.raises(EventError, match="copy its content"):
            read_events(tmp_path / name)


TABLES = {
    "plain": "t,p,y,x\n100,0,1,1\n110,1,2,2\n200,0,3,3\n",
    "savetxt": "# t,p,y,x\n100,0,1,1\n110,1,2,2\n200,0,3,3\n",
    "savetxt-blanks": "# x y p t\n1 1 0 100\n2 2 1 110\n3 3 0 200\n",
    "semicolons": "t;p;y;x\n100;0;1;1\n110;1;2;2\n200;0;3;3\n",
    "tabs": "t\tp\ty\tx\n100\t0\t1\t1\n110\t1\t2\t2\n200\t0\t3\t3\n",
    "remarks": "# made by hand\n# 2024\nx,y,p,t\n1,1,0,100\n2,2,1,110\n3,3,0,200\n",
    "names-in-a-remark": "# made by hand\n# timestamp x y polarity\n100 1 1 0\n110 2 2 1\n200 3 3 0\n",
    "whole-coordinates": "t,p,y,x\n100,0.0,1.0,1e0\n110,1.0,2.0,2e0\n200,0.0,3.0,3e0\n",
}
UNITS = {"whole-coordinates": "us"}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(TABLES[name])
    unit: Any = UNITS.get(name)
    assert read_events(path, time_unit=unit).tolist() == ROWS


def test_tables_that_do_not_say_what_they_mean(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    for text, word in (
        ("96,7,0,65\n95,8,0,61\n", "Write one above them"),
        ("# only a remark\n96,7,0,65\n", "Write one above them"),
        ("t,p,y,x\n0.5,0,1,1\n", "time_unit="),
        ("t,p,y,x\n5,0,1,1.5\n", "field x"),
        ("t,p,y,x\n5,0,1,nan\n", "field x"),
    ):
        path.write_text(text)
        with pytest.raises(EventError, match=word):
            read_events(path)


def test_units_of_time(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("t,p,y,x\n6.55e-05,0,1,1\n6.51e-05,1,2,2\n1,0,3,3\n")
    assert read_events(path, time_unit="s", order="sort")["t"].tolist() == [65, 66, 1_000_000]
    path.write_text("t,p,y,x\n1,0,1,1\n3,1,2,2\n")
    assert read_events(path, time_unit="ms")["t"].tolist() == [1000, 3000]
    path.write_text("t,p,y,x\n1,0,1,1\n1e300,1,2,2\n")
    with pytest.raises(EventError, match="field t"):
        read_events(path, time_unit="s")
    array = np.zeros(2, [("ts", "f8"), ("p", "u1"), ("y", "u2"), ("x", "u2"), ("more", "u1")])
    array["ts"] = 0.001, 0.002
    np.save(tmp_path / "e.npy", array)
    read = read_events(tmp_path / "e.npy", time_unit="s", ignore=("more",))
    assert read["t"].tolist() == [1000, 2000]


def test_clocks_that_start_again(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("t,p,y,x\n4294967290,0,1,1\n4294967295,0,2,2\n3,0,3,3\n")
    with pytest.raises(EventError, match="unwrap=True") as caught:
        read_events(path)
    assert "sort" not in str(caught.value).lower()
    assert read_events(path, unwrap=True)["t"].tolist() == [4294967290, 4294967295, 4294967299]
    assert read_events(path, unwrap=True, rebase=True)["t"].tolist() == [0, 5, 9]
    path.write_text("t,p,y,x\n100,0,1,1\n90,0,2,2\n")
    with pytest.raises(EventError, match='order="sort"'):
        read_events(path)
    assert read_events(path, order="sort", rebase=True)["t"].tolist() == [0, 10]


def test_recordings_of_other_cameras(tmp_path: Path) -> None:
    path = tmp_path / "v2e.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n# raw\r\n" + bytes(16))
    with pytest.raises(EventError, match=r"depends on the camera.*Save its events as \.csv"):
        read_events(path)


def test_damaged_recordings(tmp_path: Path) -> None:
    """Their decoder panics, and aborts its process where panics meet."""
    pytest.importorskip("aedat")
    content = (Path(__file__).resolve().parents[1] / "data" / "twenty.aedat4").read_bytes()
    path = tmp_path / "e.aedat4"
    refused = 0
    for place in range(20, len(content), len(content) // 25):
        data = bytearray(content)
        data[place : place + 8] = b"\xff" * 8
        path.write_bytes(data)
        try:
            read_events(path, order="any")
        except EventError:
            refused += 1
    assert refused > 5
