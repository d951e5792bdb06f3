"""CP-SAT as this package uses it: models that are made quickly, and searches that Ctrl-C ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any

from mapper.process import ctrl_c
from mapper.solver.or_tools import cp_model

__all__ = ["InterruptibleSolver", "Model"]

# A search that has not begun yet cannot be stopped: it is asked again.
_AGAIN_S = 0.05
# What ends a search; on the command line the others become Ctrl-C, once Python's handlers run.
_ENDING = {getattr(signal, name, signal.SIGINT) for name in ("SIGINT", "SIGTERM", "SIGHUP")}


class Model(cp_model.CpModel):
    """A model without the methods' names of old.

    OR-Tools adds these to every model when it is made, which takes longer than a small model's own rows.
    """

    def _add_pre_pep8_methods(self) -> None:
        pass


class InterruptibleSolver(cp_model.CpSolver):
    """CP-SAT in this thread, which Ctrl-C ends in status FEASIBLE or UNKNOWN instead of an exception.

    OR-Tools' own handler tells nobody that Ctrl-C was pressed, and leaves the system's handler behind, under
    which the next one would end the process without a word. Python's handlers run only when the search is
    over; what Python does at once is to write the signal's number to a wake-up socket, which one thread for
    all searches reads.
    """

    was_interrupted = False

    def solve(self, model: cp_model.CpModel, *arguments: Any) -> cp_model.CpSolverStatus:
        """Solve within the parameters' limits."""
        self.parameters.catch_sigint_signal = False
        is_main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGINT)
        if not is_main or handler not in (signal.default_int_handler, ctrl_c):
            return super().solve(model, *arguments)
        watch = _watch()
        # Else Python would raise KeyboardInterrupt before the answer is taken.
        signal.signal(signal.SIGINT, self._note)
        earlier = signal.set_wakeup_fd(watch.socket.fileno(), warn_on_full_buffer=False)
        watch.begin(self, earlier)
        try:
            return super().solve(model, *arguments)
        finally:
            watch.end()
            signal.set_wakeup_fd(earlier)
            signal.signal(signal.SIGINT, handler)

    def _note(self, _: int, __: FrameType | None) -> None:
        self.was_interrupted = True


class _Watch:
    """A thread that stops the search under way when the wake-up socket tells of Ctrl-C."""

    def __init__(self) -> None:
        self._reader, self.socket = socket.socketpair()
        self.socket.setblocking(False)
        self._solver: InterruptibleSolver | None = None
        self._earlier = -1
        self._ended = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="Ctrl-C of searches").start()

    def begin(self, solver: InterruptibleSolver, earlier: int) -> None:
        """Watch a search; what else listens to signals (descriptor, or -1) is told as before."""
        self._ended.clear()
        self._solver, self._earlier = solver, earlier

    def end(self) -> None:
        """The search is over."""
        self._solver = None
        self._ended.set()

    def _run(self) -> None:
        while numbers := self._reader.recv(64):
            if self._earlier != -1:
                with suppress(OSError):
                    os.write(self._earlier, numbers)
            while not _ENDING.isdisjoint(numbers) and (solver := self._solver) is not None:
                solver.was_interrupted = True
                solver.stop_search()
                self._ended.wait(_AGAIN_S)


@cache
def _watch() -> _Watch:
    return _Watch()


# A forked process has the socket, and no thread that reads it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watch.cache_clear)
