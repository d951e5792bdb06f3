"""Times of placing whole layers, from `Network` to verified `Result`.

    python scripts/bench_solve.py [--quick]

1. the nine-layer DVS gesture network, in turn with the same assignment as a bare model of CP-SAT, built and
   solved with nothing around it, and with sinabs' own matching where sinabs is installed (``.[sinabs]``);
2. a chain of 1,000 layers on a 1,024-core variant of four core classes, and 5,000 on 5,120.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmark import NOT_INSTALLED, Row, in_turn, options_of, tell, timed
from ortools.sat.python import cp_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sinabs_matching import sinabs_matching

import mapper
from hwspec.schema import ChipSpec
from mapper.demand import layer_demands
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Shape
from mapper.work import lacking
from tests.builders import gesture
from tests.random_networks import four_classes


def fitting_cores(network: NormalNetwork, chip: ChipSpec) -> list[list[int]]:
    """Per layer, the cores whose memories and limits hold it; destinations are not looked at."""
    return [
        [n for n, core in enumerate(chip.cores) if not lacking(demand.work, core)]
        for demand in layer_demands(network)
    ]


def long_chain(count: int) -> Network:
    """A chain whose layers want, in turn, much neuron memory, much kernel memory, and little."""
    layers, edges, source, features = [], [], "input", 2
    for n in range(count):
        wanted = (16, 64, 8, 64)[n % 4]
        layer = Layer(f"conv{n}", Shape(features, 16, 16), Convolution(wanted, (3, 3), padding=(1, 1)))
        layers.append(layer)
        edges.append(Edge(source, layer.name))
        source, features = layer.name, wanted
    inputs = (Input("input", Shape(2, 16, 16)),)
    return Network(f"chain of {count}", inputs, tuple(layers), tuple(edges), (Output("out", source),))


def require(network: Network, chip: ChipSpec) -> None:
    """Solve, verify, and insist on a proven optimum."""
    result = mapper.solve(network, chip=chip)
    if result.status is not mapper.Status.OPTIMAL:
        raise SystemExit(f"{network.name}: {result.status}")


def bare_assignment(fits: list[list[int]]) -> None:
    """Give every layer a core of its own, as one model of CP-SAT and nothing else."""
    model = cp_model.CpModel()
    by_core: dict[int, list[cp_model.IntVar]] = {}
    for cores in fits:
        chosen = [model.new_bool_var("") for _ in cores]
        model.add_exactly_one(chosen)
        for core, variable in zip(cores, chosen, strict=True):
            by_core.setdefault(core, []).append(variable)
    for variables in by_core.values():
        model.add_at_most_one(variables)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if solver.solve(model) != cp_model.OPTIMAL:
        raise SystemExit("the bare model has no solution")


def rows(*, is_quick: bool) -> list[Row]:
    """The figures."""
    runs, network, chip = 5 if is_quick else 15, gesture(), mapper.load_chip("speck2f")
    works: dict[str, Callable[[], object]] = {
        "ours": partial(require, network, chip),
        "bare": partial(bare_assignment, fitting_cores(network, chip)),
    }
    peer = sinabs_matching(network)
    if peer is not None:
        works |= {"matching": peer.whole, "flow": peer.flow_alone}
    taken = in_turn(works, runs)
    name, beside = "solve, gesture network", "bare CP-SAT model"
    found = [timed(name, taken["ours"], beside=beside, reference=taken["bare"], is_checked=True)]
    if peer is None:
        found.append(Row("solve, gesture network, against sinabs", None, note=f"sinabs: {NOT_INSTALLED}"))
    for work, beside in (("matching", "sinabs' matching"), ("flow", "its flow alone")) if peer else ():
        note = "sinabs matches by memory alone and proves nothing"
        name = f"solve, gesture network, against {beside}"
        found.append(timed(name, taken["ours"], beside=beside, reference=taken[work], note=note))
    for layers, cores in ((1000, 1024),) if is_quick else ((1000, 1024), (5000, 5120)):
        job = partial(require, long_chain(layers), four_classes(cores))
        found.append(timed(f"solve, {layers} layers on {cores} cores", in_turn({"": job}, 3)[""]))
    return found


def main() -> None:
    """Print one line a figure."""
    options = options_of(__doc__).parse_args()
    tell(rows(is_quick=options.quick), options)


if __name__ == "__main__":
    main()
