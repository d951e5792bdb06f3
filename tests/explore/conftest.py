"""What tests of sweeps share."""

from __future__ import annotations

from typing import Any

import pytest

from mapper.explore import workers as workers_module
from mapper.explore.cell import decide
from mapper.explore.record import Cell


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(network, chip) of every cell that is decided anew."""
    calls: list[tuple[str, str]] = []

    def counted(network: Any, chip: Any, *rest: Any) -> Cell:
        calls.append((network.name, chip.name))
        return decide(network, chip, *rest)

    monkeypatch.setattr(workers_module, "decide", counted)
    return calls
