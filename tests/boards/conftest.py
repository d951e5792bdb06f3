"""Boards that are plugged in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stand_in.fake_boards import FakeBoards, install_boards


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeBoards:
    folder = tmp_path / "site"
    folder.mkdir()
    return install_boards(
        monkeypatch, folder, "Speck2fModuleDevKit", "Speck2eDevKit", "Speck2fModuleDevKit", "OddBoard"
    )
