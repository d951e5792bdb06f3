"""Pieces, copies and relays: CP-SAT against enumeration, and the enumeration against cases by hand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hwspec.schema import ChipSpec
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution
from mapper.options import SolveOptions, resolve
from mapper.question import Question, decide
from mapper.solution import LayerPart, Relay
from mapper.verify import verify
from tests.builders import chain, conv, pool, tiny_chip
from tests.graphs import Link, graph
from tests.property.agreement import apart, assert_agree, checked_best_division
from tests.property.divided_instances import random_divided_instance
from tests.property.divided_oracle import Answer, best_division
from tests.property.question_instances import random_question_instance
from tests.property.traits import traits

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "150"))
BLOCKS = 10
LARGE = (16384, 65536, 1024)


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(BLOCKS))
def test_same_verdict_and_optimum(block: int) -> None:
    for seed in range(block * INSTANCES // BLOCKS, (block + 1) * INSTANCES // BLOCKS):
        question = Question(*apart(*random_divided_instance(seed)))
        assert_agree(question, decide(question), seed)


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(BLOCKS))
def test_most_layers_on_their_own_cores(block: int) -> None:
    reached: Counter[str] = Counter()
    for seed in range(block * INSTANCES // BLOCKS, (block + 1) * INSTANCES // BLOCKS):
        networks, chip, options = (
            random_divided_instance(seed) if seed % 3 else random_question_instance(seed)
        )
        question = Question(*apart(networks, chip, replace(options, objective="index")))
        layers = [layer for network in networks for layer in network.layers]
        result = decide(question)
        assert_agree(question, result, seed)
        if result.solution is not None:
            own = {stage.name: stage.value for stage in result.solution.objectives}["layers_on_own_core"]
            reached["none" if own == 0 else "all" if own == len(layers) else "some"] += 1
    assert reached["some"] > INSTANCES // BLOCKS // 10


@pytest.mark.no_cover
def test_the_oracle_keeps_the_rules_and_the_instances_are_mixed() -> None:
    mix: Counter[str] = Counter()
    count = max(INSTANCES, 150)
    for seed in range(count):
        networks, chip, options = random_divided_instance(seed)
        resolved = resolve(options, networks, chip)
        answer = checked_best_division(networks, chip, resolved, seed)
        if answer is None:
            mix["infeasible"] += 1
            continue
        plain = best_division(networks, chip, replace(resolved, max_pieces=1, relays=False, max_copies=1))
        # As many cores as layers leave no room for anything but the plain placement.
        assert (plain is not None) == (answer.cores == len(networks[0].layers)), seed
        assert plain is None or plain.capacity_bits == answer.capacity_bits, seed
        mix["divided" if plain is None else "plain"] += 1
        mix["aligned"] += "aligned relay of layer" in traits(networks, answer.networks, answer.solution)
    assert min(mix[kind] for kind in ("infeasible", "divided", "plain")) > count // 6
    assert mix["aligned"] > count // 100


def best(network: NormalNetwork, chip: ChipSpec, **options: object) -> Answer | None:
    """The oracle's answer, its solution checked."""
    resolved = resolve(SolveOptions(**options), network, chip)  # type: ignore[arg-type]  # test helper
    answer = best_division((network,), chip, resolved)
    if answer is not None:
        assert verify(answer.networks, chip, resolved, answer.solution) == ()
    return answer


def pieces_of(answer: Answer | None, layer: str) -> list[tuple[int, int]]:
    """(copy, features) of each piece of a layer, ascending."""
    assert answer is not None
    return sorted(
        (placement.body.copy_index, placement.features[1] - placement.features[0])
        for placement in answer.solution.placements
        if isinstance(placement.body, LayerPart) and placement.body.layer == layer
    )


def relays_of(answer: Answer | None) -> list[tuple[str, int]]:
    """(signal, pooling) of every relay, ascending."""
    assert answer is not None
    bodies = (placement.body for placement in answer.solution.placements)
    return sorted((body.signal, body.pooling) for body in bodies if isinstance(body, Relay))


def spans_of(answer: Answer | None) -> list[tuple[str, int, tuple[int, int]]]:
    """(signal, pooling, features) of every relay, ascending."""
    assert answer is not None
    return sorted(
        (placement.body.signal, placement.body.pooling, placement.features)
        for placement in answer.solution.placements
        if isinstance(placement.body, Relay)
    )


