"""Pieces, copies, relays and several networks through the public interface, on networks that people use."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.cli.entry import run
from mapper.emit.read.extract import extract
from mapper.emit.write.build import build_config
from mapper.equivalence.run import check_equivalence, random_recording
from mapper.errors import OptionsError
from mapper.frontends import load_network
from mapper.network import DvsSettings, Input, Network, Output
from mapper.operations import Convolution, Pool, Shape
from mapper.options import SolveOptions
from mapper.passes import PrepareOptions, prepare
from mapper.reasons import Status
from mapper.record import kept_cores, moved_layers, placement_record
from mapper.solution import LayerPart, Relay
from tests.builders import UNDIVIDED, chain, conv, pool, weighted
from tests.graphs import Link, graph
from tests.random_networks import random_speck_network

ZOO = Path(__file__).parent / "data" / "zoo"


def parts(result: mapper.Result, layer: str) -> list[tuple[int, int]]:
    return sorted(
        place.features
        for place in result.require().placements
        if isinstance(place.body, LayerPart) and place.body.layer == layer
    )


def zoo(name: str) -> Network:
    return prepare(load_network(ZOO / f"{name}.yaml"), PrepareOptions(add_output_neuron=1.0))


def test_layers_of_the_zoo_that_fit_no_core_are_cut() -> None:
    """Every layer of the 36 networks that only memory keeps off all cores of Speck 2f, alone on the chip."""
    cut = {}
    for path in sorted(ZOO.glob("*.yaml")):
        try:
            network = zoo(path.stem)
        except mapper.NetworkError:
            continue
        for layer in network.layers:
            alone = Network(
                layer.name,
                (Input("in", layer.input_shape),),
                (layer,),
                (network.edges[0].__class__("in", layer.name),),
                (Output("out", layer.name),),
            )
            whole = mapper.check(alone, "speck2f", repairs=0, **UNDIVIDED)
            if whole.solution is None and whole.report is not None and whole.report.nature == "capacity":
                result = mapper.check(alone, "speck2f", repairs=0)
                cut[path.stem, layer.name] = len(result.solution.placements) if result.solution else 0
    assert cut == {("silicon_ceiling_9bn", f"layer{n}"): 3 if n == 3 else 2 for n in (0, 3, 18, 21)}


def test_a_network_beyond_the_chip_fits_a_larger_one_in_pieces() -> None:
    network = zoo("silicon_ceiling_9bn")
    larger = mapper.load_chip("speck2f", ["+core[9..16]=core[0]", "+core[17..23]=core[5]"])
    assert mapper.check(network, larger, repairs=0, **UNDIVIDED).solution is None
    result = mapper.check(network, larger, repairs=0)
    assert result.status is Status.OPTIMAL
    assert len(parts(result, "layer0")) == 2
    assert len(parts(result, "layer3")) >= 3
    assert not mapper.check(network, "speck2f", repairs=0).solution


def test_the_hand_made_split_of_the_optical_flow_network_is_found_again() -> None:
    """Its authors cut stages of 16 features of 64x64 in two of 8 by hand; here they are whole again."""
    first = conv(4, 2, stride=(2, 2), padding=(0, 0))
    stages = chain([first, conv(4, 1), conv(16), conv(16)], (1, 128, 128), dvs=True)
    # The three cores with room for 16 whole features of 64x64 are taken away.
    small = mapper.load_chip("speck2f", ["core[0..2].neuron_words=32Ki"])
    assert mapper.check(stages, small, repairs=0, **UNDIVIDED).solution is None
    result = mapper.check(stages, small, repairs=0)
    assert result.status is Status.OPTIMAL
    for layer in ("conv2", "conv3"):
        assert parts(result, layer) == [(0, 8), (8, 16)]


def test_a_pooled_output_reaches_the_monitor_through_a_spare_core() -> None:
    network = chain([conv(4), conv(4)], (2, 16, 16))
    pooled = network.replacing(outputs=(Output("out", "conv1", pool(2)),))
    host = mapper.solve(pooled)
    assert [monitor.pooling_seen for monitor in host.require().monitors] == [1]
    relayed = mapper.solve(pooled, pooled_outputs="relay")
    (monitor,) = relayed.require().monitors
    body = next(p.body for p in relayed.require().placements if p.core == monitor.source)
    assert (monitor.pooling_seen, body) == (2, Relay(0, "conv1", 2))


def test_a_pooled_output_that_no_relay_shows_is_named() -> None:
    network = chain([conv(4), conv(4)], (2, 18, 18))
    pooled = network.replacing(outputs=(Output("out", "conv1", pool(3)),))
    report = mapper.check(pooled, pooled_outputs="relay", repairs=0).report
    assert report is not None
    assert "no core shows conv1 pooled by 3" in report.sentence()
    forbidden = mapper.check(pooled, pooled_outputs="relay", relays=False, repairs=0).report
    assert forbidden is not None
    assert "takes a relay" in forbidden.sentence()


def test_pools_by_8_and_three_targets_by_relay_and_by_copy() -> None:
    # A pool of 8 is folded into the kernel where that fits, else relays pool in two steps.
    deep = chain([conv(4), conv(4)], (2, 32, 32), (8,))
    assert not any(isinstance(p.body, Relay) for p in mapper.solve(deep).require().placements)
    narrow = mapper.solve(deep, mapper.load_chip("speck2f", ["core[0..8].kernel_words=128"]))
    assert [p.body.pooling for p in narrow.require().placements if isinstance(p.body, Relay)] == [2]
    assert [edge.pool.size for edge in narrow.networks[0].edges if edge.pool] == [(8, 8)]
    wide = graph(
        [conv(4), conv(4), conv(4), conv(4)],
        [Link(-1, 0), Link(0, 1), Link(0, 2), Link(0, 3)],
        outputs=[(1, 1), (2, 1), (3, 1)],
    )
    assert any(
        isinstance(p.body, Relay) for p in mapper.solve(wide, max_copies=1, fusion=False).require().placements
    )
    copied = mapper.solve(wide, relays=False, fusion=False).require()
    assert {p.body.copy_index for p in copied.placements if isinstance(p.body, LayerPart)} == {0, 1}
    refused = mapper.check(wide, repairs=0, **UNDIVIDED).report
    assert refused is not None
    assert refused.divided is None
    alone = mapper.check(wide, repairs=0, relays=False, max_copies=1, fusion=False).report
    assert alone is not None
    assert alone.divided is not None
    assert alone.divided.moves == ("pieces",)
    assert "conv0 has 2 destinations" in alone.divided.sentence


def test_a_layer_stands_as_often_as_its_readers_need() -> None:
    # The host sends to any number of cores: three copies serve six readers, where relays would take more.
    links = [Link(-1, 0), *(Link(0, n) for n in range(1, 7))]
    shapes = graph([conv(4)] * 7, links, outputs=[(n, 1) for n in range(1, 7)])
    network = prepare(weighted(shapes, np.random.default_rng(3)), PrepareOptions())
    result = mapper.solve(network, "speck2f", fusion=False)
    assert result.status is Status.OPTIMAL
    assert len(result.find_chip_layers("conv0")) == 3
    assert len(result.require().placements) == 9
    assert mapper.check(network, "speck2f", repairs=0, max_copies=2, fusion=False).status is Status.INFEASIBLE
    report = check_equivalence(result, network, random_recording(network, 0.1, 3, 1000, 0))
    assert report.is_equivalent
    assert "conv0: stands 3 times: exact in time steps" in "\n".join(report.notes)
    config = build_config(result)
    assert config.interface is not None
    assert len(config.interface.layers[0].standing) == 3
    assert extract(config).by_name.keys() == network.by_name.keys()
    by_index = mapper.solve(network, "speck2f", objective="index", fusion=False).require()
    assert len(by_index.placements) == 9


def test_a_signal_that_no_core_holds_is_relayed_piece_by_piece() -> None:
    network = graph(
        [conv(24, 1), conv(4, 1), conv(4, 1), conv(4, 1)],
        [Link(-1, 0), Link(0, 1), Link(0, 2), Link(0, 3)],
        (2, 64, 64),
        outputs=[(1, 1), (2, 1), (3, 1)],
    )
    result = mapper.solve(network, max_copies=1, fusion=False)
    relays = sorted(p.features for p in result.require().placements if isinstance(p.body, Relay))
    assert relays == parts(result, "conv0") != [(0, 24)]
    assert len(result.find_chip_layers("conv0")) == len(relays)
    with pytest.raises(OptionsError, match="find_chip_layers gives them all"):
        result.find_chip_layer("conv0")
    assert mapper.check(network, repairs=0, relays=False, max_copies=1, fusion=False).solution is None


def test_several_networks_share_a_chip() -> None:
    result = mapper.solve(["digits", "digits"], pins={"digits-2:fc": 4})
    assert [network.name for network in result.networks] == ["digits", "digits-2"]
    assert result.find_chip_layer("fc", network=1) == 4
    cores = {result.find_chip_layer(layer, network=n) for n in (0, 1) for layer in range(4)}
    assert len(cores) == 8
    for reference, message in (
        ("fc", 'Write "digits:fc" or "digits-2:fc"'),
        ("nets:fc", "no network"),
        ("digits:gc", "no layer"),
    ):
        with pytest.raises(OptionsError, match=message):
            mapper.solve(["digits", "digits"], pins={reference: 4})
    full = mapper.check(["digits", "digits", "digits"], repairs=1)
    assert full.report is not None
    assert "digits-3:conv1" in full.report.sentence()
    assert full.report.repairs


def test_two_networks_behind_one_sensor_stage() -> None:
    seen = [chain([conv(4), conv(4)], (2, 32, 32), dvs=True, name=name) for name in ("a", "b")]
    result = mapper.solve(seen)
    assert {route.slot for route in result.require().routes if route.source == "dvs"} == {0, 1}
    merged = seen[1].replacing(inputs=(Input("input", Shape(2, 32, 32), DvsSettings(mirror=(True, False))),))
    report = mapper.check([seen[0], merged], repairs=0).report
    assert report is not None
    assert "sensor stage" in report.sentence()
    third = chain([conv(4)] * 3, (2, 32, 32), dvs=True)
    edges = tuple(replace(edge, source="input") for edge in third.edges)
    layers = tuple(replace(layer, input_shape=Shape(2, 32, 32)) for layer in third.layers)
    three = mapper.solve(third.replacing(edges=edges, layers=layers), fusion=False)
    assert [p.body for p in three.require().placements if isinstance(p.body, Relay)] == [
        Relay(None, "dvs", 1)
    ]


def test_an_edited_network_stays_where_it_was() -> None:
    network = random_speck_network(1)
    kinds = [conv(16), conv(16), conv(32), conv(32)]
    network = chain(kinds, (2, 32, 32), (2, 2, 2))
    before = mapper.solve(network, pins={"conv0": 2, "conv1": 0, "conv2": 1, "conv3": 6})
    record = placement_record(before)
    again = mapper.solve(network, keep=kept_cores(record))
    assert moved_layers(record, again) == ()
    # A wider layer fits only where another one was: two move, the others stay.
    edited = chain([conv(16), conv(16), conv(64), conv(32), conv(8)], (2, 32, 32), (2, 2, 2))
    result = mapper.solve(edited, keep=kept_cores(record))
    assert {layer for layer, *_ in moved_layers(record, result)} == {"conv4"}
    stages = {stage.name: stage.value for stage in result.require().objectives}
    assert stages["layers_kept"] == 4


def test_traffic_bounds_loads_and_finds_parallel_cores() -> None:
    network = chain([conv(8), conv(8)], (2, 16, 16))
    rates = (("input", 10_000), ("conv0", 50_000))
    # conv1 makes 50,000 * 8 * 9 = 3.6e6 SynOps/s; two pieces of 4 make half of it each.
    slow = mapper.load_chip("speck2f", ["core[0..8].synops_per_second=2000000"])
    whole = mapper.check(network, slow, traffic=rates, repairs=0, **UNDIVIDED).report
    assert whole is not None
    # That pieces would do is said too, by the rule of moves.
    assert {entry.code for entry in whole.unmet} == {"M204", "M503"}
    result = mapper.solve(network, slow, traffic=rates)
    assert parts(result, "conv1") == [(0, 4), (4, 8)]
    assert parts(result, "conv0") == [(0, 8)]
    assert mapper.solve(network, traffic=rates).find_chip_layer("conv0") in (0, 1)
    balanced = mapper.solve(network, traffic=rates, objective="balance")
    (load,) = (s.value for s in balanced.require().objectives if s.name.startswith("largest_load"))
    assert load == str(50_000 * 8 * 9)
    with pytest.raises(OptionsError, match="traffic"):
        mapper.solve(network, objective="balance")
    with pytest.raises(OptionsError) as caught:
        mapper.solve(network, traffic=(("conv9", 1), ("input", -1)))
    assert len(caught.value.findings) == 2


def test_headroom_and_balance_with_pieces() -> None:
    network = chain([conv(17), conv(4)], (2, 64, 64))
    best = mapper.solve(network, objective="headroom").require()
    values = {stage.name: stage for stage in best.objectives}
    assert values["headroom"].proven
    # 17 features of 64x64 in two pieces: 9 of 16 take 9/16 of the neuron words of the large cores.
    assert values["headroom"].value == "7/16"
    rates = (("input", 1000), ("conv0", 1000))
    balanced = mapper.solve(network, objective="balance", traffic=rates).require()
    stages = {stage.name: stage for stage in balanced.objectives}
    assert stages["largest_load_synops_per_second"].value == str(1000 * 9 * 9)


@pytest.mark.parametrize("objective", ["capacity", "index"])
@pytest.mark.parametrize("seed", range(12))
def test_the_answer_does_not_depend_on_order_or_workers(seed: int, objective: Any) -> None:
    network = random_speck_network(seed)
    draw = np.random.default_rng(seed)
    layers, edges = list(network.layers), list(network.edges)
    shuffled = [edges[n] for n in draw.permutation(len(edges))]
    turned = network.replacing(
        edges=tuple(shuffled), layers=tuple(layers[n] for n in draw.permutation(len(layers)))
    )
    # Delays follow from the order of layers alone: here nothing is fed back.
    texts = set()
    for one, more in ((network, {}), (turned, {}), (network, {"workers": 4, "seed": 7})):
        result = mapper.check(one, repairs=0, objective=objective, **more)  # type: ignore[arg-type]  # options
        told = placement_record(result).model_dump(mode="json") if result.solution else str(result.report)
        if isinstance(told, dict):
            told["layers"] = [{**row, "index": 0} for row in told["layers"]]
        texts.add(json.dumps(told))
    assert len(texts) == 1


def test_a_pool_that_nothing_gives_is_named() -> None:
    report = mapper.check(zoo("sinabs_complex_dummy4_old"), repairs=0).report
    assert report is not None
    assert report.divided is not None
    assert "no destination of layer4 pools or shifts as layer9" in report.divided.sentence


def test_ctrl_c_is_pythons_after_a_solve() -> None:
    mapper.solve("digits")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_limits_end_a_divided_search() -> None:
    network = chain([conv(17)], (2, 64, 64))
    result = mapper.check(network, time_limit_s=1e-9, repairs=0)
    assert result.status in (Status.UNDECIDED, Status.FEASIBLE, Status.OPTIMAL)
    assert mapper.check(network, work_limit=1e-12, repairs=0).status is not Status.INFEASIBLE
    with pytest.raises(OptionsError) as caught:
        mapper.solve(network, options=SolveOptions(max_pieces=0, max_copies=0, pooled_outputs="maybe"))  # type: ignore[arg-type]
    assert len(caught.value.findings) == 3


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tall = tmp_path / "tall.yaml"
    tall.write_text(
        "schema_version: 1\nname: tall\ninput: {shape: [2, 64, 64]}\nlayers:\n"
        "- {name: wide, conv: {features: 17, kernel: 3, padding: 1}, from: input}\n"
    )
    assert run(["solve", str(tall), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "wide[0:16]" in told
    assert "wide is cut over cores" in told
    record = json.loads((tmp_path / "placement.json").read_text())
    assert [use["features"] for use in record["cores"] if use["layer"]] == [[0, 16], [16, 17]]
    assert run(["solve", str(tall), "--keep", str(tmp_path / "placement.json")]) == 0
    assert "moved: nothing" in capsys.readouterr().out
    # What is kept is read before it is written over.
    assert run(["solve", "digits", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    kept = ["--keep", str(tmp_path / "placement.json"), "--out", str(tmp_path)]
    assert run(["solve", "digits", *kept, "--pin", "conv1=5"]) == 0
    assert "moved: conv1 from 3 to 5" in capsys.readouterr().out
    assert run(["solve", str(tall), "--keep", str(tmp_path / "placement.json")]) == 2
    told = capsys.readouterr().err
    of = "--keep: is a placement of digits on speck2f: tall has none of its layers (got conv1, conv2, conv3, fc)"
    assert of in told
    assert "Leave it out, or name a placement of this network as it was" in told
    # Of two networks that were placed together one alone is placed, and of one two.
    both = ["solve", "digits", str(tall), "--out", str(tmp_path / "both")]
    assert run([*both, "--keep", str(tmp_path / "placement.json")]) == 0
    assert "moved: tall:wide from nowhere" in capsys.readouterr().out
    assert run(["solve", str(tall), "--keep", str(tmp_path / "both" / "placement.json")]) == 0
    assert "moved: digits:conv1 from" in (out := capsys.readouterr().out)
    assert "wide" not in out.partition("moved:")[2]
    assert run(["check", str(tall), "--max-pieces", "1", "--repairs", "0"]) == 1
    assert "M503" in run_text(["check", str(tall), "--max-pieces", "1", "--json", "--repairs", "0"], capsys)
    assert run(["solve", "digits", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["placement"]["networks"] == ["digits", "digits-2"]
    (tmp_path / "rates.json").write_text(
        '{"schema_version": 1, "spikes_per_second": {"input": -1, "fc": "x"}}'
    )
    for words, text in (
        (["--traffic", str(tmp_path / "rates.json")], "a rate must be"),
        (["--traffic", str(tall)], "is no traffic"),
        (["--traffic", str(tmp_path / "none.json")], "there is no such file"),
        (["--keep", str(tall)], "no placement"),
        (["--keep", str(tmp_path / "none.json")], "there is no such file"),
        (["--pooled-outputs", "maybe"], "maybe"),
    ):
        assert run(["solve", "digits", *words]) == 2
        assert text in capsys.readouterr().err


def run_text(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    run(words)
    return capsys.readouterr().out


def test_weights_do_not_matter_to_the_placement() -> None:
    shapes = chain([conv(17), Convolution(4, (64, 64), padding=(0, 0))], (2, 64, 64))
    assert mapper.check(shapes, repairs=0).report is not None
    network = chain([conv(17), conv(4)], (2, 64, 64))
    full = weighted(network, np.random.default_rng(0), integer=True)
    one, two = (mapper.solve(entry).require() for entry in (network, full))
    assert replace(one, objectives=()) == replace(two, objectives=())


def test_a_host_pool_is_done_by_a_relay() -> None:
    network = chain([conv(4)], (2, 17, 17), input_path=pool(2))
    result: Any = mapper.solve(network)
    assert [p.body for p in result.require().placements if isinstance(p.body, Relay)] == [
        Relay(0, "input", 1)
    ]
    assert isinstance(network.edges[0].path[0], Pool)
