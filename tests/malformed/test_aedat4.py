"""A damaged .aedat4 file makes its decoder panic, abort or eat memory; here it is bad input."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mapper.errors import EventError
from mapper.events import aedat4, read_events

SOUND = (Path(__file__).resolve().parents[1] / "data" / "twenty.aedat4").read_bytes()
# `MAPPER_AEDAT4_STEP=1` damages every byte.
STEP = int(os.environ.get("MAPPER_AEDAT4_STEP", "61"))


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_one_byte_is_another(mask: int, tmp_path: Path) -> None:
    path, told = tmp_path / "damaged.aedat4", []
    for place in range(0, len(SOUND), STEP):
        content = bytearray(SOUND)
        content[place] ^= mask
        path.write_bytes(content)
        try:
            read_events(path)
        except EventError as error:
            told.append(str(error))
    assert told
    assert all(text.isprintable() for text in told)


@pytest.mark.parametrize("length", [0, 1, 14, 200, 700])
def test_cut_off(length: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.aedat4"
    path.write_bytes(SOUND[:length])
    with pytest.raises(EventError, match=r"cannot be read|holds no stream"):
        read_events(path)


CHILDREN = {
    "import os; os.abort()": "the decoder gave up",
    "import time; time.sleep(60)": "it took too long",
    "x = bytes(1 << 40)": "cannot be read",
    "import os; os._exit(1)": "the decoder ended with status 1",
    "raise OSError('a\\x1b[31m\\nb')": "cannot be read",
}


@pytest.mark.parametrize(("code", "told"), CHILDREN.items())
def test_whatever_the_decoder_does(
    code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, path = tmp_path / "child.py", tmp_path / "x.aedat4"
    child.write_text(f"{code}\n", encoding="utf-8")
    path.write_bytes(SOUND)
    monkeypatch.setattr(aedat4, "_CHILD", child)
    monkeypatch.setattr(aedat4, "_TIME_S", 2.0)
    with pytest.raises(EventError, match=told) as caught:
        read_events(path)
    assert str(caught.value).isprintable()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.aedat4")
    path.write_bytes(SOUND)
    assert len(read_events(path)) == 20
