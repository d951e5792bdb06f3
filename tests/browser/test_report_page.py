from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from hwspec.inert import inert
from mapper.explore.record import ReportRecord
from mapper.report.floorplan import floorplan_svg
from tests.browser.conftest import Open
from tests.browser.steps import address, all_of, ask, emulate, heading, is_drawn
from tests.report.markup import Node, parsed
from tests.report.placements import random_placements
from tests.report.samples import hostile, large, partial, small, zoo

pytestmark = pytest.mark.browser

MODES = ("light", "dark", "print")


def cell(driver: Any, network: int, variant: int) -> Any:
    (found,) = all_of(driver, f'[data-key="{network} {variant}"]')
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", found)
    return found


def order(driver: Any, kind: str) -> list[str]:
    """Names in the order of the screen."""
    labels = all_of(driver, f".{kind} .label")
    axis = "y" if kind == "row-head" else "x"
    return [label.text for label in sorted(labels, key=lambda label: label.rect[axis])]


def test_a_click_opens_a_cell_and_escape_closes_it(page: Open, tmp_path: Path) -> None:
    driver = page(small())
    cell(driver, 2, 0).click()
    assert heading(driver) == "wide on speck2f"
    dialog = driver.find_element(By.TAG_NAME, "dialog")
    placement = next(c.placement for c in small().cells if (c.network, c.variant) == (2, 0))
    assert placement is not None
    WebDriverWait(driver, 5).until(is_drawn)
    assert len(all_of(driver, "dialog .mfp-core")) == 9
    for use in placement.cores:
        assert f"{use.neuron_words[0]}/{use.neuron_words[1]}" in dialog.text
    assert "first[0:10]" in dialog.text
    assert driver.get_screenshot_as_file(str(tmp_path / "cell.png"))
    dialog.send_keys(Keys.ESCAPE)
    assert not driver.execute_script("return document.querySelector('dialog').open")
    assert driver.switch_to.active_element.get_attribute("data-key") == "2 0"


def test_an_infeasible_cell_tells_conflict_and_repairs_with_their_options(page: Open) -> None:
    driver = page(small())
    cell(driver, 1, 1).click()
    shown = driver.find_element(By.TAG_NAME, "dialog").text
    found = next(c for c in small().cells if (c.network, c.variant) == (1, 1))
    assert found.report is not None
    assert found.report.conflict is not None
    assert found.report.repairs
    for text in (found.sentence, found.report.conflict.sentence, *found.report.sentences()):
        assert str(text) in shown
    for repair in found.report.repairs:
        assert repair.sentence in shown
        assert " ".join(f'--set "{override}"' for override in repair.overrides) in shown
    for fact in found.report.assumed_facts:
        assert fact.statement in shown


def test_headers_sort_best_first_then_worst_then_as_given(page: Open) -> None:
    driver, record = page(small()), small()
    given = [row.name for row in record.networks]
    margins = {
        record.networks[c.network].name: c.margin.free_share
        for c in record.cells
        if c.variant == 0 and c.margin
    }

    def head() -> Any:
        return all_of(driver, '[data-key="column 0"]')[0]

    head().click()
    best = order(driver, "row-head")
    plain = [name for name in best if name in ("digits", "gesture", "shifted")]
    assert best[:3] == plain == sorted(plain, key=lambda name: -margins[name])
    assert best[3:] == ["wide", "big", "missing"]
    assert head().find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    head().click()
    assert order(driver, "row-head")[:3] == ["missing", "big", "wide"]
    head().click()
    assert order(driver, "row-head") == given
    all_of(driver, '[data-key="row 1"]')[0].click()
    assert order(driver, "column-head")[-1].startswith("speck2cmini")


