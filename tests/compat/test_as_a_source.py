"""A `DynapcnnNetwork`, and networks that were read, given to what reads networks and configurations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

import mapper
from mapper import DynapcnnNetwork
from mapper.errors import OptionsError

SHAPE = (2, 16, 16)


def numbered() -> DynapcnnNetwork:
    """Layers named 0 and 4, at the indexes 0 and 1, that spike."""
    torso = nn.Conv2d(2, 8, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
    module = nn.Sequential(*torso, nn.Linear(8 * 49, 10, bias=False), nn.ReLU())
    for weights in module.parameters():
        nn.init.constant_(weights, 0.5)
    return DynapcnnNetwork(module, SHAPE, relu_as_if=1.0)


READERS: tuple[Callable[..., object], ...] = (
    lambda source, shape: mapper.load_network(source, input_shape=shape),
    lambda source, shape: mapper.solve(source, input_shape=shape),
    lambda source, shape: mapper.verify_equivalence(source, input_shape=shape),
    DynapcnnNetwork,
)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["module", "normal", "network"])
def test_what_was_read_refuses_another_shape(read: Callable[..., object], kind: str) -> None:
    network, digits = numbered(), mapper.load_network("digits")
    source = {"module": network, "normal": network.network, "network": digits}[kind]
    with pytest.raises(
        OptionsError,
        match=r"states another input shape than input_shape \(got 1x24x24; .*Leave input_shape out",
    ):
        read(source, (1, 24, 24))
    read(source, (1, 8, 8) if kind == "network" else SHAPE)
