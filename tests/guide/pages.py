"""Pages as sessions: what stands in their fenced blocks is run, in order, in a folder of the page's own.

`sh` is a list of commands that succeed; `text` that begins with `$ ` is a command and all that it prints; other
`text` is what the program before it prints; `python` is a program; a block with `title="FILE"` is that file. A
line `...` stands for any lines. What stands behind the comment `<!-- numbers vary -->` depends on the machine's
floating point: lines are compared without digits there. `console`, `py` and `toml` are not run here.
"""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TypeAlias

from mapper.cli.entry import run

__all__ = ["GUIDE", "PAGES", "ROOT", "Block", "agrees", "blocks", "play", "session"]

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "mapper" / "guide"
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
# What is run elsewhere: the README's two commands by `.ci/run`, those of the frameworks by a test of their own.
_ELSEWHERE = {"README.md": "sh", "frameworks.md": "sh"}
VARIES = "<!-- numbers vary -->\n"
_TIME = re.compile(r"^(solver: )[\d.]+ ms")
_FENCE = re.compile(
    rf'(?P<varies>{re.escape(VARIES)})?```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)```',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `title` is the file that it is, if any."""

    language: str
    title: str | None
    body: str
    varies: bool

    @property
    def command(self) -> str:
        """What is typed, in one line."""
        return self.body.removesuffix(self.shown).removeprefix("$ ").replace("\\\n", " ").strip()

    @property
    def shown(self) -> str:
        """What stands behind the command, if there is one, which goes on behind a backslash."""
        typed = re.match(r"\$ (?:.*\\\n)*.*\n", self.body)
        return self.body[typed.end() :] if typed else self.body


# What a block is, and what it would be.
Differs: TypeAlias = Callable[[str, str], object]


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(found["language"], found["title"], found["body"], found["varies"] is not None)
        for found in _FENCE.finditer(text)
    ]


def session(page: Path) -> list[Block]:
    """The blocks of a page that are run here."""
    found = blocks(page.read_text(encoding="utf-8"))
    return [block for block in found if block.language != _ELSEWHERE.get(page.name)]


def play(page: Sequence[Block], folder: Path, differs: Differs | None = None) -> None:
    """Run a page in a folder; the first block that does otherwise than it says fails.

    Parameters
    ----------
    differs
        Is told what a block shows and what is printed, in place of a failure, where a block shows all of it.
    """
    for name in ("mapper", "scripts", "tests", "examples"):
        (folder / name).symlink_to(ROOT / name)
    unread: str | None = None
    for block in page:
        if block.title is not None:
            (folder / block.title).write_text(block.body, encoding="utf-8")
        elif block.language == "sh":
            for command in block.body.replace("\\\n", " ").splitlines():
                status, printed = _command(command)
                assert status == 0, f"{command}\nends with {status}:\n{printed}"
        elif block.language == "python":
            assert not unread, f"no block shows what is printed:\n{unread}"
            unread = _program(block.body)
        elif block.language == "text" and block.body.startswith("$ "):
            command = block.command
            status, printed = _command(command)
            assert status in (0, 1, 2), f"{command}\nends with {status}:\n{printed}"
            _compare(block, printed, differs)
        elif block.language == "text" and unread is not None:
            _compare(block, unread, differs)
            unread = None
    assert not unread, f"no block shows what is printed:\n{unread}"


def _compare(block: Block, printed: str, differs: Differs | None) -> None:
    if agrees(block.shown, printed, varies=block.varies):
        return
    assert differs is not None, f"{block.body.partition(chr(10))[0]}\nprints:\n{printed}"
    assert not block.varies, f"{block.body}\nneeds a person:\n{printed}"
    assert "\n...\n" not in block.body, f"{block.body}\nneeds a person:\n{printed}"
    head = block.body.removesuffix(block.shown)
    differs(block.body, head + "".join(f"{line}\n" for line in _lines(printed, varies=False)))


def _program(body: str) -> str:
    heard = StringIO()
    with redirect_stdout(heard), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(body, "<page>", "exec"), {"__name__": "__main__"})  # noqa: S102  # the project's own page
    return heard.getvalue()


def _command(typed: str) -> tuple[int, str]:
    """Exit status and all that is printed, errors and warnings first."""
    words = shlex.split(typed)
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        if words[:3] == ["python", "-m", "mapper"]:
            status = run(words[3:])
        elif words[0] == "python" and words[1].endswith(".py"):
            status = _script(words[1:])
        else:
            raise AssertionError(f"no page may ask for this: {typed}")
    return status, err.getvalue() + out.getvalue()


def _script(words: list[str]) -> int:
    before, sys.argv = sys.argv, words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def agrees(shown: str, printed: str, *, varies: bool = False) -> bool:
    """Whether lines agree, but for blanks around them, empty ones, the solver's time and what `...` leaves out."""
    want, have = ([_TIME.sub(r"\1T ms", line) for line in _lines(text, varies)] for text in (shown, printed))
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in want)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in have)) is not None


def _lines(text: str, varies: bool) -> Iterator[str]:
    for line in map(str.rstrip, text.splitlines()):
        if line:
            yield " ".join(re.sub(r"[+-]?\d[\d.]*", "0", line).split()) if varies else line
