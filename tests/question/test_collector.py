"""Python's search for reference cycles: put off while networks are placed, and on while a solver searches."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import mapper
from mapper import question
from mapper.process import collector
from mapper.solver.cp_sat import InterruptibleSolver
from mapper.verify import verify
from tests.builders import gesture


@pytest.fixture(autouse=True)
def _collector_on_again() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_left_as_it_was(was_on: bool) -> None:
    (gc.enable if was_on else gc.disable)()
    assert mapper.solve(gesture()).solution is not None
    assert gc.isenabled() is was_on


def test_it_waits_for_the_checker_and_not_for_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, bool] = {}
    solve = InterruptibleSolver.solve

    def solved(*given: Any) -> Any:
        seen["solver"] = gc.isenabled()
        return solve(*given)

    def verified(*given: Any) -> Any:
        seen["checker"] = gc.isenabled()
        return verify(*given)

    monkeypatch.setattr(InterruptibleSolver, "solve", solved)
    monkeypatch.setattr(question, "verify", verified)
    assert mapper.solve(gesture()).solution is not None
    assert seen == {"solver": True, "checker": False}


def test_an_error_ends_the_wait() -> None:
    with pytest.raises(ValueError, match="on the way"), collector(put_off=True):
        raise ValueError("on the way")
    assert gc.isenabled()
    with collector(put_off=True):
        with pytest.raises(ValueError, match="on the way"), collector(put_off=False):
            raise ValueError("on the way")
        assert not gc.isenabled()


def test_threads_that_overlap_leave_it_on() -> None:
    """The one that begins second finds it off, and ends last."""
    begun, ended = threading.Event(), threading.Event()

    def second() -> None:
        with collector(put_off=True):
            begun.set()
            ended.wait(10)
            with collector(put_off=False):
                assert gc.isenabled()
            assert not gc.isenabled()

    thread = threading.Thread(target=second)
    with collector(put_off=True):
        thread.start()
        assert begun.wait(10)
        with collector(put_off=False):
            assert not gc.isenabled()
    ended.set()
    thread.join()
    assert gc.isenabled()
