"""Weights that Brevitas quantises: the chip holds Brevitas' own integers where one core can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mapper
from mapper.passes import prepare
from tests.frontends.sinabs_stand_in import IAFSqueeze

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]
SHAPE = (2, 6, 6)


def network(quantiser: str, bits: int = 8) -> Any:
    import brevitas.nn as qnn  # noqa: PLC0415  # collected without it
    import brevitas.quant  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    torch.manual_seed(0)
    kind = getattr(brevitas.quant, quantiser)
    more = {"weight_quant": kind, "weight_bit_width": bits}
    return nn.Sequential(
        qnn.QuantConv2d(2, 4, 3, **more), IAFSqueeze(spike_threshold=0.25, min_v_mem=-1.0),
        nn.AvgPool2d(2), nn.Flatten(),
        qnn.QuantLinear(16, 3, bias=False, **more), IAFSqueeze(spike_threshold=0.25, min_v_mem=-1.0),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("quantiser", ["Int8WeightPerTensorFloat", "Int8WeightPerTensorFixedPoint"])
def test_the_chip_holds_its_integers(quantiser: str, bits: int) -> None:
    module = network(quantiser, bits)
    whole = prepare(mapper.load_network(module, SHAPE))
    for layer, given in zip(whole.layers, (module[0], module[4]), strict=True):
        expected = given.quant_weight().int().numpy().astype(int)
        assert np.array_equal(np.asarray(layer.operation.weight).reshape(expected.shape), expected)
        assert any(note.startswith(f"{layer.name}: keeps the integers") for note in whole.notes)
    report = mapper.verify_equivalence(module, input_shape=SHAPE, rate=0.5, steps=20)
    assert report.is_equivalent


@pytest.mark.parametrize(
    ("quantiser", "why"),
    [
        ("Int8WeightPerChannelFloat", "its scales differ by feature"),
        ("ShiftedUint8WeightPerTensorFloat", "its zero point is"),
    ],
)
def test_what_no_core_can_keep_is_told(quantiser: str, why: str) -> None:
    whole = prepare(mapper.load_network(network(quantiser), SHAPE))
    assert len([note for note in whole.notes if why in note]) == 2
    assert all(np.abs(np.asarray(layer.operation.weight)).max() >= 127 for layer in whole.layers)


def test_floating_point_formats_declare_no_integers() -> None:
    whole = prepare(mapper.load_network(network("Fp8e4m3WeightPerTensorFloat"), SHAPE))
    assert whole.notes == ()
