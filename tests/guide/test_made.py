"""What scripts make for the documents: pictures that are up to date, notebooks that run."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.guide.pages import GUIDE, PAGES, ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    yield import_module
    for name in ("pictures", "notebooks"):
        sys.modules.pop(name, None)


def test_pictures_are_what_the_script_draws(script: Any) -> None:
    drawn = script("pictures").pictures()
    kept = {path.name: path.read_text(encoding="utf-8") for path in (GUIDE / "pictures").glob("*.svg")}
    assert kept == drawn, "python scripts/pictures.py"


def test_every_picture_is_shown_and_small() -> None:
    kept = [path for path in (GUIDE / "pictures").iterdir() if path.suffix in (".png", ".svg")]
    assert len(kept) >= 4
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in kept:
        assert f"pictures/{path.name})" in pages, path.name
        assert path.stat().st_size < 60_000, path.name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, script: Any) -> None:
    cells = script("notebooks").executed(path)
    code = [cell for cell in cells if cell.is_code]
    assert len(code) >= 3
    assert all(cell.printed or cell.html for cell in code), "a cell that shows nothing"
    assert any("<svg" in cell.html or "<table" in cell.html or "%" in cell.printed for cell in code)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    for cell in book["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_there_are_notebooks() -> None:
    assert len(EXAMPLES) >= 3
