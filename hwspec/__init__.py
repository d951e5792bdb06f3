"""Facts about chips: specifications, variants, memory arithmetic. Knows no network and no solver.

``import hwspec`` loads no third-party package; the public names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwspec.on_demand import loaded_on_demand

if TYPE_CHECKING:
    from hwspec.catalog import load, names
    from hwspec.errors import SpecError
    from hwspec.schema import ChipSpec
    from hwspec.variant import apply_overrides

__all__ = ["ChipSpec", "SpecError", "apply_overrides", "load", "names"]

_HOME = {
    "hwspec.catalog": ("load", "names"),
    "hwspec.errors": ("SpecError",),
    "hwspec.schema": ("ChipSpec",),
    "hwspec.variant": ("apply_overrides",),
}
__getattr__ = loaded_on_demand(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
