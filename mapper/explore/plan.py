"""The two sides of a report: networks that were read, chips and variants that were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from hwspec.catalog import load as load_chip
from hwspec.inert import as_text
from hwspec.schema import ChipSpec
from hwspec.variant import apply_overrides
from mapper.asking import CHIPS, VARIANTS
from mapper.demand import layer_demands
from mapper.errors import BackendMissingError, Finding, NetworkError, OptionsError, SpecError
from mapper.explore.cell import fault_text
from mapper.explore.identity import network_hash
from mapper.explore.record import NetworkLayer, NetworkRow, VariantCore, VariantRow
from mapper.frontends import Concerns, InputFrom, NirOptions, TorchOptions, load_with_source
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.options import locate_traffic
from mapper.passes import PrepareOptions, prepare
from mapper.record import layer_sizes
from mapper.references import named_apart

__all__ = [
    "PlannedNetwork",
    "PlannedVariant",
    "ReadOptions",
    "plan_networks",
    "plan_variants",
    "planned",
    "with_traffic",
]

Row = TypeVar("Row", NetworkRow, VariantRow)

_TRAFFIC = ("spikes_per_second", "synops_per_second")
_OFFERED = tuple(name for name in VariantCore.model_fields if name != "core")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How networks are read, where files leave something open; as in `mapper.solve`."""

    input_shape: tuple[int, int, int] | None = None
    nir: NirOptions | None = None
    torch: TorchOptions | None = None
    add_output_neuron: float | None = None
    input_from: InputFrom | None = None

    def read(self, source: str | Path | Network, concerns: Concerns | None = None) -> NormalNetwork:
        """A network after the chip-free passes.

        Parameters
        ----------
        concerns
            As in `load_with_source`.

        Raises
        ------
        NetworkError, OptionsError
            It cannot be read or prepared.
        """
        reading = (self.input_shape, self.nir, self.torch, self.input_from, concerns)
        network, _ = load_with_source(source, *reading)
        return prepare(network, PrepareOptions(add_output_neuron=self.add_output_neuron))


@dataclass(frozen=True, slots=True)
class PlannedNetwork:
    """A network of the report, after the passes and with its weights; None where reading failed.

    Attributes
    ----------
    failure
        What its cells say where reading failed: bad input is "unsupported", a fault of ours an "error".
    """

    row: NetworkRow
    network: NormalNetwork | None
    failure: Literal["unsupported", "error"] = "unsupported"


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """A chip of the report."""

    row: VariantRow
    chip: ChipSpec


def plan_networks(
    sources: Sequence[str | Path | Network], options: ReadOptions | None = None
) -> tuple[PlannedNetwork, ...]:
    """Read and prepare every network; one that fails has a row with the reason.

    Raises
    ------
    OptionsError
        An option concerns none of the networks.
    """
    concerns = Concerns()
    entries = [_read(source, options or ReadOptions(), concerns) for source in sources]
    concerns.require()
    names = named_apart([entry.row.name for entry in entries])
    return tuple(map(_renamed, entries, names))


def _read(source: str | Path | Network, options: ReadOptions, concerns: Concerns) -> PlannedNetwork:
    title = source.name if isinstance(source, Network) else as_text(str(source))
    failure: Literal["unsupported", "error"] = "unsupported"
    try:
        return planned(options.read(source, concerns), title)
    except (NetworkError, OptionsError, BackendMissingError) as error:
        # Several findings are a list of lines, and a cell has one.
        message = " ".join(str(error).split())
    # Libraries read what users wrote: whatever they raise must not take the other networks along, and is
    # no verdict on this one.
    except Exception as error:
        message, failure = fault_text(error), "error"
    name = title if ":" in title else Path(title).stem or title
    return PlannedNetwork(NetworkRow(name=name, source=title, layers=0, error=message), None, failure)


def planned(network: NormalNetwork, source: str) -> PlannedNetwork:
    """A network after the passes, with its row."""
    layers = tuple(
        NetworkLayer(name=entry.layer, destinations=entry.sending.destinations, **layer_sizes(entry.work))
        for entry in layer_demands(network, 0, None)
    )
    row = NetworkRow(
        name=network.name,
        source=source,
        layers=len(layers),
        layer_rows=layers,
        network_hash=network_hash(network),
        has_weights=network.has_weights,
        readings=tuple(map(str, network.readings)),
    )
    return PlannedNetwork(row, network)


