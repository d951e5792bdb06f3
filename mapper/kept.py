"""Cores of an earlier placement, and whose it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from hwspec.errors import Finding
from mapper.asking import KEEP
from mapper.errors import warn_caller
from mapper.wording import join_names

if TYPE_CHECKING:
    from mapper.network import Network

__all__ = ["KeptCores", "strangers"]

_LISTED_MAX = 8


class KeptCores(tuple[tuple[str, int], ...]):
    """(layer, core) pairs of a placement, which say whose they were.

    Attributes
    ----------
    networks, chip
        Names of what was placed, and of where.
    """

    networks: tuple[str, ...] = ()
    chip: str = ""


def strangers(
    kept: object, names: Collection[str], known: Collection[str], networks: Sequence[Network], chip: str
) -> Iterator[Finding]:
    """What is wrong with a placement of which no layer is known here; a warning where some are not.

    Parameters
    ----------
    names, known
        Layers of the placement, and those that there are.
    """
    called = [network.name for network in networks]
    here = join_names(called)
    of = ""
    if isinstance(kept, KeptCores):
        of = f"a placement of {join_names(kept.networks)} on {kept.chip}"
    missing = [name for name in dict.fromkeys(names) if name not in known]
    listed = ", ".join(missing[:_LISTED_MAX]) + (", ..." if len(missing) > _LISTED_MAX else "")
    step = "Leave it out, or name a placement of this network as it was"
    if names and len(missing) == len(set(names)):
        problem = f"is {of or 'of another network'}: {here} has none of its layers"
        yield Finding(str(KEEP), problem, listed, next_step=step)
    elif isinstance(kept, KeptCores) and not {*kept.networks} & {*called}:
        rest = f", without {listed}, which {here} has not" if missing else ""
        warn_caller(f"{KEEP}: is {of}, and is taken for {here} on {chip}{rest}")
