"""Where cells are decided: on the workers of a Dask cluster, any part of which may go."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from mapper.activity import doing, heard_by, is_heard
from mapper.asking import SCHEDULER
from mapper.deadline import NEVER, Deadline
from mapper.errors import BackendMissingError, Finding, OptionsError, warn_caller
from mapper.explore.cell import fault_text
from mapper.explore.under_way import seldom
from mapper.explore.workers import Task, TaskOutcome, patience_s, run_task

__all__ = ["on_cluster"]

# How long a scheduler that does not answer is waited for.
_CONNECT_SECONDS = 30.0
# After how long it is said that something is waited for.
_SAY_SECONDS = 0.25
# How long one without any worker is: twice that, and what asking takes, is half a minute.
_WORKER_SECONDS = 10.0
# How often it is asked while no outcome comes, and how long it may take to answer.
_ASK_SECONDS = 1.0
# How long the outcome of a task may take from the worker that has it, before the others are asked for.
_FETCH_SECONDS = 5.0
# How often a cluster is called.
_CALLS = 2
# Tasks given to a cluster at once: enough for a few dozen workers, a few MB on the way.
_AHEAD = 128
_START = "Start one with `dask scheduler`, workers with `dask worker ADDRESS`"


class _GoneError(Exception):
    """What is left of a cluster decides nothing any more; why, in a clause."""


def on_cluster(
    tasks: Sequence[Task], address: str, deadline: Deadline = NEVER
) -> Generator[TaskOutcome, None, None]:
    """Tasks on the workers of a Dask scheduler, in the order in which they end.

    The scheduler gives the tasks of a worker that is gone to others. A task that takes several workers with
    it is given out again, cell by cell; a scheduler that is gone, or has no worker for `_WORKER_SECONDS`, is
    called again. What is lost a second time comes back as cells with the verdict "error".

    Raises
    ------
    BackendMissingError
        Dask is not installed.
    OptionsError
        Nothing answers at this address, or no worker belongs to what does.
    TimeLimitError
        Not all outcomes came in time. The cluster drops what it has not begun, and ends the rest by itself.
    """
    try:
        distributed = import_module("distributed")  # an optional package
    except ImportError:
        step = 'pip install "dynapcnn-mapper[cluster]"'
        raise BackendMissingError("dask[distributed]", str(SCHEDULER), step) from None
    share, lost = _Share(tasks, deadline), list[str]()
    while len(lost) < _CALLS:
        try:
            with _quiet(), _connected(distributed, address, deadline) as client:
                yield from share.outcomes(client)
            return
        except _GoneError as error:
            lost.append(str(error))
        except OptionsError as error:
            if not lost:
                raise
            lost.append(str(error))
    for task in share.left:
        yield task.failed(f"The Dask cluster at {address} is gone: {'; '.join(dict.fromkeys(lost))}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what Dask logs of connections that end, traces included: what follows is said."""
    ours = ("distributed", "asyncio")
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ours]
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        # What was under way in vain is told of as it is deleted.
        gc.collect()
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def _connected(distributed: Any, address: str, deadline: Deadline) -> Iterator[Any]:
    """A client of a scheduler that has a worker."""
    where, left_s = f"{SCHEDULER} {address}", max(0.0, deadline.left_s)
    seconds = min(_CONNECT_SECONDS, left_s)
    try:
        call = partial(distributed.Client, address, timeout=seconds, set_as_default=False)
        client = _within(seconds, call, f"the Dask scheduler at {address}")
    except (OSError, ValueError) as error:
        deadline.check("a Dask scheduler was called")
        problem = f"no Dask scheduler answers: {error}"
        raise OptionsError(Finding(where, problem, next_step=_START)) from None
    with client:
        seconds = min(_WORKER_SECONDS, left_s)
        try:
            call = partial(client.wait_for_workers, 1, timeout=seconds)
            _within(seconds, call, f"a worker of the Dask scheduler at {address}")
        except OSError:
            deadline.check("a Dask scheduler had no worker")
            problem = f"the Dask scheduler has no worker, and got none within {_WORKER_SECONDS:g} s"
            step = f"Start some with `dask worker {address}`"
            raise OptionsError(Finding(where, problem, next_step=step)) from None
        yield client


