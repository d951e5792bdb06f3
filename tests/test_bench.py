"""Benchmarks run by one command, and a ratio that got worse is found, named and ends it with status 1."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return import_module("bench")


@pytest.fixture
def measuring(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Every measurement finds the next of some lists of ratios, by name."""

    def find(*ratios: dict[str, float], is_checked: bool = True) -> None:
        found = iter(ratios)

        def rows_of(name: str, *, is_quick: bool) -> Sequence[Any]:
            return [
                bench.Row(each, 7.0 * ratio, "ms", 3.0 * ratio, "peer", 7.0, 3.0, is_checked)
                for each, ratio in next(found).items()
            ]

        monkeypatch.setattr(bench, "rows_of", rows_of)

    return find


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"ratios": {"slow": 2.0, "fast": 0.5, "elsewhere": 1.0}}), encoding="utf-8")
    return path


def run(bench: Any, *words: object) -> int:
    status: int = bench.main(["--only", "solve", *map(str, words)])
    return status


@pytest.mark.parametrize(
    ("slow", "fast", "named"),
    [(2.0, 0.5, []), (2.59, 0.64, []), (0.1, 0.1, []), (2.61, 0.5, ["slow"]), (2.7, 0.7, ["slow", "fast"])],
)
def test_a_ratio_1_3_times_worse_fails_the_check(
    slow: float, fast: float, named: list[str], bench: Any, measuring: Any, baseline: Path, capsys: Capture
) -> None:
    ratios = {"slow": slow, "fast": fast, "new": 9.0}
    measuring(ratios, ratios)
    assert run(bench, "--check", baseline) == bool(named)
    _, _, told = capsys.readouterr().out.partition("2 ratios against")
    assert [line.partition(":")[0].strip() for line in told.splitlines()[1:]] == named


def test_what_is_worse_once_only_passes(bench: Any, measuring: Any, baseline: Path) -> None:
    measuring({"slow": 9.0}, {"slow": 2.0})
    assert run(bench, "--check", baseline) == 0


def test_a_ratio_of_this_machine_alone_is_not_checked(bench: Any, measuring: Any, baseline: Path) -> None:
    measuring({"slow": 9.0}, is_checked=False)
    # Nothing was compared: that is no success.
    assert run(bench, "--check", baseline) == 1


def test_the_processor_decides_where_it_is_known(bench: Any) -> None:
    assert bench.Row("a", 9.0, "ms", 2.0, "peer", 1.0, 1.0).ratio == 2.0
    assert bench.Row("a", 9.0, "MB", None, "peer", 1.0).ratio == 9.0
    assert bench.Row("a", 9.0, "ms", 2.0).ratio is None
    assert bench.Row("a", None, note="not installed").ratio is None


def test_a_second_run_is_compared_with_the_first(
    bench: Any, measuring: Any, tmp_path: Path, capsys: Capture
) -> None:
    first, ratios = tmp_path / "first.json", tmp_path / "ratios.json"
    measuring({"slow": 2.0}, {"slow": 3.0})
    assert run(bench, "--out", first, "--markdown", tmp_path / "table.md") == 0
    assert run(bench, "--against", first, "--baseline", ratios) == 0
    assert "    1.50  slow" in capsys.readouterr().out.splitlines()
    assert json.loads(ratios.read_text(encoding="utf-8")) == {"ratios": {"slow": 3.0}}
    written = json.loads(first.read_text(encoding="utf-8"))
    assert {"date", "machine", "load_before", "load_after", "rows", "ratios"} <= written.keys()
    assert "| slow | 14 | 6 | ms | peer | 7 | 3 | 2 |  |" in (tmp_path / "table.md").read_text(
        encoding="utf-8"
    )


def test_a_benchmark_that_fails_is_told(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(bench, "ROOT", ROOT / "nowhere")
    assert run(bench) == 1
    assert "failed with exit status 2" in capsys.readouterr().out


def test_exponents_of_powers(bench: Any) -> None:
    growth = import_module("bench_growth")
    power, one_s = growth.exponent({cores: 0.25 * cores**1.5 for cores in growth.SIZES})
    assert power == pytest.approx(1.5)
    assert one_s == pytest.approx(0.25)


def test_the_baseline_is_one(bench: Any) -> None:
    ratios = bench.read_ratios(bench.BASELINE)
    assert len(ratios) > 10
    assert all(ratio > 0 for ratio in ratios.values())


def test_the_cheapest_benchmark_runs(bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    words = ["--quick", "--only", "solve", "--out", str(path)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench.py"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "solve, gesture network" in done.stdout
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["ratios"]["solve, gesture network"] > 0
    assert written["ratios"].keys() & bench.read_ratios(bench.BASELINE).keys()
    assert all(row["processor"] or row["note"] for row in written["rows"])
