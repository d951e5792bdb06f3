"""Kernels made square and strides made legal: the same map, the same spikes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwspec.schema import ChipSpec
from mapper.operations import Convolution, Neuron, Pair
from mapper.passes.legalize import legalize
from mapper.passes.legalize.stride import common_bounds, legal_stride
from tests.builders import chain, conv, weighted
from tests.passes.legal_networks import (
    CHIP,
    fields,
    flat,
    legal,
    untouched,
)


def test_a_linear_layer_on_a_map_that_is_not_square() -> None:
    ready = legal(flat((3, 4)))
    # One row of zeros before the three needs a padding of 1, and stride 2 keeps the single output.
    assert fields(ready.by_name["t"]) == ((4, 4), (2, 1), (1, 0))
    weight: Any = ready.by_name["t"].operation.weight
    assert not weight[:, :, 0].any()
    assert weight[:, :, 1:].any(axis=(0, 1)).all()
    assert ready.notes[0].startswith(
        "t: kernel 3x4 became 4x4 with zeros, padding 0x0 became 1x0, stride 1x1 became 2x1"
    )
    # 2 of 5 columns: two before, one after; room for one more, and stride 2 keeps the single output.
    assert fields(legal(flat((5, 2))).by_name["t"]) == ((5, 5), (1, 2), (0, 2))
    # Fifteen rows of zeros before the one would need a padding of at least 8.
    assert fields(legal(flat((15, 1))).by_name["t"]) == ((15, 15), (1, 1), (0, 7))
    assert untouched(flat((17, 16)))
    assert untouched(flat((16, 17)))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "shape", "expected"),
    [
        ((3, 1), (1, 1), (1, 0), (9, 9), ((3, 3), (1, 1), (1, 1))),
        ((1, 5), (1, 1), (0, 0), (9, 9), ((5, 5), (1, 1), (2, 0))),
        # An even kernel: the floor of stride 2 takes the odd row, on 9 rows without more padding.
        ((1, 2), (2, 2), (0, 0), (9, 8), ((2, 2), (2, 2), (1, 0))),
        ((1, 2), (2, 2), (0, 0), (8, 8), ((2, 2), (2, 2), (0, 0))),
        # Odd growth with stride 1 is not possible; one column more makes it even.
        ((3, 4), (1, 2), (0, 0), (8, 8), ((5, 5), (1, 2), (1, 1))),
        # One output, 12 apart: only from 6 columns on is there less room than a stride of 8.
        ((4, 3), (2, 12), (1, 0), (13, 13), ((6, 6), (2, 8), (2, 0))),
        ((3, 4), (1, 1), (0, 0), (8, 8), None),
        ((3, 1), (1, 3), (1, 0), (9, 9), None),
        ((3, 1), (1, 1), (1, 7), (9, 9), None),
        ((1, 17), (1, 1), (0, 0), (9, 20), None),
    ],
)
def test_kernels_by_hand(
    kernel: Pair, stride: Pair, padding: Pair, shape: Pair, expected: tuple[Pair, Pair, Pair] | None
) -> None:
    network = chain([Convolution(3, kernel, stride, padding)], (2, *shape))
    if expected is None:
        assert untouched(network)
    else:
        assert fields(legal(network).layers[0]) == expected


def test_a_weight_above_the_threshold_is_named() -> None:
    network = weighted(flat((3, 4)), np.random.default_rng(0), integer=True)
    quiet = network.replacing(layers=(replace(network.layers[0], neuron=Neuron(8)),))
    loud = network.replacing(layers=(replace(network.layers[0], neuron=Neuron(np.array([7, 8, 8]))),))
    assert not any("exceeds" in note for note in legalize(quiet, CHIP).notes)
    assert any("exceeds" in note for note in legalize(loud, CHIP).notes)


def test_a_stride_that_does_not_matter_becomes_legal() -> None:
    ready = legal(chain([conv(3, 6, padding=(0, 0), stride=(6, 6))], (2, 6, 6)))
    assert fields(ready.layers[0])[1] == (1, 1)
    assert untouched(chain([conv(3, stride=(3, 3))]))


@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 5))
def test_legal_strides_make_the_outputs(room: int, stride: int, outputs: int) -> None:
    found = legal_stride(room, stride, outputs, (1, 2, 4, 8))
    if found is not None:
        assert room // found + 1 == outputs
        assert found in (1, 2, 4, 8)
    elif outputs == 1:
        assert room >= 8


def test_what_counts_is_what_all_cores_allow() -> None:
    limits = CHIP.cores[8].limits.model_copy(
        update={"strides": (4, 2), "padding_max": 3, "kernel_size_max": 5}
    )
    core = CHIP.cores[8].model_copy(update={"limits": limits})
    last = CHIP.core_groups[-1].model_copy(update={"core": core})
    changed = CHIP.model_copy(update={"core_groups": (*CHIP.core_groups[:-1], last)})
    # Anew from its fields: a copy keeps what was computed from the old ones.
    chip = ChipSpec.model_validate(changed.model_dump())
    bounds = common_bounds(chip)
    assert bounds.limits.strides == (2, 4)
    assert (bounds.limits.padding_max, bounds.limits.kernel_size_max) == (3, 5)
    assert bounds.kernel_words == 65536
