"""What layers and networks are called: references, keys, natural order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias

from hwspec.errors import Finding
from mapper.errors import OptionsError

if TYPE_CHECKING:
    from mapper.network import Network

__all__ = ["LayerReference", "layer_key", "natural_key", "resolve_layer", "resolve_reference"]

LayerReference: TypeAlias = str | int


def layer_key(networks: Sequence[Network], number: int, name: str) -> str:
    """A layer or input in resolved options: its name, behind its network's if there are several."""
    return name if len(networks) == 1 else f"{networks[number].name}:{name}"


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which conv2 stands before conv10; equal only for equal names."""
    parts = tuple(
        (0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name)
    )
    return (*parts, (2, 0, name))


def resolve_layer(network: Network, reference: LayerReference, option: str = "") -> str:
    """Name of the layer a user means: a name, or an index (negative from the end).

    Parameters
    ----------
    option
        What the reference stands in, for the message.

    Raises
    ------
    OptionsError
        There is no such layer; the message lists close names or the range of indexes.
    """
    text = str(reference)
    where = f"{option}: layer {text}" if option else f"layer {text}"
    if not isinstance(reference, int) and text in network.index:
        return text
    count = len(network.layers)
    if re.fullmatch(r"-?[0-9]+", text) and len(text) < 12:
        number = int(text)
        if -count <= number < count:
            return network.layers[number].name
        raise OptionsError(Finding(where, "index out of range", number, f"{-count}..{count - 1}"))
    close = get_close_matches(text, network.index, n=3)
    hint = (
        f"Did you mean {' or '.join(close)}?" if close else f"Layers: {', '.join(list(network.index)[:20])}"
    )
    raise OptionsError(Finding(where, f"{network.name} has no layer of that name", next_step=hint))


def resolve_reference(networks: Sequence[Network], reference: LayerReference, option: str = "") -> str:
    """`layer_key` of the layer a user means, in one of several networks: "network:layer", or a unique name.

    Raises
    ------
    OptionsError
        There is no such layer, or several networks have it.
    """
    if len(networks) == 1:
        return resolve_layer(networks[0], reference, option)
    text = str(reference)
    for number, network in enumerate(networks):
        if text.startswith(f"{network.name}:"):
            rest = text[len(network.name) + 1 :]
            return layer_key(networks, number, resolve_layer(network, rest, option))
    having = [n for n, network in enumerate(networks) if text in network.index]
    if len(having) == 1:
        return layer_key(networks, having[0], text)
    where = f"{option}: layer {text}" if option else f"layer {text}"
    problem = "several networks have it" if having else "no network has it"
    names = ", ".join(network.name for network in networks)
    raise OptionsError(Finding(where, problem, limit=names, next_step="Write NETWORK:LAYER"))
