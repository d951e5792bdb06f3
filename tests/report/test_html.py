from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from importlib.resources import files
from typing import Any

import pytest

from hwspec.inert import inert
from mapper.explore.record import ReportRecord
from mapper.report.floorplan import floorplan
from mapper.report.formats import FORMATS
from mapper.report.html import html_text
from tests.report.markup import Node, parsed
from tests.report.samples import HOSTILE, hostile, large, partial, small


def scripts(page: Node) -> tuple[Node, Node]:
    data, _, code = page.all("script")
    return data, code


def seen(value: Any) -> Any:
    """A record in which every text is inert."""
    if isinstance(value, dict):
        return {seen(name): seen(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [seen(inner) for inner in value]
    return inert(value) if isinstance(value, str) else value


@pytest.mark.parametrize("make", [small, hostile, partial, lambda: large(50, 20)])
def test_the_json_in_the_page_is_the_record(make: object) -> None:
    record: ReportRecord = make()  # type: ignore[operator]  # one of the samples
    data, _ = scripts(parsed(html_text(record)))
    assert data.attributes == {"type": "application/json", "id": "report"}
    assert json.loads(data.text) == seen(record.model_dump(mode="json"))
    ReportRecord.model_validate_json(data.text)


def test_the_page_loads_nothing() -> None:
    text = html_text(hostile())
    page = parsed(text)
    assert {node.tag for node in page.walk()} & {"link", "img", "iframe", "object", "base", "form"} == set()
    for node in page.walk():
        assert not {"src", "style", "srcset", "action", "formaction"} & set(node.attributes), node
        assert not [name for name in node.attributes if name.startswith("on")], node
    assert set(re.findall(r"https?://[^\s\"'`\\]*", text)) == {"http://www.w3.org/2000/svg"}
    style = page.all("style")[0].text
    assert "url(" not in style
    assert "@import" not in style


def test_policy_allows_the_pages_own_script_and_style_alone() -> None:
    page = parsed(html_text(hostile()))
    (policy,) = (
        node.attributes["content"]
        for node in page.all("meta")
        if node.attributes.get("http-equiv") == "Content-Security-Policy"
    )

    def own(node: Node) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(node.text.encode()).digest()).decode()}'"

    assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == {
        "default-src": "'none'",
        "style-src": own(page.all("style")[0]),
        "script-src": own(scripts(page)[1]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_hostile_names_stay_text() -> None:
    text = html_text(hostile())
    page = parsed(text)
    assert [node.tag for node in page.all("script")] == ["script"] * 3
    assert "window.hacked" not in scripts(page)[1].text
    notes = [node.text.removeprefix("note: ") for node in page.all("p", "note")]
    assert notes[: len(HOSTILE)] == [inert(name) for name in HOSTILE]
    data = text.split('id="report">', 1)[1].split("</script>", 1)[0]
    assert not set("<>&\u2028\u2029") & set(data)


def test_the_script_never_makes_elements_from_text() -> None:
    code = scripts(parsed(html_text(small())))[1].text
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
        "fetch(",
    ):
        assert way not in code


def test_a_partial_report_says_so() -> None:
    whole, part = parsed(html_text(small())), parsed(html_text(partial()))
    assert whole.all("p", "partial") == whole.all("noscript")[0].all("p", "partial")
    assert "Partial report. 12 cells are not decided, and the summaries" in part.all("p", "partial")[0].text


def test_same_record_same_bytes() -> None:
    for name, text_of in FORMATS.items():
        assert text_of(small()) == text_of(small()), name


def test_the_drawings_in_the_page_are_the_floorplans() -> None:
    record = small()
    drawings = json.loads(parsed(html_text(record)).all("script")[1].text)
    drawn = {
        (int(network), int(variant)): tree
        for network, text in drawings.items()
        for variant, tree in json.loads(zlib.decompress(base64.b64decode(text))).items()
    }
    kept = {(c.network, c.variant): c.placement for c in record.cells if c.placement is not None}
    assert drawn.keys() == kept.keys()
    for place, placement in kept.items():
        assert drawn[place] == json.loads(json.dumps(floorplan(placement)))


def test_templates_stay_short() -> None:
    folder = files("mapper.report").joinpath("templates")
    for entry in folder.iterdir():
        assert entry.read_text(encoding="utf-8").count("\n") < 400, entry
