"""Readers of networks: the shipped example, NIR files and graphs, torch modules, shape files by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from mapper.errors import Finding, NetworkError, OptionsError
from mapper.frontends.target import is_module, is_target, load_target
from mapper.network import Network

__all__ = ["NirOptions", "NirSource", "TorchOptions", "load_network", "other_readings"]

_NIR_SUFFIXES = (".nir", ".h5", ".hdf5")
_SHAPE_SUFFIXES = (".yaml", ".yml", ".json", ".toml")

NirSource: TypeAlias = Literal["sinabs", "spikingjelly", "norse", "snntorch", "spyx", "rockpool", "nir"]
_WORDS = {
    "source": get_args(NirSource),
    "reset": ("subtract", "zero"),
    "spike_mode": ("multi", "single"),
    "fires_at": ("reached", "above"),
}


@dataclass(frozen=True, slots=True)
class NirOptions:
    """How to read what a NIR file leaves open; None leaves it to the file, and to its framework.

    Attributes
    ----------
    source
        The framework that wrote it, whose neurons it then means.
    reset
        What a spike does to the potential.
    v_min
        Lower bound of potentials: a number <= 0, "threshold" for minus the threshold, "none".
    spike_mode
        Spikes a neuron may fire in a step.
    fires_at
        Whether a neuron fires at its threshold or only above.
    dt
        Seconds of a step, > 0: r of an IF times this is its gain; LIFs are read at it. None: as the
        framework has it, 1e-4.

    Raises
    ------
    OptionsError
        A value that is none of these.
    """

    source: NirSource | None = None
    reset: Literal["subtract", "zero"] | None = None
    v_min: float | Literal["threshold", "none"] | None = None
    spike_mode: Literal["multi", "single"] | None = None
    fires_at: Literal["reached", "above"] | None = None
    dt: float | None = None

    def __post_init__(self) -> None:
        findings = [
            Finding(name, "is none of the values known", value, ", ".join(known))
            for name, known in _WORDS.items()
            if (value := getattr(self, name)) is not None and value not in known
        ]
        if isinstance(self.v_min, str) and self.v_min not in ("threshold", "none"):
            findings.append(Finding("v_min", "is no bound", self.v_min, "threshold, none or a number <= 0"))
        elif isinstance(self.v_min, int | float) and not -float("inf") < self.v_min <= 0:
            findings.append(Finding("v_min", "a lower bound must be a number up to 0", self.v_min, "<= 0"))
        if self.dt is not None and not (isinstance(self.dt, int | float) and 0 < self.dt < float("inf")):
            findings.append(Finding("dt", "seconds of a step must be a positive number", self.dt, "> 0"))
        if findings:
            raise OptionsError(*findings)


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How to read what a torch module leaves open.

    Attributes
    ----------
    relu_as_if
        Threshold > 0 of the integrate-and-fire neurons a ReLU becomes (multi-spike, subtract, bounded at
        minus the threshold, as `sinabs.from_torch.from_model` has it); None refuses ReLUs.

    Raises
    ------
    OptionsError
        A threshold that is not a positive number.
    """

    relu_as_if: float | None = None

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


def other_readings(
    source: object, input_shape: tuple[int, int, int] | None, nir: NirOptions | None
) -> Iterator[tuple[str, Callable[[], Network]]]:
    """(words to add on the command line, how to read it so) of a NIR source; none of others."""
    is_graph = hasattr(source, "nodes") and not is_module(source)
    if not is_graph and (not isinstance(source, str | Path) or Path(source).suffix not in _NIR_SUFFIXES):
        return
    from mapper.frontends.from_nir.alternatives import alternatives  # noqa: PLC0415

    for words, options in alternatives(nir or NirOptions()):
        yield words, partial(load_network, source, input_shape, options)
