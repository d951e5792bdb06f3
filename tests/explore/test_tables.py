"""The report as CSV, in the terminal, and against another report."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from hwspec.inert import inert
from mapper.errors import OptionsError
from mapper.explore.difference import report_difference
from mapper.explore.plan import plan_networks, plan_variants, with_traffic
from mapper.explore.record import Cell, Margin
from mapper.explore.sweep import sweep
from mapper.network import Network
from mapper.reasons import Gap
from mapper.report.csv import LAYER_COLUMNS, SUMMARY_COLUMNS, layers_csv, summary_csv
from mapper.report.matrix import cell_text, print_difference, print_matrix
from tests.builders import chain, conv
from tests.explore.reports import BARE, GESTURE, HERE, SMALL, TOO_LARGE, sides, small_report


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def printed(width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    print_matrix(console, small_report())
    return console.export_text()


def test_summary_has_a_row_for_every_cell() -> None:
    record = small_report()
    found = rows(summary_csv(record))
    assert tuple(found[0]) == SUMMARY_COLUMNS
    assert len(found) == len(record.cells)
    for row, cell in zip(found, record.cells, strict=True):
        assert row["network"] == record.networks[cell.network].name
        assert row["variant"] == record.variants[cell.variant].name
        assert row["verdict"] == cell.verdict
        assert row["basis"] == ("" if cell.verdict == "unsupported" else "shapes")
        assert row["cores_used"] == ("" if cell.cores_used is None else str(cell.cores_used))
        assert row["sentence"] == (cell.sentence or "")
        assert row["conflict"] == (cell.conflict or "")
        if cell.margin is not None:
            assert float(row["free_share"]) == cell.margin.free_share
    refused = next(row for row in found if row["network"] == "sinabs_dvs_gesture_9layer" and row["nature"])
    assert (refused["variant"], refused["demand"], refused["bound"], refused["gap"]) == (
        "speck2cmini",
        "9",
        "5",
        "4",
    )
    assert refused["repair_overrides"].startswith("'+core[5..")
    assert refused["tightest"] == ""


def test_layers_have_words_and_cores() -> None:
    record = small_report()
    found = rows(layers_csv(record))
    assert tuple(found[0]) == LAYER_COLUMNS
    assert len(found) == sum(record.networks[cell.network].layers for cell in record.cells)
    for cell in record.cells:
        network, variant = record.networks[cell.network], record.variants[cell.variant]
        mine = [r for r in found if (r["network"], r["variant"]) == (network.name, variant.name)]
        assert [row["layer"] for row in mine] == [layer.name for layer in network.layer_rows]
        for row, layer in zip(mine, network.layer_rows, strict=True):
            assert row["kernel_words"] == str(layer.kernel_words)
            assert row["input_shape"] == "x".join(map(str, layer.input_shape))
            if cell.verdict == "plain":
                words = {core: taken for core, *taken in cell.used}[int(row["cores"])]
                kinds = ("kernel_words_taken", "neuron_words_taken", "bias_words_taken")
                assert [int(row[kind]) for kind in kinds] == words[:3]
                # Whole layers that no chip's limits rewrite take what they ask for.
                assert row["neuron_words_taken"] == row["neuron_words"]
            else:
                assert (row["cores"], row["neuron_words_taken"]) == ("", "")


def test_pieces_are_added_up() -> None:
    networks, variants = sides([SMALL], ["speck2f"], ["core[0..4].neuron_words=16384"])
    record = sweep(networks, variants, BARE, HERE)
    cell = record.cells[1]
    assert cell.verdict == "divided"
    first = rows(layers_csv(record))[record.networks[0].layers]
    assert len(first["cores"].split()) == 2
    assert int(first["neuron_words_taken"]) == record.networks[0].layer_rows[0].neuron_words


def test_hostile_names_stay_in_their_column() -> None:
    name = 'a,"b"\n=1+1,[red]x[/]'
    network: Network = chain([conv(4)], (2, 8, 8), name=name)
    layer = network.layers[0].name
    record = sweep(plan_networks([network]), plan_variants(["speck2f"])[0], BARE, HERE)
    assert rows(summary_csv(record))[0]["network"] == inert(name)
    assert rows(layers_csv(record))[0]["layer"] == inert(layer)
    console = Console(width=100, file=io.StringIO(), record=True)
    print_matrix(console, record)
    assert "[red]" in console.export_text()


def test_matrix_in_the_terminal() -> None:
    text = printed()
    assert max(map(len, text.splitlines())) <= 80
    assert "4 networks on 3 chips: 5 plain" in text
    for word in (
        "gesture_small",
        "speck2cmini",
        "speck2f+changes",
        "no: capacity",
        "unsupported",
        "50% free",
    ):
        assert word in text
    assert "note: speck2cmini is not changed" in text
    assert "would fit speck2cmini" in text
    assert "Partial" not in text


def test_verdicts_by_shapes_are_named() -> None:
    record = sweep(*sides(["digits", SMALL], ["speck2f"]), BARE, HERE)
    assert [row["basis"] for row in rows(summary_csv(record))] == ["weights", "shapes"]
    console = Console(width=80, file=io.StringIO(), record=True)
    print_matrix(console, record)
    assert "by shapes, without weights: gesture_small\n" in console.export_text()


def test_many_variants_are_not_all_printed() -> None:
    record = small_report()
    row = record.variants[0]
    many = record.model_copy(
        update={"variants": tuple(row.model_copy(update={"name": f"v{n}"}) for n in range(90))}
    )
    console = Console(width=80, file=io.StringIO(), record=True)
    print_matrix(console, many.model_copy(update={"complete": False}))
    text = console.export_text()
    assert "further variants" in text
    assert "Partial: 12 of 360 cells" in text


def test_cells_in_a_few_characters() -> None:
    margin = Margin(resource="kernel", core=1, layer="a", used=1, offered=4, free_share=0.75)
    assert cell_text(None) == "-"
    assert cell_text(Cell(network=0, variant=0, verdict="plain", cores_used=2, margin=margin)) == "75% free"
    divided = Cell(network=0, variant=0, verdict="divided", cores_used=2, margin=margin)
    assert cell_text(divided) == "2 cores 75% free"
    assert cell_text(Cell(network=0, variant=0, verdict="undecided")) == "undecided"


def test_what_a_changed_chip_gains_and_loses() -> None:
    sources = [SMALL, GESTURE, TOO_LARGE]
    before = sweep(*sides(sources, ["speck2cmini"]), BARE, HERE)
    networks, variants = sides(sources, ["speck2cmini"], ["+core[5..10]=core[1]", "core[2].bias_words=64"])
    after = sweep(networks, variants[1:], BARE, HERE)
    found = report_difference(before, after)
    (variant,) = found.variants
    assert (variant.before, variant.after) == ("speck2cmini", "speck2cmini+changes")
    assert variant.facts == ("core[2].bias_words: 0 -> 64", "cores: 5 -> 11")
    assert found.only_before == found.only_after == ()
    assert [change.kind for change in found.changes] == ["gained"]
    assert found.unchanged == 2
    back = report_difference(after, before)
    assert [change.kind for change in back.changes] == ["lost"]
    assert "9 layers need as many cores" in str(back.changes[0].sentence)
    assert report_difference(before, before).changes == ()
    console = Console(width=100, file=io.StringIO(), record=True)
    print_difference(console, back)
    text = console.export_text()
    assert "lost: sinabs_dvs_gesture_9layer on speck2cmini" in text
    assert "1 lost, 2 the same" in text


def test_better_worse_and_alone() -> None:
    before = sweep(*sides([SMALL, GESTURE], ["speck2f", "speck2b"]), BARE, HERE)
    networks, variants = sides([SMALL, TOO_LARGE], ["speck2f"], ["core[0..4].neuron_words=16384"])
    after = sweep(networks, variants, BARE, HERE)
    found = report_difference(before, after)
    assert found.only_before == ("network sinabs_dvs_gesture_9layer",)
    assert found.only_after == ("network sinabs_too_large",)
    # The chips left over stand for each other: pieces now, where whole layers were placed.
    assert [(change.kind, change.before, change.after) for change in found.changes] == [
        ("worse", "plain", "divided")
    ]
    assert report_difference(after, before).changes[0].kind == "better"


def test_cells_that_one_report_lacks() -> None:
    whole = sweep(*sides([SMALL, GESTURE], ["speck2f", "speck2b"]), BARE, HERE)
    part = whole.model_copy(update={"complete": False, "cells": whole.cells[1:]})
    found = report_difference(whole, part)
    assert (found.only_before, found.only_after) == (("cell gesture_small on speck2f",), ())
    assert (found.changes, found.unchanged) == ((), 3)
    back = report_difference(part, whole)
    assert (back.only_before, back.only_after) == ((), found.only_before)
    both = report_difference(part, part)
    assert (both.only_before, both.only_after, both.unchanged) == ((), (), 3)
    # Rows that have the name of another one are compared, or said to be alone.
    renamed = tuple(row.model_copy(update={"name": "net"}) for row in whole.networks)
    twice = whole.model_copy(update={"networks": renamed})
    assert report_difference(twice, twice).unchanged == 4
    once = twice.model_copy(update={"networks": renamed[:1], "cells": whole.cells[:2]})
    assert report_difference(twice, once).only_before == ("network net",)


def test_gaps_are_those_of_the_report() -> None:
    cell = next(cell for cell in small_report().cells if cell.report is not None and cell.report.unmet)
    assert cell.report is not None
    first = cell.report.unmet[0]
    assert cell.gaps[0] == Gap(
        rule=first.rule,
        code=first.code,
        layers=first.layers,
        demand=first.demand,
        bound=first.bound,
        gap=first.gap,
        unit=first.unit,
    )


def test_traffic_columns() -> None:
    """SynOps by hand: 1,000 spikes a second reach 8 features with 3x3 taps; its 500 reach 16 with 3x3."""
    networks = plan_networks([chain([conv(8), conv(16)], (2, 8, 8))])
    rates = {"input": 1000, "conv0": 500}
    loaded = with_traffic(networks, rates)
    seen = [(row.spikes_per_second, row.synops_per_second) for row in loaded[0].row.layer_rows]
    assert seen == [(1000, 1000 * 8 * 9), (500, 500 * 16 * 9)]
    assert with_traffic(networks, {f"chain:{name}": rate for name, rate in rates.items()}) == loaded
    record = sweep(loaded, plan_variants(["speck2f"])[0], BARE, HERE)
    assert [row["synops_per_second"] for row in rows(layers_csv(record))] == ["72000", "72000"]
    silent = sweep(networks, plan_variants(["speck2f"])[0], BARE, HERE)
    assert {row["spikes_per_second"] for row in rows(layers_csv(silent))} == {""}
    with pytest.raises(OptionsError) as caught:
        with_traffic(networks, {"conv9": 1, "net:input": 2})
    assert len(caught.value.findings) == 2
