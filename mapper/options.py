"""What a user may ask of a placement, beyond network and chip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from hwspec.errors import Finding
from mapper.errors import OptionsError
from mapper.references import LayerReference, layer_key, resolve_reference

if TYPE_CHECKING:
    from hwspec.schema import ChipSpec
    from mapper.network import Network

__all__ = ["SolveOptions", "resolve"]


@dataclass(frozen=True, slots=True)
class SolveOptions:
    """Requests to the solver; the defaults ask for nothing.

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
        Threads of the solver, >= 1.
    seed
        Seed of the solver, >= 0; the placement does not depend on it.
    repairs
        How many repairs to find, at most, for a network that does not fit; 0..100.
    max_pieces
        Most cores that one layer may be cut over, >= 1; 1 cuts none, None sets no bound.
    relays
        Whether identity cores may pass a signal on.
    max_copies
        How often a layer may stand on the chip, 1 or 2.
    pooled_outputs
        "host": a pooled output is read unpooled and pooled by the host. "relay": a relay shows it pooled.
    traffic
        (signal, spikes per second) pairs of layers and inputs: what leaves each of them; they bound the
        load of cores whose bandwidth the chip states. Signals without one count as silent.
    keep
        (layer, core) pairs of an earlier placement: as few layers as possible leave their cores.
    """

    pins: tuple[tuple[LayerReference, int], ...] = ()
    forbidden_cores: tuple[int, ...] = ()
    objective: Literal["capacity", "headroom", "balance"] = "capacity"
    monitors: tuple[LayerReference, ...] | None = None
    readout: LayerReference | None = None
    readout_monitor: bool = False
    time_limit_s: float | None = None
    work_limit: float | None = None
    workers: int = 1
    seed: int = 0
    repairs: int = 3
    max_pieces: int | None = None
    relays: bool = True
    max_copies: int = 2
    pooled_outputs: Literal["host", "relay"] = "host"
    traffic: tuple[tuple[str, int], ...] = ()
    keep: tuple[tuple[LayerReference, int], ...] = ()

    @property
    def divides(self) -> bool:
        """Whether anything but one whole layer per core is allowed."""
        return self.max_pieces != 1 or self.relays or self.max_copies > 1


def resolve(options: SolveOptions, networks: Network | Sequence[Network], chip: ChipSpec) -> SolveOptions:
    """Options with every layer reference turned into its `layer_key`, checked against networks and chip.

    Raises
    ------
    OptionsError
        Unknown layers or cores, contradicting pins, limits out of range: everything at once.
    """
    several = networks if isinstance(networks, Sequence) else (networks,)
    findings: list[Finding] = []

    def name_of(option: str, reference: LayerReference) -> str:
        try:
            return resolve_reference(several, reference, option)
        except OptionsError as error:
            findings.extend(error.findings)
            return str(reference)

    pins = tuple(dict.fromkeys((name_of("--pin", layer), core) for layer, core in options.pins))
    forbidden = tuple(sorted(set(options.forbidden_cores)))
    monitors = options.monitors
    if monitors is not None:
        monitors = tuple(dict.fromkeys(name_of("--monitor", layer) for layer in monitors))
    readout = options.readout
    if readout is not None:
        readout = name_of("--readout", readout)
    findings.extend(_core_findings(pins, forbidden, chip))
    findings.extend(_limit_findings(options))
    findings.extend(_traffic_findings(options, several))
    if findings:
        raise OptionsError(*findings)
    return replace(
        options,
        pins=tuple(sorted(pins)),
        forbidden_cores=forbidden,
        monitors=monitors,
        readout=readout,
        traffic=tuple(sorted(options.traffic)),
        keep=_kept(options, several, chip),
    )


def _kept(
    options: SolveOptions,
    networks: Sequence[Network],
    chip: ChipSpec,
) -> tuple[tuple[LayerReference, int], ...]:
    """What of an earlier placement still exists: layers may have gone, and cores with a smaller chip."""
    known = {layer_key(networks, n, name) for n, network in enumerate(networks) for name in network.index}
    kept = ((str(layer), core) for layer, core in options.keep)
    return tuple(sorted((name, core) for name, core in kept if name in known and core < chip.core_count))


def _traffic_findings(options: SolveOptions, networks: Sequence[Network]) -> Iterable[Finding]:
    known = {
        layer_key(networks, n, name) for n, network in enumerate(networks) for name in network.signal_shapes
    }
    for name, rate in options.traffic:
        if name not in known:
            close = get_close_matches(name, known, n=3)
            hint = f"Did you mean {' or '.join(close)}?" if close else "Name layers and inputs"
            yield Finding(f"--traffic: signal {name}", "there is no such layer or input", next_step=hint)
        elif rate < 0:
            yield Finding(f"--traffic: signal {name}", "a rate must not be negative", rate, ">= 0")
    if options.objective == "balance" and not options.traffic:
        step = "mapper simulate CONFIG --events FILE --traffic rates.json measures it"
        yield Finding("--objective balance", "needs the traffic of the layers", next_step=step)


def _core_findings(
    pins: Iterable[tuple[str, int]], forbidden: tuple[int, ...], chip: ChipSpec
) -> Iterable[Finding]:
    allowed = f"0..{chip.core_count - 1}"
    by_layer: dict[str, int] = {}
    by_core: dict[int, str] = {}
    for layer, core in pins:
        where = f"--pin {layer}={core}"
        if not 0 <= core < chip.core_count:
            yield Finding(where, f"{chip.name} has no such core", core, allowed)
        elif core in forbidden:
            yield Finding(where, "the core is also forbidden", core, next_step="Drop one of the two")
        if by_layer.setdefault(layer, core) != core:
            yield Finding(where, f"the layer is also pinned to core {by_layer[layer]}")
        if by_core.setdefault(core, layer) != layer:
            yield Finding(where, f"the core is also taken by pinned layer {by_core[core]}")
    for core in forbidden:
        if not 0 <= core < chip.core_count:
            yield Finding("--forbid", f"{chip.name} has no such core", core, allowed)


def _limit_findings(options: SolveOptions) -> Iterable[Finding]:
    for name, value in (("--time-limit", options.time_limit_s), ("--work-limit", options.work_limit)):
        if value is not None and not 0 < value < float("inf"):
            yield Finding(name, "a limit must be a positive number", value, "> 0")
    if not 1 <= options.workers <= 1024:
        yield Finding("--workers", "number of solver threads", options.workers, "1..1024")
    if not 0 <= options.seed < 2**31:
        yield Finding("--seed", "seed of the solver", options.seed, f"0..{2**31 - 1}")
    if not 0 <= options.repairs <= 100:
        yield Finding("--repairs", "number of repairs to find", options.repairs, "0..100")
    if options.objective not in ("capacity", "headroom", "balance"):
        allowed = "capacity, headroom or balance"
        yield Finding("--objective", "unknown objective", options.objective, allowed)
    if options.max_pieces is not None and options.max_pieces < 1:
        yield Finding("--max-pieces", "a layer has at least one piece", options.max_pieces, ">= 1")
    if options.max_copies not in (1, 2):
        yield Finding("max_copies", "a layer stands once or twice", options.max_copies, "1, 2")
    if options.pooled_outputs not in ("host", "relay"):
        yield Finding("--pooled-outputs", "unknown way", options.pooled_outputs, "host or relay")
