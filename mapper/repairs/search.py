"""The common ground of a search for repairs: what is changed, and whether that would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ortools.sat.python import cp_model

from hwspec.schema import ChipSpec
from hwspec.variant import apply_overrides
from mapper.edits import Edit, apply_edits, shapes_only
from mapper.errors import MapperError, SpecError
from mapper.network import Network
from mapper.operations import Convolution, Pair
from mapper.options import SolveOptions
from mapper.passes.legalize import legalize
from mapper.problem import Problem
from mapper.result import FeasibilityReport, Repair, SizeChange
from mapper.solver.constraints import post_all
from mapper.solver.divided.explain import placeable_divided
from mapper.solver.requirements import new_solver
from mapper.solver.variables import group_layers, make_variables

__all__ = ["Search", "applied", "largest", "placeable", "size_changes"]

# More layers than these are not edited one by one: the report names the others all the same.
_SUSPECTS_MAX = 12


def placeable(problem: Problem) -> bool:
    """Whether a placement exists; False as well where a work limit came before an answer."""
    if not problem.faults and not problem.monitored_pooled and all(problem.candidates):
        model = cp_model.CpModel()
        post_all(model, problem, make_variables(model, problem, group_layers(problem, problem.candidates)))
        if new_solver().solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return True
    return placeable_divided(problem)


def largest(low: int, high: int, works: Callable[[int], bool | None]) -> int | None:
    """The largest number in low..high that works, by bisection.

    Parameters
    ----------
    works
        True: this or a larger number. False: only smaller ones. None: too small to make sense.
    """
    best = None
    while low <= high:
        middle = (low + high) // 2
        verdict = works(middle)
        if verdict is False:
            high = middle - 1
        else:
            best = middle if verdict else best
            low = middle + 1
    return best


def applied(
    networks: tuple[Network, ...], chip: ChipSpec, options: SolveOptions, repair: Repair
) -> tuple[tuple[Network, ...], ChipSpec, SolveOptions]:
    """Networks, chip and options as a repair changes them, the networks in legal form for the chip.

    Parameters
    ----------
    networks
        After the chip-free passes; a repair that changes sizes is one of a single network.

    Raises
    ------
    MapperError, SpecError
        The repair does not apply.
    """
    edits = [Edit(change.name, change.field, change.after, change.target) for change in repair.sizes]
    variant = apply_overrides(chip, repair.overrides)
    changed = replace(
        options,
        pins=tuple((layer, core) for layer, core in options.pins if layer not in repair.dropped_pins),
        forbidden_cores=tuple(c for c in options.forbidden_cores if c not in repair.allowed_cores),
    )
    edited = tuple(apply_edits(network, edits) for network in networks) if edits else networks
    return tuple(legalize(network, variant) for network in edited), variant, changed


def size_changes(network: Network, edits: Sequence[Edit]) -> tuple[SizeChange, ...]:
    """Edits together with the values they replace."""
    changes = []
    for edit in edits:
        before: int | Pair
        if edit.field == "input_size":
            shape = next(entry.shape for entry in network.inputs if entry.name == edit.name)
            before = (shape.height, shape.width)
        elif edit.field == "pooling":
            edges = (e for e in network.outgoing[edit.name] if edit.target in (None, e.target))
            before = next((e.pool.size for e in edges if e.pool), (1, 1))
        else:
            attribute = "out_features" if edit.field == "features" else edit.field
            before = getattr(network.by_name[edit.name].operation, attribute)
        changes.append(
            SizeChange(name=edit.name, field=edit.field, before=before, after=edit.value, target=edit.target)
        )
    return tuple(changes)


@dataclass
class Search:
    """One infeasible problem while repairs for it are sought.

    Attributes
    ----------
    networks
        As the chip-free passes left them: edits are told in these terms. Shapes alone.
    problem
        What was solved, in the chip's legal form.
    """

    networks: tuple[Network, ...]
    problem: Problem
    report: FeasibilityReport
    verdicts: dict[tuple[Edit, ...], bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.networks = tuple(shapes_only(network) for network in self.networks)

    @property
    def network(self) -> Network:
        """The one network; of several, sizes are not changed."""
        return self.networks[0]

    def problem_on(self, chip: ChipSpec) -> Problem:
        """The same question about another chip."""
        return Problem(tuple(legalize(n, chip) for n in self.networks), chip, self.problem.options)

    @property
    def named(self) -> tuple[str, ...]:
        """Layers that the report names, in canonical order."""
        conflict = self.report.conflict.requirements if self.report.conflict else ()
        names = {layer for entry in self.report.unmet for layer in entry.layers}
        names |= {layer for entry in self.report.certificate for layer in entry.layers}
        names |= {layer for entry in conflict for layer in entry.layers}
        order = (self.problem.demands[index].layer for index in self.problem.by_name)
        return tuple(name for name in order if name in names)[:_SUSPECTS_MAX]

    @property
    def suspects(self) -> tuple[str, ...]:
        """Layers that the report names, then those that feed them."""
        named = self.named
        feeding = (edge.source for name in named for edge in self.network.incoming[name])
        layers = dict.fromkeys((*named, *(name for name in feeding if name in self.network.by_name)))
        return tuple(layers)[:_SUSPECTS_MAX]

    @property
    def too_many_layers(self) -> bool:
        """Whether there are more layers than cores, which no edit of sizes mends."""
        return len(self.problem.demands) > sum(len(entry.core_ids) for entry in self.problem.classes)

    @property
    def outputs(self) -> frozenset[str]:
        """Layers whose features are the network's answer."""
        return frozenset(output.source for output in self.network.outputs)

    def convolution(self, layer: str) -> Convolution:
        """The operation of a layer in normal form."""
        operation = self.network.by_name[layer].operation
        if not isinstance(operation, Convolution):
            raise TypeError(f"layer {layer} is not in normal form")
        return operation

    def fits_with(self, *edits: Edit) -> bool | None:
        """Whether the edited network fits; None if its shapes no longer follow."""
        if edits not in self.verdicts:
            self.verdicts[edits] = self._tried(edits)
        return self.verdicts[edits]

    def _tried(self, edits: tuple[Edit, ...]) -> bool | None:
        chip = self.problem.chip
        try:
            network = legalize(apply_edits(self.network, edits), chip)
        except MapperError:
            return None
        return placeable(Problem((network,), chip, self.problem.options))

    def fits_on(self, *overrides: str) -> bool:
        """Whether the network fits the changed chip; False where the chip cannot be so."""
        try:
            chip = apply_overrides(self.problem.chip, overrides)
        except SpecError:
            return False
        return placeable(self.problem_on(chip))

    def fits_asked(self, options: SolveOptions) -> bool:
        """Whether the network fits with other requests."""
        return placeable(Problem(self.problem.networks, self.problem.chip, options))
