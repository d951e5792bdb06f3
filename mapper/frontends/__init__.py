"""Readers of networks: the shipped example, NIR files and graphs, torch modules, shape files by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeGuard, get_args

from hwspec.inert import as_text
from mapper.arguments import checked
from mapper.asking import (
    DT,
    FIRES_AT,
    INPUT_SHAPE,
    READING_CHECK,
    RELU_AS_IF,
    RESET,
    SOURCE,
    SPIKE_MODE,
    V_MIN,
    WEIGHTS,
    surface,
)
from mapper.errors import Finding, NetworkError, OptionsError, warn_caller
from mapper.frontends.concerns import Concerns, by_samples, no_samples
from mapper.frontends.inputs import InputFrom, fed
from mapper.frontends.target import (
    code_file,
    holds_network,
    is_module,
    is_target,
    is_weights,
    loaded_target,
    no_network,
)
from mapper.network import Network
from mapper.values import is_positive, value_text
from mapper.wording import channels_last

if TYPE_CHECKING:
    from mapper.frontends.from_torch.as_trained import AsTrained
    from mapper.frontends.from_torch.thresholds import Frames

__all__ = [
    "NETWORK_SUFFIXES",
    "SHIPPED",
    "Concerns",
    "InputFrom",
    "NirOptions",
    "NirSource",
    "TorchOptions",
    "as_trained",
    "is_code",
    "load_network",
    "load_with_source",
    "looks_like_network",
    "other_readings",
]

_NIR_SUFFIXES = (".nir", ".h5", ".hdf5")
_SHAPE_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
NETWORK_SUFFIXES = (*_NIR_SUFFIXES, *_SHAPE_SUFFIXES)
"""What names of network files end in."""
SHIPPED = "digits"
"""The network that comes with the package."""

NirSource: TypeAlias = Literal["sinabs", "spikingjelly", "norse", "snntorch", "spyx", "rockpool", "nir"]
_NIR_OPTIONS = (SOURCE, RESET, V_MIN, SPIKE_MODE, FIRES_AT, DT)
_WORDS = {
    SOURCE: get_args(NirSource),
    RESET: ("subtract", "zero"),
    SPIKE_MODE: ("multi", "single"),
    FIRES_AT: ("reached", "above"),
}


@checked.but("source", "reset", "spike_mode", "fires_at")
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
            Finding(str(option), "is none of the values known", value, ", ".join(known))
            for option, known in _WORDS.items()
            if (value := getattr(self, option.written)) is not None and not _is_one(value, known)
        ]
        if isinstance(self.v_min, str) and self.v_min not in ("threshold", "none"):
            findings.append(
                Finding(str(V_MIN), "is no bound", self.v_min, "threshold, none or a number <= 0")
            )
        elif isinstance(self.v_min, int | float) and not -float("inf") < self.v_min <= 0:
            findings.append(Finding(str(V_MIN), "a lower bound must be a number up to 0", self.v_min, "<= 0"))
        if self.dt is not None and not (isinstance(self.dt, int | float) and 0 < self.dt < float("inf")):
            findings.append(Finding(str(DT), "seconds of a step must be a positive number", self.dt, "> 0"))
        if findings:
            raise OptionsError(*findings)


@checked.but("weights", "calibrate")
@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How to read what a torch module leaves open.

    Attributes
    ----------
    relu_as_if
        Threshold > 0 of the integrate-and-fire neurons a ReLU becomes (multi-spike, subtract, bounded at
        minus the threshold, as `sinabs.from_torch.from_model` has it). "auto": of each layer, and of output
        layers that nothing follows, the largest value that it gives on `calibrate`, robustly, without bound,
        and its readers' weights larger by it. None refuses ReLUs.
    weights
        A file with a state dict (``torch.save(module.state_dict(), file)``, or .safetensors) that the module
        is read with, as a whole; the module itself stays as it is. None takes the module's own values.
    reading_check
        Run a copy of the module on random frames, and refuse what computes something else than was read.
    calibrate
        What `read_labelled` or `labelled_data` of `mapper.equivalence` gives, for "auto".

    Raises
    ------
    OptionsError
        A threshold that is not a positive number, "auto" without samples or samples without it, or weights
        that are no path.
    """

    relu_as_if: float | Literal["auto"] | None = None
    weights: str | Path | None = None
    reading_check: bool = True
    calibrate: Frames | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        value, weights = self.relu_as_if, self.weights
        is_auto = _is_one(value, ("auto",))
        if is_auto != (self.calibrate is not None):
            raise OptionsError(Finding(f"{RELU_AS_IF} auto", "goes with samples", next_step=by_samples()))
        if value is not None and not is_auto and not is_positive(value):
            problem = "a threshold must be a positive number"
            raise OptionsError(Finding(str(RELU_AS_IF), problem, value_text(value), "> 0"))
        if self.calibrate is not None and not hasattr(self.calibrate, "labels"):
            raise OptionsError(no_samples(self.calibrate))
        if weights is not None and not isinstance(weights, str | Path):
            step = "Save a state dict with torch.save, or load it into the module yourself"
            problem = "must be the path of a file"
            raise OptionsError(Finding(str(WEIGHTS), problem, type(weights).__name__, next_step=step))


