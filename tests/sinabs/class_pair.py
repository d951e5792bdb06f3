"""sinabs' `DynapcnnNetwork` and this project's, of one module, to which the same is done."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from tests.sinabs.wired import Drawn

__all__ = ["OPERATIONS", "Pair", "differences"]

DEVICES = ("speck2fmodule:0", "speck2edevkit:0", "speck2fdevkit:0")


class Pair:
    """Two networks of one module.

    Attributes
    ----------
    mine, theirs
        This project's and sinabs'.
    """

    def __init__(self, drawn: Drawn, their_class: Any, draw: np.random.Generator) -> None:
        self.drawn, self.their_class, self.draw = drawn, their_class, draw
        self.mine, self.theirs = self.fresh()
        if not drawn.is_bounded:
            self.bound_theirs()

    def fresh(self) -> tuple[Any, Any]:
        """Both anew."""
        module = self.drawn.module
        words: dict[str, Any] = {"dvs_input": self.drawn.dvs_input}
        mine = mapper.DynapcnnNetwork(copy.deepcopy(module), self.drawn.input_shape, **words)
        try:
            return mine, self.their_class(copy.deepcopy(module), self.drawn.input_shape, **words)
        except IndexError:
            pytest.skip("sinabs 3.1.3 fails where a layer feeds one layer through a pool and another without")

    def bound_theirs(self) -> None:
        """Give sinabs the integers that it does not find by itself: without a bound it scales by 1 at most."""
        for mine, theirs in self.layers():
            theirs.conv.weight.data.copy_(mine.conv.weight.data)
            if theirs.conv.bias is not None:
                theirs.conv.bias.data.copy_(mine.conv.bias.data)
            theirs.spk.spike_threshold.data.copy_(mine.spk.spike_threshold)
            theirs.spk.min_v_mem.data.copy_(mine.spk.min_v_mem)

    def partners(self) -> dict[int, int]:
        """Index here by index in sinabs: here layers have names, there their surrogate gradients tell."""
        names = {width: name for name, width in self.drawn.widths.items()}
        return {
            n: self.mine.name_2_indx_map[names[layer.spk.surrogate_grad_fn.grad_width]]
            for n, layer in self.theirs.dynapcnn_layers.items()
        }

    def layers(self) -> Iterator[tuple[Any, Any]]:
        """Layers that are each other's."""
        for number, own in self.partners().items():
            yield self.mine.dynapcnn_layers[own], self.theirs.dynapcnn_layers[number]

    def one(self) -> tuple[Any, Any]:
        """One of them."""
        found = list(self.layers())
        return found[int(self.draw.integers(len(found)))]

    def integers(self, shape: Any, low: int = -127, high: int = 127) -> torch.Tensor:
        """Random whole numbers."""
        return torch.tensor(self.draw.integers(low, high + 1, tuple(shape)), dtype=torch.float32)

    def assert_equal(self) -> None:
        """Parameters are equal integers, layer by layer, and so are graph, names and memories."""
        for mine, theirs in self.layers():
            assert _whole(mine.conv.weight)
            assert torch.equal(mine.conv.weight, theirs.conv.weight)
            assert (mine.conv.bias is None) == (theirs.conv.bias is None)
            if mine.conv.bias is not None:
                assert _whole(mine.conv.bias)
                assert torch.equal(mine.conv.bias, theirs.conv.bias)
            assert float(mine.spk.spike_threshold) == float(theirs.spk.spike_threshold)
            assert (float(mine.spk.min_v_mem) or -1) == float(theirs.spk.min_v_mem)
            state = theirs.spk.v_mem
            assert torch.equal(mine.spk.potentials(), state if state.numel() else mine.spk.potentials() * 0)
        self._assert_same_graph()

    def _assert_same_graph(self) -> None:
        partners: dict[Any, Any] = {**self.partners(), "dvs": "dvs"}
        theirs = {
            partners[n]: sorted(partners.get(target, target) for target in targets)
            for n, targets in self.theirs.layer_destination_map.items()
        }
        found = {n: sorted(targets) for n, targets in self.mine.layer_destination_map.items()}
        assert found == theirs
        assert {partners[n] for n in self.theirs.exit_layer_ids} == set(self.mine.exit_layer_ids)
        summary, own = self.theirs.memory_summary(), self.mine.memory_summary()
        for n, layer in self.theirs.dynapcnn_layers.items():
            has_bias = layer.conv.bias is not None and bool(layer.conv.bias.any())
            for kind in ("kernel", "neuron", *(["bias"] if has_bias else [])):
                assert own[kind][partners[n]] == summary[kind][n], kind

    def configurations(self, device: str) -> tuple[Any, Any]:
        """Configurations of samna of both on the same cores, with the same monitors and states."""
        partners = self.partners()
        back = {own: number for number, own in partners.items()}
        if any(float(layer.spk.potentials().abs().max()) > 32767 for layer in self.mine.core_layers()):
            reset(self)
        shown, words = self._monitors(back), {"device": device, "initial_state": "current"}
        if self.draw.integers(2):
            mine = self.mine.make_config(monitor_layers=shown[0], **words)
            places = {back[n]: core for n, core in self.mine.layer2core_map.items()}
            return mine, self.theirs.make_config(places, device, shown[1])
        theirs = self.theirs.make_config(device=device, monitor_layers=shown[1])
        places = {partners[n]: core for n, core in self.theirs.layer2core_map.items()}
        if self.draw.integers(2):
            return self.mine.make_config(places, monitor_layers=shown[0], **words), theirs
        cores = [places[n] for n in sorted(places)]
        return self.mine.make_config(layer2core_map=cores, monitor_layers=shown[0], **words), theirs

    def _monitors(self, back: dict[int, int]) -> tuple[Any, Any]:
        """What to monitor, as both are told."""
        number = int(self.draw.integers(len(back)))
        name = self.mine.structure.layers[number].name
        kinds: list[tuple[Any, Any]] = [
            (None, None), ("all", "all"), ([-1], [-1]), ([number], [back[number]]),
            ([name, -1], [back[number], -1]),
        ]  # fmt: skip
        if self.mine.has_dvs_layer():
            kinds.append((["dvs", name], ["dvs", back[number]]))
        return kinds[int(self.draw.integers(len(kinds)))]


