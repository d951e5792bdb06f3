"""OR-Tools' modelling module, imported once, for all who model.

It imports pandas to know series when it sees them, which takes a command as long as all its other imports.
A process that runs nothing but a command of ours gets a stand-in that loads pandas when it is first needed;
everybody else's process is left alone.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mapper.process import is_command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cp_model"]


class _Deferred(type):
    """A class of pandas that is asked for only where somebody has loaded pandas, or makes an instance."""

    def __instancecheck__(cls, instance: object) -> bool:
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(instance, getattr(pandas, cls.__name__))

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        return getattr(import_module("pandas"), cls.__name__)(*arguments, **keywords)


class _Pandas(ModuleType):
    """Stands for pandas in the one module that is imported beside it."""

    Index = _Deferred("Index", (), {})
    Series = _Deferred("Series", (), {})

    def __getattr__(self, name: str) -> Any:
        # What starts with underscores is asked by the import system.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module("pandas"), name)


@contextmanager
def _pandas_deferred() -> Iterator[None]:
    if not is_command_line() or "pandas" in sys.modules:
        yield
        return
    stand_in = _Pandas("pandas")
    sys.modules["pandas"] = stand_in
    try:
        yield
    finally:
        # Whoever imports pandas from now on gets pandas.
        if sys.modules.get("pandas") is stand_in:
            del sys.modules["pandas"]


with _pandas_deferred():
    from ortools.sat.python import cp_model
