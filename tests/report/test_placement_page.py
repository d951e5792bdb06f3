from __future__ import annotations

import json
import re
import subprocess
import sys
import webbrowser
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from hwspec.inert import inert
from mapper.api import solve
from mapper.cli.entry import run
from mapper.record import PlacementRecord, placement_record
from mapper.report.drawing import fitted, text_width
from mapper.report.graph import HUES
from mapper.report.html import template
from mapper.report.placement_page import page_text, svg_text
from tests.report.markup import parsed
from tests.report.placements import random_placements
from tests.report.samples import hostile

Capture = pytest.CaptureFixture[str]
SVG = "{http://www.w3.org/2000/svg}"
ATTACKED = [cell.placement for cell in hostile().cells if cell.placement]
RECORDS = [placement_record(solve("mapper/data/wide.yaml")), *ATTACKED, *random_placements(range(12))]
MISFIT = "tests/data/zoo/sinabs_dvs_gesture_9layer.yaml"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.chip)
def test_the_picture_stands_alone(record: PlacementRecord) -> None:
    text = svg_text(record)
    picture = ElementTree.fromstring(text)  # noqa: S314  # written here
    assert picture.tag == f"{SVG}svg"
    title, description = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
    assert title is not None
    assert title.text == inert(f"Floorplan: {', '.join(record.networks)} on {record.chip}")
    assert description is not None
    told = description.text or ""
    assert all(
        f"core {use.core}: {inert(use.label)}" in told for use in record.cores if use.layer is not None
    )
    assert "var(" not in text
    assert set(re.findall(r"https?://[^\s\"']*", text)) == {"http://www.w3.org/2000/svg"}
    tags = {part.tag.removeprefix(SVG) for part in picture.iter()}
    assert tags <= {"svg", "style", "title", "desc", "g", "rect", "path", "text"}
    assert not [
        name for part in picture.iter() for name in part.attrib if name.startswith("on") or "href" in name
    ]
    style = picture.find(f"{SVG}style")
    assert style is not None
    assert "url(" not in (style.text or "")
    assert "@import" not in (style.text or "")
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.chip)
def test_the_page_loads_nothing_and_holds_the_picture(record: PlacementRecord) -> None:
    text = page_text(record)
    page = parsed(text)
    assert {node.tag for node in page.walk()} & {"link", "img", "iframe", "object", "base", "form"} == set()
    for node in page.walk():
        assert not {"src", "style", "srcset", "href"} & set(node.attributes), node
        assert not [name for name in node.attributes if name.startswith("on")], node
    (policy,) = (node.attributes["content"] for node in page.all("meta") if "http-equiv" in node.attributes)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert len(page.all("script")) == 1
    assert len(page.all("svg", "mfp")) == 1
    rows = page.all("tbody")[0].all("tr")
    assert len(rows) == sum(use.layer is not None for use in record.cores)
    assert page.all("h1")[0].text.endswith(f"on {inert(record.chip)}")


