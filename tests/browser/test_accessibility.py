"""axe on every page, in both modes, wide and narrow; Tab reaches all of the report."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from mapper.api import solve
from mapper.record import PlacementRecord, placement_record
from tests.browser.conftest import Open
from tests.browser.steps import address, all_of, ask, emulate, open_all, resize, tab_stops
from tests.report.samples import hostile, large, small

pytestmark = pytest.mark.browser

# The package carries axe-core for another way to drive a browser; only its script is used.
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
WINDOWS = {"wide": (1440, 1000), "narrow": (400, 800)}


def violations(driver: Any) -> list[Any]:
    driver.execute_script(AXE)
    found, passes = driver.execute_async_script(
        """
        const done = arguments[0];
        axe.run().then((seen) => done([seen.violations.map((rule) =>
          [rule.id, rule.nodes.map((node) => [node.target.join(" "), node.failureSummary])]), seen.passes.length]));
        """
    )
    assert passes > 10
    return list(found)


def placements() -> list[PlacementRecord]:
    sources: list[Any] = ["digits", "mapper/data/wide.yaml", ["digits", "mapper/data/example.yaml"]]
    attacked = next(cell.placement for cell in hostile().cells if cell.placement)
    return [*(placement_record(solve(source)) for source in sources), attacked]


@pytest.mark.parametrize(("mode", "window"), [("light", "wide"), ("dark", "narrow")])
def test_axe_finds_nothing_on_a_placement(page: Open, mode: str, window: str) -> None:
    for record in placements():
        driver = page(record)
        emulate(driver, mode)
        resize(driver, *WINDOWS[window])
        assert violations(driver) == []


@pytest.mark.parametrize(("mode", "window"), [("light", "wide"), ("dark", "narrow")])
def test_axe_finds_nothing_on_a_report(page: Open, mode: str, window: str) -> None:
    for record in (hostile(), large(30, 40)):
        driver = page(record)
        emulate(driver, mode)
        resize(driver, *WINDOWS[window])
        WebDriverWait(driver, 5).until(lambda d: all_of(d, "#networks .opener"))
        assert violations(driver) == []
    driver = page(small())
    open_all(driver)
    assert violations(driver) == []
    for place in ((2, 0), (1, 1), (4, 1), (5, 0)):
        address(driver, *place)
        assert violations(driver) == []


def test_axe_notices_a_picture_without_words(page: Open) -> None:
    driver = page(small())
    assert ask(driver, "return document.querySelector('main').append(document.createElement('img'))") is None
    assert [rule for rule, _ in violations(driver)] == ["image-alt"]
    version = ask(driver, "return axe.version.split('.').map(Number)")
    assert version[:2] >= [4, 12]


@pytest.mark.parametrize("window", WINDOWS)
def test_tab_reaches_everything_in_the_order_of_the_page(page: Open, window: str) -> None:
    driver = page(small())
    resize(driver, *WINDOWS[window])
    open_all(driver)
    # Of the matrix one place is a stop, its arrow keys go on from there.
    asked = ask(
        driver,
        "return [...document.querySelectorAll('a, button, input, select, [tabindex]')]"
        ".filter((each) => isSeen(each) && each.tabIndex >= 0 && !each.closest('dialog'))",
    )
    stops = tab_stops(driver)
    assert len(stops) > 30
    assert stops == asked
    address(driver, 2, 0)
    inside = ask(
        driver,
        "return [...document.querySelectorAll('dialog :is(button, [tabindex])')].filter((each) => isSeen(each) && each.tabIndex >= 0)",
    )
    assert len(inside) > 8
    assert tab_stops(driver, inside[0]) == inside
