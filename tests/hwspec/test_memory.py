"""Memory words against hand-computed cases."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwspec.memory import (
    address_bits,
    bias_words,
    convolution_size,
    kernel_terms,
    kernel_words,
    neuron_terms,
    neuron_words,
)


@pytest.mark.parametrize(
    ("count", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (33, 6), (64, 6), (65, 7)]
)
def test_address_bits(count: int, bits: int) -> None:
    assert address_bits(count) == bits


@given(st.integers(1, 2**60))
def test_address_bits_are_the_least_that_reach_every_entry(count: int) -> None:
    bits = address_bits(count)
    assert 2**bits >= count
    assert bits == 0 or 2 ** (bits - 1) < count


# Each by hand: c * 2^(bits(ky*kx) + bits(f)); the first two are the datasheet's own examples (3.2.4.1).
@pytest.mark.parametrize(
    ("c", "f", "ky", "kx", "words"),
    [
        (16, 32, 3, 3, 8 * 1024),  # 16 * 2^(4 + 5)
        (2, 16, 2, 2, 128),  # 2 * 2^(2 + 4)
        (1, 1, 1, 1, 1),
        (3, 5, 1, 1, 24),  # 3 * 2^(0 + 3)
        (50, 500, 4, 4, 409600),  # 50 * 2^(4 + 9)
        (1, 2, 2, 3, 16),  # 2^(3 + 1)
    ],
)
def test_kernel_words(c: int, f: int, ky: int, kx: int, words: int) -> None:
    assert kernel_words(c, f, ky, kx) == words


@pytest.mark.parametrize(
    ("f", "height", "width", "words"),
    [
        (32, 64, 64, 128 * 1024),
        (16, 64, 64, 64 * 1024),
        (1, 33, 33, 4096),  # as much as 64x64
        (10, 1, 1, 10),
        (8, 9, 16, 8 * 16 * 16),
    ],
)
def test_neuron_words(f: int, height: int, width: int, words: int) -> None:
    assert neuron_words(f, height, width) == words


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 16), st.integers(1, 16))
def test_terms_come_to_the_words(c: int, f: int, height: int, width: int) -> None:
    def value(terms: str) -> int:
        factor, *bits = map(int, re.findall(r"\d+", terms.replace("2^", "")))
        return factor << sum(bits)

    assert value(kernel_terms(c, f, height, width)) == kernel_words(c, f, height, width)
    assert value(neuron_terms(f, height, width)) == neuron_words(f, height, width)


def test_bias_words() -> None:
    assert bias_words(11, True) == 11
    assert bias_words(11, False) == 0


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "made"),
    [(128, 2, 2, 0, 1, 64), (34, 3, 1, 1, 1, 34), (5, 3, 2, 0, 1, 2), (5, 3, 1, 0, 2, 1), (2, 3, 1, 0, 1, 0)],
)
def test_convolution_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, made: int
) -> None:
    assert convolution_size(size, kernel, stride, padding, dilation) == made


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="must"):
        address_bits(0)
    with pytest.raises(ValueError, match="must"):
        kernel_words(0, 1, 1, 1)
    with pytest.raises(ValueError, match="must"):
        neuron_words(0, 1, 1)
    with pytest.raises(ValueError, match="must"):
        bias_words(0, True)
    for size, padding in ((0, 0), (4, -1)):
        with pytest.raises(ValueError, match="must"):
            convolution_size(size, 1, 1, padding)