def _is_one(value: object, words: Collection[str]) -> bool:
    return isinstance(value, str) and value in words


def is_code(source: str) -> bool:
    """Whether `load_network` would import and run Python code for this name: a user must have typed it."""
    return is_target(source, NETWORK_SUFFIXES)


def looks_like_network(word: str) -> bool:
    """Whether a word is of the form that networks are named by, be there such a one or not."""
    is_file = Path(word).suffix.lower() in NETWORK_SUFFIXES
    return word == SHIPPED or is_file or is_code(word) or code_file(word) is not None


@checked
def load_network(
    source: object,
    input_shape: tuple[int, int, int] | None = None,
    nir: NirOptions | None = None,
    torch: TorchOptions | None = None,
    input_from: InputFrom | None = None,
) -> Network:
    """Read a network.

    Parameters
    ----------
    source
        "digits", the path of a NIR or shape file, `file.py:factory` or `package.module:factory` (which is
        run), a torch module (a sinabs network is one), a NIR graph, a `DynapcnnNetwork`
        of this package, or a `Network`, which is returned as is.
    input_shape
        (features, height, width), where the source does not tell.
    nir, torch
        How to read what a NIR graph or a torch module leaves open.
    input_from
        "sensor" or "host" for all inputs, or by input name; None takes what the source states.

    Raises
    ------
    NetworkError
        The source cannot be read, or what it holds cannot run on a chip of the family.
    OptionsError
        Weights for what is no torch module, facts of NIR for what is none, another input shape than that of
        what was read before, or a sensor for an input that cannot have one.
    BackendMissingError
        A .safetensors file, and the package that reads it is not installed.
    """
    return load_with_source(source, input_shape, nir, torch, input_from)[0]


def load_with_source(
    source: object,
    input_shape: tuple[int, int, int] | None = None,
    nir: NirOptions | None = None,
    torch: TorchOptions | None = None,
    input_from: InputFrom | None = None,
    concerns: Concerns | None = None,
) -> tuple[Network, object]:
    """As `load_network`; and what it was read from, of Python code, which runs once, what that gave.

    Parameters
    ----------
    concerns
        Of several networks that share the options, what becomes of these.
    """
    meant = None if input_shape is None else channels_last(tuple(input_shape))
    if meant is not None and surface() != "command":
        given, last = (f"({', '.join(map(str, entry))})" for entry in (tuple(input_shape or ()), meant))
        warn_caller(f"{INPUT_SHAPE}={given}: features come first; channels last would be {last}")
    options = (input_shape, nir or NirOptions(), torch or TorchOptions(), concerns or Concerns(is_alone=True))
    if isinstance(source, str) and is_code(source):
        with loaded_target(source) as loaded:
            network = _read(loaded, *options, name=as_text(source))
        return fed(network, input_from), loaded
    try:
        network = _read(source, *options, name=_name(source))
    except NetworkError as error:
        # Of several files, each with a layer of this name, the user must know which is meant.
        raise (error.of(as_text(Path(source).name)) if _is_file(source) else error) from None
    return fed(network, input_from), source


def as_trained(source: object, options: TorchOptions | None = None) -> AsTrained | None:
    """A torch module as something that answers labelled samples; None of another source.

    Parameters
    ----------
    source
        As `load_with_source` gives it. A module of this package computes what is placed, and is none.
    """
    if not is_module(source) or holds_network(source):
        return None
    from mapper.frontends.from_torch.as_trained import AsTrained  # noqa: PLC0415  # loads torch

    return AsTrained(source, None if options is None else options.weights)  # type: ignore[arg-type]  # is_module says so


def _is_file(source: object) -> TypeGuard[str | Path]:
    return isinstance(source, str | Path) and Path(source).suffix != ""


def _name(source: object) -> str:
    return as_text(str(source)) if isinstance(source, str | Path) else type(source).__name__