def star(readers: int, features: int = 4) -> NormalNetwork:
    """One layer that so many others read."""
    links = [Link(-1, 0), *(Link(0, n) for n in range(1, readers + 1))]
    ends = [(n, 1) for n in range(1, readers + 1)]
    return graph([conv(features), *[conv(4)] * readers], links, (1, 16, 16), ends)


def with_fan_out(cores: Sequence[tuple[int, int, int]], fan_out: int, *overrides: str) -> ChipSpec:
    return tiny_chip(*cores, overrides=[f"routing.fan_out={fan_out}", *overrides])


def test_unequal_pieces_where_halves_do_not_fit() -> None:
    # 96 features of 2 x 16 words: 64 take 2048 words, 32 take 1024, and halves of 48 take 2048 each.
    network = chain([conv(96)], (2, 8, 8))
    chip = tiny_chip((2048, 65536, 96), (1024, 65536, 96))
    assert pieces_of(best(network, chip), "conv0") == [(0, 32), (0, 64)]
    assert best(network, chip, max_pieces=1) is None
    assert best(network, tiny_chip((1024, 65536, 96), (1024, 65536, 96))) is None


def test_a_third_piece_and_its_bound() -> None:
    network = chain([conv(96)], (2, 8, 8))
    chip = tiny_chip(*[(1024, 65536, 96)] * 4)
    assert pieces_of(best(network, chip), "conv0") == [(0, 32)] * 3
    assert best(network, chip, max_pieces=2) is None


def test_each_memory_and_limit_bounds_a_piece() -> None:
    network = chain([conv(12, has_bias=True)], (2, 16, 16))
    for core, cores in (((2048, 65536, 6), 2), ((2048, 5 * 256, 1024), 3), ((2 * 16 * 4, 65536, 1024), 3)):
        answer = best(network, tiny_chip(*[core] * 4))
        assert answer is not None
        assert answer.cores == cores
    narrow = best(network, tiny_chip(*[LARGE] * 4, overrides=["limits.output_features_max=3"]))
    assert narrow is not None
    assert narrow.cores == 4


def test_every_piece_takes_a_slot_of_its_source() -> None:
    # conv1 needs three cores, and conv0 feeds two.
    network = chain([conv(4), conv(12)], (2, 16, 16))
    chip = with_fan_out([(16 * 4 * 4, 65536, 1024)] * 4, 2)
    assert best(network, chip) is None
    assert best(network, with_fan_out([(16 * 4 * 4, 65536, 1024)] * 4, 3)) is not None
    answer = best(network, with_fan_out([(16 * 4 * 4, 65536, 1024)] * 5, 2))
    assert answer is not None
    assert answer.cores == 5


def test_three_readers_need_a_relay_or_a_copy() -> None:
    chip = with_fan_out([LARGE] * 5, 2)
    relayed = best(star(3), chip, max_copies=1)
    assert relays_of(relayed) == [("conv0", 1)]
    copied = best(star(3), chip, relays=False)
    assert pieces_of(copied, "conv0") == [(0, 4), (1, 4)]
    assert relays_of(copied) == []
    either = best(star(3), chip)
    assert relayed is not None
    assert copied is not None
    assert either is not None
    assert either.cores == relayed.cores == copied.cores == 5
    assert best(star(3), chip, relays=False, max_copies=1) is None


def test_four_readers_need_two_relays_or_one_copy() -> None:
    chip = with_fan_out([LARGE] * 7, 2)
    relayed, copied = best(star(4), chip, max_copies=1), best(star(4), chip)
    assert relays_of(relayed) == [("conv0", 1), ("conv0", 1)]
    assert pieces_of(copied, "conv0") == [(0, 4), (1, 4)]
    assert copied is not None
    assert copied.cores == 6


def test_a_relay_gains_nothing_where_cores_have_one_slot() -> None:
    chip = with_fan_out([LARGE] * 6, 1)
    assert best(star(2), chip, max_copies=1) is None
    assert pieces_of(best(star(2), chip), "conv0") == [(0, 4), (1, 4)]
    # The copies share conv0's one source, which has one slot.
    longer = graph(
        [conv(4)] * 4, [Link(-1, 0), Link(0, 1), Link(1, 2), Link(1, 3)], (1, 16, 16), [(2, 1), (3, 1)]
    )
    answer = best(longer, chip)
    assert pieces_of(answer, "conv0") == pieces_of(answer, "conv1") == [(0, 4), (1, 4)]


