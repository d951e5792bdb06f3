"""Whatever is written: whole or not at all, all or none, in the place of files alone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from mapper import files
from mapper.cli.entry import run
from mapper.errors import OptionsError
from mapper.events.stream import EventWriter
from mapper.files import Staged, file_name, place, require_writable, write_all, write_bytes, write_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="devices, masks and signals of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_but_files_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_full").symlink_to("/dev/full")
    kinds = {
        "/dev/full": "a device",
        "/dev/null": "a device",
        "pipe": "a pipe",
        "folder": "a folder",
        "to_full": "a device",
    }
    for name, kind in kinds.items():
        with pytest.raises(OptionsError, match=f"it is {kind}, and only files are replaced"):
            write_text(tmp_path / name, "x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert names(tmp_path) == ["folder", "pipe", "to_full"]
    (tmp_path / "to.npy").symlink_to("/dev/full")
    with pytest.raises(OptionsError, match="a device"):
        EventWriter(tmp_path / "to.npy")


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a/real")
    for text in ("one", "two"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "a" / "real").read_text(encoding="utf-8") == text
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_permissions(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "new", "x")
        with EventWriter(tmp_path / "new.npy"):
            pass
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o640)
        write_text(tmp_path / "old", "x")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o666 & ~mask, "new.npy": 0o666 & ~mask, "old": 0o640}


def test_the_disk_has_it_before_its_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append("sync")
        sync(handle)

    def replaced(*pair: Any) -> None:
        done.append("replace")
        replace(*pair)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_text(tmp_path / "x", "x")
    assert done == ["sync", "replace", "sync"]


ODD = os.fsdecode(b"\xff\xfe name\n.json")


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(tmp_path / ODD / ODD, "a name: \udcff")
    assert (tmp_path / ODD / ODD).read_text(encoding="utf-8") == "a name: \\udcff"
    assert run(["solve", "digits", "--out", str(tmp_path / ODD)]) == 0
    assert run(["emit", "digits", "--out", str(tmp_path / ODD)]) == 0
    assert run(["report", "digits", "--chip", "speck2f", "--workers", "1", "--out", str(tmp_path / ODD)]) == 0
    told = capsys.readouterr().out
    assert "\\udcff" in told
    assert told.isprintable() or set(told) <= {c for c in told if c.isprintable() or c == "\n"}
    assert "report.json" in names(tmp_path / ODD)


@pytest.mark.parametrize("blocked", ["config.json", "placement.json", "known_answer.json"])
def test_emit_writes_all_or_none(blocked: str, tmp_path: Path) -> None:
    (tmp_path / blocked).mkdir()
    assert run(["emit", "digits", "--out", str(tmp_path)]) == 2
    assert names(tmp_path) == [blocked]


@pytest.mark.parametrize("fails_at", range(3))
@pytest.mark.parametrize("error", [OSError(1, "Operation not permitted"), MemoryError()])
def test_what_was_there_is_there_again(
    fails_at: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").write_text("old", encoding="utf-8")
    replace, calls = os.replace, iter(range(99))

    def failing(*pair: Any) -> None:
        if next(calls) == fails_at:
            raise error
        replace(*pair)

    monkeypatch.setattr(os, "replace", failing)
    contents: dict[Path, str | bytes] = {
        tmp_path / "b": "1",
        tmp_path / "new" / "a": "2",
        tmp_path / "c": b"3",
    }
    with pytest.raises((OptionsError, MemoryError)):
        write_all(contents)
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_text(encoding="utf-8") == "old"
    monkeypatch.setattr(os, "replace", replace)
    write_all(contents)
    assert names(tmp_path) == ["b", "c", "new"]
    assert (tmp_path / "b").read_text(encoding="utf-8") == "1"


def test_one_place_for_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OptionsError, match="would be written twice"):
        write_all({tmp_path / "a": "1", tmp_path / "link": "2"})
    assert names(tmp_path) == ["link"]


def test_ctrl_c_waits_for_the_last_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def pressed(*pair: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        replace(*pair)

    monkeypatch.setattr(os, "replace", pressed)
    with pytest.raises(KeyboardInterrupt):
        write_all({tmp_path / "a": "1", tmp_path / "b": "2"})
    assert names(tmp_path) == ["a", "b"]


def test_what_a_killed_process_left_goes_at_the_next_run(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mapper.files import Staged\n"
        "file = Staged(Path(sys.argv[1]) / 'x'); file.write(b'half'); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    (left,) = names(tmp_path)
    files._swept.clear()
    write_bytes(tmp_path / "y", b"")
    assert names(tmp_path) == sorted([left, "y"]), "it is still at work"
    process.kill()
    process.wait()
    process.stdout.close()
    (tmp_path / ".mapper-notours.tmp").touch()
    files._swept.clear()
    write_bytes(tmp_path / "y", b"")
    assert names(tmp_path) == [".mapper-notours.tmp", "y"]


def test_what_was_not_placed_is_gone(tmp_path: Path) -> None:
    with Staged(tmp_path / "made" / "x") as file:
        file.write(b"half")
    with Staged(tmp_path / "y") as file:
        place(file)
    assert names(tmp_path) == ["y"]


NAMES = [
    "a/b", "a_b", "a%2Fb", "a%2fb", "a:b", "a b", "a\nb", "", ".", "..", "%2E", ".a", "%2Ea", "a.", "ä", "a\u0308",
    "\udcff", "x" * 160, "x" * 161, "x" * 162, "y" * 4000, "%", "%~", "~", "a\\b", "=1", "-a", "nul", "\x00",
]  # fmt: skip


def test_names_as_names_of_files() -> None:
    made = [file_name(name) for name in NAMES]
    assert [pair for pair in combinations(made, 2) if pair[0] == pair[1]] == []
    for name in made:
        assert not name.startswith(".")
        assert name.isascii()
        assert name.isprintable()
        assert not {*'/\\:*?"<>| '} & {*name}
        assert 0 < len(name) < 220
    assert file_name("conv1.Pool-2_x") == "conv1.Pool-2_x"


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["report", "digits", "--workers", "1", "--out", "PIPE/x"], "mapper.explore.sweep.sweep"),
        (["solve", "digits", "--out", "PIPE/x"], "mapper.api.solve"),
        (["emit", "digits", "--out", "FOLDER/out", "--flash", "PIPE"], "mapper.api.solve"),
        (["synthesize", "digits", "--out", "PIPE"], "mapper.explore.smallest.synthesize"),
        (["verify", "digits", "--plot", "PIPE"], "mapper.api.verify_equivalence"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_no_work_is_done_whose_outcome_cannot_be_written(
    words: list[str],
    work: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    os.mkfifo(tmp_path / "pipe")

    def done(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was begun")

    monkeypatch.setattr(work, done)
    words = [word.replace("PIPE", str(tmp_path / "pipe")).replace("FOLDER", str(tmp_path)) for word in words]
    assert run(words) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert names(tmp_path) == ["pipe"]


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    source, link, other = tmp_path / "events.npy", tmp_path / "link.npy", tmp_path / "rates.json"
    source.write_bytes(b"1")
    link.symlink_to(source)
    for path in (source, link):
        with pytest.raises(OptionsError, match="is read by this command"):
            require_writable(path, read=[source])
    require_writable(other, read=[source, tmp_path / "none"])
    assert source.read_bytes() == b"1"
