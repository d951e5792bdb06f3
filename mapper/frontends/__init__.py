"""Readers of networks: the shipped example, NIR files and graphs, torch modules, shape files by hand."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from mapper.errors import Finding, NetworkError, OptionsError
from mapper.frontends.target import is_module, is_target, load_target
from mapper.network import Network

__all__ = ["NirOptions", "TorchOptions", "load_network"]

_NIR_SUFFIXES = (".nir", ".h5", ".hdf5")
_SHAPE_SUFFIXES = (".yaml", ".yml", ".json", ".toml")


@dataclass(frozen=True, slots=True)
class NirOptions:
    """How to read what a NIR file leaves open.

    Attributes
    ----------
    reset
        Reset of all IF neurons; None lets the file decide.
    v_min
        Lower bound of potentials: a number <= 0, "threshold" for minus the threshold, None for the
        file's metadata or no bound.
    """

    reset: Literal["subtract", "zero"] | None = None
    v_min: float | Literal["threshold"] | None = None


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How to read what a torch module leaves open.

    Attributes
    ----------
    relu_as_if
        Threshold > 0 of the integrate-and-fire neurons a ReLU becomes (multi-spike, subtract, bounded at
        minus the threshold, as `sinabs.from_torch.from_model` has it); None refuses ReLUs.
    reading_check
        Run a copy of the module on random frames, and refuse what computes something else than was read.

    Raises
    ------
    OptionsError
        A threshold that is not a positive number.
    """

    relu_as_if: float | None = None
    reading_check: bool = True

    def __post_init__(self) -> None:
        value = self.relu_as_if
        if value is not None and not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise OptionsError(Finding("relu_as_if", "a threshold must be a positive number", value, "> 0"))


def load_network(
    source: object,
    input_shape: tuple[int, int, int] | None = None,
    nir: NirOptions | None = None,
    torch: TorchOptions | None = None,
) -> Network:
    """Read a network.

    Parameters
    ----------
    source
        "digits", the path of a NIR or shape file, `package.module:factory`, a torch module (a sinabs network
        is one), a NIR graph, or a `Network`, which is returned as is.
    input_shape
        (features, height, width), where the source does not tell.
    nir, torch
        How to read what a NIR graph or a torch module leaves open.

    Raises
    ------
    NetworkError
        The source cannot be read, or what it holds cannot run on a chip of the family.
    """
    options = nir or NirOptions()
    if isinstance(source, str) and is_target(source, (*_NIR_SUFFIXES, *_SHAPE_SUFFIXES)):
        source = load_target(source)
    if isinstance(source, Network):
        return source
    if is_module(source):
        from mapper.frontends.from_torch.module import from_module  # noqa: PLC0415  # loads torch

        return from_module(source, input_shape, torch)  # type: ignore[arg-type]  # is_module says so
    if not isinstance(source, str | Path):
        from mapper.frontends.from_nir.graph import from_nir_graph  # noqa: PLC0415  # loads h5py

        return from_nir_graph(source, options, input_shape)
    if str(source) == "digits":
        from mapper.frontends.from_nir.file import load_nir  # noqa: PLC0415

        with as_file(files("mapper") / "data" / "digits.nir") as path:
            return load_nir(path, options, input_shape)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in _NIR_SUFFIXES:
        from mapper.frontends.from_nir.file import load_nir  # noqa: PLC0415

        return load_nir(path, options, input_shape)
    if suffix in _SHAPE_SUFFIXES:
        from mapper.frontends.shapes import load_shapes  # noqa: PLC0415

        return load_shapes(path, input_shape)
    known = ", ".join((*_NIR_SUFFIXES, *_SHAPE_SUFFIXES))
    step = 'The one network that comes with the package is "digits"; Python code is package.module:factory'
    raise NetworkError(
        Finding(str(source), "not a network file", None, f"a path that ends in {known}", next_step=step)
    )
