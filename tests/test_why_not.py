"""Why-not as users see it: the zoo, single kinds of repair, rules by code."""

from __future__ import annotations

import ast
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import mapper
from hwspec.catalog import load
from hwspec.schema import ChipSpec
from mapper.cli.entry import run
from mapper.edits import Edit, apply_edits
from mapper.network import Edge, Network
from mapper.operations import Convolution, Pool, shape_after
from mapper.reasons import FeasibilityReport
from mapper.repairs.find import KINDS
from mapper.report.rules import rules_page
from mapper.rules import Rule
from tests.builders import UNDIVIDED, chain, conv, gesture, pool

ROOT = Path(__file__).resolve().parent
ZOO = ROOT / "data" / "zoo"
# Max pooling, a pool larger than its map, a last layer without neurons: no chip of the family has these.
REFUSED = ("sinabs_lenet5_tutorial", "retina_snn_128", "sinabs_missing_last_spike")


def report_of(network: object, chip: str | ChipSpec = "speck2f", **options: object) -> FeasibilityReport:
    report = mapper.check(network, chip, **options).report
    assert report is not None
    return report


def kinds(report: FeasibilityReport) -> set[str]:
    return {repair.kind for repair in report.repairs}


@pytest.mark.parametrize(
    ("name", "codes", "repairs", "untried"),
    [
        ("silicon_ceiling_9bn", {"M201", "M202"}, {"memory", "width", "several"}, {"memory_and_cores"}),
        ("sinabs_complex_dummy4_old", {"M108"}, {"legal_values"}, set()),
        ("sinabs_too_large", {"M103", "M201", "M202"}, {"features"}, {"legal_values"}),
        # Its maps of 90x90 are no obstacle (M102): their rows and columns become features.
        ("thesis_rnn2c_cyberzoo", {"M101", "M104", "M201", "M202"}, {"input_size"}, {"legal_values"}),
    ],
)
def test_the_infeasible_networks_of_the_zoo(
    name: str, codes: set[str], repairs: set[str], untried: set[str]
) -> None:
    report = report_of(ZOO / f"{name}.yaml", repairs=20)
    assert {entry.code for entry in report.unmet} >= codes
    assert report.conflict is not None
    assert report.conflict.irreducible
    assert report.correction is not None
    assert kinds(report) == repairs
    tried = kinds(report) | set(report.repairs_missing)
    # Nothing was requested, and what simpler kinds mend is not mended by several changes.
    assert tried == set(KINDS) - {"request", "bandwidth"} - untried


@pytest.mark.no_cover
def test_without_limits_the_search_for_repairs_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ZOO / "silicon_ceiling_9bn.yaml"
    whole = report_of(path, repairs=20)
    assert report_of(path, repairs=20, time_limit_s=600).repairs == whole.repairs
    monkeypatch.setattr("mapper.repairs.find._EFFORT", 0.01)
    short = [report_of(path, repairs=20, workers=workers) for workers in (1, 2)]
    assert short[0] == short[1]
    assert len(short[0].cut_short) == 1
    assert "kernel" in short[0].cut_short[0]
    assert "own limit of this search" in short[0].cut_short[0]
    assert kinds(short[0]) == {"memory", "width"}
    assert set(short[0].repairs_missing) < set(whole.repairs_missing)
    assert report_of(path, repairs=20, work_limit=600).repairs == whole.repairs


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.yaml")), ids=lambda path: path.stem)
def test_five_cores_are_explained(path: Path) -> None:
    """On the smallest chip every zoo network fits, is refused by name, or has a conflict and a way out."""
    if path.stem in REFUSED:
        with pytest.raises(mapper.NetworkError, match="layer"):
            mapper.check(path, "speck2cmini")
        return
    report = mapper.check(path, "speck2cmini").report
    if report is None:
        return
    assert report.conflict is not None
    assert report.conflict.irreducible
    structural = report.nature == "structural"
    too_many = any(entry.code == "M302" for entry in report.unmet)
    assert report.repairs or (structural and too_many and report.repairs_missing)


