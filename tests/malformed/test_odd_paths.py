"""Where a file is expected: pipes, devices, folders, links in a circle, names that are too long or steer terminals."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.malformed.test_corpus import require_refused
from tests.malformed.workbench import COMMANDS, DIGITS, Workbench

# By kind, what its files end in, and a sound one.
KINDS = {
    "network": (".nir", DIGITS),
    "config": (".json", "config.json"),
    "answer": (".json", "known_answer.json"),
    "events": (".npy", "events.npy"),
    "raster": (".npz", "raster.npz"),
    "placement": (".json", "placement.json"),
    "report": (".json", "report.json"),
    "traffic": (".json", "traffic.json"),
    "chip": (".toml", None),
}
LONG = "long" + "x" * 300
ODD: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "circle": lambda path: path.symlink_to(path.name),
    LONG: lambda path: None,
}


@pytest.mark.no_cover
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:8])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file(bench: Workbench, kind: str, odd: str) -> None:
    path = bench.folder / f"{odd}{KINDS[kind][0]}"
    ODD[odd](path)
    try:
        for command in COMMANDS[kind]:
            require_refused(command, bench.run(command, path.name), "longx" if odd == LONG else path.name)
    finally:
        if os.path.lexists(path):
            (os.rmdir if odd == "folder" else os.unlink)(path)


NAMES = [
    "\x1b[31mred",
    "a\nError: b",
    "[bold]x[b]",
    ":boom:",
    "\u202eabc",
    os.fsdecode(b"\xff"),
    "=1+1",
    "\x9b31m",
]


@pytest.mark.no_cover
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][1]])
def test_names_of_sound_files_are_inert(bench: Workbench, kind: str, name: str) -> None:
    """What is printed holds no character that is not seen, which `ended` asserts, and nothing is a fault."""
    sound = KINDS[kind][1]
    content = bench.digits if sound == DIGITS else bench.sound[str(sound)]
    (told,) = bench.give(kind, f"{name}{KINDS[kind][0]}", content, 0)
    assert told.status in (0, 1, 2), told
