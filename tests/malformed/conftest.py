"""A workbench for the tests of a file: while it is there, samna is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.malformed.workbench import Workbench, make_sound_files
from tests.stand_in.fake_boards import install_boards


@pytest.fixture(scope="session")
def sound_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    make_sound_files(folder)
    return folder


@pytest.fixture(scope="module")
def bench(sound_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    site = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        yield Workbench(sound_files, install_boards(patch, site, "Speck2fModuleDevKit"))