def test_the_same_bytes_whatever_the_order_of_sets(tmp_path: Path) -> None:
    code = (
        "import mapper; from mapper.record import placement_record as record;"
        "from mapper.report.placement_page import page_text, svg_text;"
        "r = record(mapper.solve(['digits', 'mapper/data/example.yaml']));"
        "import hashlib; print(hashlib.sha256((page_text(r) + svg_text(r)).encode()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_solve_writes_record_picture_and_page(tmp_path: Path, capsys: Capture) -> None:
    for folder in ("a", "b"):
        assert run(["solve", "digits", "--out", str(tmp_path / folder)]) == 0
    names = {"placement.json", "placement.svg", "placement.html"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    record = placement_record(solve("digits"))
    assert (tmp_path / "a/placement.svg").read_text(encoding="utf-8") == svg_text(record)
    assert (tmp_path / "a/placement.html").read_text(encoding="utf-8") == page_text(record)
    told = capsys.readouterr().out
    assert all(str(tmp_path / "a" / name) in told for name in names)
    assert run(["solve", "digits", "--json", "--out", str(tmp_path / "c")]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [
        str(tmp_path / "c" / name) for name in ("placement.json", "placement.svg", "placement.html")
    ]


def test_all_three_files_or_none(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "placement.html").mkdir()
    assert run(["solve", "digits", "--out", str(tmp_path)]) == 2
    assert "placement.html" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["placement.html"]


def test_what_does_not_fit_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    misfit = ["solve", MISFIT, "--chip", "speck2cmini", "--repairs", "0", "--out", str(out)]
    assert run([*misfit, "--json", "--open"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["written"] == []
    written, shown = told.err.splitlines()
    assert written == f"Warning: --out: nothing is written to {out}: there is no placement"
    assert shown == "Warning: --open shows nothing: there is no placement"
    assert not out.exists()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that the browser was given."""
    addresses: list[str] = []

    def show(address: str) -> bool:
        addresses.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", show)
    return addresses


def test_open_shows_the_page_that_was_written(tmp_path: Path, opened: list[str]) -> None:
    assert run(["solve", "digits", "--out", str(tmp_path), "--open"]) == 0
    assert opened == [(tmp_path / "placement.html").as_uri()]


def test_open_writes_a_page_of_its_own_where_no_folder_is_named(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(["solve", "digits", "--open"]) == 0
    (page,) = tmp_path.glob("mapper-*/placement.html")
    assert opened == [page.as_uri()]
    assert page.read_text(encoding="utf-8") == page_text(placement_record(solve("digits")))


@pytest.mark.parametrize("fails", [False, webbrowser.Error("no"), OSError("gone")])
def test_without_a_browser_the_answer_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, fails: bool | Exception
) -> None:
    def give_up(address: str) -> bool:
        if isinstance(fails, Exception):
            raise fails
        return False

    monkeypatch.setattr(webbrowser, "open", give_up)
    assert run(["solve", "digits", "--out", str(tmp_path), "--open"]) == 0
    told = capsys.readouterr().err
    page = tmp_path / "placement.html"
    assert (
        told == f"Warning: --open: no browser was found; the page is {page}. The variable BROWSER names one\n"
    )


@pytest.mark.parametrize(("more", "is_loaded"), [([], False), (["--out", "OUT"], True)])
def test_what_draws_is_loaded_only_where_it_is_written(
    tmp_path: Path, more: list[str], is_loaded: bool
) -> None:
    words = ["solve", "digits", *(str(tmp_path) if word == "OUT" else word for word in more)]
    code = (
        f"import sys; from mapper.cli.entry import run; run({words!r});"
        "print([n for n in ('jinja2', 'webbrowser', 'mapper.report.floorplan') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.strip().splitlines()[-1]
    assert loaded == ("['jinja2', 'mapper.report.floorplan']" if is_loaded else "[]")


@pytest.mark.parametrize("words", ["", "a", "conv[0:16]", "W" * 90, "層" * 50, "é" * 70, "fl" * 200])
@pytest.mark.parametrize("width", [60, 110, 178])
def test_what_is_too_long_keeps_its_ends(words: str, width: int) -> None:
    shown = fitted(words, width, 12)
    assert text_width(shown, 12) <= width
    if shown != words:
        head, tail = shown.split("…")
        assert words.startswith(head)
        assert words.endswith(tail)
        assert len(head) >= len(tail) > 0


# Machado, Oliveira and Fernandes 2009, severity 1: linear red, green and blue as those see who lack a cone.
SEEN = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour: str) -> NDArray[np.float64]:
    share = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(colour: str, seen: Any) -> NDArray[np.float64]:
    x, y, z = np.cbrt(XYZ @ np.clip(np.array(seen) @ linear(colour), 0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_of_cores_are_told_apart_by_everybody(mode: int) -> None:
    palette = dict(re.findall(r"(--[\w-]+): (#\w{6})", template("palette.css").split("@media")[mode]))
    hues = [palette[f"--hue-{n}"] for n in range(HUES)]
    for seen in SEEN.values():
        for one, other in combinations(hues, 2):
            assert np.linalg.norm(lab(one, seen) - lab(other, seen)) > 20, (one, other)
    for hue in hues:
        for ground in ("--paper", "--core", "--panel"):
            light, dark = sorted((float(XYZ[1] @ linear(c)) for c in (hue, palette[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3, (hue, ground)
