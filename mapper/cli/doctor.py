"""The command that says what is installed: looked at, not imported."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from mapper.cli.options import Output
from mapper.cli.output import print_json

__all__ = ["doctor", "samna_state"]

_PACKAGES = ("numpy", "pydantic", "ortools", "nir", "h5py", "torch", "numba", "sinabs")


def doctor(*, output: Output = Output()) -> int:
    """Say which versions are installed and which backends are there."""
    from hwspec.catalog import load, names  # noqa: PLC0415

    packages = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    packages["samna"] = samna_state()
    packages["chips"] = f"{len([load(name) for name in names()])} specifications, all sound"
    if output.as_json:
        print_json(packages=packages)
    else:
        print("\n".join(f"{name:12} {state}" for name, state in packages.items()))
    return 0


def samna_state() -> str:
    """Whether samna is there for real.

    The distribution of that name on the package index is an installer stub that would download the
    library when imported: it has no compiled extension beside its ``__init__``.
    """
    from mapper.emit.samna import find_samna  # noqa: PLC0415

    state = find_samna()
    if state is None:
        return "not installed: configurations can be made, but not sent to a board"
    if state == "stub":
        return "installer stub, not the library: install samna as its vendor describes"
    return f"{version('samna')} (found, not loaded)"
