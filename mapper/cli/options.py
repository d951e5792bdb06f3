"""Options of the commands: groups of them, each declared once, and what they say in the package's terms."""

# No `from __future__ import annotations` here: of a class in another module that inherits from one of these,
# the parser would look up the names of inherited annotations in that other module.
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from mapper.cli import completion
from mapper.cli.option_values import READERS, read_number
from mapper.errors import Finding, OptionsError
from mapper.options import Objective, PooledOutputs, RepairOf

if TYPE_CHECKING:
    from mapper.explore.plan import ReadOptions
    from mapper.normal_form import NormalNetwork


def group(title: str, order: int) -> Parameter:
    """Flatten the fields of a class into options under one heading; headings stand by `order` in the help."""
    return Parameter(name="*", group=Group(title, sort_key=order))


def number(unit: str, meaning: str, unset: str | None = None, **more: Any) -> Parameter:
    """An option that takes a number in a unit; `unset` says what holds without it."""

    def read(kind: Any, tokens: Sequence[Token]) -> float:
        # The parser's own reading takes 1.5 for 2, and "none" for no limit.
        return read_number(tokens[0].value, unit, is_whole="int" in str(kind))

    return Parameter(metavar=unit, help=meaning, show_default=unset, converter=read, **more)


def text(form: str, meaning: str, unset: str | None = None, **more: Any) -> Parameter:
    """An option that takes a text, which may begin with a hyphen: -1 is the last layer."""
    return Parameter(metavar=form, help=meaning, show_default=unset, allow_leading_hyphen=True, **more)


def word(meaning: str, unset: str | None = None, **more: Any) -> Parameter:
    """An option that takes one of a few words."""
    return Parameter(help=meaning, show_default=unset, **more)


def file(meaning: str, unset: str | None = None, **more: Any) -> Parameter:
    """An option that takes the path of a file."""
    return Parameter(metavar="FILE", help=meaning, show_default=unset, **more)


NETWORK = Parameter(
    name="NETWORK",
    help='"digits", a NIR file (.nir), a shape file (.yaml/.json/.toml), or file.py:factory or '
    "package.module:factory, a torch or sinabs module or a NIR graph, or a callable that gives one (this "
    "imports and runs your code)",
    completer=completion.networks,
)
CHIP_HELP = "chip or device name, or a chip file (.toml)"
# What several commands have in forms of their own: required, say, or with another default.
NETWORKS = Parameter(
    name="NETWORK",
    help=f"{NETWORK.help}; several share the chip",
    required=True,
    completer=completion.networks,
)
CONFIG = Parameter(name="CONFIG", help="config.json, written by emit")
OUT = Parameter(name="--out", metavar="DIR", help="folder that the command's files are written to")
OPEN = Parameter(
    name="--open",
    help="show the placement in the browser: the page of solve --out, else one among temporary files",
)
EVENTS = file("recorded events: .npy, .npz, .csv, .aedat4")
INPUT = text("NAME", "input, where there are several", "the only one", name="--input")
STEP = number("MICROSECONDS", "length of a time step", name="--step-us")
PLOT = file("draw it there: .png or .svg", "no drawing")
CALIBRATE = file(
    "samples that thresholds are found by, as of verify --data", "none", completer=completion.samples
)
TRAFFIC = file("spikes per second by signal, from mapper simulate --traffic", "unknown")

Texts = tuple[str, ...]
Reset = Literal["subtract", "zero"]
NirSource = Literal["sinabs", "spikingjelly", "norse", "snntorch", "spyx", "rockpool", "nir"]
_THE_SOURCES = "the file's, else its framework's"
_LAYER = "a name, or #INDEX"


@group("Output", 9)
@dataclass(frozen=True)
class Output:
    """How a command answers."""

    as_json: Annotated[bool, Parameter(name="--json", help="print JSON")] = False
    quiet: Annotated[
        bool, Parameter(alias="-q", help="print the answer and errors alone: no notes, warnings or progress")
    ] = False
    verbose: Annotated[
        bool, Parameter(alias="-v", help="say on standard error what is done and how long it takes, too")
    ] = False


@dataclass(frozen=True)
class FileOutput(Output):
    """How a command answers that can write files."""

    out: Annotated[Path | None, OUT, Parameter(show_default="none is written")] = None


@dataclass(frozen=True)
class ShownOutput(FileOutput):
    """How a command answers that can write a placement and show it."""

    is_opened: Annotated[bool, OPEN] = False


@group("Chip", 1)
@dataclass(frozen=True)
class Changes:
    """Changed facts of a chip."""

    changes: Annotated[
        Texts, text("CHANGE", "changed fact of the chip; memories in words", name="--set")
    ] = ()


@dataclass(frozen=True)
class Chip(Changes):
    """The chip that a network is placed on."""

    chip: Annotated[str, text("CHIP", CHIP_HELP, completer=completion.chips)] = "speck2f"