def _whole(values: torch.Tensor) -> bool:
    return torch.equal(values, values.round())


def edit_weight(pair: Pair) -> None:
    """One row of weights, or all biases, set in place."""
    mine, theirs = pair.one()
    if mine.conv.bias is not None and pair.draw.integers(2):
        row = pair.integers(mine.conv.bias.shape, -300, 300) * int(pair.draw.integers(2))
        mine.conv.bias.data, theirs.conv.bias.data = row.clone(), row.clone()
        return
    feature = int(pair.draw.integers(mine.conv.weight.shape[0]))
    row = pair.integers(mine.conv.weight.shape[1:])
    with torch.no_grad():
        mine.conv_layer.weight[feature] = row
        theirs.conv_layer.weight[feature] = row


def edit_threshold(pair: Pair) -> None:
    """A threshold, by one of the ways to write it; sometimes a lower bound."""
    mine, theirs = pair.one()
    value = float(pair.draw.integers(1, 1000))
    theirs.spk.spike_threshold.data.fill_(value)
    way = int(pair.draw.integers(3))
    if way == 0:
        mine.spk_layer.spike_threshold = value
    elif way == 1:
        mine.spk.spike_threshold.data.fill_(value)
    else:
        mine.spk.spike_threshold = torch.tensor(value)
    if pair.draw.integers(2):
        bound = int(pair.draw.choice([-32768, -500, -99, 0]))
        mine.spk.min_v_mem = bound
        # A bound of 0 misbehaves on the chips, and is -1 here.
        theirs.spk.min_v_mem.data.fill_(bound or -1)


def init_weights(pair: Pair) -> None:
    """All weights drawn anew, by shape, as the two have other orders of layers."""

    def init(weight: torch.Tensor) -> None:
        seeded = torch.Generator().manual_seed(weight.numel())
        weight.copy_(torch.randint(-100, 101, weight.shape, generator=seeded))

    pair.mine.init_weights(init)
    pair.theirs.init_weights(init)


def run(pair: Pair) -> None:
    """Frames, forwards: the same spikes, and potentials that stay."""
    _spikes(pair)
    pair.theirs.detach_neuron_states()
    pair.mine.detach_neuron_states()


def _spikes(pair: Pair) -> list[tuple[torch.Tensor, torch.Tensor]]:
    x = torch.tensor(pair.draw.integers(0, 4, (4, *pair.drawn.frame)), dtype=torch.float32)
    found, expected = pair.mine(x), pair.theirs(x)
    if isinstance(expected, torch.Tensor):
        outputs = [(found, expected)]
    else:
        partners = pair.partners()
        assert set(found) == {partners[n] for n in expected}
        outputs = [(found[partners[n]][-1], ways[-1]) for n, ways in expected.items()]
    for mine, theirs in outputs:
        assert torch.equal(mine.flatten(1), theirs.flatten(1))
    return outputs


