"""Names from files do nothing where they are shown: terminals, errors, pages, pictures, tables."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hwspec.errors import Finding
from hwspec.inert import as_path, as_text, inert, inert_json, inert_values, quoted
from mapper.cli.entry import run
from mapper.report.terminal import heading, line, print_table
from tests.report.markup import parsed

NAMES = [
    "\x1b[31mred", "\x9b31mred", "a\nError: fake", "a\rError: fake", "a\u2028b", "\u202egnirts", "zero\u200bwidth",
    "[red]x[/]", "[/]", "[link=http://e.vil]x[/link]", ":boom:", "x:a:y", "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=2",
    "\x00", "\x07bell", "\x7f", "＝1", "<script>x</script>", "{{ 7 * 7 }}", "$x$", "a/b",
]  # fmt: skip


def written(folder: Path, names: list[str], **more: Any) -> str:
    """A shape file with layers of these names, one after the other."""
    layers: list[dict[str, Any]] = []
    for name in names:
        source = layers[-1]["name"] if layers else "input"
        conv = {"features": 2, "kernel": 1}
        layers.append({"name": name, "conv": conv, "from": source})
    path = folder / "net.json"
    content = {"schema_version": 1, "name": "n", "input": {"shape": [2, 8, 8]}, "layers": layers, **more}
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def is_plain(text: str) -> bool:
    return all(sign == "\n" or sign.isprintable() for sign in text)


def test_what_is_seen_stays_and_the_rest_is_spelled_out() -> None:
    for name in ("conv1", "größe", "层", "a b", "[red]", "💥", "a\\b"):
        assert inert(name) == name
    assert inert("\x1b[31m\n\u202e\udcff\U000e0001") == "\\x1b[31m\\n\\u202e\\udcff\\U000e0001"
    for name in NAMES:
        assert inert(name).isprintable()
        assert inert(inert(name)) == inert(name)


def test_json_says_the_same() -> None:
    content = {name: [name, {"x": name + '"\\/'}] for name in NAMES}
    for text in (json.dumps(content), json.dumps(content, ensure_ascii=False, indent=1)):
        assert json.loads(inert_json(text)) == content
        assert is_plain(inert_json(text))
        shown = {inert(name): [inert(name), {"x": inert(name) + '"\\/'}] for name in NAMES}
        assert json.loads(inert_values(text)) == shown


def test_paths_as_text_and_back(tmp_path: Path) -> None:
    path = str(tmp_path) + "/\udcff\udc80.nir"
    assert as_text(path).encode()
    assert as_path(as_text(path)) == path
    assert as_path("net.nir") == "net.nir"


def test_nothing_in_a_table_or_a_line_is_markup() -> None:
    console = Console(width=300, file=io.StringIO(), record=True, force_terminal=True)
    print_table(console, NAMES[:10], [NAMES[10:20]], title=":boom: [red]")
    for name in NAMES:
        heading(console, name, name)
        line(console, name)
    shown = console.export_text(styles=False)
    assert is_plain(shown)
    assert shown.count("\n") < 8 + 2 * len(NAMES)
    for name in NAMES:
        assert f"{inert(name)}: {inert(name)}\n{inert(name)}\n" in shown


@pytest.mark.no_cover
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["solve", "check"])
def test_on_the_command_line(
    command: str,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = written(tmp_path, [name], name=name)
    for words in ([], ["--json"], ["--chip", "dynapcnn"], ["--pin", f"{name}=99"], ["--forbid", "0..8"]):
        status = run([command, path, *words])
        told = capsys.readouterr()
        assert status in (0, 1, 2), told.err
        assert is_plain(told.out + told.err)
        assert sum(text.startswith("Error") for text in told.err.splitlines()) == (status == 2)
        assert not any(text.startswith("Error: fake") for text in (told.out + told.err).splitlines())
        if status == 0 and words != ["--json"]:
            assert inert(name) in told.out


def test_in_the_files_of_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for group in (NAMES[:9], NAMES[9:17], NAMES[17:]):
        path = written(tmp_path, group, name=group[0])
        assert (
            run(["report", path, "--chip", "speck2f", "--workers", "1", "--out", str(tmp_path / "out")]) == 0
        )
        assert is_plain(capsys.readouterr().out)
        for name in ("summary.csv", "layers.csv"):
            text = (tmp_path / "out" / name).read_bytes().decode("utf-8")
            assert is_plain(text)
            rows = list(csv.DictReader(io.StringIO(text)))
            assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@＝\t\r")]
        assert [row["layer"].removeprefix("'") for row in rows] == [inert(name) for name in group]
        page = parsed((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
        data = json.loads(page.all("script")[0].text)
        assert data["networks"][0]["name"] == inert(group[0])
        assert [row["name"] for row in data["networks"][0]["layer_rows"]] == [inert(name) for name in group]
        assert all(is_plain(node.text) for node in page.all("p"))


def test_a_list_of_problems_is_the_only_one_with_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = written(tmp_path, ["a\nError: fake", "b\nError: fake"], input={"shape": [2, 0, 0]})
    assert run(["check", path, "--chip", "x\nError: fake\x1b[0m"]) == 2
    told = capsys.readouterr().err
    assert sum(text.startswith("Error") for text in told.splitlines()) == 1
    assert "\x1b" not in told
    assert str(Finding("a\nb", "is\x1b", "\r")) == "a\\nb: is\\x1b (got \\r)"


def test_a_chip_s_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chip.toml"
    path.write_text('extends = "speck2f"\nname = "\\u001b[31mred"\n', encoding="utf-8")
    assert run(["check", "digits", "--chip", str(path)]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\\x1b[31mred" in told


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", '"a"'),
        (("a", 1), '("a", 1)'),
        (("a",), '("a",)'),
        ({"a": ["b", None]}, '{"a": ["b", None]}'),
        (1.5, "1.5"),
        (10**5000, "int"),
        ("x" * 99, '"' + "x" * 76 + "..."),
    ],
    ids=range(7),
)
def test_texts_are_quoted_in_one_way(value: object, shown: str) -> None:
    assert quoted(value) == shown


def test_no_message_quotes_otherwise() -> None:
    """What is shown of a value goes through `quoted`; Python's own quotes are of code that is generated."""
    root = Path(__file__).resolve().parents[1]
    found = {
        path.relative_to(root).as_posix()
        for package in ("mapper", "hwspec")
        for path in (root / package).rglob("*.py")
        if re.search(r"\{[^{}]*!r[:}]|f\"'\{", path.read_text(encoding="utf-8"))
    }
    # A `__repr__`, words for programmers, and signs that a spreadsheet must not compute with.
    assert found == {
        *(
            "mapper/emit/shared/tensor.py",
            "mapper/cli/verdict.py",
            "hwspec/on_demand.py",
            "mapper/report/csv.py",
        )
    }
