"""Curves of synthesis: what the least memory depends on, and what their missing points say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mapper.errors import OptionsError
from mapper.explore import smallest as module
from mapper.explore.smallest import Answer, NoChip, curves, synthesize
from mapper.report.synthesis import curve_csv, plot_curves, print_synthesis, synthesis_record
from mapper.result import Status
from mapper.solver.smallest.search import SmallestChip, find_chip
from mapper.solver.smallest.sizes import ChipQuestion
from tests.builders import chain, conv
from tests.explore.test_synthesize import request_for

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