def train(pair: Pair) -> None:
    """A step of training: the same gradients through the user's surrogates, and integers behind it."""
    for network in (pair.mine, pair.theirs):
        network.detach_neuron_states()
        for parameter in network.parameters():
            parameter.grad = None
    module = sys.modules[type(next(iter(pair.layers()))[1]).__module__]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sum_pool2d", _sum)
        outputs = _spikes(pair)
    for made in outputs:
        wanted = pair.integers(made[1].flatten(1).shape, -2, 2)
        for spikes in made:
            loss: Any = (spikes.flatten(1) * wanted).sum()
            loss.backward(retain_graph=True)
    for mine, theirs in pair.layers():
        for name in ("weight", "bias"):
            own, other = getattr(mine.conv, name), getattr(theirs.conv, name)
            if own is None or (own.grad is None and other.grad is None):
                continue
            size = float(other.grad.abs().max())
            assert torch.allclose(own.grad, other.grad, rtol=1e-3, atol=1e-4 * size + 1e-12), name
            step = other.grad * (5 / size if size else 0.0)
            bound = 127 if name == "weight" else 32767
            other.data = (other.data - step).round().clamp(-bound, bound)
            with torch.no_grad():
                own.copy_(other)
    for network in (pair.mine, pair.theirs):
        network.detach_neuron_states()


def _sum(x: torch.Tensor, kernel_size: Any) -> torch.Tensor:
    """A sum with a gradient everywhere: that of sinabs' is 0 where a sum is 0, pool or not."""
    return nn.functional.avg_pool2d(x, kernel_size, divisor_override=1)


def reset(pair: Pair) -> None:
    """Potentials back to zero; sinabs 3.1.3 can do it by layer alone."""
    pair.mine.reset_states()
    for layer in pair.theirs.dynapcnn_layers.values():
        layer.spk_layer.reset_states()


def load_theirs(pair: Pair) -> None:
    """A state dict of sinabs into what is there, or into fresh networks; it holds no potentials."""
    reset(pair)
    for _, theirs in pair.layers():
        theirs.conv.weight.data = pair.integers(theirs.conv.weight.shape)
    state = _through_file(pair.theirs.state_dict())
    before = copy.deepcopy(pair.mine)
    mine, theirs = pair.fresh() if pair.draw.integers(2) else (pair.mine, None)
    shapes = [tuple(layer.conv.weight.shape) for layer in mine.core_layers()]
    if not pair.drawn.is_chain and len(set(shapes)) < len(shapes):
        with pytest.raises(RuntimeError, match="cannot be told apart"):
            mine.load_state_dict(state)
        pair.mine = before
        for own, other in pair.layers():
            given = {name: value for name, value in other.state_dict().items() if name != "spk.v_mem"}
            own.load_state_dict({**own.state_dict(), **given})
        return
    mine.load_state_dict(state)
    pair.mine = mine
    if theirs is not None:
        # Its own cannot be loaded once there are potentials, whose shape a fresh network has not.
        state = {key: value for key, value in state.items() if not re.search(r"\.v_mem$", key)}
        theirs.load_state_dict(state, strict=False)
        pair.theirs = theirs


def load_mine(pair: Pair) -> None:
    """A state dict of this class into a fresh network of it."""
    reset(pair)
    fresh, _ = pair.fresh()
    fresh.load_state_dict(_through_file(pair.mine.state_dict()))
    pair.mine = fresh


def _through_file(state: Any) -> Any:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def place_elsewhere(pair: Pair) -> None:
    """A configuration for another device, which leaves nothing behind."""
    device = DEVICES[int(pair.draw.integers(len(DEVICES)))]
    assert differences(*pair.configurations(device)) == []
    pair.mine.place("speck2e")
    assert pair.mine.is_compatible_with("speck2edevkit:0")


def copied(pair: Pair) -> None:
    """Copies, which are independent of what they are of."""
    old = pair.mine
    pair.mine, pair.theirs = copy.deepcopy(pair.mine), copy.deepcopy(pair.theirs)
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.zero_()


def pickled(pair: Pair) -> None:
    """Through pickle."""
    pair.mine = pickle.loads(pickle.dumps(pair.mine))  # noqa: S301  # of our own making
    pair.theirs = pickle.loads(pickle.dumps(pair.theirs))  # noqa: S301


OPERATIONS: tuple[Callable[[Pair], None], ...] = (
    edit_weight, edit_threshold, init_weights, run, train, reset, load_theirs, load_mine, place_elsewhere,
    copied, pickled,
)  # fmt: skip


def differences(mine: Any, theirs: Any) -> list[str]:
    """Fields of two configurations that differ, but for `readout`, of which sinabs writes none."""
    return list(_differences(json.loads(mine.to_json()), json.loads(theirs.to_json()), ""))


def _used(destinations: list[dict[str, Any]]) -> list[Any]:
    return sorted(sorted(entry.items()) for entry in destinations if entry["enable"])


def _differences(mine: Any, theirs: Any, place: str) -> Iterator[str]:
    if isinstance(mine, dict):
        for name in mine:
            if name == "destinations":
                yield from _differences(_used(mine[name]), _used(theirs[name]), f"{place}.{name}")
            elif name != "readout":
                yield from _differences(mine[name], theirs[name], f"{place}.{name}")
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for n, (own, other) in enumerate(zip(mine, theirs, strict=True)):
            yield from _differences(own, other, f"{place}[{n}]")
    elif mine != theirs:
        yield f"{place}: {mine} here, {theirs} in sinabs"
