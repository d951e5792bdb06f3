"""Compiled once and kept, where there is a place to keep it; else in memory, in each process anew."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numba

from mapper.process import is_command_line

__all__ = ["compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(*, is_kept: bool = True, **options: Any) -> Callable[[_Function], _Function]:
    """Compile a function by numba, with its options; what is compiled is kept where numba finds a place.

    That is beside the source or in the user's own folder. Where neither can be written to, numba would refuse
    to compile at all. What becomes part of its callers only need not be kept (`is_kept`).
    """

    def compile_it(function: _Function) -> _Function:
        made: _Function = numba.njit(**options)(function)
        if made is function or not is_kept:
            # With NUMBA_DISABLE_JIT numba hands back what it was given.
            return made
        try:
            made.enable_caching()  # type: ignore[attr-defined]  # numba's dispatcher has it
        except (RuntimeError, OSError):
            return made
        made._cache = _Forgiving(made._cache)  # type: ignore[attr-defined]
        return made

    return compile_it


@contextmanager
def _without_scipy() -> Iterator[None]:
    """Keep scipy's linear algebra out while numba looks for it: no kernel needs it.

    In the process of a command alone, which would wait for it a quarter of a second; whoever imports it
    afterwards gets it.
    """
    if not is_command_line() or "scipy.linalg" in sys.modules:
        yield
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]  # the import system's word for "not there"
    try:
        yield
    finally:
        sys.modules.pop("scipy.linalg", None)


class _Forgiving:
    """numba's store of what was compiled; what it cannot read is not there, what it cannot write is not kept.

    A disk may fill up, a folder lose its permissions and a file be damaged between one run and the next.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            with _without_scipy():
                return self._cache.load_overload(signature, context)
        # A damaged file makes pickle and LLVM raise whatever there is.
        except Exception:
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            self._cache.save_overload(signature, data)
        except Exception:
            return