def test_sort_menus_and_filters(page: Open) -> None:
    driver = page(small())
    rows, columns = (Select(element) for element in all_of(driver, ".controls select"))
    rows.select_by_visible_text("by name")
    assert order(driver, "row-head") == sorted(row.name for row in small().networks)
    columns.select_by_visible_text("most that fit")
    assert order(driver, "column-head")[0] == "speck2f"
    network, variant = all_of(driver, ".controls input[type=search]")
    network.send_keys("GEST")
    assert order(driver, "row-head") == ["gesture"]
    variant.send_keys("mini")
    assert all("mini" in name for name in order(driver, "column-head"))
    assert (
        driver.find_element(By.CSS_SELECTOR, "[role=status]").text == "1 of 6 networks, 2 of 6 variants shown"
    )
    network.clear()
    variant.clear()
    network.send_keys(Keys.SPACE, Keys.BACKSPACE)
    variant.send_keys(Keys.SPACE, Keys.BACKSPACE)
    for kind in ("plain", "infeasible", "unsupported"):
        all_of(driver, f".verdict input[name={kind}]")[0].click()
    assert order(driver, "row-head") == ["wide"]
    assert len(order(driver, "column-head")) == 6
    all_of(driver, ".verdict input[name=divided]")[0].click()
    assert order(driver, "row-head") == []


def test_the_keyboard_reaches_everything(page: Open) -> None:
    driver = page(small())
    for _ in range(40):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        if driver.switch_to.active_element.get_attribute("data-key") == "0 0":
            break
    active = driver.switch_to.active_element
    assert active.get_attribute("data-key") == "0 0"
    assert driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    active.send_keys(Keys.ARROW_DOWN)
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert driver.switch_to.active_element.get_attribute("data-key") == "1 1"
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert heading(driver) == "gesture on speck2cmini"
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert heading(driver) == "gesture on speck2f"
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    WebDriverWait(driver, 5).until(lambda d: d.switch_to.active_element.get_attribute("data-key") == "1 0")
    driver.switch_to.active_element.send_keys(Keys.END)
    assert driver.switch_to.active_element.get_attribute("data-key") == "1 5"
    for _ in range(2):
        driver.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert driver.switch_to.active_element.get_attribute("data-key") == "column 5"
    driver.switch_to.active_element.send_keys(Keys.SPACE)
    assert order(driver, "row-head")[-1] == "missing"
    assert driver.switch_to.active_element.get_attribute("data-key") == "column 5"
    driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    driver.switch_to.active_element.send_keys(Keys.HOME)
    driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert driver.switch_to.active_element.get_attribute("data-key").startswith("row ")


def test_arrows_walk_through_a_matrix_of_any_size(page: Open) -> None:
    driver = page(large(1000, 30))
    cell(driver, 0, 0)
    driver.execute_script("document.querySelector('[data-key=\"0 0\"]').focus()")
    for _ in range(12):
        driver.switch_to.active_element.send_keys(Keys.PAGE_DOWN)
    driver.switch_to.active_element.send_keys(Keys.END)
    active = driver.switch_to.active_element
    assert active.get_attribute("data-key") == "120 29"
    box, seen = driver.find_element(By.CSS_SELECTOR, ".matrix").rect, active.rect
    assert box["x"] < seen["x"]
    assert seen["x"] + seen["width"] <= box["x"] + box["width"]
    assert box["y"] < seen["y"]
    assert seen["y"] + seen["height"] <= box["y"] + box["height"]
    # Scrolled away by the mouse, it keeps the focus.
    driver.execute_script("document.querySelector('.matrix').scrollTop = 30000")
    driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert driver.switch_to.active_element.get_attribute("data-key") == "120 28"


def test_summaries_open(page: Open) -> None:
    driver = page(small())
    WebDriverWait(driver, 5).until(lambda d: all_of(d, "#networks .opener"))
    for opener in all_of(driver, ".opener"):
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", opener)
        opener.click()
        assert opener.get_attribute("aria-expanded") == "true"
    told = driver.find_element(By.TAG_NAME, "main").text
    for summary in small().network_summaries:
        for resource in filter(None, summary.tightest):
            assert resource in told
    for variant in small().variant_summaries:
        for use in variant.memories:
            assert f"{use.most_used} {use.offered}" in told


def test_every_number_on_the_page_is_in_the_json(page: Open) -> None:
    driver, record = page(small()), small()
    WebDriverWait(driver, 5).until(lambda d: all_of(d, "#networks .opener"))
    for opener in all_of(driver, ".opener"):
        driver.execute_script("arguments[0].click()", opener)
    text = driver.find_element(By.TAG_NAME, "body").text
    for entry in record.cells:
        address(driver, entry.network, entry.variant)
        text += driver.find_element(By.TAG_NAME, "dialog").text
        text += " ".join(
            ask(driver, "return [...document.querySelectorAll('svg text')].map((t) => t.textContent)")
        )
    # Shares in percent and counts of rows are worked out here; whatever has three digits was measured.
    shown = set(re.findall(r"(?<![\w.])\d{3,}(?! %)", text))
    assert len(shown) > 25
    assert shown <= set(re.findall(r"\d+", record.model_dump_json()))


