"""Runs that know nothing of each other, on threads: the compiled loop lets go of Python's lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeAlias, TypeVar

from mapper.process import starting_workers

__all__ = ["Pause", "side_by_side", "threads_for"]

Pause: TypeAlias = Callable[[], object]
_Result = TypeVar("_Result")

# Each run holds its spikes in memory.
_THREADS_MAX = 4


class _NotWantedError(Exception):
    """Another run has failed, or Ctrl-C came."""


def threads_for(works: int) -> int:
    """How many of so many works run at the same time."""
    known = getattr(os, "sched_getaffinity", None)
    cores = len(known(0)) if known else os.cpu_count() or 1
    return min(works, cores, _THREADS_MAX)


def side_by_side(works: Sequence[Callable[[Pause | None], _Result]], pause: Pause | None) -> list[_Result]:
    """What works give, in their order, as if one came after the other.

    Parameters
    ----------
    works
        They share nothing that they change; each gets what it is to call as its `pause`.
    pause
        Called by one of them at a time; what it raises ends all of them at their next pause, as does what a
        work raises. Of several failures the one of the first work is raised.
    """
    if (count := threads_for(len(works))) < 2:
        return [work(pause) for work in works]
    is_over, one = threading.Event(), threading.Lock()

    def checked() -> None:
        if is_over.is_set():
            raise _NotWantedError
        if pause is not None:
            with one:
                pause()

    def run(work: Callable[[Pause | None], _Result]) -> _Result:
        try:
            return work(checked)
        except BaseException:
            is_over.set()
            raise

    pool = ThreadPoolExecutor(count)
    try:
        # Ctrl-C that was held back comes as this ends, when threads are running.
        with starting_workers():
            futures = [pool.submit(run, work) for work in works]
        wait(futures)
        failures = [error for future in futures if (error := future.exception())]
        raised = [error for error in failures if not isinstance(error, _NotWantedError)]
        if raised:
            raise raised[0]
        return [future.result() for future in futures]
    finally:
        is_over.set()
        pool.shutdown(cancel_futures=True)
