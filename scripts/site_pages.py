"""Hooks of `mkdocs.yml`: pages that are made when the site is, and a look for what loads from elsewhere.

The commands' page is their help; the examples' pages are the notebooks as they run now.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from mkdocs.exceptions import PluginError  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402
from notebooks import Cell, executed, notebooks  # noqa: E402

import mapper  # noqa: E402
from mapper.cli.app import app  # noqa: E402
from mapper.cli.help import help_text  # noqa: E402

WIDTH = "80"
# What a browser would fetch by itself; links that a reader follows may lead anywhere.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\bsrc=["']?(?:https?:)?//|<link[^>]*\bhref=["']?(?:https?:)?//"""
)

# A line of the reference: a name, and the first sentence of its description.
_NAMED = re.compile(r"^- `(mapper\.\w+)`: .*$", re.MULTILINE)
_MEMBERS = "\n    options:\n      members: true"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that no file holds."""
    os.environ["COLUMNS"] = WIDTH
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for path in notebooks():
        files.append(File.generated(config, f"examples/{path.stem}.md", content=notebook_page(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Put the whole description in the place of every line of the reference that names something."""
    return reference(markdown) if page.file.src_uri == "python.md" else markdown


def reference(text: str) -> str:
    """The page of the reference as mkdocstrings takes it: of modules all that is theirs."""
    return _NAMED.sub(lambda found: f"\n::: {found[1]}{_MEMBERS if _is_module(found[1]) else ''}\n", text)


def _is_module(name: str) -> bool:
    return isinstance(getattr(mapper, name.removeprefix("mapper.")), ModuleType)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Refuse a page that would load something from another host."""
    found = _FETCHED.search(output)
    if found is not None:
        raise PluginError(f"{page.file.src_uri} loads something from elsewhere: {found[0]}")
    return output


def commands_page() -> str:
    """The help of every command, one section each."""
    return "\n".join(["# Commands\n", "What `mapper COMMAND --help` prints.\n", *_sections((), app)])


def _sections(chain: tuple[str, ...], command: Any) -> Iterator[str]:
    heading = f"{'#' * max(len(chain) + 1, 2)} {' '.join(('mapper', *chain))}"
    yield f"{heading}\n\n```text\n{help_text(chain, command)}\n```\n"
    for name in command:
        if not name.startswith("-"):
            yield from _sections((*chain, name), command[name])


def notebook_page(path: Path) -> str:
    """A notebook with what its cells give."""
    source = f"*This is `examples/{path.name}`, run when the site was made.*"
    return "\n\n".join([*(_cell(cell) for cell in executed(path)), source]) + "\n"


def _cell(cell: Cell) -> str:
    if not cell.is_code:
        return cell.source
    parts = [f"```python\n{cell.source}\n```"]
    if cell.printed:
        parts.append(f"```text\n{cell.printed}```")
    if cell.html:
        # An empty line would end the markup for Markdown, which would read on.
        shown = re.sub(r"\n\s*", " ", cell.html) if "<pre>" not in cell.html else cell.html
        parts.append(f'<div class="given" aria-label="{escape("what the cell gives")}">{shown}</div>')
    return "\n\n".join(parts)