def test_missing_output_neurons_are_tried_before_they_are_offered() -> None:
    with pytest.raises(mapper.NetworkError, match=r"add_output_neuron=1\.0 .* fits speck2f \(tried\)"):
        mapper.check(ZOO / "sinabs_missing_last_spike.yaml")
    assert mapper.check(ZOO / "sinabs_missing_last_spike.yaml", add_output_neuron=1.0).solution


def test_requests_are_withdrawn() -> None:
    blocked = report_of(gesture(), forbidden_cores=(8,), repairs=9)
    assert ("request", (8,)) in {(r.kind, r.allowed_cores) for r in blocked.repairs}
    pinned = report_of(gesture(), pins={"conv0": 8}, repairs=9)
    assert ("request", ("conv0",)) in {(r.kind, r.dropped_pins) for r in pinned.repairs}
    assert pinned.repairs[0].sentence == "Unpin conv0 (core 8)."
    assert any(entry.sentence.endswith(" of core 8, to which it is pinned.") for entry in pinned.unmet)


def test_no_more_requests_are_withdrawn_than_stand_in_the_way() -> None:
    """`digits` takes four cores: of nine that are forbidden four are asked for, and no pin with them."""
    report = report_of("digits", forbidden_cores=tuple(range(9)), repairs=9)
    (allowed,) = (r for r in report.repairs if r.kind == "request")
    assert (allowed.sentence, allowed.allowed_cores) == ("Allow cores 0..3.", (0, 1, 2, 3))
    forbidden, pins = range(1, 9), {"conv1": 0}
    report = report_of("digits", forbidden_cores=tuple(forbidden), pins=pins, repairs=9)
    (allowed,) = (r for r in report.repairs if r.kind == "request")
    assert (len(allowed.allowed_cores), allowed.dropped_pins) == (3, ())
    for kept in allowed.allowed_cores:
        fewer = tuple(core for core in forbidden if core == kept or core not in allowed.allowed_cores)
        assert mapper.check("digits", forbidden_cores=fewer, pins=pins, repairs=0).solution is None


def test_a_map_above_a_power_of_two_is_named() -> None:
    network = chain([conv(64, 3, padding=(1, 1)), conv(4)], (2, 33, 33))
    report = report_of(network, repairs=9, **UNDIVIDED)
    told = {repair.kind: repair.sentence for repair in report.repairs}
    assert told["input_size"].startswith("input: 32x32 pixels instead of 33x33")
    assert "conv0's map of 33x33 takes 4096 words a feature, for 1089 neurons" in told["input_size"]
    assert told["padding"].startswith("conv0: padding 0x0 instead of 1x1")
    assert told["features"] == "conv0: 16 features instead of 64."
    assert told["stride"] == "conv0: stride 2x2 instead of 1x1."


def test_kernels_pools_fan_out_and_the_sensor() -> None:
    large = report_of(chain([conv(8, 17), conv(4)], (2, 32, 32)), repairs=9)
    assert "conv0: kernel 16x16 instead of 17x17" in " ".join(r.sentence for r in large.repairs)
    base = chain([conv(4)] * 4, (2, 16, 16))
    more = Edge("conv0", "conv2"), Edge("conv0", "conv3")
    wide = report_of(base.replacing(edges=(*base.edges, *more)), repairs=9, **UNDIVIDED)
    assert {r.sentence for r in wide.repairs} == {"Cores with 3 destinations instead of 2."}
    sensor = chain([conv(4)] * 3, (2, 16, 16), dvs=True)
    stage = report_of(all_from_the_input(sensor), repairs=9, **UNDIVIDED)
    assert "A sensor stage with 3 destinations instead of 2." in {r.sentence for r in stage.repairs}


def all_from_the_input(network: Network) -> Network:
    """Every layer reads the sensor alone; only the last one is an output."""
    edges = tuple(Edge("input", layer.name) for layer in network.layers)
    layers = tuple(
        type(layer)(layer.name, network.inputs[0].shape, layer.operation) for layer in network.layers
    )
    return network.replacing(layers=layers, edges=edges)


