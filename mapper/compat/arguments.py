"""What scripts of sinabs write in arguments, in this package's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from mapper.boards import Board
from mapper.compat.forward import ForwardNetwork, Surrogate, default_surrogate
from mapper.errors import BackendMissingError, EventError, Finding
from mapper.frontends.inputs import fed as from_place
from mapper.network import Network
from mapper.operations import Neuron
from mapper.references import LayerReference, as_index, whole_number

__all__ = [
    "Ordering",
    "batch_size",
    "fed",
    "is_board",
    "monitors",
    "on_board",
    "one_ordering",
    "pins",
    "samna_bridge",
    "surrogates",
    "with_states",
]

_POTENTIAL_MAX = 32767

Ordering = str | Sequence[int | str] | Mapping[LayerReference, int]


def fed(network: Network, dvs_input: bool | None) -> Network:
    """The network with its inputs from the sensor where `dvs_input` says so; a DVS layer's is in any case.

    Raises
    ------
    OptionsError
        An input has other than 1 or 2 features.
    """
    return from_place(network, "sensor") if dvs_input else network


def batch_size(snn: nn.Module) -> int:
    """The batch size the spiking layers agree on, else 1."""
    stated = [getattr(module, "batch_size", None) for module in snn.modules()]
    sizes = {size for size in stated if isinstance(size, int) and size > 0}
    return sizes.pop() if len(sizes) == 1 else 1


def surrogates(snn: nn.Module, count: int) -> list[Surrogate]:
    """The surrogate gradients of the user's spiking layers, in order, where every layer has one."""
    gradients: list[Any] = [m.surrogate_grad_fn for m in snn.modules() if hasattr(m, "surrogate_grad_fn")]
    return gradients if len(gradients) == count else [default_surrogate] * count


def pins(network: Network, ordering: Ordering) -> dict[LayerReference, int]:
    """Layer -> core, of any way to write an ordering.

    Raises
    ------
    ValueError
        It is none, or not one of this network.
    """
    if isinstance(ordering, str):
        if ordering != "auto":
            raise ValueError(f'chip_layers_ordering: "auto", a list or a dict, got {ordering!r}')
        return {}
    if isinstance(ordering, Mapping):
        return {as_index(layer): core for layer, core in ordering.items()}
    cores = [core for core in ordering if core != "dvs"]
    if len(cores) != len(network.layers) or None in map(whole_number, cores):
        raise ValueError(
            f"chip_layers_ordering: {list(ordering)} are not core ids for {len(network.layers)} layers; "
            "to name the layers to monitor, write monitor_layers=..."
        )
    return {f"#{number}": int(core) for number, core in enumerate(cores)}


def monitors(
    network: Network, monitor_layers: Sequence[LayerReference] | str | None
) -> tuple[tuple[LayerReference, ...] | None, bool]:
    """Layers to monitor, None for the outputs, and whether the sensor stage is among them."""
    if monitor_layers is None:
        return None, False
    if isinstance(monitor_layers, str) and monitor_layers == "all":
        return tuple(f"#{number}" for number in range(len(network.layers))), False
    entries: Iterable[LayerReference] = (
        [monitor_layers] if isinstance(monitor_layers, str) else monitor_layers
    )
    layers = tuple(as_index(entry) for entry in entries if entry != "dvs")
    return layers, len(layers) < len(list(entries))


def one_ordering(ordering: Ordering, newer: Ordering | None) -> Ordering:
    """The ordering, whichever of its two names was used.

    Raises
    ------
    ValueError
        Both were.
    """
    if newer is not None and ordering != "auto":
        raise ValueError("chip_layers_ordering and layer2core_map are one thing: give one of them")
    return ordering if newer is None else newer


def is_board(device: object) -> bool:
    """Whether `device` is the name of a board rather than anything torch's `to` takes."""
    return isinstance(device, str) and device.split(":")[0] not in ("cpu", "cuda", "mps", "meta", "xpu")


def with_states(network: Network, forward: ForwardNetwork, initial_state: str) -> Network:
    """The network with the potentials it starts from on the chip.

    Parameters
    ----------
    initial_state
        "built": those it was made with. "current": those that `forward` has left.

    Raises
    ------
    ValueError
        Another word; or potentials of several samples, of which a chip can hold one.
    """
    if initial_state == "built":
        return network
    if initial_state != "current":
        raise ValueError(f'initial_state: "built" or "current", got {initial_state!r}')
    layers = []
    for layer, state in zip(network.layers, forward.potentials(), strict=True):
        if len(state) != 1:
            raise ValueError(f"initial_state: there are potentials of {len(state)} samples; a chip holds one")
        potentials = np.rint(state[0].cpu().numpy()).astype(np.int64)
        if np.abs(potentials).max(initial=0) > _POTENTIAL_MAX:
            raise ValueError(
                f"initial_state: {layer.name} has potentials beyond 16 bits; reset_states() first"
            )
        neuron = replace(layer.neuron or Neuron(), initial_potential=potentials)
        layers.append(replace(layer, neuron=neuron))
    return network.replacing(layers=tuple(layers))


def samna_bridge(needed_for: str) -> Any:
    """The bridge to samna, once samna is known to be there.

    Raises
    ------
    ImportError
        It is not.
    """
    from mapper.emit import samna  # noqa: PLC0415

    try:
        samna.require_samna(needed_for)
    except BackendMissingError as error:
        raise ImportError(str(error)) from error
    return samna


def on_board(board: Board, events: Any, network: Network) -> Any:
    """What the board answers to events: arrays for an array, samna's objects for a list of them."""
    if isinstance(events, list):
        return board.exchange(events)
    if getattr(getattr(events, "dtype", None), "names", None) is None:
        step = "mapper.events.events_from_raster turns spike counts into events"
        raise EventError(Finding("input", "a board takes events, not frames", next_step=step))
    read = board.infer(events).events
    if len(read) == 1:
        return next(iter(read.values()))
    return {network.index[layer]: {-1: spikes} for layer, spikes in read.items()}
