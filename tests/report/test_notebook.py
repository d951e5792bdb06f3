from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hwspec.display import Displayed, Shown, html
from mapper.api import check, solve, verify_equivalence
from mapper.emit.write.build import build_config
from mapper.equivalence import EquivalenceReport, read_labelled
from mapper.record import placement_record
from mapper.report.notebook import matrix_html
from mapper.report.text import print_report
from mapper.tuning import TuneOptions, TuneResult, tuned_by
from tests.builders import chain, conv, gesture
from tests.report.markup import parsed
from tests.report.samples import HOSTILE, hostile, large, partial, small


def test_a_placement_shows_floorplan_and_table() -> None:
    result = solve("digits", "speck2f")
    shown = parsed(result._repr_html_())
    assert shown.all("h4")[0].text == "digits on speck2f: placed, proven optimal, checked"
    assert len(shown.all("svg", "mfp")) == 1
    rows = [[cell.text for cell in row.all("td")] for row in shown.all("tr")[1:]]
    assert ["3", "conv1", "128/32768, <1 %", "512/32768, 1 %", "0/1024, 0 %", "1"] in rows
    assert placement_record(result)._repr_html_() == result._repr_html_()


def test_a_report_shows_reasons_and_repairs() -> None:
    result = check(gesture(), "speck2cmini")
    assert result.report is not None
    shown = parsed(result._repr_html_())
    assert shown.all("h4")[0].text == "gesture on speck2cmini: does not fit, proven (capacity)"
    sentences = [node.text.split("\n")[0] for node in shown.all("li")]
    assert sentences[: len(result.report.sentences())] == list(result.report.sentences())
    options = [node.text for node in shown.all("code")]
    assert options == [
        f'--set "{override}"' for repair in result.report.repairs for override in repair.overrides
    ]
    hasty = result.report.model_copy(update={"cut_short": ("repairs: the time limit came first",)})
    assert "not done: repairs: the time limit came first" in hasty._repr_html_()
    console = Console(width=100, file=io.StringIO(), record=True)
    print_report(console, hasty, "gesture")
    assert "not done: repairs: the time limit came first\n" in console.export_text()
    assert parsed(result.report._repr_html_()).all("h4")[0].text.startswith("speck2cmini: does not fit")


def test_no_script_and_no_hostile_markup_in_notebooks() -> None:
    for name in HOSTILE:
        network = chain([conv(4)], name=name)
        shown = parsed(solve(network, "speck2f")._repr_html_())
        assert {node.tag for node in shown.walk()} & {"script", "img", "iframe"} == set()
        assert not [key for node in shown.walk() for key in node.attributes if key.startswith("on")]
    assert "\x07" not in solve(chain([conv(4)], name=HOSTILE[-1]), "speck2f")._repr_html_().split("<svg")[1]


def test_the_matrix_as_a_table() -> None:
    shown = parsed(small()._repr_html_())
    assert len(shown.all("tr")) == 1 + len(small().networks)
    assert shown.all("td")[1].text.startswith("✓ fits, ")
    assert [row.all("td")[0].text for row in shown.all("tr")[1:3]] == ["digits", "gesture (by shapes)"]
    assert "partial" in parsed(matrix_html(partial())).all("h4")[0].text
    assert "· not done" in matrix_html(partial())
    assert not parsed(matrix_html(hostile())).all("script")
    assert len(matrix_html(large(60, 50))) < 10_000


def said(code: str) -> str:
    """What a fresh interpreter prints."""
    root, command = Path(__file__).parents[2], [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.strip()


@pytest.mark.parametrize("module", ["mapper", "mapper.result", "mapper.record", "mapper.explore.record"])
def test_results_load_no_drawing_before_a_notebook_asks(module: str) -> None:
    drawing = "[name for name in sys.modules if name.startswith(('mapper.report', 'jinja2'))]"
    assert said(f"import sys, {module}; print({drawing})") == "[]"


def test_a_notebook_imports_nothing_but_the_package() -> None:
    code = "import mapper; print(mapper.solve('digits')._repr_html_())"
    assert "<h4>digits on speck2f: placed, proven optimal, checked</h4>" in said(code)


def test_what_nothing_draws_is_an_error() -> None:
    class Strange(Displayed):
        pass

    with pytest.raises(TypeError, match="nothing draws a Strange"):
        Strange()._repr_html_()


def test_networks_chips_and_what_is_written_are_tables() -> None:
    result = solve("digits", "speck2f")
    solution = result.require()
    config = build_config(result)
    report = verify_equivalence("digits", steps=20, rate=0.5)
    values: list[tuple[Shown, list[str]]] = [
        (result.networks[0], ["digits: 4 layers, with weights", "conv2", "conv1 /2", "threshold"]),
        (result.given[0], ["input input: 1x8x8 from the host", "output"]),
        (result.chip, ["speck2f", "neuron words", "65536", "erratum"]),
        (solution, ["solution: 4 cores", "conv1", "capacity bits: 2424832 (proven)"]),
        (config, ["configuration for speck2f: 4 of 9 cores configured", "conv1", "monitored"]),
        (report, ["digits on speck2f: 20 steps", "identical in every layer and step", "correlation"]),
    ]
    for value, words in values:
        printed, drawn = str(value), parsed(value._repr_html_())
        whole = " ".join(node.text for node in drawn.walk())
        for word in words:
            assert word in printed, word
            assert word in whole, word
    for value in (result.networks[0], solution, config):
        rows = parsed(value._repr_html_()).all("tr")
        assert len(rows) == 5
    assert repr(solution).startswith("Solution(placements=")


def test_a_chip_alone_is_its_own_words() -> None:
    """Nothing of the mapper need be there for `hwspec`."""
    code = "from hwspec.catalog import load; print(load('speck2f'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "speck2f" in done.stdout


def test_what_was_printed_keeps_its_lines() -> None:
    """Of everything that a notebook draws: a line is a line, and no letter of a newline's name is seen."""
    result, misfit = solve("digits", "speck2f"), check(gesture(), "speck2cmini")
    data = read_labelled("digits")
    few = replace(data, rasters=[data.rasters[n] for n in range(2)], labels=data.labels[:2])
    values = [
        result,
        placement_record(result),
        misfit.report,
        small(),
        result.networks[0],
        result.given[0],
        result.chip,
        result.require(),
        build_config(result),
        verify_equivalence("digits", steps=20, rate=0.5),
        tuned_by("digits", calibrate=few, tuning=TuneOptions(runs=1)),
    ]
    drawn = {type(value): value._repr_html_() for value in values if isinstance(value, Shown)}
    kinds = set(html.registry) - {object}
    assert {kind for kind in kinds if not any(issubclass(entry, kind) for entry in drawn)} == set()
    for kind, page in drawn.items():
        assert "\\n" not in page, kind
    for kind in (EquivalenceReport, TuneResult):
        (printed,) = parsed(drawn[kind]).all("pre")
        assert printed.text.splitlines() == str(next(x for x in values if type(x) is kind)).splitlines()
