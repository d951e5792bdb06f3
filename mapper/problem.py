"""Networks, chip and options as one validated object, with the indexes a solver needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hwspec.schema import ChipSpec, CoreSpec
from mapper.core_classes import CoreClass, alike_cores, core_classes
from mapper.demand import LayerDemand, Sending, layer_demands, shortfalls, with_offers
from mapper.faults import ChipFault, monitor_faults, readout_faults, sensor_faults, stage_of
from mapper.network import Edge, Input
from mapper.normal_form import NormalNetwork
from mapper.operations import Pair, Shape
from mapper.options import SolveOptions
from mapper.passes.legalize import Extended, Forms
from mapper.references import layer_key, natural_key, require_distinct, signal_title
from mapper.solution import DvsStage
from mapper.work import CoreWork, Shortfall, lacking, layer_work

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """What is to be placed where, and under which requests; layer references are names.

    Attributes
    ----------
    networks
        Distinctly named, each layer in its first form.
    forms
        Per network, every legal form of its layers, all of the same output shape: what destinations alone
        cannot do in later ones is left to relays. Empty where each layer has the one form that it has.
    stage
        (rows, columns) that the sensor stage pools; None for the most that all its edges have in common.

    Raises
    ------
    NetworkError
        Names of networks or layers that cannot be told apart.
    """

    networks: tuple[NormalNetwork, ...]
    chip: ChipSpec
    options: SolveOptions
    forms: tuple[Forms, ...] = ()
    stage: Pair | None = None

    def __post_init__(self) -> None:
        require_distinct(self.networks)

    def key(self, network: int, name: str) -> str:
        """What a layer or input is called in the options."""
        return layer_key(self.networks, network, name)

    def name(self, layer: int) -> str:
        """What a layer, an index of `demands`, is called in the options and in records."""
        demand = self.demands[layer]
        return self.key(demand.network, demand.layer)

    def title(self, layer: int) -> str:
        """What a layer, an index of `demands`, is called in sentences."""
        demand = self.demands[layer]
        return signal_title(self.networks, demand.network, demand.layer)

    def titles(self, names: Iterable[str]) -> list[str]:
        """What layers are called in sentences, by what they are called in the options."""
        known = ((name, self.identity.get(name)) for name in names)
        return [name if place is None else signal_title(self.networks, *place) for name, place in known]

    @cached_property
    def identity(self) -> dict[str, tuple[int, str]]:
        """(network, name) of every layer, by what it is called in the options."""
        return {self.key(n, name): (n, name) for n, net in enumerate(self.networks) for name in net.index}

    @cached_property
    def readout(self) -> tuple[int, str] | None:
        """(network, layer) that feeds the readout stage."""
        return None if self.options.readout is None else self.identity[str(self.options.readout)]

    @cached_property
    def traffic(self) -> tuple[dict[str, int], ...]:
        """Per network, spikes per second by the signal that they leave."""
        rates = dict(self.options.traffic)
        return tuple(
            with_offers(
                net, {name: rates.get(self.key(n, name)) for name in net.signal_shapes}, self._offers(n)
            )
            for n, net in enumerate(self.networks)
        )

    def _offers(self, network: int) -> Extended | None:
        return self.forms[network].offers if self.forms else None

    @cached_property
    def demands(self) -> tuple[LayerDemand, ...]:
        """Demand of every layer, network by network, in the networks' orders."""
        entries: list[LayerDemand] = []
        for n, network in enumerate(self.networks):
            readout = self.readout[1] if self.readout and self.readout[0] == n else None
            entries += layer_demands(network, n, readout, self.traffic[n])
        return tuple(entries)

    @cached_property
    def by_name(self) -> tuple[int, ...]:
        """Indexes of `demands` in natural order of the layers' names: the canonical order."""
        keys = [(natural_key(demand.layer), demand.network) for demand in self.demands]
        return tuple(sorted(range(len(keys)), key=keys.__getitem__))

    @cached_property
    def layer_of(self) -> dict[tuple[int, str], int]:
        """Index of `demands` by (network, name)."""
        return {(demand.network, demand.layer): n for n, demand in enumerate(self.demands)}

    @cached_property
    def optional(self) -> frozenset[int]:
        """Layers that need not be placed: joint relays, fused siblings, their members."""
        optional = [offers.optional if (offers := entry.offers) else frozenset() for entry in self.forms]
        return frozenset(n for n, d in enumerate(self.demands) if optional and d.layer in optional[d.network])

    @cached_property
    def joints(self) -> frozenset[int]:
        """Layers that are joint relays."""
        return self.optional.difference(self.members, *self.members.values())

    @cached_property
    def members(self) -> Mapping[int, tuple[int, ...]]:
        """By fused layer, its members, of which each stands either in one such layer or on its own."""
        return {
            self.layer_of[n, name]: tuple(self.layer_of[n, member] for member in members)
            for n, forms in enumerate(self.forms)
            for name, members in (forms.offers.fused.items() if forms.offers else ())
        }

    @cached_property
    def own_cores(self) -> dict[int, int]:
        """By layer, its own core: core n for layer n, whether or not the chip has so many.

        Layers are numbered in natural order of their names, network after network; joint relays have none,
        and neither have fused siblings.
        """
        given = (n for n in self.by_name if self._is_given(self.demands[n]))
        ordered = sorted(given, key=lambda layer: self.demands[layer].network)
        return {layer: n for n, layer in enumerate(ordered)}

    def _is_given(self, demand: LayerDemand) -> bool:
        offers = self._offers(demand.network)
        return offers is None or demand.layer not in offers.joints.union(offers.fused)

    @cached_property
    def own_classes(self) -> dict[int, int]:
        """By layer, the class of its own core; without layers whose own core is empty or none."""
        home = {core: k for k, entry in enumerate(self.classes) for core in entry.core_ids}
        return {layer: home[core] for layer, core in self.own_cores.items() if core in home}

    @cached_property
    def works(self) -> tuple[tuple[CoreWork, ...], ...]:
        """Per layer, what each of its forms asks of a core, the first one first."""
        known: dict[CoreWork, CoreWork] = {}
        rows = []
        for demand in self.demands:
            works = [demand.work]
            if self.forms:
                network, rates = self.networks[demand.network], self.traffic[demand.network]
                others = self.forms[demand.network].layers[demand.layer][1:]
                works += [layer_work(network, form.layer, rates) for form in others]
            rows.append(tuple(known.setdefault(work, work) for work in works))
        return tuple(rows)

    @property
    def forms_compete(self) -> bool:
        """Whether a layer's first form may not be the best of those without relays, or not on every core."""
        differ = len({entry.core.limits for entry in self.chip.core_classes}) > 1
        return bool(self.forms) and (differ or any(forms.have_rivals for forms in self.forms))

    def edges_into(self, layer: int, form: int) -> tuple[Edge, ...]:
        """Incoming edges of a layer in one of its forms."""
        demand = self.demands[layer]
        if form == 0 and not self.forms:
            return self.networks[demand.network].incoming[demand.layer]
        return self.forms[demand.network].layers[demand.layer][form].edges

    def networks_as(
        self, chosen: Mapping[int, int], absent: Collection[int] = ()
    ) -> tuple[NormalNetwork, ...]:
        """The networks with layers (indexes of `demands`) in other forms than the first, or not there."""
        if not chosen and not absent:
            return self.networks
        written: list[dict[str, int]] = [{} for _ in self.forms]
        lost: list[set[str]] = [set() for _ in self.forms]
        for layer, form in chosen.items():
            written[self.demands[layer].network][self.demands[layer].layer] = form
        for layer in absent:
            lost[self.demands[layer].network].add(self.demands[layer].layer)
        each = zip(self.forms, written, lost, strict=True)
        return tuple(forms.network(form_of, frozenset(names)) for forms, form_of, names in each)

    @cached_property
    def classes(self) -> tuple[CoreClass, ...]:
        """Core classes by smallest core id; forbidden cores left out, pinned and kept ones on their own."""
        pinned = {core: self.identity[str(layer)] for layer, core in self.options.pins}
        kept = [core for _, core in self.options.keep]
        return core_classes(self.chip, self.options.forbidden_cores, pinned, kept)

    @cached_property
    def alike(self) -> tuple[tuple[int, ...], ...]:
        """Cores that may change places in any placement, and it stays as good: ids, ascending.

        Classes that differ in nothing but whether a core is parallel are alike where no traffic asks for it.
        """
        return alike_cores(self.classes, is_busy=bool(self.busy))

    @cached_property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """(layer, class) where a layer would stay on the core it had; indexes of `demands` and `classes`.

        What it may be fused to would stay there for it, whole: once for each of the siblings.
        """
        classes = {entry.core_ids[0]: k for k, entry in enumerate(self.classes) if entry.kept}
        pairs = [(self.layer_of[self.identity[str(name)]], core) for name, core in self.options.keep]
        pairs += [
            (fused, core) for fused, members in self.members.items() for n, core in pairs if n in members
        ]
        return tuple((layer, classes[core]) for layer, core in pairs if core in classes)

    @cached_property
    def busy(self) -> dict[int, int]:
        """Spikes per second into layers that an input feeds, at the traffic given: best on parallel cores."""
        inputs = [{entry.name for entry in network.inputs} for network in self.networks]
        entries = {}
        for n, demand in enumerate(self.demands):
            edges = self.networks[demand.network].incoming[demand.layer]
            if demand.work.spikes_per_second and any(e.source in inputs[demand.network] for e in edges):
                entries[n] = demand.work.spikes_per_second
        return entries if any(entry.core.parallel for entry in self.classes) else {}

    @cached_property
    def _lacks(self) -> dict[tuple[CoreWork, int], tuple[Shortfall, ...]]:
        return {}

    def lacking(self, work: CoreWork, core: CoreSpec) -> tuple[Shortfall, ...]:
        """`mapper.work.lacking`, remembered for the cores of this chip."""
        key = (work, id(core))
        if key not in self._lacks:
            self._lacks[key] = lacking(work, core)
        return self._lacks[key]

    @cached_property
    def _shortfall_table(self) -> dict[tuple[CoreWork, Sending], tuple[tuple[Shortfall, ...], ...]]:
        table: dict[tuple[CoreWork, Sending], tuple[tuple[Shortfall, ...], ...]] = {}
        for demand in self.demands:
            if (demand.work, demand.sending) not in table:
                by_core: dict[int, tuple[Shortfall, ...]] = {}
                for entry in self.classes:
                    if id(entry.core) not in by_core:
                        lacks = self.lacking(demand.work, entry.core)
                        by_core[id(entry.core)] = shortfalls(demand, entry.core, self.chip, lacks)
                table[demand.work, demand.sending] = tuple(by_core[id(entry.core)] for entry in self.classes)
        return table

    def shortfalls(self, layer: int) -> tuple[tuple[Shortfall, ...], ...]:
        """Per core class, what keeps the layer (an index of `demands`) whole off it; pins not counted."""
        demand = self.demands[layer]
        return self._shortfall_table[demand.work, demand.sending]

    @cached_property
    def candidates(self) -> tuple[tuple[int, ...], ...]:
        """Per layer, the core classes (indexes of `classes`) that may hold it whole, pins included."""
        pinned = {entry.pinned_layer: k for k, entry in enumerate(self.classes) if entry.pinned_layer}
        unpinned = frozenset(k for k, entry in enumerate(self.classes) if entry.pinned_layer is None)
        fits = {
            demanded: tuple(k for k, lacks in enumerate(row) if not lacks)
            for demanded, row in self._shortfall_table.items()
        }
        free = {demanded: tuple(k for k in row if k in unpinned) for demanded, row in fits.items()}
        result = []
        for demand in self.demands:
            pin = pinned.get((demand.network, demand.layer))
            if pin is None:
                result.append(free[demand.work, demand.sending])
            else:
                result.append((pin,) if pin in fits[demand.work, demand.sending] else ())
        return tuple(result)

    @cached_property
    def dvs_edges(self) -> tuple[tuple[int, Input, Edge], ...]:
        """(network, input, edge) of every destination of the sensor stage."""
        return tuple(
            (n, entry, edge)
            for n, network in enumerate(self.networks)
            for entry in network.inputs
            if entry.dvs is not None
            for edge in network.outgoing[entry.name]
        )

    @cached_property
    def sensors(self) -> tuple[tuple[int, Input], ...]:
        """(network, input) of every input from the sensor that something reads."""
        watched = (
            (n, entry)
            for n, network in enumerate(self.networks)
            for entry in network.inputs
            if entry.dvs and not network.layers
        )
        return tuple(dict.fromkeys((*((n, entry) for n, entry, _ in self.dvs_edges), *watched)))

    @cached_property
    def stage_pooling(self) -> Pair:
        """What the sensor stage pools, (rows, columns)."""
        if self.stage is not None:
            return self.stage
        pools = [edge.pool.size for _, _, edge in self.dvs_edges if edge.pool]
        if self.chip.input is None or len(pools) < len(self.dvs_edges) or not pools:
            return 1, 1
        sizes = (1, *self.chip.input.poolings)
        rows, columns = (max(s for s in sizes if all(p[axis] % s == 0 for p in pools)) for axis in (0, 1))
        return rows, columns

    @cached_property
    def dvs_stage(self) -> DvsStage | None:
        """The stage's setting as the first input wants it; None without a sensor input."""
        return stage_of(self.sensors[0][1], self.stage_pooling) if self.sensors else None

    @cached_property
    def sensor_shape(self) -> Shape | None:
        """The sensor's signal behind the stage; None without a sensor input."""
        stage = self.dvs_stage
        if stage is None:
            return None
        height, width = (stage.cut[axis] - stage.origin[axis] + 1 for axis in (0, 1))
        return Shape(self.sensors[0][1].shape.features, *((width, height) if stage.swap else (height, width)))

    def signal(self, network: int | None, name: str) -> tuple[Shape, int]:
        """Shape of a signal as relays see it, and its spikes per second; network None for the sensor.

        Raises
        ------
        ValueError
            Nothing reads the sensor.
        """
        if network is not None:
            return self.networks[network].signal_shapes[name], self.traffic[network].get(name, 0)
        if self.sensor_shape is None:
            raise ValueError("nothing reads the sensor")
        return self.sensor_shape, max(self.traffic[n].get(entry.name, 0) for n, entry in self.sensors)

    def behind_stage(self, edge: Edge) -> Pair:
        """What is left of a sensor edge's pool, (rows, columns), behind the stage; 1 pools nothing."""
        size = edge.pool.size if edge.pool else (1, 1)
        return size[0] // self.stage_pooling[0], size[1] // self.stage_pooling[1]

    @cached_property
    def relayed_sensor_edges(self) -> tuple[tuple[int, Edge], ...]:
        """(network, edge) from the sensor that only a relay can serve: the stage does not shift."""
        return tuple(
            (n, edge)
            for n, _, edge in self.dvs_edges
            if edge.feature_offset or self.behind_stage(edge) != (1, 1)
        )

    @property
    def wants_relays(self) -> bool:
        """Whether no placement exists without relays: outputs shown pooled, sensor edges beyond the stage."""
        return bool(self.monitored_pooled or self.relayed_sensor_edges)

    @cached_property
    def monitored(self) -> tuple[tuple[int, str], ...]:
        """(network, layer) of the signals to be read; outputs unless the options name others."""
        if self.options.readout_monitor and self.options.monitors is None:
            return ()
        if self.options.monitors is not None:
            return tuple(self.identity[str(layer)] for layer in self.options.monitors)
        return tuple(dict.fromkeys((n, name) for n, name, pooling in self._outputs_seen if pooling == 1))

    @cached_property
    def monitored_pooled(self) -> tuple[tuple[int, str, int], ...]:
        """(network, layer, pooling) of outputs that relays must show pooled."""
        if self.options.monitors is not None or self.options.readout_monitor:
            return ()
        return tuple(dict.fromkeys(entry for entry in self._outputs_seen if entry[2] > 1))

    @property
    def _outputs_seen(self) -> Iterator[tuple[int, str, int]]:
        """(network, layer, pooling that the monitor shows) of every output."""
        for n, network in enumerate(self.networks):
            for output in network.outputs:
                pool = output.pool
                square = pool is not None and len({*pool.size, *pool.stride}) == 1
                relayed = self.options.pooled_outputs == "relay"
                if output.source in network.by_name:
                    yield n, output.source, pool.size[0] if pool and square and relayed else 1

    @cached_property
    def faults(self) -> tuple[ChipFault, ...]:
        """Rules broken wherever the layers go: sensor stage, readout, monitors."""
        return (*sensor_faults(self), *readout_faults(self), *monitor_faults(self))
