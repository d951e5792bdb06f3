"""What the README and the guide show is what happens."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import mapper
from mapper.cli.app import app
from tests.guide.pages import GUIDE, PAGES, ROOT, agrees, blocks, play, session

RUN = {page: session(page) for page in PAGES}
COMMANDS = [
    line
    for page in PAGES
    for block in blocks(page.read_text(encoding="utf-8"))
    if block.language in ("console", "sh")
    for line in block.body.replace("\\\n", " ").splitlines()
    if line.removeprefix("$ ").startswith("python -m mapper ")
]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.language in ("sh", "text", "python") for block in RUN[page])],
    ids=lambda page: page.stem,
)
def test_a_page_is_what_happens(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    play(RUN[page], tmp_path)


@pytest.mark.parametrize("line", COMMANDS, ids=range(len(COMMANDS)))
def test_commands_that_are_shown_exist(line: str) -> None:
    words = shlex.split(line.removeprefix("$ "))[3:]
    app.parse_args(words, print_error=False, exit_on_error=False)


def test_a_page_that_lies_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n, lie in enumerate(
        (
            "```sh\npython -m mapper solve nothing.nir\n```\n",
            "```text\n$ python -m mapper explain M202\nM203 other\n```\n",
            "```python\nprint(1)\n```\n```text\n2\n```\n",
            "```python\nprint(1)\n```\n",
            "```sh\nrm x\n```\n",
        )
    ):
        (tmp_path / str(n)).mkdir()
        with pytest.raises(AssertionError):
            play(blocks(lie), tmp_path / str(n))


def test_what_agrees() -> None:
    assert agrees("a 1\n...\nb\n", "a 1\n\nx\ny  \nb\n")
    assert agrees("a\nsolver: 12.5 ms in 2 solves\n", "a\nsolver: 3 ms in 2 solves\n")
    assert not agrees("a\nsolver: 3 ms in 2 solves\n", "a\nsolver: 3 ms in 1 solve\n")
    assert not agrees("a\n", "a\nsolver: 3 ms in 2 solves\n")
    assert not agrees("a 1\n", "a 2\n")
    assert agrees("a  1.5 %\n", "a 22 %\n", varies=True)
    assert not agrees("a 1\n", "b 1\n", varies=True)
    assert not agrees("a\n...\n", "b\na\n")


def test_the_pages_are_there() -> None:
    assert Path(mapper.__file__).parent == ROOT / "mapper", "another copy is tested"
    assert sum(len(RUN[page]) for page in PAGES) > 20
    assert len(COMMANDS) > 10
    assert len(list(GUIDE.glob("*.md"))) > 10
