"""Which of several cores that are alike: cores 0 and 1 for what an input feeds, core n for layer n."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Question, decide
from mapper.references import layer_key, natural_key
from mapper.result import Result
from mapper.solution import DVS, LayerPart, Objective, Placement
from mapper.solver.stages import Outcome
from tests.builders import chain, conv, tiny_chip
from tests.graphs import Link, graph
from tests.property.agreement import apart
from tests.property.divided_instances import random_divided_instance
from tests.property.question_instances import random_question_instance

LARGE = (16384, 65536, 1024)


def cores_of(result: Result) -> dict[str, int]:
    """By layer, the core that holds it whole."""
    places = result.require().placements
    parts = [(place.body, place.core) for place in places if isinstance(place.body, LayerPart)]
    return {layer_key(result.networks, part.network, part.layer): core for part, core in parts}


def solved(network: Network, chip: str | ChipSpec, **options: Any) -> dict[str, int]:
    return cores_of(mapper.solve(network, chip, **options))


def named(network: NormalNetwork, *numbers: int) -> NormalNetwork:
    """The network with conv0, conv1, ... called by other numbers."""
    names = {f"conv{n}": f"conv{number}" for n, number in enumerate(numbers)}
    return network.replacing(
        layers=tuple(replace(layer, name=names[layer.name]) for layer in network.layers),
        edges=tuple(
            replace(edge, source=names.get(edge.source, edge.source), target=names[edge.target])
            for edge in network.edges
        ),
        outputs=tuple(replace(output, source=names[output.source]) for output in network.outputs),
    )


def test_layer_n_stands_on_core_n_in_natural_order_of_names() -> None:
    network, chip = chain([conv(4)] * 12), tiny_chip(*[LARGE] * 14)
    turned = network.replacing(layers=network.layers[::-1], edges=network.edges[::-1])
    expected = {f"conv{n}": n for n in range(12)}
    assert solved(network, chip) == solved(turned, chip) == expected
    # Cores 3 and 7 are lost to others: their layers take the lowest that no layer has for its own.
    pinned = solved(network, chip, pins={"conv11": 3}, forbidden_cores=[7])
    assert pinned == expected | {"conv11": 3, "conv3": 11, "conv7": 12}


def test_networks_are_numbered_one_after_the_other() -> None:
    networks = [chain([conv(4)] * count, name=name) for name, count in (("b", 3), ("a", 2))]
    answer = cores_of(mapper.solve(networks, tiny_chip(*[LARGE] * 9)))
    # The input of the second one feeds its first layer too.
    assert answer == {"b:conv0": 0, "a:conv0": 1, "b:conv1": 3, "b:conv2": 2, "a:conv1": 4}


def test_what_an_input_feeds_takes_cores_0_and_1() -> None:
    layers, chip = [conv(4)] * 4, tiny_chip(*[LARGE] * 6)
    last_first = named(chain(layers), 3, 0, 1, 2)
    assert solved(last_first, chip) == {"conv3": 0, "conv0": 3, "conv1": 1, "conv2": 2}
    # Not where own cores are the objective.
    assert solved(last_first, chip, objective="index") == {f"conv{n}": n for n in range(4)}
    # A layer that is fed and whose own core is one of the two leaves the other one.
    both = graph(layers, [Link(-1, 0), Link(-1, 1), Link(0, 2), Link(1, 3)], outputs=[(2, 1), (3, 1)])
    assert solved(named(both, 1, 3, 0, 2), chip) == {"conv1": 1, "conv3": 0, "conv0": 3, "conv2": 2}
    links = [Link(-1, 0), Link(-1, 1), Link(-1, 2), *(Link(n, 3, 1, 4 * n) for n in range(3))]
    three = named(graph(layers, links), 1, 2, 3, 0)
    assert solved(three, chip, fusion=False) == {"conv1": 1, "conv2": 0, "conv3": 3, "conv0": 2}


def test_parallel_cores_are_alike_unless_traffic_asks_for_them() -> None:
    # Three layers that need the neuron memory of cores 0, 1 and 2; the last one is fed.
    network = named(chain([conv(16)] * 3, (2, 64, 64)), 2, 0, 1)
    chip = load("speck2f")
    assert [core.parallel for core in chip.cores[:3]] == [True, True, False]
    assert solved(network, chip) == {"conv2": 0, "conv0": 2, "conv1": 1}
    assert solved(network, chip, traffic={"input": 100})["conv2"] == 0
    third = load("speck2f", ["core[0..1].parallel=false", "core[2].parallel=true"])
    assert solved(network, third, traffic={"input": 100})["conv2"] == 2
    assert solved(network, third)["conv2"] == 0
    assert solved(network, chip, pins={"conv2": 2}) == {"conv2": 2, "conv0": 0, "conv1": 1}


def test_what_is_kept_stays() -> None:
    network, chip = chain([conv(4)] * 4), tiny_chip(*[LARGE] * 6)
    kept = (("conv0", 3), ("conv2", 0))
    for objective in ("capacity", "headroom"):
        answer = solved(network, chip, keep=kept, objective=objective)
        assert answer == {"conv0": 3, "conv2": 0, "conv1": 1, "conv3": 2}
    assert solved(network, chip, keep=kept, objective="index") == {f"conv{n}": n for n in range(4)}


def test_the_objective_index_prefers_own_cores_to_capacity() -> None:
    network = chain([conv(4)] * 3, (2, 16, 16))
    small = (1024, 4096, 16)
    chip = tiny_chip(LARGE, LARGE, LARGE, small, small, small)
    assert set(solved(network, chip).values()) == {3, 4, 5}
    result = mapper.solve(network, chip, objective="index")
    assert cores_of(result) == {"conv0": 0, "conv1": 1, "conv2": 2}
    assert "layers on own core: 3 (proven)" in str(result)
    # What is left of a group goes where capacity is least.
    forbidden = mapper.solve(network, chip, objective="index", forbidden_cores=[1])
    assert cores_of(forbidden) == {"conv0": 0, "conv1": 3, "conv2": 2}
    # Fewest cores come first: conv1 takes the core of conv2 rather than four small ones.
    wide = chain([conv(4), conv(64, 1), conv(4, 1)], (2, 16, 16))
    chip = tiny_chip(small, small, LARGE, *[small] * 3)
    assert solved(wide, chip, objective="index") == {"conv0": 0, "conv1": 2, "conv2": 1}


def test_pieces_are_on_no_own_core() -> None:
    network = chain([conv(32), conv(4)], (2, 16, 16))
    half = (2 * 16 * 16, 16 * 256, 1024)
    chip = tiny_chip(half, (16384, 1024, 16), half, half)
    result = mapper.solve(network, chip, objective="index", relays=False, max_copies=1)
    stages = {stage.name: stage for stage in result.require().objectives}
    assert stages["cores"].value == 3
    assert stages["layers_on_own_core"].value == stages["layers_on_own_core"].bound == 1
    assert cores_of(result)["conv1"] == 1


def test_layers_on_their_own_cores_are_counted_where_they_stand() -> None:
    """A limit may end a stage below what the seats then reach."""
    question = Question((chain([conv(4)] * 3),), tiny_chip(*[LARGE] * 3), SolveOptions(objective="index"))
    low = Outcome[object](objectives=[Objective("cores", 3, 3), Objective("layers_on_own_core", 1, 3)])
    placed = low.placed(question.problems[0], decide(question).require())
    assert placed.objectives == (Objective("cores", 3, 3), Objective("layers_on_own_core", 3, 3))


def random_question(seed: int) -> Question:
    """Of one network or several, with any objective that needs no traffic."""
    networks, chip, options = random_divided_instance(seed) if seed % 2 else random_question_instance(seed)
    objective = ("capacity", "index", "headroom")[seed % 3]
    wishes = replace(options, objective=objective, repairs=0)  # type: ignore[arg-type]  # literals
    return Question(*apart(networks, chip, wishes))


def alike_cores(result: Result) -> list[list[int]]:
    """Cores with the same facts of which none is asked for; those of a parallel kind apart under traffic."""
    apart = {core for _, core in (*result.options.pins, *result.options.keep)}
    apart |= set(result.options.forbidden_cores)
    groups: dict[str, list[int]] = defaultdict(list)
    for number, core in enumerate(result.chip.cores):
        facts = core.model_dump()
        facts["parallel"] = facts["parallel"] and any(rate for _, rate in result.options.traffic)
        groups[str(number) if number in apart else repr(facts)].append(number)
    return list(groups.values())


def assert_seated(result: Result, cores: list[int], seen: Counter[str]) -> None:
    """The definition, read as what must hold between any two bodies that could change places."""
    solution, names = result.require(), []
    for n, network in enumerate(result.networks):
        names += [(n, name) for name in sorted(network.by_name, key=natural_key)]
    number = {pair: n for n, pair in enumerate(names)}
    here: Mapping[int, Placement] = {
        place.core: place for place in solution.placements if place.core in cores
    }
    fed = {entry.core for entry in solution.host_entries}
    fed |= {int(route.target) for route in solution.routes if route.source == DVS}

    def own(place: Placement | None) -> int | None:
        if place is None or not isinstance(place.body, LayerPart):
            return None
        shape = result.networks[place.body.network].by_name[place.body.layer].output_shape
        return number[place.body.network, place.body.layer] if place.features == (0, shape.features) else None

    entrance, by_index = {0, 1} & set(cores), result.options.objective == "index"
    at_home = {core for core in here if own(here[core]) == core}
    inside = {core for core in entrance & here.keys() if core in fed or (by_index and core in at_home)}
    if not by_index:
        assert len(inside) == min(len(entrance), len(fed & here.keys()))
    for core in here.keys() - at_home - inside:
        home = own(here[core])
        # Its own core is not among these, or held by another copy or by what goes before.
        assert home not in cores or home in at_home | inside
        seen["homeless"] += home in cores
    rest = sorted(here.keys() - at_home - inside)
    assert not [core for core in cores if core not in here and rest and core < rest[-1]]
    ranks = []
    for place in (here[core] for core in rest):
        if isinstance(body := place.body, LayerPart):
            ranks.append((number[body.network, body.layer], body.copy_index, place.features[0]))
        else:
            ranks.append((len(names), 0, 0))
            seen["relays"] += 1
    assert ranks == sorted(ranks)
    seen["at home"] += len(at_home)
    seen["inside"] += len(inside - at_home)
    seen["rest"] += len(rest) > 1


@pytest.mark.parametrize("block", range(4))
def test_every_placement_has_its_seats(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(40_000 + block, 40_240, 4):
        result = decide(random_question(seed), "reasons")
        for cores in alike_cores(result) if result.solution else ():
            assert_seated(result, cores, seen)
    assert min(seen[kind] for kind in ("at home", "inside", "rest", "homeless", "relays")) > 0, seen