def test_edits_carry_their_consequences() -> None:
    base = chain([conv(8), conv(8), conv(4)], (2, 16, 16), (1, 2))
    added = base.replacing(edges=(*base.edges, Edge("conv0", "conv2", pool(2))))
    narrow = apply_edits(added, [Edit("conv0", "features", 5)])
    assert [layer.operation.out_features for layer in narrow.layers] == [5, 5, 4]
    assert narrow.layers[2].input_shape == (5, 8, 8)
    small = apply_edits(added, [Edit("input", "input_size", (12, 10))])
    assert small.layers[2].input_shape == (8, 6, 5)
    pooled = apply_edits(base, [Edit("conv1", "pooling", (4, 4))])
    assert pooled.layers[2].input_shape == (8, 4, 4)
    last = chain([conv(8), Convolution(10, (16, 16))], (2, 16, 16))
    followed = apply_edits(last, [Edit("conv0", "stride", (2, 2))]).layers[1].operation
    assert isinstance(followed, Convolution)
    assert followed.kernel == (8, 8)
    with pytest.raises(mapper.NetworkError, match="no layer or input"):
        apply_edits(base, [Edit("nothing", "features", 1)])
    with pytest.raises(mapper.NetworkError, match="leaves nothing"):
        apply_edits(base, [Edit("input", "input_size", (1, 1))])


def test_a_repair_names_every_size_that_follows() -> None:
    (repair,) = report_of(ZOO / "thesis_rnn2c_cyberzoo.yaml").repairs
    assert repair.sentence.startswith("input: 128x128 pixels instead of 180x180")
    assert repair.sentence.endswith(", and the kernel of layer14 becomes 16x16.")
    assert [(change.name, change.field, change.after) for change in repair.sizes] == [
        ("input", "input_size", (128, 128)),
        ("layer14", "kernel", (16, 16)),
    ]


def test_concatenations_close_the_gap() -> None:
    base = chain([conv(6), conv(4), conv(3)], (2, 8, 8))
    layers = (
        *base.layers[:2],
        type(base.layers[2])(
            "conv2", base.layers[2].input_shape._replace(features=10), base.layers[2].operation
        ),
    )
    edges = (*base.edges[:2], Edge("conv0", "conv2"), Edge("conv1", "conv2", feature_offset=6))
    joined = base.replacing(layers=layers, edges=edges)
    narrow = apply_edits(joined, [Edit("conv0", "features", 2)])
    assert narrow.edges[-1].feature_offset == 2
    assert narrow.layers[2].input_shape.features == 6


def test_the_rules_page_is_what_the_rules_say(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT.parent / "mapper" / "guide" / "rules.md").read_text(encoding="utf-8")
    assert page == rules_page()
    assert run(["explain", "--page"]) == 0
    assert capsys.readouterr().out == page
    for rule in Rule:
        assert run(["explain", rule.code.lower()]) == 0
        text = capsys.readouterr().out
        assert rule.value.statement in text
        assert rule.value.ways_out in text
    assert run(["explain"]) == 0
    assert capsys.readouterr().out.count("\n") == len(Rule)
    assert run(["explain", "M999"]) == 2
    assert "M999" in capsys.readouterr().err