def test_a_partial_report_marks_what_is_not_done(page: Open) -> None:
    driver = page(partial())
    assert "Partial report." in driver.find_element(By.CSS_SELECTOR, "header .partial").text
    assert cell(driver, 5, 0).text == "· not done"
    cell(driver, 5, 0).click()
    assert "not done" in driver.find_element(By.TAG_NAME, "dialog").text


def test_hostile_names_run_nothing(page: Open) -> None:
    driver, record = page(hostile()), hostile()
    WebDriverWait(driver, 5).until(lambda d: all_of(d, "#networks .opener"))
    for opener in all_of(driver, ".opener"):
        driver.execute_script("arguments[0].click()", opener)
    for entry in record.cells:
        address(driver, entry.network, entry.variant)
        # Chromium reports a line separator as a space.
        assert inert(record.networks[entry.network].name) in heading(driver)
        assert ask(driver, "return window.hacked === undefined")
    assert ask(driver, "return document.querySelectorAll('img, iframe, script').length") == 3
    assert ask(driver, "return document.querySelectorAll('[onerror], [onmouseover]').length") == 0
    assert ask(driver, "return performance.getEntriesByType('resource').length") == 0


ANSWERING = ("xmlns", "role", "tabindex", "aria-label")


def nested(node: Node) -> list[Any]:
    """An element as lists, without what makes it answer in the page."""
    attributes = {name: value for name, value in node.attributes.items() if name not in ANSWERING}
    return [node.tag, attributes, [nested(c) if isinstance(c, Node) else c for c in node.children if c != ""]]


def with_placements(record: ReportRecord) -> ReportRecord:
    """Random placements in the place of the report's own."""
    drawn = iter(random_placements(range(100, 100 + len(record.cells))))
    cells = tuple(c.model_copy(update={"placement": next(drawn)}) for c in record.cells)
    return record.model_copy(update={"cells": cells})


@pytest.mark.parametrize("make", [small, hostile, lambda: with_placements(small())])
def test_the_page_shows_the_picture_of_a_notebook(page: Open, make: Any) -> None:
    driver, record = page(make()), make()
    for entry in record.cells:
        if entry.placement is None:
            continue
        address(driver, entry.network, entry.variant)
        shown = ask(driver, "return nested(document.querySelector('dialog svg.mfp'))")
        (picture,) = parsed(floorplan_svg(entry.placement)).children
        assert isinstance(picture, Node)
        assert shown == json.loads(json.dumps(nested(picture)))


@pytest.mark.parametrize("mode", MODES)
def test_every_text_has_the_contrast_of_wcag_aa(page: Open, mode: str, tmp_path: Path) -> None:
    driver = page(large(50, 20))
    emulate(driver, mode)
    driver.set_window_size(1800, 2600)
    WebDriverWait(driver, 5).until(lambda d: all_of(d, "#networks .opener"))
    seen: set[str] = set()
    for opener in all_of(driver, ".opener")[:2]:
        driver.execute_script("arguments[0].click()", opener)
    for place in (None, (0, 1), (2, 2), (1, 1), (4, 1), (5, 5)):
        if place:
            address(driver, *place)
        measured = ask(driver, "return contrasts()")
        low = [entry for entry in measured if not entry[0] >= 4.5]
        assert low == [], f"{mode} {place}"
        seen |= {entry[1] for entry in measured}
        driver.get_screenshot_as_file(str(tmp_path / f"{mode}-{place}.png"))
    assert {"✓", "÷", "✕", "∅", "?", "!"} <= seen if mode != "print" else "core 0" in seen
    driver.set_window_size(1440, 1000)


