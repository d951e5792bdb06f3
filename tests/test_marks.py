"""What the marks of this suite promise."""

from __future__ import annotations

import sys
import threading

import pytest


@pytest.mark.no_cover
def test_nothing_watches_what_is_marked_no_cover() -> None:
    """With `--cov`, in a worker of xdist and without: tests that run Python for long would take three times as long."""
    assert sys.gettrace() is None
    assert threading.gettrace() is None