def with_traffic(networks: Sequence[PlannedNetwork], rates: Mapping[str, int]) -> tuple[PlannedNetwork, ...]:
    """Networks whose layers tell the spikes that reach them, and the synaptic operations they cost.

    Parameters
    ----------
    rates
        Spikes per second by the signal they leave, in files as `mapper simulate` writes them: of several
        networks "network:signal". Signals without one count as silent; networks of which none is named stay
        as they are.

    Raises
    ------
    OptionsError
        No network has such a signal, or several have, or a rate is none.
    """
    readable = [entry.network for entry in networks if entry.network is not None]
    by_network: dict[str, dict[str, int]] = {}
    for (number, signal), rate in locate_traffic(rates, readable).items():
        by_network.setdefault(readable[number].name, {})[signal] = rate
    return tuple(_loaded(entry, by_network.get(entry.row.name, {})) for entry in networks)


def _loaded(entry: PlannedNetwork, rates: Mapping[str, int]) -> PlannedNetwork:
    if entry.network is None or not rates:
        return entry
    demands = layer_demands(entry.network, 0, None, rates)
    rows = tuple(
        row.model_copy(update={name: getattr(demand.work, name) for name in _TRAFFIC})
        for row, demand in zip(entry.row.layer_rows, demands, strict=True)
    )
    return replace(entry, row=entry.row.model_copy(update={"layer_rows": rows}))


def _renamed(entry: PlannedNetwork, name: str) -> PlannedNetwork:
    if entry.row.name == name:
        return entry
    if entry.network is None:
        return replace(entry, row=_named(entry.row, name))
    return planned(entry.network.replacing(name=name), entry.row.source)


def plan_variants(
    chips: Sequence[str | Path | ChipSpec],
    others: Sequence[str | Path | ChipSpec] = (),
    overrides: Sequence[str] = (),
) -> tuple[tuple[PlannedVariant, ...], tuple[str, ...]]:
    """Every chip as it is, and with overrides each of them changed as well.

    Parameters
    ----------
    chips
        Names, files or specifications; reports keep details and repairs of these by default.
    others
        The same, for which reports keep verdict, margin and conflict alone by default.
    overrides
        As `hwspec.variant` describes them; all of them make one variant of every chip that they apply to.

    Returns
    -------
    tuple
        The variants, and a note on every chip to which the overrides do not apply.

    Raises
    ------
    SpecError, OptionsError
        A chip that cannot be read, overrides that apply to none of them, or no chip at all.
    """
    entries = [*_unchanged(chips, is_chip=True), *_unchanged(others, is_chip=False)]
    if not entries:
        raise OptionsError(Finding("report", "has no chip", next_step=f"Name one: {CHIPS}, {VARIANTS}"))
    changed, notes = _changed(entries, overrides) if overrides else ([], ())
    entries += changed
    names = named_apart([entry.row.name for entry in entries])
    return tuple(replace(e, row=_named(e.row, name)) for e, name in zip(entries, names, strict=True)), notes


def _named(row: Row, name: str) -> Row:
    return row.model_copy(update={"name": name})


def _unchanged(sources: Sequence[str | Path | ChipSpec], *, is_chip: bool) -> Iterator[PlannedVariant]:
    for source in {str(source): source for source in sources}.values():
        spec = source if isinstance(source, ChipSpec) else load_chip(source)
        base = spec.name if isinstance(source, ChipSpec) else as_text(str(source))
        yield PlannedVariant(_row(spec, base, (), is_chip=is_chip), spec)


def _changed(
    entries: Sequence[PlannedVariant], overrides: Sequence[str]
) -> tuple[list[PlannedVariant], tuple[str, ...]]:
    """The chips with overrides; a chip that has not, say, so many cores is left as it is."""
    changed, errors = [], []
    for entry in entries:
        try:
            chip = apply_overrides(entry.chip, overrides)
        except SpecError as error:
            errors.append((entry.row.name, error))
        else:
            changed.append(PlannedVariant(_row(chip, entry.row.base, tuple(overrides), is_chip=False), chip))
    if not changed:
        raise errors[0][1]
    return changed, tuple(f"{name} is not changed: {error}" for name, error in errors)


def _row(chip: ChipSpec, base: str, overrides: tuple[str, ...], *, is_chip: bool) -> VariantRow:
    return VariantRow(
        name=chip.name,
        base=base,
        overrides=overrides,
        is_chip=is_chip,
        chip_hash=chip.content_hash(),
        cores=tuple(
            VariantCore(core=n, **{name: getattr(core, name) for name in _OFFERED})
            for n, core in enumerate(chip.cores)
        ),
        capacity_bits=sum(core.capacity_bits for core in chip.cores),
    )
