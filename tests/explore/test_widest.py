"""The widest network against a search through every size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.cli.entry import run
from mapper.edits import apply_edits
from mapper.errors import InfeasibleError, MapperError, OptionsError
from mapper.explore.widest import What, Widest, find_widest, steps_of
from mapper.network import Input, Output
from mapper.normal_form import NormalNetwork
from mapper.operations import Convolution, Shape
from mapper.options import SolveOptions
from mapper.question import Question, decide, fits
from mapper.reasons import Status
from mapper.report.synthesis import widest_lines
from tests.builders import chain, conv, tiny_chip
from tests.graphs import Link, graph

ZOO = Path(__file__).resolve().parent.parent / "data" / "zoo"
Capture = pytest.CaptureFixture[str]
SMALL_LIMITS = ("limits.input_features_max=24", "limits.output_features_max=24")


def instance(seed: int) -> tuple[NormalNetwork, ChipSpec, SolveOptions]:
    draw = np.random.default_rng(seed)
    count = int(draw.integers(2, 4))
    kinds = [conv(int(draw.choice([2, 3, 4, 6])), int(draw.choice([1, 3]))) for _ in range(count)]
    links = [Link(n - 1, n, int(draw.choice([1, 2])) if n else 1) for n in range(count)]
    if count == 3 and draw.integers(2):
        links.append(Link(0, 2, links[1].pooling * links[2].pooling))
        kinds[1] = replace(kinds[1], out_features=kinds[0].out_features)
    cores = [
        (1 << int(draw.integers(6, 12)), 1 << int(draw.integers(6, 12)), 16)
        for _ in range(count + int(draw.integers(0, 4)))
    ]
    chip = tiny_chip(*cores, overrides=[*SMALL_LIMITS, f"routing.fan_out={int(draw.integers(1, 4))}"])
    options = SolveOptions(
        repairs=0, relays=bool(draw.integers(3)), max_pieces=None if draw.integers(3) else 1
    )
    return graph(kinds, links, (2, 8, 8)), chip, options


def pooled_instance(seed: int) -> tuple[NormalNetwork, ChipSpec, SolveOptions]:
    """A layer behind a pool of 8, and sometimes another: it is folded, or relayed, or neither."""
    draw = np.random.default_rng(seed)
    kinds = [
        conv(int(draw.choice([2, 3, 4])), int(draw.choice([1, 3]))) for _ in range(int(draw.integers(2, 4)))
    ]
    links = [Link(-1, 0), Link(0, 1, 8), *([Link(0, 2, int(draw.choice([2, 8])))] if len(kinds) > 2 else [])]
    ends = [(n, 1) for n in range(1, len(kinds))]
    cores = [
        (1 << int(draw.integers(5, 11)), 1 << int(draw.integers(7, 12)), 16)
        for _ in range(len(kinds) + int(draw.integers(0, 3)))
    ]
    limits = [f"limits.{name}_features_max=24" for name in ("input", "output")]
    limits += [f"limits.{name}_{axis}_max=24" for name in ("input", "output") for axis in ("height", "width")]
    stage = [f"input.{axis}=24" for axis in ("height", "width")]
    chip = tiny_chip(*cores, overrides=[*limits, *stage, f"routing.fan_out={int(draw.integers(1, 4))}"])
    return (
        graph(kinds, links, (2, 16, 16), ends),
        chip,
        SolveOptions(repairs=0, relays=bool(draw.integers(4))),
    )


def linear(network: NormalNetwork, chip: ChipSpec, options: SolveOptions, what: What) -> str | None:
    """The largest size that fits: all above it are tried, the largest first, and refused."""
    for step in reversed(steps_of(network, chip, what, None)[0]):
        try:
            edited = apply_edits(network, step.edits)
        except MapperError:
            continue
        question = Question((edited,), chip, options)
        # A refusal is the same proof with and without its reasons; what is accepted is placed and checked.
        if fits(question) is not False and decide(question, "reasons").solution is not None:
            return step.size
    return None


def answer(network: NormalNetwork, chip: ChipSpec, options: SolveOptions, what: What) -> Widest | None:
    try:
        return find_widest(network, chip, what, options)
    except InfeasibleError:
        return None


@pytest.mark.no_cover
@pytest.mark.parametrize("what", ["width", "input", "classes"])
@pytest.mark.parametrize("seed", range(6))
def test_same_as_a_search_through_every_size(seed: int, what: What) -> None:
    network, chip, options = instance(seed)
    widest = answer(network, chip, options, what)
    assert (widest.size if widest else None) == linear(network, chip, options, what)
    if widest is None:
        return
    assert widest.result.solution is not None
    assert (widest.reason is None) == (widest.next_size is None)
    assert widest.is_monotone == (what != "input")
    assert list(widest_lines(widest))


@pytest.mark.no_cover
@pytest.mark.parametrize("what", ["width", "input", "classes"])
def test_the_step_after_the_answer_is_refused(what: What) -> None:
    refused = divided = folded = 0
    for seed in range(24):
        network, chip, options = pooled_instance(seed)
        if what == "classes":
            network = network.replacing(outputs=network.outputs[:1])
        found = answer(network, chip, options, what)
        steps = steps_of(network, chip, what, None)[0]
        names = [step.size for step in steps]
        first = names.index(found.size) if found else -1
        if found is not None:
            edited = apply_edits(network, steps[first].edits)
            result = decide(Question((edited,), chip, options), "reasons")
            assert result.solution is not None, seed
            divided += len(result.solution.placements) > len(network.layers)
            kernels = [getattr(layer.operation, "kernel", (0, 0)) for layer in result.networks[0].layers]
            folded += max(map(max, kernels)) > 3
        for step in steps[first + 1 :]:
            try:
                larger = apply_edits(network, step.edits)
            except MapperError:
                continue
            assert decide(Question((larger,), chip, options), "reasons").status is Status.INFEASIBLE, seed
            assert found is None or found.next_size == step.size, seed
            refused += found is not None
            break
    assert min(refused, divided, folded) > 1


def test_the_binding_resource_is_named() -> None:
    network = chain([conv(4), conv(4)], (2, 8, 8))
    chip = tiny_chip((128, 512, 0), (1024, 512, 0))
    widest = find_widest(network, chip, "classes", SolveOptions(max_pieces=1, relays=False, max_copies=1))
    assert (widest.size, widest.now, widest.next_size) == ("8", "4", "9")
    assert widest.binding is not None
    assert widest.binding.layers == ("conv1",)
    assert (widest.binding.code, widest.binding.demand, widest.binding.bound) == ("M202", 576, 512)
    wide = find_widest(network, chip, "width", SolveOptions(max_pieces=1, relays=False, max_copies=1))
    assert wide.binding is not None
    assert wide.binding.layers == ("conv0",)
    assert "conv0" in str(wide.reason)


def test_widths_of_added_layers_change_together() -> None:
    links = [Link(-1, 0), Link(0, 1), Link(1, 2), Link(0, 2), Link(2, 3)]
    network = graph([conv(4), conv(4), conv(4), conv(3)], links, (2, 8, 8))
    widest = find_widest(network, tiny_chip(*[(4096, 1024, 0)] * 5))
    sizes = {layer.name: layer.output_shape.features for layer in widest.edited.layers}
    assert sizes["conv0"] == sizes["conv1"] > 4
    assert sizes["conv3"] == 3


def test_a_kernel_over_the_whole_map_makes_sizes_not_monotone() -> None:
    """Where maps are not square a whole-map kernel is square for some sizes alone."""
    network = chain([conv(4), Convolution(5, (8, 7))], (2, 8, 7))
    chip = tiny_chip(
        *[(4096, 4096, 0)] * 3, overrides=["limits.input_height_max=20", "limits.input_width_max=20"]
    )
    options = SolveOptions(repairs=0)
    widest = find_widest(network, chip, "input", options)
    assert widest.size == linear(network, chip, options, "input")
    assert not widest.is_monotone


def test_what_follows_a_size_and_the_rule_at_the_end_are_named(capsys: Capture) -> None:
    assert run(["widest", str(ZOO / "thesis_rnn2c_cyberzoo.yaml"), "--what", "input"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "sizes: input 180x180 -> 128x128, kernel of layer14 23x23 -> 16x16" in told
    assert "input map (M101): a core reads 128 pixels a side at most" in told
    assert "(limits.input_height_max and limits.input_width_max)" in told
    network = chain([conv(1), conv(2)], (1, 8, 8))
    large = [f"{name}=1024Ki" for name in ("core[0..8].neuron_words", "core[0..8].kernel_words")]
    chip = load("speck2f", [*large, "limits.input_features_max=16", "limits.output_features_max=16"])
    widest = find_widest(network, chip)
    assert widest.reason is None
    assert widest.end == "features (M103): a core reads 16 at most (limits.input_features_max)"


def test_what_cannot_be_asked() -> None:
    single = chain([conv(4)], (2, 8, 8))
    chip = tiny_chip(*[(4096, 4096, 0)] * 3)
    with pytest.raises(OptionsError, match="no layer's features are free"):
        find_widest(single, chip)
    two = single.replacing(inputs=(*single.inputs, Input("other", Shape(2, 8, 8))))
    with pytest.raises(OptionsError, match="several inputs"):
        find_widest(two, chip, "input")
    with pytest.raises(OptionsError, match="no such output layer"):
        find_widest(single, chip, "classes", name="nowhere")
    pair = chain([conv(4), conv(4)], (2, 8, 8))
    shown = pair.replacing(outputs=(*pair.outputs, Output("early", "conv0")))
    with pytest.raises(OptionsError, match="several output layers"):
        find_widest(shown, chip, "classes")
    assert find_widest(shown, chip, "classes", name="conv1").size
    with pytest.raises(InfeasibleError):
        find_widest(pair, tiny_chip((1, 1, 0), (1, 1, 0)))


def test_the_command(capsys: Capture) -> None:
    assert run(["widest", "digits", "--what", "width"]) == 0
    assert "next step" in capsys.readouterr().out
    gesture = str(ZOO / "sinabs_dvs_gesture_9layer.yaml")
    assert run(["widest", gesture, "--what", "classes", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["largest"] == "128"
    assert record["binding"]["layers"] == ["layer24"]
    assert run(["widest", gesture, "--chip", "speck2cmini"]) == 1
    assert "9 layers need as many cores" in capsys.readouterr().err
    assert run(["widest", "digits", "--what", "depth"]) == 2
    assert run(["widest", "digits", "--output", "fc"]) == 2
    assert "--output: goes with --what classes alone" in capsys.readouterr().err
    assert run(["widest", "digits", "--what", "classes", "--output", "conv9"]) == 2
    assert "fc" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["--work-limit", "--time-limit"])
@pytest.mark.parametrize("command", ["widest", "verify"])
def test_limits_end_the_search(command: str, limit: str, capsys: Capture) -> None:
    gesture = str(ZOO / "sinabs_dvs_gesture_9layer.yaml")
    assert run([command, gesture if command == "widest" else "digits", limit, "1e-6"]) == 3
    assert f"the {limit[2:].replace('-', ' ')} of 1e-06" in capsys.readouterr().err
