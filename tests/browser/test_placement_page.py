"""The page of one placement: signals followed by pointer and keyboard, texts within their boxes."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from hwspec.catalog import load
from mapper.api import solve
from mapper.files import write_text
from mapper.record import PlacementRecord, placement_record
from mapper.report.placement_page import svg_text
from tests.browser.conftest import Open
from tests.browser.steps import all_of, ask, emulate, resize, tab_stops
from tests.builders import chain, conv
from tests.report.placements import random_placements
from tests.report.samples import hostile

pytestmark = pytest.mark.browser

WIDEST = ("W" * 60, "層" * 40, "mm%@&…" * 9, "a" * 300, "\U0001f9e0" * 20, "fl[0:16]" * 9)


def deep() -> PlacementRecord:
    chip = load("speck2f", ["+core[9..63]=core[5]"])
    return placement_record(solve(chain([conv(8) for _ in range(60)], (2, 16, 16), name="deep"), chip))


def named(name: str) -> PlacementRecord:
    """Networks, inputs and layers of this name."""
    record = placement_record(solve("mapper/data/wide.yaml"))
    text = (
        record.model_dump_json()
        .replace('"stem"', f'"{name}"')
        .replace('"input":"input"', f'"input":"{name}in"')
    )
    text = text.replace('"networks":["wide"]', f'"networks":["{name}"]')
    renamed = PlacementRecord.model_validate_json(text)
    cores = tuple(u.model_copy(update={"label": u.label and f"{name}{u.label}"}) for u in renamed.cores)
    return renamed.model_copy(update={"cores": cores, "chip": name})


def lit(driver: Any, kind: str) -> list[str]:
    """Titles of what is lit."""
    return [str(t.get_attribute("textContent")) for t in all_of(driver, f".{kind}.is-lit > title")]


def told(driver: Any) -> str:
    return str(driver.find_element(By.ID, "told").text)


def focused(driver: Any) -> str:
    return str(driver.switch_to.active_element.get_attribute("aria-label"))


@pytest.mark.parametrize("record", [named(name) for name in WIDEST], ids=range(len(WIDEST)))
def test_texts_keep_to_their_boxes(page: Open, record: PlacementRecord) -> None:
    assert ask(page(record), "return overhanging()") == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: [cell.placement for cell in hostile().cells if cell.placement],
        lambda: random_placements(range(12)),
        lambda: [placement_record(solve("digits")), deep()],
    ],
)
def test_pictures_of_all_kinds_hold_their_texts(
    page: Open, make: Callable[[], list[PlacementRecord]]
) -> None:
    for record in make():
        driver = page(record)
        assert ask(driver, "return overhanging()") == []
        assert ask(driver, "return window.hacked === undefined")


def test_the_pointer_lights_a_signal_from_layer_to_core_to_layer(page: Open) -> None:
    driver = page(placement_record(solve("mapper/data/wide.yaml")))
    first = next(node for node in all_of(driver, ".mfp-node") if "first" in node.text)
    ActionChains(driver).move_to_element(first).perform()
    assert lit(driver, "mfp-link") == ["first to stem, pooled 2"]
    assert [title[:6] for title in lit(driver, "mfp-core")] == ["core 0", "core 7", "core 8"]
    assert lit(driver, "mfp-wire") == [
        "first[0:16] on core 0 to stem on core 8, pooled by 2",
        "first[16:20] on core 7 to stem on core 8, pooled by 2, features + 16",
    ]
    assert told(driver) == "layer first, 20x64x64, on cores 0, 7; sends to layer stem, 8x32x32, on core 8"
    origins = all_of(driver, ".is-origin")
    assert len(origins) == 3
    faint = ask(
        driver,
        "return getComputedStyle(document.querySelector('.mfp-wire:not(.is-lit) > .mfp-line')).opacity",
    )
    assert float(faint) < 0.5
    ActionChains(driver).move_to_element(driver.find_element(By.TAG_NAME, "h1")).perform()
    assert told(driver) == ""
    assert not all_of(driver, ".is-lit, .is-following")


def test_a_relay_and_a_wire_show_whose_signal_they_carry(page: Open) -> None:
    record = next(
        r
        for r in random_placements(range(40))
        if any(u.role == "relay" for u in r.cores) and len(r.cores) > 1
    )
    driver = page(record)
    for wire in all_of(driver, ".mfp-wire")[:6]:
        asked = set(str(wire.get_attribute("data-links")).split())
        ask(driver, "return 0")
        driver.execute_script(
            "arguments[0].dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))", wire
        )
        assert {str(link.get_attribute("data-link")) for link in all_of(driver, ".mfp-link.is-lit")} == asked


def test_the_keyboard_follows_a_signal(page: Open) -> None:
    driver = page(placement_record(solve("digits")))
    for _ in range(9):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        if driver.switch_to.active_element.get_attribute("role") == "button":
            break
    assert focused(driver) == "input input"
    press = [
        (Keys.ARROW_DOWN, "layer conv1, 8x8x8, on core 3"),
        (Keys.ENTER, "core 3: conv1;"),
        (Keys.ARROW_DOWN, "core 4: conv2;"),
        (Keys.ENTER, "layer conv2, 16x4x4, on core 4"),
        (Keys.ARROW_UP, "layer conv1"),
        (Keys.ARROW_RIGHT, "layer conv2"),
        (Keys.END, "core 8: fc (monitor);"),
        (Keys.HOME, "input input"),
    ]
    for key, begin in press:
        driver.switch_to.active_element.send_keys(key)
        assert focused(driver).startswith(begin)
        assert told(driver).startswith(begin)
        assert len(all_of(driver, ".mfp [tabindex='0']")) == 1
    assert all_of(driver, ".is-following")
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not all_of(driver, ".is-following, .is-lit")
    width = "return getComputedStyle(document.activeElement.querySelector('.mfp-box')).strokeWidth"
    assert ask(driver, width) == "4px"


@pytest.mark.parametrize("width", [1440, 400])
def test_tab_reaches_picture_table_and_no_trap(page: Open, width: int) -> None:
    driver = page(placement_record(solve("digits")))
    resize(driver, width, 800)
    stops = tab_stops(driver)
    asked = ask(
        driver, "return [...document.querySelectorAll('[tabindex=\"0\"], a, button, input')].filter(isSeen)"
    )
    assert stops == asked
    assert len(stops) == 3
    assert ask(driver, "return document.documentElement.scrollWidth <= innerWidth")


def shaded(driver: Any) -> list[bool]:
    """Whether the box of the picture is darker than paper at its left and its right edge."""
    box = driver.find_element(By.CSS_SELECTOR, ".drawing")
    seen = Image.open(BytesIO(box.screenshot_as_png)).convert("L")
    width, height = seen.size
    edges = [list(seen.crop((x, 0, x + 1, height)).tobytes()) for x in (3, width - 4)]
    return [median(edge) < 245 for edge in edges]


def test_a_picture_that_goes_on_beyond_its_box_says_where(page: Open) -> None:
    driver = page(placement_record(solve("mapper/data/wide.yaml")))
    emulate(driver, "light")
    resize(driver, 1440, 900)
    assert shaded(driver) == [False, False]
    resize(driver, 400, 800)
    assert shaded(driver) == [False, True]
    box = driver.find_element(By.CSS_SELECTOR, ".drawing")
    assert (box.get_attribute("role"), box.get_attribute("aria-label")) == ("region", "floorplan")
    box.send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(driver, 5).until(lambda d: shaded(d) == [True, True])
    driver.execute_script("arguments[0].scrollLeft = arguments[0].scrollWidth", box)
    WebDriverWait(driver, 5).until(lambda d: shaded(d) == [True, False])


def test_the_picture_takes_the_width_there_is(page: Open) -> None:
    driver = page(placement_record(solve("digits")))
    for width in (1000, 1440, 1700):
        resize(driver, width, 900)
        picture, box = (driver.find_element(By.CSS_SELECTOR, each).rect for each in (".mfp", ".drawing"))
        assert box["width"] - picture["width"] < 12
    emulate(driver, "print")
    resize(driver, 718, 1000)
    assert driver.find_element(By.CSS_SELECTOR, ".mfp").rect["width"] <= 718


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_picture_alone_is_readable(page: Open, chromium: Any, tmp_path: Path, mode: str) -> None:
    write_text(tmp_path / "placement.svg", svg_text(placement_record(solve("mapper/data/wide.yaml"))))
    emulate(chromium, mode)
    chromium.get((tmp_path / "placement.svg").as_uri())
    assert chromium.execute_script("return document.documentElement.localName") == "svg"
    paper, ink = (
        chromium.execute_script(f"return getComputedStyle(document.querySelector('{each}')).fill")
        for each in (".mfp-ground", ".mfp-name")
    )
    assert (paper, ink) == (
        ("rgb(255, 255, 255)", "rgb(26, 35, 45)")
        if mode == "light"
        else ("rgb(17, 22, 27)", "rgb(229, 234, 239)")
    )
    write_text(tmp_path / "page.html", '<!DOCTYPE html><meta charset="utf-8"><img src="placement.svg">')
    chromium.get((tmp_path / "page.html").as_uri())
    assert chromium.execute_script("return document.querySelector('img').naturalWidth") > 700