def _within(seconds: float, make: Callable[[], Any], awaited: str) -> Any:
    """What is made within a time that does not bound itself: a connection to what takes it and is silent.

    Parameters
    ----------
    awaited
        What does not come at once is said to be waited for.

    Raises
    ------
    TimeoutError
        It took longer, and goes on in vain until this process ends.
    """
    came: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            came.put((make(), None))
        except BaseException as error:
            came.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    at_once, longest = min(_SAY_SECONDS, seconds), seconds + _ASK_SECONDS
    try:
        with suppress(Empty):
            return _made(came.get(timeout=at_once))
        until = datetime.now(UTC).astimezone() + timedelta(seconds=seconds - at_once)
        told = f"waiting for {awaited} until {until:%H:%M:%S}, for {seconds:g} s in all"
        warn_caller(told)
        return _made(came.get(timeout=longest - at_once))
    except Empty:
        raise TimeoutError(f"it takes the call and is silent for {seconds:g} s") from None


def _made(came: tuple[Any, BaseException | None]) -> Any:
    made, error = came
    if error is not None:
        raise error
    return made


def _on_another_machine(task: Task, limit_s: float, left_s: float, topic: str | None = None) -> TaskOutcome:
    """Decide a task's cells by this machine's own clock; what is being done is said under a topic, if any."""
    deadline = Deadline(limit_s, time.perf_counter() + left_s)
    if topic is None:
        return run_task(task, deadline)
    worker = import_module("distributed").get_worker()
    with heard_by(seldom(partial(worker.log_event, topic))):
        return run_task(task, deadline)


class _Share:
    """Tasks that wait, and those that a cluster has."""

    def __init__(self, tasks: Sequence[Task], deadline: Deadline) -> None:
        self._deadline = deadline
        # Whether a task has been lost before stands beside it.
        self._waiting = deque((task, False) for task in tasks)
        self._given: dict[Any, tuple[Task, bool]] = {}
        # Under what workers say what they do, if anybody listens, and what was said last.
        self._topic = f"mapper-{uuid4().hex}" if is_heard() else None
        self._said = ""

    def _hear(self, event: tuple[float, str]) -> None:
        self._said = event[1]

    @property
    def left(self) -> tuple[Task, ...]:
        """Tasks without an outcome."""
        return tuple(task for task, _ in (*self._given.values(), *self._waiting))

    def outcomes(self, client: Any) -> Iterator[TaskOutcome]:
        """Give tasks out until all have ended."""
        self._waiting.extendleft(self._given.values())
        self._given.clear()
        if self._topic is not None:
            client.subscribe_topic(self._topic, self._hear)
        ended: SimpleQueue[Any] = SimpleQueue()
        deadline, patience = self._deadline, patience_s(self._deadline)
        end = None if patience is None else time.monotonic() + patience
        while True:
            while self._waiting and len(self._given) < _AHEAD and not deadline.is_reached:
                entry = self._waiting.popleft()
                asked = entry[0], deadline.limit_s, deadline.left_s, self._topic
                future = client.submit(_on_another_machine, *asked, pure=False)
                self._given[future] = entry
                future.add_done_callback(ended.put)
            if not self._given:
                return
            future, outcome, cause = self._next(client, ended, end)
            task, was_lost = self._given.pop(future)
            future.release()
            if outcome is not None:
                yield outcome
            elif was_lost:
                yield task.failed(f"The cluster gave this cell up, twice: {cause}")
            else:
                self._waiting.extendleft((single, True) for single in task.single())

    def _next(
        self, client: Any, ended: SimpleQueue[Any], end: float | None
    ) -> tuple[Any, TaskOutcome | None, str]:
        """The next future that has ended, with its outcome, or why there is none."""
        gone_since = None
        while True:
            left = _ASK_SECONDS if end is None else min(_ASK_SECONDS, max(0.0, end - time.monotonic()))
            with suppress(Empty):
                future = ended.get(timeout=left)
                if future.status == "cancelled":
                    # Nobody else cancels: Dask does, all of them, when the connection ends.
                    raise _GoneError("the connection to its scheduler ended")
                try:
                    if future.status in ("finished", "error"):
                        return future, future.result(timeout=_FETCH_SECONDS), ""
                # Whatever a task raised on another machine.
                except Exception as error:
                    if future.status == "error":
                        return future, None, fault_text(error)
                # Its outcome went with the worker that had it, and is made again, or it takes long to come.
                future.add_done_callback(ended.put)
            if self._said:
                doing(self._said)
            now = time.monotonic()
            if end is not None and now >= end:
                self._deadline.check("a cluster decided cells")
            gone_since = None if _has_workers(client) else gone_since or now
            if gone_since is not None and now - gone_since >= _WORKER_SECONDS:
                raise _GoneError(f"its scheduler told of no worker for {_WORKER_SECONDS:g} s")


def _has_workers(client: Any) -> bool:
    """Whether the scheduler has any; False where it says nothing."""
    try:
        return bool(client.sync(client.scheduler.ncores, workers=None, callback_timeout=_ASK_SECONDS))
    except OSError:
        return False
