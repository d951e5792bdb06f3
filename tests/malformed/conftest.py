"""A workbench for the tests of a file: while it is there, samna is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.malformed.workbench import Workbench
from tests.stand_in.fake_boards import install_boards


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "site").mkdir()
    (folder / "files").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        yield Workbench(folder / "files", install_boards(patch, folder / "site", "Speck2fModuleDevKit"))
