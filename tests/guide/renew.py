"""Write what commands print now into the pages: `python -m tests.guide.renew [PAGE...]`; read the difference.

Sessions with `...` and those that vary are left: a person chose their lines.
"""

from __future__ import annotations

import os
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.guide.pages import PAGES, play, session


def renewed(page: Path) -> str:
    """The page with what is printed now in place of what it shows."""
    text = page.read_text(encoding="utf-8")
    shown: list[tuple[str, str]] = []
    with TemporaryDirectory() as folder, chdir(folder):
        play(session(page), Path(folder), differs=lambda old, new: shown.append((old, new)))
    for old, new in shown:
        text = text.replace(f"{old}```", f"{new}```")
    return text


def main(names: list[str]) -> None:
    """Renew these pages, or all that have sessions."""
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    for page in [Path(name).resolve() for name in names] or PAGES:
        new = renewed(page)
        if new != page.read_text(encoding="utf-8"):
            page.write_text(new, encoding="utf-8")
            print(f"renewed: {page.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
