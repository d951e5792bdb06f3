"""Arrays and tensors of any library as numpy's, without any value becoming another."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_PLAIN_ARRAY", "plain_array"]

NO_PLAIN_ARRAY = (AttributeError, RuntimeError, TypeError, ValueError)
"""What `numpy.asarray` raises of what is no array to it."""


def plain_array(given: Any) -> NDArray[Any]:
    """An array in this machine's order of bytes; what is one already stays what it is.

    A tensor may be in a graph of gradients, on a device, sparse, quantised, or of a type that numpy has not.

    Raises
    ------
    ValueError
        It has no values, or a mask hides some of them, or it is no array; the message is a clause.
    """
    # Whoever has no masked array has not loaded what knows them, which takes a command a while.
    masks = sys.modules.get("numpy.ma")
    if masks is not None and isinstance(given, masks.MaskedArray):
        if given.dtype.names is None and masks.is_masked(given):
            raise ValueError("is masked, and what the mask hides would count: give array.filled(0)")
        given = given.data
    if hasattr(given, "detach") and hasattr(given, "layout"):
        given = _of_tensor(given)
    try:
        array = np.asarray(given)
    except NO_PLAIN_ARRAY as error:
        raise ValueError(f"is no array: {str(error).splitlines()[0]}") from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _of_tensor(tensor: Any) -> Any:
    """A tensor's values as numpy's, by what every tensor of torch can do: nothing here loads it."""
    if tensor.device.type == "meta":
        raise ValueError("has no values: it is on the device meta")
    if tensor.is_nested:
        raise ValueError("is a nested tensor: give one of its tensors, or tensor.to_padded_tensor(0)")
    plain = tensor.detach()
    plain = plain.dequantize() if plain.is_quantized else plain
    plain = (plain if "strided" in str(plain.layout) else plain.to_dense()).cpu()
    # These numpy has not: single precision holds all that they can.
    is_short = plain.is_floating_point() and plain.element_size() < 4
    return (plain.float() if is_short else plain).resolve_conj().resolve_neg().numpy()