def test_repairs_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(ZOO / "silicon_ceiling_9bn.yaml")
    assert run(["check", path, "--chip", "speck2f", "--repairs", "1", "--repair", "chip", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)["report"]
    assert [repair["kind"] for repair in record["repairs"]] == ["memory"]
    overrides = record["repairs"][0]["overrides"]
    words = [word for override in overrides for word in ("--set", override)]
    assert run(["check", path, "--chip", "speck2f", *words]) == 0
    capsys.readouterr()
    assert run(["check", path, "--chip", "speck2f", "--repairs", "0"]) == 1
    text = capsys.readouterr().out
    assert "repairs" not in text
    assert "smallest conflict: layer0 cannot be placed" in " ".join(text.split())
    assert run(["check", path, "--repairs", "101"]) == 2


def test_a_pool_that_only_skips_is_a_pool() -> None:
    skipping = (Pool("sum", (1, 1), (2, 2)),)
    entry = chain([conv(4, 16, padding=(0, 0))], (2, 40, 40), input_path=skipping)
    assert "M110" in {unmet.code for unmet in report_of(entry).unmet}
    base = chain([conv(4), conv(4, 16, padding=(0, 0))], (2, 40, 40))
    layer = base.layers[1]
    target = type(layer)(layer.name, layer.input_shape._replace(height=20, width=20), layer.operation)
    edges = (base.edges[0], Edge("conv0", "conv1", skipping))
    inner = base.replacing(layers=(base.layers[0], target), edges=edges)
    assert "M108" in {unmet.code for unmet in report_of(inner).unmet}


def test_layers_of_several_networks_are_told_apart_in_every_fault() -> None:
    zoo = [ZOO / f"{name}.yaml" for name in ("sinabs_smart_door", "gesture_small", "lens_vpr")]
    report = report_of(zoo, relays=False, repairs=0)
    assert all(":" in layer for entry in report.unmet for layer in entry.layers)
    sensor = next(entry for entry in report.unmet if entry.code == "M402")
    assert sensor.sentence.startswith("sinabs_smart_door:layer0, gesture_small:layer0 and lens_vpr:layer0: ")
    networks = [chain([conv(4)], name="one"), chain([conv(4)], name="two")]
    chip = load("speck2f", ["monitor.cores_max=1", "readout.classes_max=2"])
    faults = report_of(networks, chip, monitors=("one:conv0", "two:conv0"), readout="two:conv0", repairs=0)
    named = {layer for entry in faults.unmet for layer in entry.layers}
    assert {"one:conv0", "two:conv0"} <= named
    assert "conv0" not in named


def test_that_no_relay_has_the_map_of_the_sensor_is_said() -> None:
    def said(size: int, features: int) -> str:
        first = conv(features, stride=(size // 32, size // 32))
        networks = [chain([first], (2, size, size), dvs=True, name=name) for name in "abc"]
        divided = report_of(networks, load("speck2f", ["input.fan_out=1"]), repairs=0).divided
        assert divided is not None
        return divided.sentence

    assert "no relay has a map of 128x128 as it is" in said(128, 4)
    # At 64x64 relays are tried, and there are too few cores for these.
    assert "no relay has" not in said(64, 4096)


def test_a_misfit_by_memory_alone_is_one_of_capacity() -> None:
    # Every layer would fit in pieces, but for the destinations of the sensor that the pieces take.
    changes = [
        f"core[0..8].neuron_words={14 * 4096}",
        "core[0..8].kernel_words=128Ki",
        "+core[9..40]=core[8]",
    ]
    network, chip = ZOO / "silicon_ceiling_9bn.yaml", load("speck2f", changes)
    # A relay of the sensor's phases would have them.
    report = report_of(network, chip, rewrites=False, repairs=0)
    assert {entry.code for entry in report.unmet} == {"M202", Rule.MOVES.code}
    assert report.divided is not None
    assert "M402" in report.divided.sentence
    assert report.nature == "capacity"


def test_more_bandwidth_is_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = tmp_path / "rates.json"
    rates.write_text('{"schema_version": 1, "spikes_per_second": {"input": 1000000, "conv1": 1000000}}')
    words = ["solve", "digits", "--traffic", str(rates), "--set"]
    assert run([*words, "core[0..8].synops_per_second=1000000"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "conv1 takes at most 72000000 SynOps/s (1000000 spikes/s x 8 features" in told
    value = re.search(r"Cores with (\d+) SynOps/s instead of 1000000\.", told)
    assert value
    assert 36_000_000 < int(value[1]) < 144_000_000
    assert run([*words, f"core[0..8].synops_per_second={value[1]}"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "conv1 is cut over cores" in told
    assert "no core that is left holds it whole at this traffic" in told


def test_a_conflict_that_was_not_shrunk_is_not_called_the_smallest() -> None:
    report = report_of(ZOO / "silicon_ceiling_9bn.yaml", repairs=0)
    assert report.conflict is not None
    left = report.model_copy(update={"conflict": report.conflict.model_copy(update={"irreducible": False})})
    assert str(left).count("a conflict, perhaps not the smallest: layer0 cannot be placed") == 1
    assert "\nsmallest conflict" not in str(left)


def test_assumed_facts_of_many_cores_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "digits", "--forbid", "0,1,2,3,4,5,6", "--repairs", "0"]
    words += [word for n in range(9) for word in ("--set", f"core[{n}].kernel_words={1000 + n}")]
    assert run(words) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "monitor.cores_max, core[0..8].kernel_words (see chips show)" in told


def test_results_and_reports_print_as_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "digits"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("solver:")]
    result = mapper.solve("digits")
    printed = [line for line in str(result).splitlines() if not line.startswith("solver:")]
    assert printed == shown
    assert repr(result) == "<Result: optimal>"
    path = ZOO / "sinabs_too_large.yaml"
    assert run(["check", str(path)]) == 1
    shown = capsys.readouterr().out.splitlines()
    refused = mapper.check(path)
    assert str(refused).splitlines() == shown
    assert str(refused.report).splitlines()[1:] == shown[1:]
    assert str(refused.report).startswith("speck2f: does not fit")
    assert repr(refused.report) == "<FeasibilityReport: infeasible>"


def test_what_further_cores_would_do_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "digits", "--set", "-core[2..8]", "--repairs", "0", "--plain"]
    assert run(words) == 1
    told = " ".join(capsys.readouterr().out.split())
    found = re.search(r"As whole layers it would fit with 2 more cores like core 0: (--set \"\S+\")\.", told)
    assert found, told
    assert run([*words, *shlex.split(found[1])]) == 0
    chip = mapper.load_chip("speck2f", ["-core[2..8]"])
    report = mapper.check("digits", chip, repairs=0).report
    assert report is not None
    assert report.correction is not None
    asked = re.search(r"overrides=(\[.*\])\.", report.correction.sentence)
    assert asked
    larger = mapper.load_chip("speck2f", ["-core[2..8]", *ast.literal_eval(asked[1])])
    assert mapper.check("digits", larger).solution is not None


def test_an_overlapping_pool_without_a_legal_one_in_its_place() -> None:
    """It stays, being folded, where other values become legal."""
    network = chain([conv(8), conv(8, 1)], (2, 32, 32), [4])
    (into, out), overlapping = network.edges, (Pool("sum", (4, 4), (2, 2)),)
    second = replace(network.layers[1], input_shape=shape_after(network.layers[0].output_shape, overlapping))
    given = network.replacing(
        edges=(into, replace(out, path=overlapping)), layers=(network.layers[0], second)
    )
    report = report_of(given, load("speck2f", ["limits.output_features_max=4"]), max_pieces=1)
    assert {entry.rule for entry in report.unmet} == {"features", "moves"}
    (found,) = (repair for repair in report.repairs if repair.kind == "legal_values")
    assert {(size.name, size.field, size.after) for size in found.sizes} == {
        ("conv0", "features", 4),
        ("conv1", "features", 4),
    }


def test_moves_that_do_not_help_are_one_or_several() -> None:
    large = ZOO / "sinabs_dvs_gesture_9layer.yaml"
    told = " ".join(str(report_of(large, repairs=0, forbidden_cores=range(5, 9))).split())
    assert "Nor does space to depth help, proven." in told
    told = " ".join(
        str(report_of(ROOT.parent / "mapper/data/wide.yaml", forbidden_cores=range(9), repairs=0)).split()
    )
    assert "Nor do joint relays and fused siblings help, proven." in told


def test_narrower_layers_are_told_as_they_can_be_typed() -> None:
    def network(*features: int) -> Network:
        first, second, third, fourth = features
        return chain([conv(first), conv(second), conv(third), conv(fourth, 8), conv(10, 1)], (2, 32, 32))

    before = (32, 64, 128, 512)
    report = mapper.check(network(*before), repairs=5).report
    assert report is not None
    (told,) = [repair.sentence for repair in report.repairs if repair.kind == "width"]
    found = re.search(r"with (\d+)/(\d+) of its features, rounded down: (.*)\.$", told)
    assert found is not None, told
    after = [int(number) for number in re.findall(r"(\d+) of ", found[3])]
    assert after == [count * int(found[1]) // int(found[2]) for count in before]
    assert mapper.check(network(*after)).solution is not None
