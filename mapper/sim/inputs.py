"""What is put into a network or configuration: by name, and as spike counts that kernels take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwspec.inert import quoted
from hwspec.kinds import said
from mapper.arrays import plain_array
from mapper.errors import Finding, OptionsError
from mapper.sim.network import NO_COUNTS, are_spike_counts

__all__ = ["by_name", "count_arrays"]

# Of floats; others are whole numbers here, and as integers they stay what they are.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def by_name(inputs: object, names: Collection[str], what: str) -> Mapping[str, Any]:
    """Inputs as they are, if they are given by name.

    Parameters
    ----------
    names
        Of the inputs that there are.
    what
        What each is given: "arrays".

    Raises
    ------
    OptionsError
        They are not.
    """
    if isinstance(inputs, Mapping):
        return inputs
    each = ", ".join(f"{quoted(name)}: ..." for name in names) or '"NAME": ..., and the core by input_cores'
    problem = f"must be a mapping of names of inputs to {what}"
    raise OptionsError(Finding("inputs", problem, said(inputs), next_step=f"Give {{{each}}}"))


def count_arrays(inputs: Mapping[str, Any], findings: list[Finding]) -> dict[str, NDArray[Any]]:
    """Spike counts by input, of types that kernels and torch have: every count stays what it is.

    What holds none leaves a finding, and no array.
    """
    arrays = {name: _counts(f"input {name}", given, findings) for name, given in inputs.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _counts(where: str, given: Any, findings: list[Finding]) -> NDArray[Any] | None:
    try:
        array = plain_array(given)
    except ValueError as error:
        findings.append(Finding(where, str(error)))
        return None
    if not are_spike_counts(array):
        findings.append(Finding(where, NO_COUNTS, *_odd(array)))
        return None
    return array if array.dtype.kind != "f" or array.dtype in _FLOATS else array.astype(np.int64)


def _odd(array: NDArray[Any]) -> Iterator[str]:
    """What is in the way, as the value of a finding: the type, or the first number that is no count."""
    if array.dtype.kind not in "biuf":
        yield f"dtype {array.dtype}"
    elif array.size:
        with np.errstate(invalid="ignore"):
            is_odd = ~((array >= 0) & (array <= 2**53) & (array == np.floor(array)))
        yield str(array[is_odd].flat[0])