def test_the_weakest_piece_bounds_the_readers_of_a_copy() -> None:
    # conv0 is cut over the small cores, conv1 reads it twice, and eight features fit no relay.
    network = chain([conv(8), conv(4), conv(4)], (1, 16, 16))
    network = network.replacing(edges=(*network.edges, network.edges[1]))
    small = (16 * 4, 65536, 1024)
    limit = "limits.output_features_max=4"
    assert best(network, with_fan_out([small, small, LARGE, LARGE], 2, limit)) is not None
    assert best(network, with_fan_out([small, small, LARGE, LARGE], 2, limit, "core[1].fan_out=1")) is None


def test_a_pool_of_eight_passes_a_relay_or_goes_into_the_kernel() -> None:
    # Taken up by a kernel of 3 x 3, the pool leaves one of 4 for 6 x 6 taps, which are 64 words, or of 2 for
    # 12 x 12, which are 256: 4 x 64 x 4 words are enough for a core of its own.
    network = chain([conv(4), conv(4)], (2, 32, 32), (8,))
    folded = best(network, tiny_chip(*[LARGE] * 3))
    assert folded is not None
    assert relays_of(folded) == []
    kernels = [getattr(layer.operation, "kernel", None) for layer in folded.networks[0].layers]
    assert kernels in ([(3, 3), (6, 6)], [(3, 3), (12, 12)])
    exact, short = ((32 * 4 * 4 * per, 65536, 1024) for per in (2, 1))
    assert best(network, tiny_chip(exact, exact)) is not None
    assert relays_of(best(network, tiny_chip(short, short, short))) in ([("conv0", 2)], [("conv0", 4)])
    assert best(network, tiny_chip(short, short)) is None
    assert best(network, tiny_chip(*[short] * 3), relays=False, max_pieces=1) is None
    # Half the core: only a relay behind the pool of 4 fits, 4 x 8 x 8 words.
    small = tiny_chip(short, short, (64, 256, 0))
    assert relays_of(best(network, small)) == [("conv0", 4)]
    # With pools of 1 and 2, one relay reads from another.
    twos = tiny_chip(*[short] * 4, overrides=["routing.poolings=[1, 2]"])
    assert relays_of(best(network, twos, max_pieces=1)) == [("conv0", 2), ("conv0", 4)]


def test_a_pooled_output_is_shown_by_a_relay() -> None:
    plain = chain([conv(4)], (2, 16, 16))
    network = plain.replacing(outputs=(replace(plain.outputs[0], path=pool(2)),))
    chip = tiny_chip(LARGE, LARGE)
    hosted, relayed = best(network, chip), best(network, chip, pooled_outputs="relay")
    assert relays_of(hosted) == []
    assert relays_of(relayed) == [("conv0", 2)]
    assert relayed is not None
    assert [monitor.pooling_seen for monitor in relayed.solution.monitors] == [2]
    assert best(network, tiny_chip(LARGE), pooled_outputs="relay") is None
    assert best(network, chip, pooled_outputs="relay", relays=False) is None


def test_no_core_relays_a_wide_layer_whole() -> None:
    # 96 features fit no core, so only relays beside the pieces pass the signal on, or a copy.
    limit = "limits.output_features_max=64"
    chip = with_fan_out([LARGE] * 7, 2, limit)
    assert pieces_of(best(star(2, 96), chip), "conv0") == [(0, 32), (0, 64)]
    answer = best(star(3, 96), chip, max_copies=1)
    assert pieces_of(answer, "conv0") == [(0, 32), (0, 64)]
    assert spans_of(answer) == [("conv0", 1, (0, 64)), ("conv0", 1, (64, 96))]
    assert best(star(3, 96), chip, max_copies=1, relays=False) is None
    assert best(star(3, 96), with_fan_out([LARGE] * 6, 2, limit), max_copies=1) is None
    assert [copy for copy, _ in pieces_of(best(star(3, 96), chip, relays=False), "conv0")] == [0, 0, 1, 1]


