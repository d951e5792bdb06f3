"""Address arithmetic of a core's memories: integers only.

Source of the formulas: Speck Dev Kit Datasheet V1.0 (Aug 2023), 3.2.4.1, and the sinabs documentation.
"""

from __future__ import annotations

__all__ = [
    "KERNEL_FORMULA",
    "NEURON_FORMULA",
    "address_bits",
    "bias_words",
    "convolution_size",
    "kernel_terms",
    "kernel_words",
    "neuron_terms",
    "neuron_words",
]

# The formulas as rules tell them.
KERNEL_FORMULA = "input features times taps and output features, both rounded up to powers of two"
NEURON_FORMULA = "output features times rows and columns, both rounded up to powers of two"


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def address_bits(count: int) -> int:
    """Bits that address `count` entries: ``ceil(log2 count)``, exact for every integer.

    Raises
    ------
    ValueError
        `count` is below 1.
    """
    if count < 1:
        _positive(count=count)
    return (count - 1).bit_length()


def kernel_words(input_features: int, output_features: int, kernel_height: int, kernel_width: int) -> int:
    """8-bit words a layer's weights take: ``c * 2^(ceil(log2(kx*ky)) + ceil(log2 f))``.

    Raises
    ------
    ValueError
        A number is below 1.
    """
    if min(input_features, kernel_height, kernel_width) < 1:
        _positive(input_features=input_features, kernel_height=kernel_height, kernel_width=kernel_width)
    return input_features << (address_bits(kernel_height * kernel_width) + address_bits(output_features))


def kernel_terms(input_features: int, output_features: int, kernel_height: int, kernel_width: int) -> str:
    """How `kernel_words` come about."""
    taps = address_bits(kernel_height * kernel_width)
    return f"{input_features} x 2^({taps} + {address_bits(output_features)})"


def neuron_words(features: int, height: int, width: int) -> int:
    """16-bit words a layer's potentials take: ``f * 2^(ceil(log2 fy) + ceil(log2 fx))``.

    Parameters
    ----------
    features, height, width
        The neuron map, before pooling.

    Raises
    ------
    ValueError
        A number is below 1.
    """
    if features < 1:
        _positive(features=features)
    return features << (address_bits(height) + address_bits(width))


def neuron_terms(features: int, height: int, width: int) -> str:
    """How `neuron_words` come about."""
    return f"{features} x 2^({address_bits(height)} + {address_bits(width)})"


def bias_words(features: int, has_bias: bool) -> int:
    """16-bit words a layer's biases take: one a feature if any bias is used, else none.

    Raises
    ------
    ValueError
        `features` is below 1.
    """
    _positive(features=features)
    return features if has_bias else 0


def convolution_size(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Rows (or columns) a convolution makes; zero or less where the kernel finds no room.

    Raises
    ------
    ValueError
        Size, kernel, stride or dilation below 1, or a negative padding.
    """
    _positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    if padding < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
