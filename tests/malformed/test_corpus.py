"""Every input that ever broke something, through every command that could be given it."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from tests.malformed.made import MADE
from tests.malformed.workbench import COMMANDS, Ended, Workbench

CORPUS = Path(__file__).parent / "corpus"
# Of a core more than the chip has, samna's own object tells, which is a stand-in here.
NOT_OF_DEPLOY = {"one-core-more.json"}


def files(state: str) -> list[tuple[str, str]]:
    return [(path.parent.parent.name, path.name) for path in sorted(CORPUS.glob(f"*/{state}/*"))]


def content(kind: str, state: str, name: str) -> tuple[str, bytes]:
    """The file's name and what it holds; large ones are packed."""
    data = (CORPUS / kind / state / name).read_bytes()
    return (name.removesuffix(".xz"), lzma.decompress(data)) if name.endswith(".xz") else (name, data)


def require_refused(command: str, told: Ended, name: str) -> None:
    assert told.status == 2, (command, told)
    assert Path(name).stem in told.err, (command, told)
    assert len(told.err) < 5000, (command, told)


@pytest.mark.no_cover
@pytest.mark.parametrize(("kind", "name"), files("refused"))
def test_what_no_command_takes(bench: Workbench, kind: str, name: str) -> None:
    ends = bench.give(kind, *content(kind, "refused", name))
    for command, told in zip(COMMANDS[kind], ends, strict=True):
        require_refused(command, told, name.removesuffix(".xz"))
    assert bench.content() == bench.sound


@pytest.mark.no_cover
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in MADE for name in MADE[kind]])
def test_what_is_made_and_no_command_takes(bench: Workbench, kind: str, name: str) -> None:
    for number, command in enumerate(COMMANDS[kind]):
        if command.startswith("deploy FILE") and name in NOT_OF_DEPLOY:
            continue
        (told,) = bench.give(kind, name, MADE[kind][name](bench), number)
        require_refused(command, told, name)
    assert bench.content() == bench.sound


@pytest.mark.no_cover
@pytest.mark.parametrize(("kind", "name"), files("read"))
def test_what_some_commands_take(bench: Workbench, kind: str, name: str) -> None:
    """Awkward, and legal for at least one command; nothing is refuted but that two files are the same."""
    commands, ends = COMMANDS[kind], bench.give(kind, *content(kind, "read", name))
    assert 0 in [told.status for told in ends], ends
    for command, told in zip(commands, ends, strict=True):
        assert told.status != 1 or command.startswith("diff"), told
    assert bench.content() == bench.sound


@pytest.mark.parametrize(("kind", "name"), files("too_large"))
def test_what_is_too_large_for_every_chip(bench: Workbench, kind: str, name: str) -> None:
    commands, ends = COMMANDS[kind], bench.give(kind, *content(kind, "too_large", name))
    answers = {command.split()[0]: told for command, told in zip(commands, ends, strict=True)}
    for command in ("check", "solve"):
        assert answers[command].status == 1, answers[command]