def _read(
    source: object,
    input_shape: tuple[int, int, int] | None,
    nir: NirOptions,
    torch: TorchOptions,
    concerns: Concerns,
    *,
    name: str,
) -> Network:
    # What is to be said of such a file is what in it could be meant.
    text = str(source) if isinstance(source, str | Path) else ""
    is_lone = code_file(text) is not None or is_weights(text)
    if nir != NirOptions() and not is_lone and not concerns.takes("nir", _nir_misfit(source, nir, name)):
        nir = NirOptions()
    if (
        torch != TorchOptions()
        and not is_lone
        and not concerns.takes("torch", _torch_misfit(source, torch, name))
    ):
        torch = TorchOptions()
    read, was_read = partial(_read_as, source, nir=nir, torch=torch), holds_network(source)
    return concerns.with_shape(read, input_shape, name, was_read=was_read or isinstance(source, Network))


def _read_as(
    source: object, input_shape: tuple[int, int, int] | None, nir: NirOptions, torch: TorchOptions
) -> Network:
    """A network with options that concern it."""
    if holds_network(source):
        source = source.network  # type: ignore[attr-defined]  # a module made by this package
    if is_module(source):
        from mapper.frontends.from_torch.weights import read_module  # noqa: PLC0415  # loads torch

        return read_module(source, input_shape, torch)  # type: ignore[arg-type]  # is_module says so
    if isinstance(source, Network):
        return source
    if isinstance(source, str | Path):
        return _read_file(source, input_shape, nir)
    from mapper.frontends.from_nir.graph import from_nir_graph  # noqa: PLC0415  # loads h5py

    return from_nir_graph(source, nir, input_shape)


def _nir_misfit(source: object, nir: NirOptions, name: str) -> Finding | None:
    """Why facts of NIR are none of a source's; None where they are."""
    if _is_nir(source):
        return None
    given = [
        f"{option} {value}" for option in _NIR_OPTIONS if (value := getattr(nir, option.written)) is not None
    ]
    step = "Leave it out: what such neurons do stands in the network itself"
    return Finding(", ".join(given), f"goes with a NIR file or graph, and {name} is none", next_step=step)


def _torch_misfit(source: object, torch: TorchOptions, name: str) -> Finding | None:
    """Why what says how torch modules are read says nothing of a source; None where it does."""
    if holds_network(source):
        problem = (
            f"says how a torch module is read, and {name} is a {type(source).__name__}: it has been read"
        )
        step = "Give it to the class where the network is made, or leave it out"
        return Finding(_torch_option(torch), problem, next_step=step)
    if is_module(source):
        return None
    # Of what is no network at all more is to be said.
    if not isinstance(source, Network | str | Path) and not hasattr(source, "nodes"):
        return None
    problem, step = f"goes with a torch module, and {name} is none", "Leave it out"
    if torch.weights is not None:
        problem += ": it has its own weights, or no place for any"
        step += ", or name a torch module: file.py:factory or package.module:factory"
    return Finding(_torch_option(torch), problem, next_step=step)


def _torch_option(torch: TorchOptions) -> str:
    if torch.weights is not None:
        return f"{WEIGHTS} {torch.weights}"
    return str(RELU_AS_IF if torch.relu_as_if is not None else READING_CHECK)


def _is_nir(source: object) -> bool:
    if isinstance(source, str | Path):
        return str(source) == SHIPPED or Path(source).suffix.lower() in _NIR_SUFFIXES
    return not is_module(source) and not isinstance(source, Network)


def _read_file(source: str | Path, input_shape: tuple[int, int, int] | None, nir: NirOptions) -> Network:
    path = Path(source)
    suffix = path.suffix.lower()
    if str(source) == SHIPPED or suffix in _NIR_SUFFIXES:
        from mapper.frontends.from_nir.file import load_nir  # noqa: PLC0415

        if str(source) != SHIPPED:
            return load_nir(path, nir, input_shape)
        with as_file(files("mapper") / "data" / "digits.nir") as shipped:
            return load_nir(shipped, nir, input_shape)
    if suffix in _SHAPE_SUFFIXES:
        from mapper.frontends.shapes import load_shapes  # noqa: PLC0415

        return load_shapes(path, input_shape)
    raise NetworkError(no_network(str(source), SHIPPED, NETWORK_SUFFIXES))


def other_readings(
    source: object, input_shape: tuple[int, int, int] | None, nir: NirOptions | None
) -> Iterator[tuple[str, Callable[[], Network]]]:
    """(what to ask for, how to read it so) of a NIR source; none of others."""
    if not _is_nir(source):
        return
    from mapper.frontends.from_nir.alternatives import alternatives  # noqa: PLC0415

    for words, options in alternatives(nir or NirOptions()):
        yield words, partial(load_network, source, input_shape, options)
