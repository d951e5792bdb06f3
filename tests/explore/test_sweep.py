"""Cells: the same verdicts as one by one, margins by hand, and nothing that takes the rest with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mapper
from hwspec.variant import apply_overrides
from mapper.errors import Finding, NetworkError, OptionsError, SpecError, VerificationError
from mapper.explore import plan as plan_module
from mapper.explore.cell import CellOptions, decide
from mapper.explore.identity import facts_hash, network_hash
from mapper.explore.plan import plan_networks, plan_variants
from mapper.explore.record import Cell, ReportRecord, Settings, read_report
from mapper.explore.sweep import Place, sweep
from mapper.options import SolveOptions
from mapper.passes import prepare
from mapper.reasons import Status
from mapper.repairs.find import with_repairs
from mapper.solution import LayerPart
from mapper.solver.plain import solve_plain
from tests.builders import chain, conv, tiny_chip, weighted
from tests.explore.reports import (
    BARE,
    CHANGES,
    GESTURE,
    HERE,
    LENET,
    SMALL,
    TOO_LARGE,
    ZOO,
    bare,
    sides,
    small_report,
)

CHIPS = ("speck2f", "speck2cmini", "dynapcnn")
# Cores that hold so little have to share a layer.
HALVED = ("core[0..4].neuron_words=16384",)


def cell_of(record: ReportRecord, network: str, variant: str) -> Cell:
    n = [row.name for row in record.networks].index(network)
    v = [row.name for row in record.variants].index(variant)
    (found,) = (cell for cell in record.cells if (cell.network, cell.variant) == (n, v))
    return found


@pytest.mark.no_cover
def test_the_zoo_has_the_verdicts_of_check() -> None:
    networks, variants = sides(sorted(ZOO.glob("*.yaml")), CHIPS, HALVED)
    record = sweep(networks, variants, BARE, HERE)
    assert len(record.cells) == len(networks) * 6
    assert record.complete
    for cell in record.cells:
        planned, variant = networks[cell.network], variants[cell.variant]
        if planned.network is None:
            assert cell.verdict == "unsupported"
            assert cell.sentence == planned.row.error
            continue
        options = SolveOptions(repairs=0, objective="headroom")
        result = mapper.check(planned.network, variant.chip, options=options)
        if result.solution is None:
            assert result.report is not None
            assert (cell.verdict, cell.nature) == ("infeasible", result.report.nature)
            unmet = {entry.sentence for entry in result.report.unmet}
            rivals = {entry.sentence for entry in result.report.certificate}
            assert cell.sentence in unmet | rivals or str(cell.sentence).startswith("Cut over as few cores")
            assert result.report.conflict is not None
            assert cell.conflict is not None
            assert cell.conflict.startswith(result.report.conflict.sentence)
            continue
        bodies = [place.body for place in result.solution.placements]
        whole = len(set(bodies)) == len(planned.network.layers) and all(
            isinstance(b, LayerPart) for b in bodies
        )
        assert cell.verdict == ("plain" if whole and len(bodies) == len(set(bodies)) else "divided")
        assert cell.cores_used == len(bodies)
        assert cell.layer_cores == tuple(
            tuple(sorted(p.core for p in result.solution.placements if isinstance(p.body, LayerPart) and p.body.layer == layer.name))
            for layer in planned.network.layers
        )  # fmt: skip
    assert {cell.verdict for cell in record.cells} == {"plain", "divided", "infeasible", "unsupported"}


def test_what_stops_a_network_that_may_be_cut() -> None:
    # 8 features of 8x8 neurons are 512 words: two pieces on cores of 300, so four cores for two layers.
    network = chain([conv(8), conv(8)], (4, 8, 8))
    asked = CellOptions(SolveOptions())
    cell = decide(network, tiny_chip(*[(1000, 300, 10)] * 3), asked)
    assert cell.verdict == "infeasible"
    told = "Cut over as few cores as can hold them, its 2 layers take 4 cores, and speck2f+changes has 3."
    assert cell.sentence == told
    assert (cell.gaps[0].demand, cell.gaps[0].bound, cell.gaps[0].gap) == (4, 3, 1)
    assert (None, "cores") in cell.blamed
    assert decide(network, tiny_chip(*[(1000, 300, 10)] * 4), asked).verdict == "divided"
    whole = decide(network, tiny_chip(*[(1000, 300, 10)] * 4), CellOptions(SolveOptions(max_pieces=1, relays=False, max_copies=1)))  # fmt: skip
    assert str(whole.sentence).startswith("conv0 needs 512 neuron words")
    # One feature takes 64 words of neurons: on cores of 63 it is cut in vain.
    cell = decide(network, tiny_chip(*[(1000, 63, 10)] * 9), asked)
    assert str(cell.sentence).startswith("conv0 needs 512 neuron words")
    # Room enough for the pieces by number, but not for both layers' large ones.
    cell = decide(network, tiny_chip((2000, 512, 10), (2000, 64, 10), (2000, 64, 10)), asked)
    assert cell.verdict == "infeasible"
    assert str(cell.sentence).startswith("conv0 and conv1 each need more than 64 neuron words")
    assert str(cell.conflict).endswith("Pieces, relays and copies do not help, proven.")


@pytest.mark.parametrize("words", [256, 512, 1024, 2048, 4096])
def test_pools_that_relays_can_do(words: int) -> None:
    # Folded into kernels or passed on by a relay: the form that `mapper.solve` takes is taken here.
    network = chain([conv(8), conv(8)], (4, 32, 32), [8])
    chip = tiny_chip(*[(words, 8192, 10)] * 4)
    result = mapper.check(network, chip, repairs=0, objective="headroom")
    cores = len(result.solution.placements) if result.solution else None
    assert cores == {256: None, 512: 4, 1024: 3, 2048: 3, 4096: 2}[words]
    for details in (False, True):
        cell = decide(network, chip, CellOptions(SolveOptions(objective="headroom"), details=details))
        assert (cell.verdict == "infeasible", cell.cores_used) == (cores is None, cores)
        if cell.placement is not None:
            assert result.solution is not None
            relays = [p.core for p in result.solution.placements if not isinstance(p.body, LayerPart)]
            assert [use.core for use in cell.placement.cores if use.role == "relay"] == relays


def test_sizes_that_cannot_be_made_legal_are_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise NetworkError(Finding("layer a", "cannot be rewritten"))

    monkeypatch.setattr("mapper.question.legal_forms", refuses)
    cell = decide(chain([conv(4)]), mapper.load_chip("speck2f"), CellOptions(SolveOptions()))
    assert (cell.verdict, cell.sentence) == ("unsupported", "layer a: cannot be rewritten")


def test_margin_by_hand() -> None:
    # Two layers: 4x8x8 neurons (256 words) and 4x2^(4+2) kernels (256 words) of 300 and 1000 words.
    chip = tiny_chip((1000, 300, 10), (1000, 300, 10), (1000, 300, 10))
    network = chain([conv(4), conv(4)], (4, 8, 8))
    cell = decide(network, chip, CellOptions(SolveOptions(objective="headroom")))
    assert (cell.verdict, cell.cores_used) == ("plain", 2)
    assert cell.margin is not None
    assert (cell.margin.resource, cell.margin.used, cell.margin.offered) == ("neuron", 256, 300)
    assert cell.margin.free_share == round(44 / 300, 6)
    assert cell.used == ((0, 256, 256, 0, 1), (1, 256, 256, 0, 0))
    full = decide(network, tiny_chip((1000, 300, 10), (1000, 300, 10)), CellOptions(SolveOptions()))
    assert full.margin is not None
    assert (full.margin.resource, full.margin.core, full.margin.free_share) == ("cores", None, 0.0)


def test_margin_is_the_largest_headroom() -> None:
    record = sweep(*sides(["digits"], ["speck2f"]), BARE, HERE)
    margin = record.cells[0].margin
    stages = mapper.solve("digits", "speck2f", objective="headroom").require().objectives
    share = next(str(stage.value) for stage in stages if stage.name == "headroom")
    above, below = (int(part) for part in share.split("/"))
    assert margin is not None
    assert margin.free_share == round(above / below, 6)


def test_small_report_in_full() -> None:
    record = small_report()
    assert [row.name for row in record.variants] == ["speck2f", "speck2cmini", "speck2f+changes"]
    assert [row.is_chip for row in record.variants] == [True, True, False]
    assert len(record.notes) == 1
    assert "speck2cmini is not changed" in record.notes[0]
    placed = cell_of(record, "gesture_small", "speck2f")
    assert placed.placement is not None
    assert placed.placement.chip == "speck2f"
    assert placed.used == tuple(
        (use.core, use.kernel_words[0], use.neuron_words[0], use.bias_words[0], sum(r.source == use.core for r in placed.placement.solution.routes))
        for use in placed.placement.cores
        if use.layer is not None
    )  # fmt: skip
    # Of variants the verdict alone is kept, unless more is asked for.
    assert cell_of(record, "gesture_small", "speck2f+changes").placement is None
    refused = cell_of(record, "sinabs_dvs_gesture_9layer", "speck2cmini")
    assert (refused.verdict, refused.nature) == ("infeasible", "capacity")
    assert refused.report is not None
    assert refused.report.divided is not None
    assert refused.conflict is not None
    assert refused.report.divided.sentence in refused.conflict
    assert refused.gaps[0].gap == 4
    assert refused.repairs == refused.report.repairs != ()
    bare = cell_of(record, "sinabs_too_large", "speck2f+changes")
    assert (bare.report, bare.repairs) == (None, ())
    assert bare.conflict is not None
    assert bare.conflict.endswith("Pieces, relays and copies do not help, proven.")
    unsupported = cell_of(record, "sinabs_lenet5_tutorial", "speck2f")
    assert unsupported.verdict == "unsupported"
    assert "max pooling" in str(unsupported.sentence)


def test_repairs_make_it_fit() -> None:
    record = small_report()
    for cell in record.cells:
        for repair in cell.repairs:
            chip = apply_overrides(mapper.load_chip(record.variants[cell.variant].name), repair.overrides)
            if not repair.sizes:
                source = record.networks[cell.network].source
                assert mapper.check(source, chip, repairs=0).solution is not None
    gesture = next(s for s in record.network_summaries if record.networks[s.network].source == str(GESTURE))
    assert gesture.repair is not None
    assert gesture.repair.variant == 1
    smallest = cell_of(record, "sinabs_dvs_gesture_9layer", "speck2cmini").repairs[0]
    assert gesture.repair.repair == smallest


def test_summaries_count_what_the_cells_say() -> None:
    record = small_report()
    for variant, summary in enumerate(record.variant_summaries):
        cells = [cell for cell in record.cells if cell.variant == variant]
        assert summary.plain == sum(cell.verdict == "plain" for cell in cells)
        assert summary.infeasible == sum(cell.verdict == "infeasible" for cell in cells)
        placed = [cell for cell in cells if cell.used]
        used = {words[0] for cell in placed for words in cell.used}
        assert set(summary.unused_cores) == set(range(len(record.variants[variant].cores))) - used
        bits = [sum(8 * k + 16 * n + 16 * b for _, k, n, b, _ in cell.used) for cell in placed]
        share = sum(bits) / len(bits) / record.variants[variant].capacity_bits
        assert summary.used_share == round(share, 6)
        for use in summary.memories:
            at = ("kernel", "neuron", "bias", "fan_out").index(use.resource) + 1
            taken = [words[at] for cell in placed for words in cell.used if words[0] == use.core]
            assert use.most_used == max(taken, default=0)
    # Every core of Speck 2f holds a layer of the nine-layer network, and cutting the large one takes more.
    assert record.variant_summaries[0].cores_short == 2
    assert record.variant_summaries[0].unused_cores == ()


def test_one_failing_cell_does_not_take_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    right = solve_plain

    def breaks(problem: Any, budget: Any) -> Any:
        if problem.chip.name == "speck2cmini":
            raise ZeroDivisionError("of this test")
        return right(problem, budget)

    monkeypatch.setattr("mapper.solver.plain.solve_plain", breaks)
    record = sweep(*sides([SMALL, GESTURE], ["speck2f", "speck2cmini"]), BARE, HERE)
    assert [cell.verdict for cell in record.cells] == ["plain", "error", "plain", "error"]
    assert record.cells[1].sentence == "ZeroDivisionError: of this test"
    assert record.variant_summaries[1].error == 2
    assert not record.complete


def test_a_wrong_placement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapper.question.verify", lambda *_: ("a violation",))
    record = sweep(*sides([SMALL], ["speck2f"]), BARE, HERE)
    assert record.cells[0].verdict == "error"
    assert "independent check" in str(record.cells[0].sentence)


def test_networks_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = plan_networks([Path("nowhere.yaml"), LENET, "tests.explore.nowhere:factory"])
    assert [entry.row.layers for entry in networks] == [0, 0, 0]
    assert [entry.failure for entry in networks] == ["unsupported"] * 3
    assert networks[2].row.name == "tests.explore.nowhere:factory"

    def breaks(*_: object) -> None:
        raise RecursionError("too deep")

    def rejected(*_: object) -> None:
        raise VerificationError(("of this test",))

    monkeypatch.setattr(plan_module, "load_with_source", rejected)
    assert [entry.failure for entry in plan_networks([SMALL])] == ["error"]
    monkeypatch.setattr(plan_module, "load_with_source", breaks)
    broken = plan_networks([SMALL])
    record = sweep(broken, plan_variants(["speck2f"])[0], BARE, HERE)
    assert record.cells[0].verdict == "error"
    assert record.cells[0].sentence == record.networks[0].error == "RecursionError: too deep"


def test_a_work_limit_leaves_cells_undecided() -> None:
    settings = bare(work_limit=1e-9)
    networks, variants = sides(sorted(ZOO.glob("*.yaml")), ["speck2f"], HALVED)
    free, cut = (sweep(networks, variants, wish, HERE).cells for wish in (BARE, settings))
    verdicts = {(entry.verdict, limited.verdict) for entry, limited in zip(free, cut, strict=True)}
    # Whole layers need no search: they are placed whatever the limit.
    assert ("plain", "plain") in verdicts
    assert ("divided", "undecided") in verdicts
    assert {limited for entry, limited in verdicts if entry == "divided"} == {"undecided"}
    assert "work limit" in str(next(cell.sentence for cell in cut if cell.verdict == "undecided"))


@pytest.mark.no_cover
def test_moves_can_be_forbidden() -> None:
    settings = bare(max_pieces=1, relays=False, max_copies=1)
    networks, variants = sides(sorted(ZOO.glob("*.yaml")), ["speck2f"], HALVED)
    free, bound = (sweep(networks, variants, wish, HERE) for wish in (BARE, settings))
    divided = [cell for cell in free.cells if cell.verdict == "divided"]
    assert divided
    for cell in divided:
        (other,) = (c for c in bound.cells if (c.network, c.variant) == (cell.network, cell.variant))
        assert other.verdict == "infeasible"
        assert "do not help" not in str(other.conflict)
        assert str(other.conflict).endswith("Proven of whole layers alone.")


def test_equal_facts_share_repairs_and_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = mapper.load_chip("speck2cmini")
    twin = chip.model_copy(update={"name": "twin", "title": "the same under another name"})
    assert facts_hash(chip) == facts_hash(twin)
    calls = []
    right = with_repairs

    def counted(*arguments: Any) -> Any:
        calls.append(arguments[0].chip.name)
        return right(*arguments)

    monkeypatch.setattr("mapper.explore.cell.with_repairs", counted)
    variants, _ = plan_variants([chip, twin])
    record = sweep(plan_networks([GESTURE, SMALL]), variants, Settings(), HERE)
    assert calls == ["speck2cmini"]
    first, second, placed, same = record.cells
    assert first.repairs == second.repairs
    assert first.report is not None
    assert second.report is not None
    assert (first.report.chip, second.report.chip) == ("speck2cmini", "twin")
    assert "twin" in str(second.sentence)
    assert placed.placement is not None
    assert same.placement is not None
    assert (placed.placement.chip, same.placement.chip) == ("speck2cmini", "twin")
    assert same.placement.chip_hash == record.variants[1].chip_hash
    assert placed.used == same.used


def test_variants() -> None:
    with pytest.raises(SpecError, match="no such core"):
        plan_variants(["speck2cmini"], (), ["core[7].kernel_words=1"])
    with pytest.raises(OptionsError, match="has no chip"):
        plan_variants([])
    variants, notes = plan_variants(["speck2f", "speck2f"], [mapper.load_chip("speck2f")], CHANGES)
    assert [entry.row.name for entry in variants] == [
        "speck2f",
        "speck2f-2",
        "speck2f+changes",
        "speck2f+changes-2",
    ]
    assert notes == ()
    assert variants[2].row.overrides == CHANGES
    assert variants[0].row.capacity_bits == sum(core.capacity_bits for core in variants[0].chip.cores)


def test_networks_of_one_name_are_told_apart() -> None:
    names = [entry.row.name for entry in plan_networks([SMALL, SMALL, Path("gesture_small.yaml")])]
    assert names == ["gesture_small", "gesture_small-2", "gesture_small-3"]


def test_hashes_see_shapes_and_weights() -> None:
    network = prepare(chain([conv(4), conv(2)], (2, 8, 8)))
    trained = [weighted(network, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert len({network_hash(entry) for entry in (network, *trained)}) == 3
    other = prepare(chain([conv(4), conv(3)], (2, 8, 8)))
    pooled = prepare(chain([conv(4), conv(2)], (2, 8, 8), [2]))
    renamed = network.replacing(name="other")
    assert len({network_hash(n) for n in (network, other, pooled, renamed)}) == 4
    chip = mapper.load_chip("speck2f")
    assert facts_hash(chip) != facts_hash(apply_overrides(chip, ["core[1].fan_out=3"]))
    assert facts_hash(chip) != facts_hash(apply_overrides(chip, ["input.fan_out=1"]))


def test_workers_give_the_same_report() -> None:
    networks, variants = sides([SMALL, GESTURE, TOO_LARGE, LENET], ["speck2f", "speck2cmini"], CHANGES)
    done: list[int] = []
    record = sweep(networks, variants, Settings(), Place(workers=2), progress=done.append)
    again = small_report().model_copy(update={"notes": ()})
    assert record.model_dump_json() == again.model_dump_json()
    assert done == sorted(done)
    assert done[-1] == len(record.cells)


def test_a_report_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(small_report().model_dump_json(), encoding="utf-8")
    assert read_report(path) == small_report()
    path.write_text('{"schema_version": 2}', encoding="utf-8")
    with pytest.raises(OptionsError, match="is no report: version: Field required"):
        read_report(path)
    path.write_text('{"schema_version": 1}', encoding="utf-8")
    with pytest.raises(OptionsError, match="of another schema_version"):
        read_report(path)
    with pytest.raises(OptionsError, match="there is no such file"):
        read_report(tmp_path / "nowhere.json")


def test_status_is_decided_once() -> None:
    # `decide` composes the steps of the solver by itself; both ways must agree in every status.
    network, chip = plan_networks([GESTURE])[0].network, mapper.load_chip("speck2f")
    assert network is not None
    result = mapper.check(network, chip, repairs=0)
    assert result.status is Status.OPTIMAL
    for details in (False, True):
        assert decide(network, chip, CellOptions(SolveOptions(), details=details)).verdict == "plain"


def test_cells_of_what_is_not_there_are_no_report() -> None:
    record = small_report()
    cell = record.cells[0]
    for cells in ([*record.cells, cell], [cell.model_copy(update={"variant": 99})]):
        content = record.model_dump(mode="json") | {"cells": [one.model_dump(mode="json") for one in cells]}
        with pytest.raises(ValueError, match=r"which are not there|the same network and variant"):
            ReportRecord.model_validate(content)
