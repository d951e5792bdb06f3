"""What a user may ask of a placement, beyond network and chip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from hwspec.errors import Finding
from hwspec.kinds import as_number
from mapper.arguments import checked
from mapper.asking import (
    FORBIDDEN_CORES,
    FUSION,
    JOINT,
    KEEP,
    MAX_COPIES,
    MAX_PIECES,
    MONITORS,
    OBJECTIVE,
    PINS,
    POOLED_OUTPUTS,
    READOUT,
    READOUT_MONITOR,
    RELAYS,
    REPAIR,
    REPAIRS,
    REWRITES,
    SEED,
    TIME_LIMIT,
    TRAFFIC,
    WORK_LIMIT,
    WORKERS,
    Option,
    spoken,
    surface,
)
from mapper.by_value import ByValue
from mapper.errors import OptionsError
from mapper.kept import strangers
from mapper.references import (
    LayerReference,
    layer_key,
    layers_called,
    locate_layer,
    locate_signal,
    signal_title,
)
from mapper.values import entries, is_positive, number, pairs, value_text
from mapper.wording import join_numbers

if TYPE_CHECKING:
    from hwspec.schema import ChipSpec
    from mapper.network import Network

__all__ = [
    "EVERY_MOVE",
    "PLAIN",
    "Move",
    "Objective",
    "PooledOutputs",
    "RepairOf",
    "SolveOptions",
    "locate_traffic",
    "moves_left_out",
    "moves_of",
    "resolve",
]

Objective: TypeAlias = Literal["capacity", "headroom", "balance", "index"]
PooledOutputs: TypeAlias = Literal["host", "relay"]
RepairOf: TypeAlias = Literal["any", "network", "chip"]
# What a placement may do beyond one whole layer per core.
Move: TypeAlias = Literal["pieces", "relays", "copies"]

# One whole layer as given per core, and nothing else.
PLAIN: Mapping[str, Any] = MappingProxyType(
    {"max_pieces": 1, "max_copies": 1, **dict.fromkeys(("relays", "joint", "fusion", "rewrites"), False)}
)

_MOVES = (MAX_PIECES, MAX_COPIES, RELAYS, JOINT, FUSION, REWRITES)

# Everything that may be done.
EVERY_MOVE: Mapping[str, Any] = MappingProxyType(
    {"max_pieces": None, "max_copies": None, **dict.fromkeys(("relays", "joint", "fusion", "rewrites"), True)}
)

# Whole numbers among the options: their names, what they are, least and most.
_WHOLE: Mapping[str, tuple[Option, str, int, int]] = {
    "workers": (WORKERS, "a whole number of solver threads", 1, 1024),
    "seed": (SEED, "the solver's seed, a whole number", 0, 2**31 - 1),
    "repairs": (REPAIRS, "a whole number of repairs to find", 0, 100),
}
# Likewise those of which None sets no bound.
_BOUNDS: Mapping[str, tuple[Option, str, int, int]] = {
    "max_pieces": (MAX_PIECES, "a whole number of pieces of a layer", 1, 2**31 - 1),
    "max_copies": (MAX_COPIES, "how often a layer may stand on the chip", 1, 2**31 - 1),
}
_CORE_MAX = 2**31 - 1
_RATE_MAX = 2**50


@checked.by_name
@dataclass(frozen=True, slots=True, eq=False)
class SolveOptions(ByValue):
    """Requests to the solver; the defaults ask for nothing.

    Layers are named as `mapper.references` describes: by name, by text "#3" for an index, or by an integer.

    Attributes
    ----------
    pins
        (layer, core id) pairs: the layer must be on that core.
    forbidden_cores
        Core ids that stay empty.
    objective
        "capacity": fewest cores, then least `capacity_bits` taken. "headroom": fewest cores, then
        the largest least free share over used cores and their memories, then least capacity.
        "balance": fewest cores, then the least largest load (synaptic operations per second, as a share
        of the bandwidth where the chip states one), then least capacity; it needs `traffic`.
        "index": fewest cores, then the most layers whole on core n, the layer being number n in natural
        order of names (network after network), then least capacity.
    monitors
        Layers whose spikes are read; None for the network's outputs.
    readout
        Layer that feeds the readout stage, or None.
    readout_monitor
        Read the readout stage itself; on the chips that have it this silences spike monitors.
    time_limit_s
        Wall-clock limit in seconds, > 0, or None. Voids the promise of equal bytes.
    work_limit
        Limit in the solver's deterministic time, > 0, or None.
    workers
        Threads of the solver, 1..1024.
    seed
        Seed of the solver, 0..2**31 - 1; the placement does not depend on it.
    repairs
        How many repairs to find, at most, for a network that does not fit; 0..100.
    repair
        What they may change beside requests.
    max_pieces
        Most cores that one layer may be cut over, 1..2**31 - 1; 1 cuts none, None sets no bound.
    relays
        Whether identity cores may pass a signal on.
    joint
        Whether they may also pass on what several layers read of several others: a sum, a concatenation.
    fusion
        Whether layers that read the same and fire alike may share a core.
    max_copies
        How often a layer may stand on the chip, 1..2**31 - 1; 1 copies none, None sets no bound.
    rewrites
        Whether rows and columns of maps that are too large for every core may become features.
    pooled_outputs
        "host": a pooled output is read unpooled and pooled by the host. "relay": a relay shows it pooled.
    traffic
        (signal, spikes per second) pairs of layers and inputs, 0..2**50: what leaves each of them; they bound
        the load of cores whose bandwidth the chip states. Signals without one count as silent.
    keep
        (layer, core) pairs of an earlier placement, by `layer_key`: as few layers as possible leave their
        cores. Layers and cores that have gone are left out.
    """

    pins: tuple[tuple[LayerReference, int], ...] = ()
    forbidden_cores: tuple[int, ...] = ()
    objective: Objective = "capacity"
    monitors: tuple[LayerReference, ...] | None = None
    readout: LayerReference | None = None
    readout_monitor: bool = False
    time_limit_s: float | None = None
    work_limit: float | None = None
    workers: int = 1
    seed: int = 0
    repairs: int = 3
    repair: RepairOf = "any"
    max_pieces: int | None = None
    relays: bool = True
    joint: bool = True
    fusion: bool = True
    max_copies: int | None = None
    rewrites: bool = True
    pooled_outputs: PooledOutputs = "host"
    traffic: tuple[tuple[LayerReference, int], ...] = ()
    keep: tuple[tuple[LayerReference, int], ...] = ()

    def __post_init__(self) -> None:
        for option in (TIME_LIMIT, WORK_LIMIT):
            if (limit := as_number(getattr(self, option.written))) is not None:
                object.__setattr__(self, option.written, limit)

    @property
    def divides(self) -> bool:
        """Whether anything but one whole layer per core is allowed; siblings on one core apart."""
        return bool(moves_of(self))


def moves_left_out(options: SolveOptions) -> tuple[str, ...]:
    """What options take away of all that may be done, as it is asked for."""
    asked = ((option, getattr(options, option.written)) for option in _MOVES)
    taken = tuple(
        option.to(value if option is MAX_PIECES else False, str(value))
        for option, value in asked
        if value != EVERY_MOVE[option.written]
    )
    if all(getattr(options, name) == value for name, value in PLAIN.items()):
        return spoken(command=(f"--plain, or what it stands for ({', '.join(taken)})",), python=taken)
    return taken


def moves_of(options: SolveOptions) -> tuple[Move, ...]:
    """What options allow a placement to do with any layer beyond one whole one per core."""
    allowed: dict[Move, bool] = {
        "pieces": options.max_pieces != 1,
        "relays": options.relays,
        "copies": options.max_copies != 1,
    }
    return tuple(move for move, is_allowed in allowed.items() if is_allowed)


def resolve(options: SolveOptions, networks: Network | Sequence[Network], chip: ChipSpec) -> SolveOptions:
    """Options with every layer reference turned into its `layer_key`, checked against networks and chip.

    Pairs may be given as a mapping, several things as any iterable; resolved they are tuples.

    Raises
    ------
    OptionsError
        Unknown layers or cores, contradicting pins, limits out of range, values of another type: everything
        at once.
    """
    several = networks if isinstance(networks, Sequence) else (networks,)
    findings = list(_choice_findings(options))
    whole = {name: number(findings, getattr(options, name), *row) for name, row in _WHOLE.items()}
    bounded = {name: row for name, row in _BOUNDS.items() if getattr(options, name) is not None}
    whole |= {name: number(findings, getattr(options, name), *row) for name, row in bounded.items()}
    resolution = _Resolution(several, chip, findings)
    pinned = sorted(resolution.pins(options.pins))
    pins = tuple(dict.fromkeys((key, core) for key, core, _ in pinned))
    forbidden = tuple(sorted(set(resolution.forbidden(options.forbidden_cores))))
    titles = {
        layer_key(several, number, name): signal_title(several, number, name)
        for number, network in enumerate(several)
        for name in network.index
    }
    findings.extend(_pin_findings(pinned, forbidden, titles))
    monitors, readout = options.monitors, options.readout
    if monitors is not None:
        references = entries(MONITORS, "layers", monitors, findings)
        monitors = tuple(dict.fromkeys(resolution.layers(MONITORS, references)))
    if readout is not None:
        readout = next(resolution.layers(READOUT, (readout,)), None)
    kept = tuple(sorted(set(resolution.kept(options.keep))))
    traffic: Mapping[tuple[int, str], int] = {}
    try:
        traffic = locate_traffic(options.traffic, several)
        if not traffic and str(options.objective) == "balance":
            step = spoken(
                command="mapper simulate CONFIG --events FILE --traffic rates.json measures it",
                python="Give traffic=((layer, spikes per second), ...)",
            )
            findings.append(
                Finding(f"{OBJECTIVE} balance", "needs the traffic of the layers", next_step=step)
            )
    except OptionsError as error:
        findings.extend(error.findings)
    if findings:
        raise OptionsError(*findings)
    rates = ((layer_key(several, *signal), rate) for signal, rate in traffic.items())
    return replace(
        options,
        pins=pins,
        forbidden_cores=forbidden,
        monitors=monitors,
        readout=readout,
        traffic=tuple(sorted(rates)),
        keep=kept,
        **whole,  # type: ignore[arg-type]  # of these fields none is None
    )


def locate_traffic(traffic: object, networks: Sequence[Network]) -> dict[tuple[int, str], int]:
    """Spikes per second by (network, signal), of (reference, rate) pairs or a mapping.

    Raises
    ------
    OptionsError
        Unknown signals, rates that are none, one signal with several: everything at once.
    """
    findings: list[Finding] = []
    rates: dict[tuple[int, str], int] = {}
    for reference, value in pairs(TRAFFIC, "(signal, spikes per second)", traffic, findings):
        try:
            signal = locate_signal(networks, reference, TRAFFIC)
        except OptionsError as error:
            findings.extend(error.findings)
            continue
        where = f"{TRAFFIC}: signal {value_text(reference, plain=True)}"
        rate = number(findings, value, where, "a whole number of spikes per second", 0, _RATE_MAX)
        if rate is not None and rates.setdefault(signal, rate) != rate:
            findings.append(Finding(where, f"has two rates, {rates[signal]} and {rate}"))
    if findings:
        raise OptionsError(*findings)
    return rates


class _Resolution:
    """What options say of layers and cores, as names and core ids; what is wrong goes into `findings`."""

    def __init__(self, networks: Sequence[Network], chip: ChipSpec, findings: list[Finding]) -> None:
        self.networks, self.chip, self.findings = networks, chip, findings

    def layers(self, option: Option, references: Iterable[Any]) -> Iterator[str]:
        """Keys of layers; those that are none leave a finding."""
        for reference in references:
            try:
                yield layer_key(self.networks, *locate_layer(self.networks, reference, option))
            except OptionsError as error:
                self.findings.extend(error.findings)

    def core(self, where: Option | str, value: object) -> int | None:
        """A core of the chip; what is none leaves a finding."""
        last = self.chip.core_count - 1
        return number(self.findings, value, where, f"{self.chip.name} has no such core", 0, last)

    def pins(self, value: object) -> Iterator[tuple[str, int, str]]:
        """Keys of layers, their cores, and the reference that was given."""
        for reference, place in pairs(PINS, "(layer, core)", value, self.findings):
            given = value_text(reference, plain=True)
            # What the class like sinabs' is given as a number is an index.
            given = given.removeprefix("#") if surface() == "sinabs" else given
            core = self.core(f"{PINS} {given}={value_text(place)}", place)
            yield from ((key, core, given) for key in self.layers(PINS, (reference,)) if core is not None)

    def forbidden(self, value: object) -> Iterator[int]:
        given, last = entries(FORBIDDEN_CORES, "core ids", value, self.findings), self.chip.core_count - 1
        beyond = [entry for entry in given if isinstance(entry, int) and entry > last]
        if len(beyond) > 1:
            given = [entry for entry in given if not (isinstance(entry, int) and entry > last)]
            problem, which = f"{self.chip.name} has no such cores", join_numbers(beyond)
            self.findings.append(Finding(str(FORBIDDEN_CORES), problem, which, f"0..{last}"))
        cores = (self.core(FORBIDDEN_CORES, entry) for entry in given)
        yield from (core for core in cores if core is not None)

    def kept(self, value: object) -> Iterator[tuple[str, int]]:
        """Layers and cores that there still are; text that is no key of a layer names one that has gone."""
        known = layers_called(self.networks)
        given = list(pairs(KEEP, "(layer, core)", value, self.findings))
        names = [reference for reference, _ in given if isinstance(reference, str)]
        if len(names) == len(given):
            self.findings.extend(strangers(value, names, known, self.networks, self.chip.name))
        for reference, place in given:
            where = f"{KEEP} {value_text(reference, plain=True)}"
            core = number(self.findings, place, where, "no chip has such a core", 0, _CORE_MAX)
            is_key = isinstance(reference, str)
            keys = known.get(reference, ()) if is_key else self.layers(KEEP, (reference,))
            yield from ((key, core) for key in keys if core is not None and core < self.chip.core_count)


def _pin_findings(
    pinned: Iterable[tuple[str, int, str]], forbidden: Sequence[int], titles: Mapping[str, str]
) -> Iterator[Finding]:
    """What contradicts itself in pins as (layer, core, the reference that was given)."""
    by_layer: dict[str, int] = {}
    by_core: dict[int, str] = {}
    for layer, core, given in pinned:
        title = titles[layer]
        where = f"{PINS} {given}={core}" + ("" if given == title else f": layer {title}")
        if core in forbidden:
            yield Finding(where, "the core is also forbidden", core, next_step="Drop one of the two")
        if by_layer.setdefault(layer, core) != core:
            yield Finding(where, f"the layer is also pinned to core {by_layer[layer]}")
        if by_core.setdefault(core, layer) != layer:
            yield Finding(where, f"the core is also taken by pinned layer {titles[by_core[core]]}")


def _choice_findings(options: SolveOptions) -> Iterator[Finding]:
    """What is wrong with limits, words and switches."""
    for where, limit in ((TIME_LIMIT, options.time_limit_s), (WORK_LIMIT, options.work_limit)):
        if limit is not None and not is_positive(limit):
            yield Finding(str(where), "a limit must be a positive number", value_text(limit), "> 0")
    for where, word, allowed in (
        (OBJECTIVE, options.objective, get_args(Objective)),
        (POOLED_OUTPUTS, options.pooled_outputs, get_args(PooledOutputs)),
        (REPAIR, options.repair, get_args(RepairOf)),
    ):
        if not isinstance(word, str) or word not in allowed:
            yield Finding(str(where), "no such choice", value_text(word), ", ".join(allowed))
    for where, flag in (
        (READOUT_MONITOR, options.readout_monitor),
        (RELAYS, options.relays),
        (JOINT, options.joint),
        (FUSION, options.fusion),
        (REWRITES, options.rewrites),
    ):
        if not isinstance(flag, bool):
            yield Finding(str(where), "wants True or False", value_text(flag))