def test_aligned_relays_ask_for_a_third_piece() -> None:
    # Of 96 features a small core makes 64, 1 x 16 x 64 words, and relays 32, 32 x 32; a medium one relays 64
    # but not 96, 96 x 128 words, and a reader takes one, 96 x 16 x 4.
    small, medium = (1024, 65536, 1024), (8192, 65536, 1024)
    alone = with_fan_out([small] * 2 + [medium] * 2, 2)
    assert pieces_of(best(star(2, 96), alone), "conv0") == [(0, 32), (0, 64)]
    chip = with_fan_out([small] * 6 + [medium] * 3, 2)
    answer = best(star(3, 96), chip, max_copies=1)
    assert pieces_of(answer, "conv0") == [(0, 32)] * 3
    assert spans_of(answer) == [("conv0", 1, (n, n + 32)) for n in (0, 32, 64)]
    assert best(star(3, 96), chip, max_copies=1, max_pieces=2) is None
    assert best(star(3, 96), with_fan_out([small] * 5 + [medium] * 3, 2), max_copies=1) is None
    # One more medium core relays what a piece of 64 makes.
    more = best(star(3, 96), with_fan_out([small] * 6 + [medium] * 4, 2), max_copies=1)
    assert pieces_of(more, "conv0") == [(0, 32), (0, 64)]


def test_aligned_relays_gain_nothing_where_a_relay_has_one_slot() -> None:
    limit = "limits.output_features_max=64"
    assert best(star(2, 96), with_fan_out([LARGE] * 8, 1, limit), max_copies=1) is None
    # The weakest relay bounds the set: two slots of a piece, of which the set takes one, and the relays' two.
    for weak, feasible in ((1, False), (2, True)):
        slots = [f"core[{n}].fan_out={weak}" for n in range(6)]
        chip = with_fan_out([LARGE] * 6 + [(16384, 65536, 2048)], 2, limit, *slots)
        assert (best(star(3, 96), chip, max_copies=1) is not None) == feasible


def test_aligned_relays_stand_beside_a_core_that_could_relay_the_whole_signal() -> None:
    # The one core that relays all 96 features holds conv3 as well: without it conv3 has no core.
    limits = [f"core[{n}].limits.output_features_max=64" for n in range(7)]
    reader = (96 * 16 * 4, 65536, 1024)
    cores = [(1024, 65536, 1024)] * 2 + [(4096, 65536, 1024)] * 2 + [reader] * 3
    network = star(3, 96)
    assert spans_of(best(network, with_fan_out(cores, 2, *limits), max_copies=1)) != []
    whole = with_fan_out([*cores[:6], LARGE], 2, *limits[:6])
    assert len(spans_of(best(network, whole, max_copies=1))) == 2
    spare = with_fan_out([*cores, LARGE], 2, *limits)
    spare = spare.model_copy(update={"cores": (*spare.cores[:7], whole.cores[6])})
    assert relays_of(best(network, spare, max_copies=1)) == [("conv0", 1)]
    assert len(spans_of(best(network, spare, max_copies=1, forbidden_cores=(7,)))) == 2
    assert len(spans_of(best(network, spare, max_copies=1, pins=((3, 7),)))) == 2


def test_a_relay_behind_pools_reads_from_aligned_relays() -> None:
    # 8 features of 16 x 16 rows take 2048 words, half of them 1024; pooled by 2, all take 512.
    links = [Link(-1, 0), Link(0, 1), Link(0, 2), Link(0, 3, 4), Link(0, 4, 4)]
    network = graph([conv(8), *[conv(1)] * 4], links, (1, 16, 16), [(n, 1) for n in range(1, 5)])
    chip = with_fan_out([(1024, 1024, 1024)] * 9, 2)
    answer = best(network, chip, max_copies=1)
    assert spans_of(answer) == [("conv0", 1, (0, 4)), ("conv0", 1, (4, 8)), ("conv0", 2, (0, 8))]
    assert best(network, with_fan_out([(1024, 1024, 1024)] * 8, 2), max_copies=1) is None


def test_aligned_relays_pool_for_a_pool_of_eight() -> None:
    # No relay holds 96 features at any level; two of 64 at level 2 or 4 reach a pool of 8, and no kernel may
    # take it up.
    network = chain([conv(96), conv(4)], (2, 32, 32), (8,))
    limits = ["limits.output_features_max=64", "limits.kernel_size_max=5", "limits.padding_max=4"]
    answer = best(network, tiny_chip(*[LARGE] * 5, overrides=limits))
    assert {(level, span) for _, level, span in spans_of(answer)} in (
        {(level, (0, 64)), (level, (64, 96))} for level in (2, 4)
    )
    assert best(network, tiny_chip(*[LARGE] * 4, overrides=limits)) is None
    # With pools of 1 and 2 others have to follow, each of which reads all of the signal.
    twos = [*limits, "routing.poolings=[1, 2]"]
    assert best(network, tiny_chip(*[LARGE] * 6, overrides=twos)) is None
    levels = [level for _, level, _ in spans_of(best(network, tiny_chip(*[LARGE] * 7, overrides=twos)))]
    assert levels == [2, 2, 4, 4]


