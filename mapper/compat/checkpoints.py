"""State dicts of other modules under the keys of `DynapcnnNetwork`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mapper.compat.layer import DynapcnnLayer
from mapper.errors import warn_caller
from mapper.wording import counted

__all__ = ["translated", "with_weights"]

_SINABS = re.compile(r"_dynapcnn_module\._dynapcnn_layers\.(\d+)\.(.+)")
_EARLIER = re.compile(r"forward_network\.layers\.(\d+)\.(weight|bias|threshold)")
_EARLIER_NAMES = {"weight": "conv.weight", "bias": "conv.bias", "threshold": "spk.spike_threshold"}

_OF_NEURONS = ("spike_threshold", "min_v_mem")

StateDict = Mapping[str, Any]


def translated(
    state_dict: StateDict,
    layers: Sequence[DynapcnnLayer],
    is_chain: bool,
    from_source: Callable[[StateDict], StateDict | None],
) -> StateDict:
    """A state dict under own keys; one that is nobody's stays as it is.

    Parameters
    ----------
    state_dict
        Of this class, of its earlier version, of sinabs' `DynapcnnNetwork`, or of the module that the network
        was read from.
    is_chain
        Whether every layer feeds the next one alone, so that layers have one order.
    from_source
        Reads the network anew from its module with these weights; None where the keys are not the module's.

    Raises
    ------
    RuntimeError
        sinabs' layers that cannot be told apart.
    """
    if any(_SINABS.fullmatch(key) for key in state_dict):
        return _from_sinabs(state_dict, layers, is_chain)
    if any(_EARLIER.fullmatch(key) for key in state_dict):
        return _from_earlier(state_dict)
    if any(key.startswith("layers.") and ".spk." in key for key in state_dict):
        return state_dict
    return from_source(state_dict) or state_dict


def with_weights(
    source: nn.Module, weights: StateDict, missing: list[str], unexpected: list[str]
) -> nn.Module | None:
    """A copy of a network's own module with other weights; None if they are of something else.

    Thresholds and bounds that are not among them stay, as those of the module before it was made to spike;
    potentials are left out.

    Parameters
    ----------
    missing, unexpected
        Lists that take the keys of the module that are not given, and those given that it has not.
    """
    given = {key: value for key, value in weights.items() if not _is_potential(key)}
    for module in dict.fromkeys((source, getattr(source, "spiking_model", source))):
        own = {key for key in module.state_dict() if not _is_potential(key)}
        if not own & set(given):
            continue
        lacking = sorted(key for key in own - set(given) if not key.endswith(_OF_NEURONS))
        foreign = sorted(set(given) - own)
        if lacking or foreign:
            if module is source and module is not getattr(source, "spiking_model", source):
                continue
            missing.extend(lacking)
            unexpected.extend(foreign)
            given = {key: value for key, value in given.items() if key in own}
        # Potentials that a forward pass left are part of a graph of gradients, which no copy may be.
        left = {id(state): state.detach() for state in module.buffers() if state.grad_fn is not None}
        twin = copy.deepcopy(module, left)
        for entry in twin.modules():
            if hasattr(entry, "reset_states") and isinstance(getattr(entry, "v_mem", None), torch.Tensor):
                entry.v_mem = torch.zeros(0)
        twin.load_state_dict(given, strict=False)
        return twin
    return None


def _is_potential(key: str) -> bool:
    return key.rpartition(".")[2] == "v_mem"


def _from_earlier(state_dict: StateDict) -> StateDict:
    """Keys of the class before it held lower bounds: strict loading then says what is missing."""
    found = {key: _EARLIER.fullmatch(key) for key in state_dict}
    return {
        key if match is None else f"layers.{match[1]}.{_EARLIER_NAMES[match[2]]}": state_dict[key]
        for key, match in found.items()
    }


def _from_sinabs(state_dict: StateDict, layers: Sequence[DynapcnnLayer], is_chain: bool) -> StateDict:
    """Layers of sinabs are numbered by position in its graph, where a branch may come first or last."""
    theirs: dict[int, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for key, value in state_dict.items():
        match = _SINABS.fullmatch(key)
        if match is None:
            rest[key] = value
        else:
            theirs.setdefault(int(match[1]), {})[match[2]] = value
    ours = [tuple(layer.conv.weight.shape) for layer in layers]
    shapes = {
        number: tuple(entry["conv.weight"].shape)
        for number, entry in theirs.items()
        if "conv.weight" in entry
    }
    if len(theirs) != len(ours):
        raise RuntimeError(
            f"the checkpoint has {counted(len(theirs), 'layer')}, this network {len(ours)}: {_WAY_OUT}"
        )
    places = {number: place for place, number in enumerate(sorted(theirs))}
    if not is_chain:
        if len(set(ours)) < len(ours) or set(shapes.values()) != set(ours):
            raise RuntimeError(
                f"layers of a checkpoint of sinabs cannot be told apart in branches: {_WAY_OUT}"
            )
        places = {number: ours.index(shape) for number, shape in shapes.items()}
    found = dict(rest)
    left_out = []
    for number, entry in theirs.items():
        spk = {key: value for key, value in entry.items() if key != "spk.v_mem"}
        spk.setdefault("spk.min_v_mem", torch.tensor(-torch.inf))
        spk.setdefault("spk.initial_v_mem", torch.zeros(0))
        found |= {f"layers.{places[number]}.{key}": value for key, value in spk.items()}
        if bool(entry.get("spk.v_mem", torch.zeros(0)).any()):
            left_out.append(number)
    if left_out:
        numbers = ", ".join(map(str, sorted(left_out)))
        warn_caller(f"potentials that a forward pass left in layers {numbers} are not loaded", UserWarning)
    return found


_WAY_OUT = "load it into the module it was made from, and make a DynapcnnNetwork of that"
