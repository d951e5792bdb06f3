"""What is installed: looked at, not imported."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from hwspec.catalog import load, names
from mapper.emit.samna import find_samna

__all__ = ["diagnose", "samna_state"]

_PACKAGES = ("numpy", "pydantic", "ortools", "nir", "h5py", "torch", "numba", "sinabs")


def diagnose() -> dict[str, str]:
    """State of Python, of the packages this one uses, and of the chip files."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["samna"] = samna_state()
    found["chips"] = f"{len([load(name) for name in names()])} specifications, all sound"
    return found


def samna_state() -> str:
    """Whether samna is there for real.

    The distribution of that name on the package index is an installer stub that would download the
    library when imported: it has no compiled extension beside its ``__init__``.
    """
    state = find_samna()
    if state is None:
        return "not installed: configurations can be made, but not sent to a board"
    if state == "stub":
        return "installer stub, not the library: install samna as its vendor describes"
    return f"{version('samna')} (found, not loaded)"