def test_aligned_relays_count_all_spikes_of_their_signal() -> None:
    # 10 spikes a second are 320 operations for a relay of 32 features, and 640 for one of 64.
    limit, relayed = "limits.output_features_max=64", (("conv0", 10),)
    slow = [f"core[{n}].synops_per_second=320" for n in range(4)]
    chip = with_fan_out([(4096, 65536, 1024)] * 4 + [(96 * 64, 65536, 1024)] * 3, 2, limit, *slow)
    assert best(star(3, 96), chip, max_copies=1, traffic=relayed) is None
    fewer = (("conv0", 5),)
    assert len(spans_of(best(star(3, 96), chip, max_copies=1, traffic=fewer))) == 2


def test_several_relays_show_a_pooled_output() -> None:
    plain = chain([conv(96), conv(4)], (2, 16, 16), (2,))
    network = plain.replacing(
        outputs=(*plain.outputs, replace(plain.outputs[0], name="seen", source="conv0", path=pool(2)))
    )
    for limit, shown in ((64, [(0, 64), (64, 96)]), (96, [(0, 96)])):
        chip = tiny_chip(*[LARGE] * 5, overrides=[f"limits.output_features_max={limit}"])
        answer = best(network, chip, pooled_outputs="relay")
        assert answer is not None
        assert [m.features for m in answer.solution.monitors if m.pooling_seen == 2] == shown
    few = ["limits.output_features_max=64", "monitor.cores_max=2"]
    assert best(network, tiny_chip(*[LARGE] * 8, overrides=few), pooled_outputs="relay") is None


def test_inputs_are_relayed() -> None:
    links = [Link(-1, n) for n in range(3)]
    sensor = graph([conv(4)] * 3, links, (2, 16, 16), [(0, 1), (1, 1), (2, 1)], dvs=True)
    assert relays_of(best(sensor, tiny_chip(*[LARGE] * 4))) == [("dvs", 1)]
    assert best(sensor, tiny_chip(*[LARGE] * 3)) is None
    host = graph([conv(4)] * 3, links, (2, 16, 16), [(0, 1), (1, 1), (2, 1)])
    assert relays_of(best(host, tiny_chip(*[LARGE] * 3))) == []
    pooled = chain([conv(4)], (2, 16, 16), input_path=pool(2))
    assert relays_of(best(pooled, tiny_chip(LARGE))) == []
    narrow = ["limits.kernel_size_max=5", "limits.padding_max=4"]
    assert relays_of(best(pooled, tiny_chip(*[LARGE] * 2, overrides=narrow))) == [("input", 1)]
    assert best(pooled, tiny_chip(LARGE, overrides=narrow)) is None


def test_pins_readout_monitors_and_forbidden_cores() -> None:
    network = chain([conv(96)], (2, 8, 8))
    chip = tiny_chip((2048, 65536, 96), (1024, 65536, 96), (4096, 65536, 96))
    assert pieces_of(best(network, chip), "conv0") == [(0, 96)]
    assert pieces_of(best(network, chip, forbidden_cores=(2,)), "conv0") == [(0, 32), (0, 64)]
    assert best(network, chip, pins=((0, 0),)) is None
    assert pieces_of(best(network, chip, pins=((0, 2),)), "conv0") == [(0, 96)]
    few = tiny_chip((2048, 65536, 96), (1024, 65536, 96), overrides=["monitor.cores_max=1"])
    assert best(network, few) is None
    classes = chain([Convolution(40, (8, 8))], (2, 8, 8))
    halves = tiny_chip(*[(2 * 64 * 32, 1024, 1024)] * 2)
    assert pieces_of(best(classes, halves), "conv0") == [(0, 8), (0, 32)]
    assert best(classes, halves, readout=0) is None


def test_a_cycle_takes_slots_from_every_piece() -> None:
    links = [Link(-1, 0), Link(0, 0), Link(0, 1)]
    network = graph([conv(8), conv(4)], links, (8, 16, 16))
    half = (8 * 16 * 4, 65536, 1024)
    # Each half of conv0 feeds both halves and conv1.
    assert best(network, with_fan_out([half] * 3, 2)) is None
    answer = best(network, with_fan_out([half] * 3, 3))
    assert pieces_of(answer, "conv0") == [(0, 4), (0, 4)]