@group("Network", 2)
@dataclass(frozen=True)
class Reading:
    """How a network is read."""

    input_shape: Annotated[
        str | None, text("C,H,W", "features, height and width of the input, in pixels", "the file's")
    ] = None
    add_output_neuron: Annotated[
        float | None,
        number(
            "THRESHOLD", "append neurons to output layers without any; in the unit of the weights", "none"
        ),
    ] = None
    inputs: Annotated[
        Texts,
        text(
            "sensor|host",
            "source of all inputs, or NAME=sensor|host",
            "the network's",
            name="--input",
            completer=completion.words("sensor", "host"),
        ),
    ] = ()
    relu_as_if: Annotated[
        str | None,
        text(
            "THRESHOLD|auto",
            "torch: take ReLUs as neurons, of this threshold in the unit of the weights (1 without a number) "
            "or as --calibrate has it",
            "refused",
            completer=completion.words("auto"),
        ),
    ] = None
    calibrate: Annotated[str | None, CALIBRATE] = None
    weights: Annotated[Path | None, file("torch: a state dict, all of it or none", "the module's")] = None
    reading_check: Annotated[
        bool,
        Parameter(negative="--no-reading-check", help="torch: run a copy, compare it with what was read"),
    ] = True
    source: Annotated[
        NirSource | None,
        word("NIR: framework that wrote it", "the file's", name="--from"),
    ] = None
    reset: Annotated[Reset | None, word("NIR: what a spike does to the potential", _THE_SOURCES)] = None
    v_min: Annotated[
        str | None,
        text(
            "threshold|none|NUMBER",
            "NIR: least potential, in the unit of the weights",
            _THE_SOURCES,
            completer=completion.words("threshold", "none"),
        ),
    ] = None
    spike_mode: Annotated[
        Literal["multi", "single"] | None, word("NIR: spikes a neuron may fire in a step", _THE_SOURCES)
    ] = None
    fires_at: Annotated[
        Literal["reached", "above"] | None,
        word("NIR: at its threshold, or above", _THE_SOURCES),
    ] = None
    dt: Annotated[
        float | None, number("SECONDS", "NIR: step that r was made with, and that LIFs are read at", "1e-4")
    ] = None


def reading_words(reading: Reading) -> list[str]:
    """The options of a `Reading` as they are typed; those with their defaults are left out."""
    words = list[str]()
    for entry in fields(Reading):
        value = getattr(reading, entry.name)
        if value == entry.default:
            continue
        name = {"inputs": "input", "source": "from"}.get(entry.name, entry.name.replace("_", "-"))
        if isinstance(value, bool):
            words.append(f"--no-{name}")
        else:
            words += [
                word
                for one in (value if isinstance(value, tuple) else (value,))
                for word in (f"--{name}", str(one))
            ]
    return words


@group("Requests", 3)
@dataclass(frozen=True)
class Places:
    """Where layers may stand. Fields of all groups from here on are those of `SolveOptions`."""

    pins: Annotated[Texts, text("LAYER=CORE", f"layer ({_LAYER}) on a core", name="--pin")] = ()
    forbidden_cores: Annotated[
        str | None, text("CORES", "cores that stay empty", "none", name="--forbid")
    ] = None
    traffic: Annotated[Path | None, TRAFFIC] = None


@dataclass(frozen=True)
class Requests(Places):
    """What a placement must fulfil."""

    monitors: Annotated[
        Texts, text("LAYER", f"layer whose spikes are read: {_LAYER}", "the outputs", name="--monitor")
    ] = ()
    readout: Annotated[str | None, text("LAYER", f"layer before the readout stage: {_LAYER}", "none")] = None
    readout_monitor: Annotated[bool, Parameter(help="read the readout stage itself")] = False
    pooled_outputs: Annotated[PooledOutputs, word("who pools pooled outputs")] = "host"


@group("Preferences", 4)
@dataclass(frozen=True)
class Preferences:
    """Which of the placements that fulfil the requests."""

    objective: Annotated[
        Objective, word("least memory taken, most left over, least load, or layer n on core n")
    ] = "capacity"
    keep: Annotated[Path | None, file("placement.json: move as few layers as possible", "none")] = None


@group("Moves", 5)
@dataclass(frozen=True)
class Moves:
    """What may be done to a network so that it fits."""

    max_pieces: Annotated[
        int | None, number("CORES", "most cores that a layer is cut over; 1: none is cut", "no bound")
    ] = None
    relays: Annotated[bool, Parameter(negative="--no-relays", help="let spare cores pass signals on")] = True
    joint: Annotated[bool, Parameter(negative="--no-joint", help="pass sums of layers on, in one")] = True
    copies: Annotated[bool, Parameter(negative="--no-copies", help="let a layer stand more than once")] = True
    fusion: Annotated[bool, Parameter(negative="--no-fusion", help="put sibling layers on one core")] = True
    rewrites: Annotated[bool, Parameter(negative="--no-rewrites", help="turn rows into features")] = True
    plain: Annotated[bool, Parameter(help="none of these: one whole layer as given per core")] = False


