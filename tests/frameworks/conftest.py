"""That the networks of a framework, taken together, tell one reading from another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.frameworks.held import TELLING


@pytest.fixture(scope="module", autouse=True)
def most_spikes_tell_something() -> Iterator[None]:
    """At least nine in ten networks of a file neither rest nor fire all the time."""
    TELLING.clear()
    yield
    assert len(TELLING) < 20 or sum(TELLING) >= 0.9 * len(TELLING)
