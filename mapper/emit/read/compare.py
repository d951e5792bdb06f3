"""Configurations and networks compared, a network in the form that the other side's chip needs."""

from __future__ import annotations

from hwspec.catalog import load, names
from mapper.emit.read.diff import Difference, diff
from mapper.emit.read.extract import extract
from mapper.emit.shared.config import ChipConfig
from mapper.errors import NetworkError
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes.legalize import form_like
from mapper.question import Question

__all__ = ["compare"]


def compare(left: ChipConfig | NormalNetwork, right: ChipConfig | NormalNetwork) -> tuple[Difference, ...]:
    """All differences; a network in the form that the chip of the other side needs, if it is known.

    Raises
    ------
    ConfigError
        A configuration that is compared with a network contradicts itself.
    """
    if isinstance(left, ChipConfig) == isinstance(right, ChipConfig):
        return diff(left, right)
    if isinstance(left, ChipConfig) and isinstance(right, NormalNetwork):
        return diff(left, _formed(right, left))
    if isinstance(right, ChipConfig) and isinstance(left, NormalNetwork):
        return diff(_formed(left, right), right)
    raise TypeError("a side is neither a configuration nor a network")


def _formed(network: NormalNetwork, config: ChipConfig) -> NormalNetwork:
    name = config.chip.partition("+")[0]
    if name not in names():
        return network
    chip = load(name)
    try:
        return form_like(network, extract(config), chip)
    except (NetworkError, KeyError):
        return Question((network,), chip, SolveOptions()).problems[0].networks[0]
