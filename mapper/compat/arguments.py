"""What scripts of sinabs write in arguments, in this package's terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hwspec.catalog import load as load_chip
from hwspec.inert import quoted
from hwspec.schema import ChipSpec
from mapper.boards import Board
from mapper.compat.neurons import Surrogate, default_surrogate
from mapper.errors import BackendMissingError, EventError, Finding, OptionsError, warn_caller
from mapper.frontends import TorchOptions
from mapper.frontends.from_torch.module import neurons_by_layer
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.passes.quantize import STATE_HALF
from mapper.references import LayerReference, as_index, resolve_layer, whole_number
from mapper.wording import counted

__all__ = [
    "NEWER",
    "OLDER",
    "Ordering",
    "default_device",
    "is_board",
    "listed",
    "monitors",
    "on_board",
    "one_ordering",
    "pins",
    "samna_bridge",
    "surrogates",
    "torch_to",
    "warn_of_numbers",
    "warn_of_pools",
    "with_states",
]


# The two names of one argument.
OLDER, NEWER = "chip_layers_ordering", "layer2core_map"
Ordering = str | Sequence[int | str] | Mapping[LayerReference, int]


def surrogates(snn: nn.Module, network: Network, options: TorchOptions | None) -> list[Surrogate]:
    """The surrogate gradients of the user's spiking layers, by layer."""
    gradients: list[Any] = [m.surrogate_grad_fn for m in snn.modules() if hasattr(m, "surrogate_grad_fn")]
    # Functions are told apart by what they are, objects by what they say.
    kinds = {
        id(entry) if type(entry).__module__ == "builtins" else (type(entry), repr(vars(entry)))
        for entry in gradients
    }
    if len(gradients) == len(network.layers) and len(kinds) == 1:
        return gradients
    # They differ: which is whose says the module's forward.
    features, height, width = network.inputs[0].shape
    modules: dict[str, Any] = neurons_by_layer(snn, (features, height, width), options) if gradients else {}
    return [getattr(modules.get(name), "surrogate_grad_fn", default_surrogate) for name in network.index]


def pins(network: Network, ordering: Ordering, name: str) -> dict[LayerReference, int]:
    """Layer -> core, of any way to write an ordering.

    Parameters
    ----------
    name
        Of the argument that it was given as.

    Raises
    ------
    ValueError
        It is none, or not one of this network.
    """
    if isinstance(ordering, str):
        if ordering != "auto":
            raise ValueError(f'{name}: "auto", a list or a dict, got {quoted(ordering)}')
        return {}
    if isinstance(ordering, Mapping):
        return {as_index(layer): core for layer, core in ordering.items()}
    if not isinstance(ordering, Iterable):
        raise ValueError(f'{name}: "auto", a list or a dict, got {quoted(ordering)}')
    cores = [core for core in ordering if not _is_stage(core)]
    if len(cores) != len(network.layers) or None in map(whole_number, cores):
        layers = counted(len(network.layers), "layer")
        raise ValueError(
            f"{name}: {list(ordering)} are not core ids for {layers}; "
            "to name the layers to monitor, write monitor_layers=..."
        )
    return {f"#{number}": int(core) for number, core in enumerate(cores)}


def monitors(
    network: Network, monitor_layers: Sequence[LayerReference] | LayerReference | None
) -> tuple[tuple[LayerReference, ...] | None, bool]:
    """Layers to monitor, None for the outputs, and whether the stage is one of them; -1: the outputs."""
    if monitor_layers is None:
        return None, False
    is_one = isinstance(monitor_layers, str) or whole_number(monitor_layers) is not None
    if not is_one and not isinstance(monitor_layers, Iterable):
        step = "Give an index, a name, -1, 'dvs', several of them, or 'all'"
        raise OptionsError(Finding("monitor_layers", "names no layers", monitor_layers, next_step=step))
    entries: list[Any] = [monitor_layers] if is_one else list(monitor_layers)  # type: ignore[arg-type]  # several
    if len(entries) == 1 and isinstance(entries[0], str) and entries[0] == "all":
        return tuple(f"#{number}" for number in range(len(network.layers))), False
    exits = tuple(f"#{network.index[output.source]}" for output in network.outputs)
    layers: list[LayerReference] = []
    for entry in entries:
        if not _is_stage(entry):
            layers += exits if whole_number(entry) == -1 else [as_index(entry)]
    return tuple(dict.fromkeys(layers)), any(map(_is_stage, entries))


def listed(monitor_layers: Any) -> Any:
    """The same where it can be read several times; what ends when it is read becomes a list."""
    return list(monitor_layers) if isinstance(monitor_layers, Iterator) else monitor_layers


