"""Synthesis against enumeration of chips, each of which the normal solver is asked about."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product
from pathlib import Path

import numpy as np
import pytest

from hwspec.catalog import load
from hwspec.check import check
from hwspec.schema import ChipSpec
from hwspec.writing import chip_toml
from mapper.cli.entry import run
from mapper.errors import InfeasibleError, OptionsError, UndecidedError
from mapper.explore import smallest as module
from mapper.explore.request import Request, default_sizes
from mapper.explore.smallest import Answer, synthesize
from mapper.frontends import load_network
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.report.synthesis import synthesis_record
from mapper.result import Result
from mapper.solver.smallest.sizes import MemorySizes, _useful, chip_of
from tests.builders import chain, conv, tiny_chip
from tests.graphs import Link, graph
from tests.property.traits import traits

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "150")) // 10
Words = tuple[int, int, int]
Instances = Callable[[int], tuple[list[NormalNetwork], Request, list[Words]]]
Capture = pytest.CaptureFixture[str]


def small_network(draw: np.random.Generator, name: str) -> NormalNetwork:
    """One to three layers; sometimes a second way around a layer."""
    count = int(draw.integers(1, 4))
    kinds = [
        conv(
            int(draw.choice([3, 4, 6, 8, 12])), int(draw.choice([1, 3])), has_bias=bool(draw.integers(4) == 0)
        )
        for _ in range(count)
    ]
    links = [Link(n - 1, n, int(draw.choice([1, 1, 2])) if n else 1) for n in range(count)]
    if count == 3 and draw.integers(2):
        links.append(Link(0, 2, links[1].pooling * links[2].pooling))
        kinds[1] = replace(kinds[1], out_features=kinds[0].out_features)
    return graph(kinds, links, (2, 8, 8)).replacing(name=name)


def instance(seed: int) -> tuple[list[NormalNetwork], Request, list[Words]]:
    """Networks, a request of few sizes, and the kinds of core that it allows."""
    draw = np.random.default_rng(seed)
    networks = [small_network(draw, f"net{n}") for n in range(int(draw.integers(1, 4)))]
    cores = 4 if draw.integers(3) == 0 else 3
    kernel = sorted({1 << int(n) for n in draw.integers(5, 11, 2 if cores == 4 else 3)})
    neuron = sorted({1 << int(n) for n in draw.integers(6, 11, 2)})
    bias = [0, 16] if draw.integers(2) else [8]
    sizes = MemorySizes(tuple(kernel), tuple(neuron), tuple(bias))
    fan_out = int(draw.integers(1, 3))
    request = Request(
        load("speck2f"),
        (1, cores),
        sizes,
        (fan_out, fan_out),
        "cores" if draw.integers(4) == 0 else "sram",
        len(networks) > 1 and cores == 4 and bool(draw.integers(2)),
        options=SolveOptions(repairs=0, max_pieces=None if draw.integers(3) else 2),
    )
    return networks, request, list(product(kernel, neuron, bias))


def sensing_network(draw: np.random.Generator, name: str, *, dvs: bool) -> NormalNetwork:
    """One or two layers behind pools of up to 8, or two readers of one sensor with pools of their own."""
    first, second = (int(n) for n in draw.choice([1, 2, 4, 8], 2))
    kinds = [
        conv(int(draw.choice([1, 2, 4, 6])), kernel, padding=(kernel // 2,) * 2)
        for kernel in (int(n) for n in draw.choice([1, 3], 2))
    ]
    if not dvs:
        links = [Link(-1, 0, int(draw.choice([1, 1, 2]))), Link(0, 1, int(draw.choice([2, 8])))]
    elif draw.integers(3):
        links = [Link(-1, 0, first), Link(-1, 1, second)]
    else:
        links = [Link(-1, 0, first), Link(0, 1, second if first * second <= 16 else 1)]
    if draw.integers(4) == 0:
        kinds, links = kinds[:1], links[:1]
    ends = [(n, 1) for n in range(len(kinds)) if all(link.source != n for link in links)]
    return graph(kinds, links, (2, 16, 16), ends, dvs=dvs).replacing(name=name)


def sensing_instance(seed: int) -> tuple[list[NormalNetwork], Request, list[Words]]:
    """Pools of 8, sensors and networks that share the chip; half of the chips allowed have relays to choose."""
    draw = np.random.default_rng(seed)
    count, dvs = int(draw.choice([1, 1, 2, 2, 3])), bool(draw.integers(3))
    networks = [sensing_network(draw, f"net{n}", dvs=dvs or bool(draw.integers(2))) for n in range(count)]
    cores = 5 if count > 1 else 4
    kernel, neuron = (
        [1 << int(n) for n in draw.integers(low, high)]
        for low, high in (((3, 7), (7, 11)), ((5, 9), (9, 12)))
    )
    sizes = MemorySizes(tuple(kernel), tuple(neuron), (8,))
    fan_out, base = int(draw.integers(1, 4)), load("speck2f", [f"input.fan_out={int(draw.integers(1, 4))}"])
    request = Request(
        base,
        (1, cores),
        sizes,
        (fan_out, fan_out),
        "cores" if draw.integers(3) == 0 else "sram",
        count > 1 and bool(draw.integers(4)),
        options=SolveOptions(repairs=0, relays=bool(draw.integers(6)), max_copies=int(draw.integers(1, 3))),
    )
    return networks, request, list(product(kernel, neuron, (8,)))


def roomy_instance(seed: int) -> tuple[list[NormalNetwork], Request, list[Words]]:
    """Networks of which the first needs few cores, on chips that must have more: idle cores, of any size."""
    draw = np.random.default_rng(seed)
    networks, request, _ = instance(seed)
    most = int(draw.integers(3, 5))
    kernel = (16, *sorted({1 << int(n) for n in draw.integers(7, 12, 1)}))
    sizes = MemorySizes(kernel, (16, 1 << int(draw.integers(9, 12))), (0, 16))
    cores, together = (int(draw.integers(2, most + 1)), most), bool(draw.integers(2))
    request = replace(request, cores=cores, sizes=sizes, together=together)
    return networks[:2], request, list(product(kernel, sizes.neuron_words, sizes.bias_words))


def bits(words: Words) -> int:
    return 8 * words[0] + 16 * words[1] + 16 * words[2]


def all_chips(kinds: Sequence[Words], cores: tuple[int, int]) -> Iterator[tuple[Words, ...]]:
    for count in range(cores[0], cores[1] + 1):
        yield from combinations_with_replacement(kinds, count)


def asked_of(cores: Sequence[Words], networks: Sequence[NormalNetwork], request: Request) -> Question:
    slots = request.base.input.fan_out if request.base.input else 0
    overrides = [f"routing.fan_out={request.fan_out[1]}", f"input.fan_out={slots}"]
    chip = tiny_chip(*cores, overrides=overrides)
    return Question(tuple(networks), chip, request.options)


def carries(*questions: Question) -> bool:
    """Whether all have a placement."""
    # A refusal is the same proof with and without its reasons; what is accepted has been placed and checked.
    return all(fits(question) is not False for question in questions) and all(
        decide(question, "reasons").solution is not None for question in questions
    )


def enumerated(
    networks: Sequence[NormalNetwork], request: Request, kinds: Sequence[Words]
) -> tuple[int, int] | None:
    """(bits, cores) of the best chip: all are asked in order of what is minimised."""
    groups = [networks] if request.together else [[network] for network in networks]

    def key(cores: tuple[Words, ...]) -> tuple[int, int]:
        total = sum(map(bits, cores))
        return (total, len(cores)) if request.minimise == "sram" else (len(cores), total)

    for cores in sorted(all_chips(kinds, request.cores), key=key):
        if carries(*(asked_of(cores, group, request) for group in groups)):
            return sum(map(bits, cores)), len(cores)
    return None


def found(networks: Sequence[NormalNetwork], request: Request) -> Answer | None:
    try:
        return synthesize(networks, request)
    except InfeasibleError:
        return None


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(INSTANCES))
@pytest.mark.parametrize(
    "make", [instance, sensing_instance, roomy_instance], ids=["small", "sensing", "roomy"]
)
def test_same_as_enumeration(make: Instances, seed: int) -> None:
    networks, request, kinds = make(seed)
    # Every smaller chip is asked for its verdict, and refused.
    expected, answer = enumerated(networks, request, kinds), found(networks, request)
    if expected is None:
        assert answer is None
        return
    assert answer is not None
    assert (answer.smallest.capacity_bits, answer.chip.core_count) == expected
    assert answer.smallest.status is Status.OPTIMAL
    assert answer.smallest.is_unique
    assert sum(core.capacity_bits for core in answer.chip.cores) == expected[0]
    assert check(answer.chip) == ()
    for result in answer.results:
        assert result.solution is not None
        assert result.chip == answer.chip


def test_the_instances_are_mixed() -> None:
    answers = [found(*instance(seed)[:2]) for seed in range(40)]
    placed = [answer for answer in answers if answer is not None]
    assert 5 < len(placed) < 38
    assert any(is_divided(result) for answer in placed for result in answer.results)
    answers = [found(*sensing_instance(seed)[:2]) for seed in range(40)]
    placed = [answer for answer in answers if answer is not None]
    assert 5 < len(placed) < 38
    results = [result for answer in placed for result in answer.results]
    assert sum(map(is_divided, results)) > 5
    assert sum(len(result.networks) > 1 for result in results) > 3
    made = {
        trait for result in results for trait in traits(result.networks, result.networks, result.require())
    }
    assert {"relay of sensor", "relay of layer", "relay shared by networks", "stage pools", "pieces"} <= made
    layers = (layer for result in results for network in result.networks for layer in network.layers)
    assert any(max(getattr(layer.operation, "kernel", (0, 0))) > 3 for layer in layers), "no pool was folded"


def test_idle_cores_are_among_the_instances() -> None:
    """More cores than any network takes, and cores that hold nothing, taken in turns and together."""
    roomy = [(request, found(networks, request)) for networks, request, _ in map(roomy_instance, range(24))]
    idle = [
        request.together
        for request, answer in roomy
        if answer is not None and any(core.kernel_words == 16 for core in answer.chip.cores)
    ]
    assert len(idle) > 5
    assert set(idle) == {True, False}


def is_divided(result: Result) -> bool:
    """Whether more cores are taken than there are layers."""
    return len(result.require().placements) > sum(len(network.layers) for network in result.networks)


def test_pieces_that_no_cover_needs() -> None:
    """Against enumeration of covers: a size is of use if some cover without a superfluous piece has it."""
    for features, most in product((5, 6, 8, 12), (1, 2, 3)):
        row = (1, 2, 4, 8, features)
        covers = (
            cover
            for count in range(1, most + 1)
            for cover in combinations_with_replacement(sorted({min(n, features) for n in row}), count)
            if sum(cover) >= features and sum(cover) - min(cover) < features
        )
        needed = {size for cover in covers for size in cover}
        kept = {n for n in _useful(tuple(min(n, features) for n in row), features, most) if n}
        assert needed <= kept
        assert min(kept) >= min(needed)


def five() -> list[NormalNetwork]:
    names = ("aquatic_qat", "gesture_small", "sinabs_dvs_gesture_9layer", "lens_vpr")
    return [prepare(load_network(ZOO / f"{name}.yaml")) for name in names]


def request_for(cores: tuple[int, int] = (1, 9), **changes: object) -> Request:
    base = load("speck2f")
    plain = Request(base, cores, default_sizes(base), (base.routing.fan_out,) * 2)
    return replace(plain, **changes)  # type: ignore[arg-type]  # fields of Request


@pytest.mark.no_cover
def test_the_same_chip_on_every_run() -> None:
    networks, texts = five(), set()
    for order, workers, seed in ((networks, 1, 0), (networks[::-1], 1, 7), (networks, 2, 3)):
        options = SolveOptions(repairs=0, workers=workers, seed=seed)
        answer = synthesize(order, request_for(options=options))
        assert answer.smallest.is_unique
        texts.add(chip_toml(answer.chip) + json.dumps(synthesis_record(answer, None)))
    assert len(texts) == 1


def test_the_file_is_the_chip(tmp_path: Path) -> None:
    answer = synthesize(five(), request_for())
    path = tmp_path / "made.toml"
    path.write_text(chip_toml(answer.chip), encoding="utf-8")
    assert load(path) == answer.chip
    assert load(path).content_hash() == answer.chip.content_hash()
    assert {note.evidence for note in answer.chip.sources.values()} == {"assumed"}
    assert all("synthesized for aquatic_qat" in note.source for note in answer.chip.sources.values())
    for name in answer.carried:
        assert run(["check", str(ZOO / f"{name}.yaml"), "--chip", str(path)]) == 0


def test_fewest_destinations() -> None:
    chained = chain([conv(4), conv(4)], name="chained")
    assert synthesize([chained], request_for(fan_out=(1, 3))).fan_out == 1
    around = graph([conv(4), conv(4), conv(4)], [Link(-1, 0), Link(0, 1), Link(1, 2), Link(0, 2)])
    answer = synthesize([around], request_for(fan_out=(1, 3)))
    assert answer.fan_out == 2
    assert {core.fan_out for core in answer.chip.cores} == {2}


def test_limits_and_wrong_requests() -> None:
    with pytest.raises(UndecidedError):
        synthesize(five(), request_for(options=SolveOptions(repairs=0, work_limit=1e-9)))
    with pytest.raises(OptionsError, match="cores differ in limits"):
        synthesize(five(), request_for(base=load("speck2f", ["core[3].limits.kernel_size_max=8"])))
    with pytest.raises(OptionsError, match=r"1\.\.64"):
        synthesize(five(), request_for((1, 65)))
    with pytest.raises(OptionsError, match="at least one"):
        synthesize([], request_for())


def test_the_command(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "made"
    words = ["synthesize", "digits", str(ZOO / "aquatic_qat.yaml"), "--cores", "4..6", "--curves"]
    assert run([*words, "--out", str(out), "--plot", str(tmp_path / "p.svg"), "--name", "next"]) == 0
    text = capsys.readouterr().out
    assert "proven least" in text
    assert "placed and checked on it" in " ".join(text.split())
    record = json.loads((out / "synthesis.json").read_text(encoding="utf-8"))
    assert record["networks"] == ["aquatic_qat", "digits"]
    assert record["proven"] is True
    assert (out / "cores.csv").exists()
    assert run(["chips", "check", str(out / "next.toml")]) == 0
    capsys.readouterr()
    assert run(["solve", "digits", "--chip", str(out / "next.toml")]) == 0
    assert run([*words, "--json"]) == 0
    assert run([*words, "--together", "--minimise", "cores"]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--cores", "9..5"],
            "--cores: is the wrong way round: the least comes first (got 9..5). Write --cores 5..9",
        ),
        (["--fan-out", "many"], "--fan-out"),
        (["--kernel-words", "3..3"], "no power of two"),
        (["--neuron-words", "1..64Mi"], "--neuron-words"),
        (["--bias-words", "none"], "--bias-words"),
        (["--name", "a/b"], "--name"),
        (["--extends", "speck9"], "no chip or device"),
        (["--plot", "curve.pdf"], ".png, .svg"),
        (["--minimise", "watts"], "minimise"),
    ],
)
def test_wrong_input(words: list[str], told: str, capsys: Capture) -> None:
    cores = [] if "--cores" in words else ["--cores", "4"]
    assert run(["synthesize", "digits", *cores, *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("words", ["1Mi..1M", "1024Ki..1024 KiB", "1048576"])
def test_sizes_in_the_spellings_of_people(words: str, capsys: Capture) -> None:
    assert run(["synthesize", "digits", "--cores", "4", "--kernel-words", words, "--bias-words", "0"]) == 0
    assert " 1048576 " in capsys.readouterr().out


def test_every_network_that_cannot_be_read_is_named(capsys: Capture) -> None:
    assert run(["synthesize", "digits", str(ZOO / "sinabs_lenet5_tutorial.yaml"), "nowhere.yaml"]) == 2
    told = capsys.readouterr().err
    assert "sinabs_lenet5_tutorial.yaml: layers layer3 and layer7, each: max pooling" in told
    assert "nowhere.yaml" in told


def test_no_chip_is_large_enough(capsys: Capture) -> None:
    assert run(["synthesize", "digits", "--cores", "3"]) == 1
    assert "4 layers need as many cores" in capsys.readouterr().err


def test_a_chip_that_does_not_hold_its_networks_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def smaller(base: ChipSpec, types: Sequence[object], *rest: object) -> ChipSpec:
        return chip_of(base, list(types)[:-1] if "synthesized" in str(rest) else types, *rest)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(module, "chip_of", smaller)
    assert run(["synthesize", "digits", "--cores", "4"]) == 4
    assert "does not fit the chip that was synthesized for it" in capsys.readouterr().err
