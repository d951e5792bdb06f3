"""Names of a package whose modules are loaded when one of their names is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module

__all__ = ["loaded_on_demand"]


def loaded_on_demand(
    package: str, home: Mapping[str, Sequence[str]], parts: Collection[str] = ()
) -> Callable[[str], object]:
    """The ``__getattr__`` of a package.

    Parameters
    ----------
    package
        Its ``__name__``.
    home
        Names by the module that has them; ``"public=own"`` for one that is called otherwise there.
    parts
        Modules of the package that are asked for by name alone, as `package.part.name`.
    """
    places = {
        public: (module, own or public)
        for module, names in home.items()
        for public, _, own in (name.partition("=") for name in names)
    }

    def attribute(name: str) -> object:
        """What the package is asked for, kept for the next time."""
        if name in parts:
            return import_module(f"{package}.{name}")
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, own = places[name]
        value = getattr(import_module(module), own)
        setattr(sys.modules[package], name, value)
        return value

    return attribute
