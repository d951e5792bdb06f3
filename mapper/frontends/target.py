"""Networks named by a Python target: `package.module:factory`."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from mapper.errors import Finding, MapperError, NetworkError
from mapper.network import Network

__all__ = ["is_module", "is_nir_graph", "is_target", "load_target"]

# One letter before the colon is a drive.
_TARGET = re.compile(r"(?!\w:)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_target(text: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a text names a Python target and not a file.

    Parameters
    ----------
    suffixes
        Of network files: what ends in one of them is a file.
    """
    if _TARGET.fullmatch(text) is None or Path(text).suffix.lower() in suffixes:
        return False
    return not Path(text).exists()


def is_module(source: object) -> bool:
    """Whether an object is a torch module, found out without loading torch."""
    names = {(entry.__module__, entry.__name__) for entry in type(source).__mro__}
    return ("torch.nn.modules.module", "Module") in names


def is_nir_graph(source: object) -> bool:
    """Whether an object has the two fields a NIR graph is read from."""
    return isinstance(getattr(source, "nodes", None), dict) and hasattr(source, "edges")


def load_target(target: str) -> object:
    """What a target names: a torch module, a NIR graph or a `Network`, or what its factory returns.

    The current directory can be imported from meanwhile.

    Raises
    ------
    NetworkError
        The module, the name in it or the factory fails, or gives something else.
    """
    module_name, _, path = target.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        loaded: object = importlib.import_module(module_name)
        for name in path.split("."):
            loaded = getattr(loaded, name)
        if not _usable(loaded) and callable(loaded):
            loaded = loaded()
    except MapperError:
        raise
    # A script that leaves with sys.exit is the user's fault like any other.
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:300]
        step = "The form is package.module:factory; the factory is called without arguments"
        problem = f"{type(error).__name__}: {text}"
        raise NetworkError(Finding(target, problem, next_step=step)) from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    if not _usable(loaded):
        step = "Return a torch module, a NIR graph or a mapper.Network"
        raise NetworkError(Finding(target, "gives no network", type(loaded).__name__, next_step=step))
    return loaded


def _usable(source: object) -> bool:
    if isinstance(source, type):
        return False
    return isinstance(source, Network) or is_module(source) or is_nir_graph(source)
