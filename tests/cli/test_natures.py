"""The kind of limit that a network breaks has one word, in `check`, its JSON and the cells of a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mapper.cli.entry import run

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "tests" / "data" / "zoo"
WIDE = str(ROOT / "mapper" / "data" / "wide.yaml")
CASES = [
    ("output", ["digits", "--readout", "fc", "--set", "readout=none"]),
    ("output", ["digits", "--readout-monitor"]),
    ("output", ["digits", "--monitor", "conv1", "--monitor", "conv2", "--set", "monitor.cores_max=1"]),
    (
        "output",
        ["digits", "--monitor", "conv1", "--monitor", "fc", "--set", "monitor.cores_max=1", "--plain"],
    ),
    # One core is watched, and the layer needs two.
    ("output", [WIDE, "--monitor", "first", "--set", "monitor.cores_max=1"]),
    ("routing", [WIDE, "--plain"]),
    ("count", ["digits", "--set", "-core[3..8]"]),
    ("capacity", [str(ZOO / "silicon_ceiling_9bn.yaml"), "--plain"]),
    ("structural", [str(ZOO / "sinabs_too_large.yaml")]),
]


@pytest.mark.parametrize(("nature", "words"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_check_says_which_kind_of_limit_it_is(nature: str, words: list[str], capsys: Capture) -> None:
    assert run(["check", *words, "--repairs", "0"]) == 1
    assert f": does not fit, proven ({nature})." in " ".join(capsys.readouterr().out.split())
    assert run(["check", *words, "--repairs", "0", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["report"]["nature"] == nature


TWO_OUTPUTS = """
name: twice
input: {shape: [2, 8, 8]}
layers:
- {name: stem, conv: {features: 4, kernel: 3, padding: 1}, from: input}
- {name: left, conv: {features: 4, kernel: 3, padding: 1}, from: stem}
- {name: right, conv: {features: 4, kernel: 1}, from: stem}
"""


def test_cells_of_a_report_say_it_too(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text(TWO_OUTPUTS, encoding="utf-8")
    words = ["report", str(tmp_path / "twice.yaml"), WIDE, "--chip", "speck2f", "--workers", "1"]
    more = ["--set", "monitor.cores_max=1", "--plain", "--repairs-for", "none", "--out", str(tmp_path)]
    assert run([*words, *more]) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = {
        row[0].strip(): [cell.strip() for cell in row if cell.strip().startswith("no: ")] for row in rows
    }
    assert cells["twice"] == ["no: output"]
    assert cells["wide"] == ["no: routing"] * 2
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {cell["nature"] for cell in record["cells"]} == {None, "output", "routing"}
