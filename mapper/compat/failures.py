"""Errors that scripts of sinabs catch: this package's own, and sinabs' as well where sinabs is loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mapper.asking import spoken_to
from mapper.errors import MissingNeuronError, NetworkError, UnsupportedLayerError

__all__ = ["as_sinabs_raises"]

_THEIRS = "sinabs.backend.dynapcnn.exceptions"
# Which of sinabs' errors say the same; the first kind that an error is of counts.
_KINDS: tuple[tuple[type[NetworkError], tuple[str, ...]], ...] = (
    (MissingNeuronError, ("InvalidGraphStructure",)),
    (UnsupportedLayerError, ("UnsupportedLayerType", "InvalidGraphStructure", "InvalidEdge")),
    (NetworkError, ("InputConfigurationError",)),
)


@contextmanager
def as_sinabs_raises() -> Iterator[None]:
    """Errors of a network leave this block as sinabs' too, with the class's own arguments as way out."""
    try:
        with spoken_to("sinabs"):
            yield
    except NetworkError as error:
        raise _both(error).with_traceback(error.__traceback__) from error.__cause__


def _both(error: NetworkError) -> NetworkError:
    kind = type(error)
    names = next(names for known, names in _KINDS if isinstance(error, known))
    loaded = sys.modules.get(_THEIRS)
    theirs = [getattr(loaded, name) for name in names if hasattr(loaded, name)]
    both: Any = type(kind.__name__, (kind, *theirs), {"__module__": kind.__module__}) if theirs else kind
    told = both.__new__(both)
    told.__dict__.update(error.__dict__)
    # Not by their constructors, which take what sinabs knows of its graph.
    told.findings, told.args = error.findings, error.args
    return told  # type: ignore[no-any-return]  # a subclass of the error's class