def test_the_zoo_on_all_chips_and_three_invented_ones(page: Open, tmp_path: Path) -> None:
    driver, record = page(zoo()), zoo()
    assert len(record.networks) >= 36
    assert len(record.variants) == 10
    driver.set_script_timeout(120)
    opened = driver.execute_async_script(
        """
        // Chromium allows 200 addresses in 10 seconds.
        const done = arguments[0], pause = () => new Promise((go) => setTimeout(go, 55));
        (async () => {
          const data = JSON.parse(document.getElementById("report").textContent), told = [];
          for (const cell of data.cells) {
            location.hash = `#cell-${cell.network}-${cell.variant}`;
            const names = [data.networks[cell.network].name, data.variants[cell.variant].name];
            const isThere = () => document.getElementById("detail-title")?.textContent === names.join(" on ")
              && !document.querySelector("dialog .drawing:empty");
            for (let n = 0; n === 0 || (n < 100 && !isThere()); n += 1) await pause();
            const body = document.querySelector("dialog");
            told.push([body.querySelectorAll("svg.mfp").length, body.textContent]);
          }
          document.querySelector("dialog").close();
          done(told);
        })();
        """
    )
    for entry, (pictures, told) in zip(record.cells, opened, strict=True):
        assert f"{record.networks[entry.network].name} on {record.variants[entry.variant].name}" in told
        assert pictures == (entry.placement is not None)
        assert entry.sentence is None or entry.sentence in told
    driver.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("gesture")
    assert order(driver, "row-head") == [row.name for row in record.networks if "gesture" in row.name]
    cell(driver, [row.name for row in record.networks].index("sinabs_dvs_gesture_9layer"), 6).click()
    assert driver.get_screenshot_as_file(str(tmp_path / "zoo.png"))


@pytest.mark.parametrize(("networks", "variants"), [(100, 10), (50, 200), (1000, 10)])
def test_first_paint_and_answers_are_fast(page: Open, networks: int, variants: int) -> None:
    driver = page(large(networks, variants))
    WebDriverWait(driver, 10).until(lambda d: all_of(d, "#networks .opener"))
    # The browser reports the paint a moment after it happened.
    painted = "return performance.getEntriesByName('first-contentful-paint').length"
    WebDriverWait(driver, 10).until(lambda d: ask(d, painted))
    times = ask(
        driver,
        "return Object.fromEntries([...performance.getEntriesByType('paint'),"
        " ...performance.getEntriesByType('mark')].map((entry) => [entry.name, entry.startTime]))",
    )
    print(networks, variants, times)
    assert times["first-contentful-paint"] < 2000
    assert times["matrix"] < 2000
    assert len(all_of(driver, ".cell")) < 1500
    spent = ask(
        driver,
        """
        const start = performance.now(), box = document.querySelector(".matrix");
        box.scrollTop = box.scrollHeight; box.scrollLeft = box.scrollWidth;
        const select = document.querySelector(".controls select");
        select.value = "tight"; select.dispatchEvent(new Event("change"));
        const search = document.querySelector("input[type=search]");
        search.value = "1"; search.dispatchEvent(new Event("input"));
        return performance.now() - start;
        """,
    )
    print(networks, variants, spent)
    assert spent < 1000
    assert len(all_of(driver, ".cell")) < 1500


def test_paper_has_the_whole_matrix(page: Open, tmp_path: Path) -> None:
    driver = page(large(30, 40))
    pdf = base64.b64decode(driver.print_page())
    (tmp_path / "report.pdf").write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
    emulate(driver, "print")
    WebDriverWait(driver, 5).until(lambda d: all_of(d, ".printed td"))
    assert len(all_of(driver, ".printed td")) == 30 * 40
    assert not driver.find_element(By.CSS_SELECTOR, ".matrix").is_displayed()
    ground = ask(driver, "return getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    emulate(driver, "light")
    WebDriverWait(driver, 5).until(lambda d: not all_of(d, ".printed td"))


def test_signals_are_followed_in_an_open_cell_and_escape_lets_go_first(page: Open) -> None:
    driver = page(small())
    address(driver, 2, 0)
    driver.execute_script("document.querySelector('dialog .mfp [tabindex=\"0\"]').focus()")
    driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    told = driver.find_element(By.CSS_SELECTOR, "dialog .told")
    assert told.text == "layer first, 20x64x64, on cores 0, 1; sends to layer stem, 8x32x32, on core 7"
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert told.text == ""
    assert ask(driver, "return document.querySelector('dialog').open")
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not ask(driver, "return document.querySelector('dialog').open")
