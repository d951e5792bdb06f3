"""Curves of synthesis against enumeration, and what their missing points say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hwspec.catalog import load
from mapper.errors import OptionsError
from mapper.explore import smallest as module
from mapper.explore.request import Request
from mapper.explore.smallest import Answer, NoChip, Point, curves, synthesize
from mapper.frontends import load_network
from mapper.normal_form import NormalNetwork
from mapper.passes import prepare
from mapper.reasons import Status
from mapper.report.synthesis import curve_csv, plot_curves, print_synthesis, synthesis_record
from mapper.solver.smallest.search import SmallestChip, find_chip
from mapper.solver.smallest.sizes import ChipQuestion, MemorySizes
from tests.builders import chain, conv
from tests.explore.test_synthesize import (
    INSTANCES,
    ZOO,
    Words,
    all_chips,
    asked_of,
    bits,
    carries,
    found,
    request_for,
    small_network,
)

Capture = pytest.CaptureFixture[str]


def test_curves_never_rise_with_cores_and_never_fall_with_networks(tmp_path: Path) -> None:
    networks = [chain([conv(8), conv(16), conv(8)], name="one"), chain([conv(32), conv(4)], name="two")]
    request = request_for((2, 5))
    best = synthesize(networks, request)
    made = curves(networks, request, best)
    assert [count for count, _ in made.by_cores] == [2, 3, 4, 5]
    assert made.by_cores[0] == (2, NoChip(stopped_by=None))
    memories = [point.smallest.capacity_bits for _, point in made.by_cores if isinstance(point, Answer)]
    assert memories == sorted(memories, reverse=True)
    assert memories[-1] == best.smallest.capacity_bits
    memories = [point.smallest.capacity_bits for _, point in made.by_networks if isinstance(point, Answer)]
    assert memories == sorted(memories)
    text = curve_csv(made.by_cores, "cores_max")
    assert text.splitlines()[0].startswith("cores_max,cores,capacity_bits")
    assert len(text.splitlines()) == 5
    for suffix in ("png", "svg"):
        plot_curves(made, tmp_path / f"a.{suffix}")
        plot_curves(made, tmp_path / f"b.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    with pytest.raises(OptionsError, match=r"\.png, \.svg"):
        plot_curves(made, tmp_path / "a.pdf")


def test_points_that_a_limit_leaves_out_are_said(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    networks = [chain([conv(8), conv(16), conv(8)], name="one")]
    request = request_for((3, 5))
    best = synthesize(networks, request)
    whole = curves(networks, request, best)
    assert whole.is_complete
    monkeypatch.setattr(module, "find_chip", lambda *_: SmallestChip(Status.UNDECIDED, stopped_by="a limit"))
    part = curves(networks, request, best)
    assert not part.is_complete
    limited = NoChip("a limit")
    assert part.by_cores == ((3, limited), (4, limited), (5, best))
    print_synthesis(Console(), best, part)
    assert "Cut short by a limit" in capsys.readouterr().out


def test_no_chip_and_a_limit_are_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    networks = [chain([conv(8), conv(16), conv(8)], name="one")]
    request = request_for((2, 4))
    best = synthesize(networks, request)

    def limited(question: ChipQuestion, *rest: Any) -> SmallestChip:
        if question.cores[1] == 3:
            return SmallestChip(Status.UNDECIDED, stopped_by="the work limit of 20")
        return find_chip(question, *rest)

    monkeypatch.setattr(module, "find_chip", limited)
    part = curves(networks, request, best)
    assert part.by_cores == ((2, NoChip(None)), (3, NoChip("the work limit of 20")), (4, best))
    rows = synthesis_record(best, part)["by_cores"]
    assert [(row["cores"], row["proven"], row["stopped_by"]) for row in rows] == [
        (None, True, None),
        (None, False, "the work limit of 20"),
        (best.chip.core_count, True, None),
    ]
    _, proven, undecided, _ = curve_csv(part.by_cores, "cores_max").splitlines()
    assert (proven, undecided) == ("2,,,,,True,,,", "3,,,,,False,the work limit of 20,,")
    print_synthesis(Console(width=200), best, part)
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "2 - - proven no chip" in shown
    assert "3 - - - undecided: the work limit of 20 came first" in shown


def test_a_point_filled_from_its_neighbour_says_what_stopped_it(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [chain([conv(8), conv(16), conv(8)], name="one")]
    request = request_for((3, 5))
    best = synthesize(networks, request)

    def limited(question: ChipQuestion, *rest: Any) -> SmallestChip:
        if question.cores[1] == 4:
            return SmallestChip(Status.UNDECIDED, stopped_by="a limit")
        return find_chip(question, *rest)

    monkeypatch.setattr(module, "find_chip", limited)
    _, (_, filled), _ = curves(networks, request, best).by_cores
    assert isinstance(filled, Answer)
    assert (filled.smallest.status, filled.smallest.stopped_by) == (Status.FEASIBLE, "a limit")


def curve_instance(seed: int) -> tuple[list[NormalNetwork], Request, list[Words]]:
    """Two to four networks that take turns, on chips of few sizes that not all of them may fit."""
    draw = np.random.default_rng(100 + seed)
    networks = [small_network(draw, f"net{n}") for n in range(int(draw.integers(2, 5)))]
    sizes = MemorySizes(
        (int(draw.choice([64, 128])), 1024, 8192), (int(draw.choice([128, 256])), 1024), (16,)
    )
    fan_out = int(draw.integers(1, 3))
    request = Request(load("speck2f"), (1, 3), sizes, (fan_out, fan_out))
    return networks, request, list(product(sizes.kernel_words, sizes.neuron_words, sizes.bias_words))


def enumerated_curves(
    networks: Sequence[NormalNetwork], request: Request, kinds: Sequence[Words]
) -> tuple[dict[int, int], dict[int, int]]:
    """Least bits by cores allowed and by networks carried: every chip is asked, in order of bits."""
    least, most = request.cores
    by_cores: dict[int, int] = {}
    by_networks: dict[int, int] = {}
    for cores in sorted(all_chips(kinds, request.cores), key=lambda cores: sum(map(bits, cores))):
        total = sum(map(bits, cores))
        carried = sum(carries(asked_of(cores, [network], request)) for network in networks)
        for count in range(1, carried + 1):
            by_networks.setdefault(count, total)
        if carried == len(networks):
            for count in range(max(least, len(cores)), most + 1):
                by_cores.setdefault(count, total)
            if len(cores) == least or len(by_cores) == most - least + 1:
                break
    return by_cores, by_networks


def bits_of(points: Sequence[tuple[int, Point]]) -> dict[int, int]:
    """What a curve says, every point of which is proven; points that are proven to have no chip left out."""
    answers = [(count, point) for count, point in points if isinstance(point, Answer)]
    assert all(point.stopped_by is None for _, point in points if isinstance(point, NoChip))
    assert all(point.smallest.status is Status.OPTIMAL for _, point in answers)
    return {count: point.smallest.capacity_bits for count, point in answers}


@pytest.mark.parametrize("seed", range(max(4, INSTANCES // 2)))
def test_curves_are_those_of_enumeration(seed: int) -> None:
    networks, request, kinds = curve_instance(seed)
    by_cores, by_networks = enumerated_curves(networks, request, kinds)
    best = found(networks, request)
    assert (best is None) == (len(by_networks) < len(networks))
    if best is None:
        return
    made = curves(networks, request, best)
    assert made.is_complete
    assert (bits_of(made.by_cores), bits_of(made.by_networks)) == (by_cores, by_networks)
    for count, point in made.by_networks:
        assert isinstance(point, Answer)
        assert len(point.carried) >= count


@pytest.mark.no_cover
def test_the_curve_of_published_networks() -> None:
    """Six of eight: the least of all sets, none of whose members needs as much by itself."""
    names = (
        *("aquatic_qat", "lens_vpr", "position_tracking_compare", "specktac_tactile15"),
        *("sinabs_bias_nonsquare_input", "sinabs_complex_dummy4", "sinabs_dvs_nonsquare_pool"),
        "sinabs_play_with_dvs",
    )
    networks = [prepare(load_network(ZOO / f"{name}.yaml")) for name in names]
    request = request_for()
    made = curves(networks, request, synthesize(networks, request))
    found_bits = bits_of(made.by_networks)
    assert found_bits[6] == 565248
    alone = {n.name: synthesize([n], request).smallest.capacity_bits for n in networks}
    sets = combinations([n for n in networks if alone[n.name] <= found_bits[6]], 6)
    assert found_bits[6] == min(synthesize(some, request).smallest.capacity_bits for some in sets)
    assert list(found_bits) == list(range(1, 9))
    assert list(found_bits.values()) == sorted(found_bits.values())