def _is_stage(entry: object) -> bool:
    return isinstance(entry, str) and entry.lower() == "dvs"


def one_ordering(ordering: Ordering | None, newer: Ordering | None) -> tuple[Ordering, str]:
    """The ordering, and which of its two names was used.

    Raises
    ------
    ValueError
        Both were.
    """
    named = ((OLDER, ordering), (NEWER, newer))
    given = [(entry, name) for name, entry in named if entry is not None and not _is_auto(entry)]
    if len(given) == 2:
        raise ValueError(f"{OLDER} and {NEWER} are one thing: give one of them")
    return given[0] if given else ("auto", OLDER)


def _is_auto(ordering: Ordering) -> bool:
    return isinstance(ordering, str) and ordering == "auto"


def torch_to(
    tensor: Any = None,
    dtype: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> None:
    """What torch's `to` takes by keyword."""


def is_board(device: object) -> bool:
    """Whether `device` is the name of a board rather than anything torch's `to` takes."""
    return isinstance(device, str) and device.split(":")[0] not in ("cpu", "cuda", "mps", "meta", "xpu")


def with_states(
    network: NormalNetwork, potentials: Sequence[torch.Tensor], initial_state: str
) -> NormalNetwork:
    """The network with the potentials it starts from on the chip.

    Parameters
    ----------
    potentials
        By layer, what `forward` has left, (batch, features, height, width).
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
        raise ValueError(f'initial_state: "built" or "current", got {quoted(initial_state)}')
    layers = []
    for layer, state in zip(network.layers, potentials, strict=True):
        if len(state) != 1:
            raise ValueError(f"initial_state: there are potentials of {len(state)} samples; a chip holds one")
        whole = np.rint(state[0].detach().cpu().numpy()).astype(np.int64)
        if np.abs(whole).max(initial=0) > STATE_HALF - 1:
            raise ValueError(
                f"initial_state: {layer.title} has potentials beyond 16 bits; reset_states() first"
            )
        layers.append(replace(layer, neuron=replace(layer.neuron, initial_potential=whole)))
    return network.replacing(layers=tuple(layers))


def samna_bridge(needed_for: str, chip: ChipSpec | None = None) -> Any:
    """The bridge to samna, once samna, and its part about a chip, are known to be there.

    Raises
    ------
    ImportError
        They are not.
    """
    from mapper.emit import samna  # noqa: PLC0415

    try:
        if chip is None:
            samna.require_samna(needed_for)
        else:
            samna.chip_library(chip, needed_for)
    except BackendMissingError as error:
        way_out = "plain_config(...) gives the configuration as data, and mapper.write_config writes it"
        raise ImportError(f"{error}. {way_out}") from error
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


def default_device() -> str:
    """The device where nobody names one: the oldest board, if samna still has its chip."""
    older, newer = "dynapcnndevkit:0", "speck2fdevkit:0"
    from mapper.emit.samna import chip_library  # noqa: PLC0415

    try:
        chip_library(load_chip(older), "make_config")
    except BackendMissingError:
        warn_caller(f"this samna has no chip of {older}; the configuration is of {newer}", UserWarning)
        return newer
    return older


def warn_of_numbers(ordering: Ordering, monitor_layers: object, *, has_stage: bool, is_chain: bool) -> None:
    """Say where sinabs 3.1 numbers layers otherwise, if numbers were given."""
    is_several = isinstance(monitor_layers, Iterable) and not isinstance(monitor_layers, str)
    entries: Iterable[Any] = monitor_layers if is_several else [monitor_layers]  # type: ignore[assignment]  # as tested
    numbers = [n for n in map(whole_number, entries) if n not in (None, -1)]
    by_number = bool(numbers) or isinstance(ordering, Mapping)
    reasons = [
        *(["counts the layers from 1 behind a sensor stage"] if has_stage and by_number else []),
        *(["numbers the layers of branches in an order of its own"] if not is_chain else []),
    ]
    if reasons and (by_number or not isinstance(ordering, str)):
        text = f"sinabs 3.1 {' and '.join(reasons)}; here indices count from 0 as print(network) lists them"
        warn_caller(text, UserWarning)


def warn_of_pools(network: Network, monitor_layers: Any) -> None:
    """Say which layers that were named to be monitored are shown as they are before a pool."""
    named, _ = monitors(network, monitor_layers)
    shown = [resolve_layer(network, entry) for entry in named or ()]
    pooled = [name for name in shown if any(edge.pool for edge in network.outgoing[name])]
    if pooled:
        names = ", ".join(map(network.title, pooled))
        text = f"the chip shows {names} as they are before the pool behind them"
        warn_caller(text, UserWarning)
