"""Where cells are decided: in this process, or on this machine's cores."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field, replace

from hwspec.schema import ChipSpec
from mapper.activity import doing, steps_of
from mapper.asking import Surface, spoken_to, surface
from mapper.deadline import NEVER, Deadline
from mapper.errors import TimeLimitError
from mapper.explore.cell import CellOptions, Shared, decide, failed_cell, fault_text
from mapper.explore.record import Cell
from mapper.explore.under_way import EVERY_S, folder_of_workers, said_in, tell_of
from mapper.normal_form import NormalNetwork
from mapper.process import starting_workers, worker_processes

__all__ = ["Task", "TaskOutcome", "in_this_process", "on_cores", "patience_s", "run_task"]

# Tasks given out per worker: one under way, and the next without a pause.
_AHEAD = 2
# Share of a time limit in which workers may still hand over what they finished within it.
_GRACE = 0.1


@dataclass(frozen=True, slots=True)
class Task:
    """Some variants of one network, decided by one worker one after the other.

    Attributes
    ----------
    network_index, variant_indexes
        Of the report.
    reader
        Who is told what becomes of it, wherever it is decided.
    """

    network_index: int
    network: NormalNetwork
    variant_indexes: tuple[int, ...]
    chips: tuple[ChipSpec, ...]
    options: CellOptions
    reader: Surface = field(default_factory=surface)

    def single(self) -> Iterator[Task]:
        """The same cells as tasks of one each."""
        for index, chip in zip(self.variant_indexes, self.chips, strict=True):
            yield replace(self, variant_indexes=(index,), chips=(chip,))

    def failed(self, sentence: str) -> TaskOutcome:
        """The outcome where nobody could decide these cells."""
        return TaskOutcome(self, (failed_cell(sentence),) * len(self.chips))


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """Cells in the order of the task's variants; fewer where Ctrl-C or the deadline came first."""

    task: Task
    cells: tuple[Cell, ...]
    is_interrupted: bool = False


def run_task(
    task: Task, deadline: Deadline = NEVER, *, is_worker: bool = False, folder: str | None = None
) -> TaskOutcome:
    """Decide a task's cells, as many as there is time for; one that fails is tried once more.

    Parameters
    ----------
    deadline
        Of the whole sweep.
    is_worker
        In a process of its own: Ctrl-C reaches it as well, and is left to the process that started it.
    folder
        Where it says what it does, as `said_in` has it.
    """
    if is_worker and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    cells, shared = [], Shared()
    try:
        with spoken_to(task.reader):
            for chip in task.chips:
                deadline.check("cells were decided")
                with said_in(folder), steps_of(f"{task.network.name} on {chip.name}"):
                    cell = decide(task.network, chip, task.options, shared, deadline)
                    if cell.is_failed:
                        # Memory was short, a file could not be read: with nothing left of the first time.
                        cell = decide(task.network, chip, task.options, Shared(), deadline)
                cells.append(cell)
    except KeyboardInterrupt:
        return TaskOutcome(task, tuple(cells), is_interrupted=True)
    except TimeLimitError:
        pass
    return TaskOutcome(task, tuple(cells))


def in_this_process(tasks: Sequence[Task], deadline: Deadline = NEVER) -> Generator[TaskOutcome, None, None]:
    """One task after the other."""
    for task in tasks:
        yield run_task(task, deadline)


def patience_s(deadline: Deadline) -> float | None:
    """Seconds for which an outcome is waited for; None for as long as it takes."""
    return None if deadline.limit_s == math.inf else max(0.0, deadline.left_s + _GRACE * deadline.limit_s)


def on_cores(
    tasks: Sequence[Task], count: int, deadline: Deadline = NEVER
) -> Generator[TaskOutcome, None, None]:
    """Tasks on so many worker processes, in the order in which they end.

    Where a worker dies (out of memory, a crash in native code), what was under way is decided again, cell by
    cell, and so is what a worker could not take or give back. A cell that is lost a second time gets the
    verdict "error", and the others go on.

    Raises
    ------
    TimeLimitError
        Workers that were busy at the deadline have been ended.
    """
    with folder_of_workers() as folder:
        yield from _on_cores(tasks, count, deadline, folder)


def _on_cores(
    tasks: Sequence[Task], count: int, deadline: Deadline, folder: str | None
) -> Generator[TaskOutcome, None, None]:
    doing("starting workers")
    waiting, running = deque(tasks), dict[Future[TaskOutcome], Task]()
    try:
        while running or (waiting and not deadline.is_reached):
            with starting_workers():
                executor = worker_processes(count)
                while waiting and len(running) < _AHEAD * count and not deadline.is_reached:
                    try:
                        asked = {"is_worker": True, "folder": folder}
                        future = executor.submit(run_task, waiting[0], deadline, **asked)
                    except BrokenExecutor:
                        break  # what is under way says so as well, below
                    running[future] = waiting.popleft()
            lost, is_broken = list[Task](), False
            for future in _ended(running, deadline, folder):
                task = running.pop(future)
                if isinstance(future.exception(), Exception):
                    lost.append(task)
                    is_broken |= isinstance(future.exception(), BrokenExecutor)
                else:
                    yield future.result()
            if is_broken:
                # Whose fault it was is not known.
                lost += running.values()
                running.clear()
            yield from _one_by_one(lost, deadline)
    # Ctrl-C, and whoever closes this generator, raise what is no Exception; all of it is raised again.
    except BaseException:
        # Workers in the middle of a cell would go on, and hold up the end of this process.
        worker_processes(count).shutdown(wait=True, kill_workers=True)
        raise


def _ended(
    futures: Collection[Future[TaskOutcome]], deadline: Deadline, folder: str | None = None
) -> set[Future[TaskOutcome]]:
    """Those of some futures that have ended, as soon as one has; meanwhile what workers say is told on."""
    left_s = patience_s(deadline)
    if folder is not None:
        end_s = math.inf if left_s is None else time.perf_counter() + left_s
        while not wait(futures, max(0.0, min(EVERY_S, end_s - time.perf_counter())), FIRST_COMPLETED).done:
            if time.perf_counter() >= end_s or not futures:
                break
            tell_of(folder)
        left_s = 0.0
    done = wait(futures, left_s, FIRST_COMPLETED).done
    if futures and not done:
        deadline.check("workers decided cells")
    return done


def _one_by_one(tasks: Sequence[Task], deadline: Deadline) -> Iterator[TaskOutcome]:
    """Each cell in a worker of which nothing else is asked meanwhile."""
    for single in (single for task in tasks for single in task.single()):
        deadline.check("cells were decided")
        future = worker_processes(1).submit(run_task, single, deadline, is_worker=True)
        _ended([future], deadline)
        cause = future.exception()
        if isinstance(cause, BrokenExecutor):
            yield single.failed(
                "The worker process that decided this cell died, twice: out of memory, or a crash."
            )
        elif isinstance(cause, Exception):
            yield single.failed(f"The worker process gave up this cell, twice: {fault_text(cause)}")
        else:
            yield future.result()