_WORK = (
    "limit in the solver's deterministic time, whose units are about as long as seconds, under which it runs "
    "with one worker and a fixed seed, so that the bytes are the same whatever --workers"
)
_TIME = (
    "wall-clock limit, kept within 20 %, of all solving, explanation, repairs, synthesis with its curves and "
    "simulation by verify; it voids the promise of equal bytes, and what it cuts short is said"
)

_REPAIRS = (
    "repairs to look for if the network does not fit; without another limit the search ends after a few "
    "seconds of work, the same on every machine, and says what it did not try"
)

_REPAIR = (
    "what repairs may change beside requests; with any, those of the network come first where the chip is "
    "one that is sold"
)


@group("Limits", 6)
@dataclass(frozen=True)
class WorkLimit:
    """How much the solver may do, alike on every machine."""

    work_limit: Annotated[float | None, number("UNITS", _WORK, "none")] = None


@dataclass(frozen=True)
class Effort(WorkLimit):
    """How much the solver may do, and on how many threads."""

    workers: Annotated[int, number("THREADS", "solver threads")] = 1


@dataclass(frozen=True)
class SolverLimits(Effort):
    """How much the solver may do, and for how long."""

    time_limit: Annotated[float | None, number("SECONDS", _TIME, "none")] = None


@dataclass(frozen=True)
class RepairLimits(WorkLimit):
    """How much the solver may do, and which repairs are sought."""

    repairs: Annotated[int, number("COUNT", _REPAIRS)] = 3
    repair: Annotated[RepairOf, word(_REPAIR)] = "any"


@dataclass(frozen=True)
class Limits(RepairLimits, SolverLimits):
    """How much the solver may do, explanation included."""


SolveGroup = Places | Preferences | Moves | WorkLimit


def keywords(chip: Chip, reading: Reading, *groups: SolveGroup, **fixed: Any) -> dict[str, Any]:
    """What the options say, as keywords of `mapper.solve`.

    Parameters
    ----------
    fixed
        Keywords of `SolveOptions` that the command sets.

    Raises
    ------
    OptionsError, SpecError
        With everything that is wrong.
    """
    from hwspec.catalog import load  # noqa: PLC0415
    from mapper.frontends import NirOptions, TorchOptions  # noqa: PLC0415
    from mapper.options import PLAIN, SolveOptions  # noqa: PLC0415

    # What is left out keeps the package's own default.
    values = (item for entry in (reading, *groups) for item in vars(entry).items())
    words = fixed | {name: value for name, value in values if value not in (None, ())}
    findings: list[Finding] = []
    for name, read in READERS.items():
        try:
            words |= {name: read(words[name])} if name in words else {}
        except OptionsError as error:
            findings += error.findings
    if findings:
        raise OptionsError(*findings)
    copies, limit = None if words.pop("copies", True) else 1, words.pop("time_limit", None)
    plain = PLAIN if words.pop("plain", False) else {}
    facts = ("source", "reset", "v_min", "spike_mode", "fires_at", "dt")
    nir = {name: words.pop(name) for name in facts if name in words}
    relu, weights = words.pop("relu_as_if", None), words.pop("weights", None)
    samples = read_samples(words.pop("calibrate", None), words.get("input_shape"))
    return {
        "input_shape": words.pop("input_shape", None),
        "input_from": words.pop("inputs", None),
        "add_output_neuron": words.pop("add_output_neuron", None),
        "nir": NirOptions(**nir),
        "torch": TorchOptions(relu, weights, words.pop("reading_check"), samples),
        "options": SolveOptions(time_limit_s=limit, **{"max_copies": copies, **words, **plain}),
        "chip": load(chip.chip, chip.changes),
    }


def read_samples(source: str | None, shape: tuple[int, int, int] | None) -> Any:
    """Labelled data to find thresholds by; images stay what they are."""
    if source is None:
        return None
    from mapper.equivalence.labelled import read_labelled  # noqa: PLC0415

    return read_labelled(source, shape)


def read_options(words: dict[str, Any]) -> "ReadOptions":
    """How networks are read, of what `keywords` gives."""
    from mapper.explore.plan import ReadOptions  # noqa: PLC0415

    names = ("input_shape", "nir", "torch", "add_output_neuron", "input_from")
    return ReadOptions(**{name: words[name] for name in names})


def read_network(source: str, words: dict[str, Any]) -> "NormalNetwork":
    """A network as `keywords` says, after all passes but those for a chip."""
    return read_options(words).read(source)
