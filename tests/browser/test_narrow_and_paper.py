"""The report on a telephone and on paper."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mapper.explore.record import ReportRecord
from tests.browser.conftest import Open
from tests.browser.steps import address, all_of, ask, emulate, open_all, resize
from tests.report.samples import hostile, large, small

pytestmark = pytest.mark.browser

Make = Callable[[], ReportRecord]
MAKES = [small, hostile, lambda: large(30, 40)]
PLACES = ((2, 0), (1, 1), (4, 1))
# A4 between margins of 10 mm.
PAPER = (718, 1040)


def is_in(driver: Any, inner: Any) -> bool:
    return bool(
        driver.execute_script(
            "const box = arguments[0].getBoundingClientRect();"
            "return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;",
            inner,
        )
    )


def fits_across(driver: Any) -> bool:
    return bool(ask(driver, "return document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("width", [400, 320])
@pytest.mark.parametrize("make", MAKES)
def test_nothing_of_a_narrow_page_is_off_screen(page: Open, make: Make, width: int) -> None:
    driver = page(make())
    resize(driver, width, 800)
    assert ask(driver, "return innerWidth") == width
    open_all(driver)
    assert fits_across(driver)
    outside = ask(
        driver,
        """
        const boxes = ".matrix, .table-box, .drawing, pre, dialog";
        return [...document.body.querySelectorAll("*")].filter((each) => isSeen(each) && !each.closest(boxes)
          && each.getBoundingClientRect().right > innerWidth + 0.5).map((each) => each.outerHTML.slice(0, 120));
        """,
    )
    assert outside == []
    # What is wider than its box scrolls in it, and the box is reached by Tab or holds what is.
    stuck = ask(
        driver,
        """
        return [...document.body.querySelectorAll("*")].filter((each) => isSeen(each)
          && each.scrollWidth > each.clientWidth + 1 && each.clientWidth && getComputedStyle(each).overflowX === "auto"
          && !each.matches("[tabindex='0']") && !each.querySelector("[tabindex='0'], button"))
          .map((each) => each.outerHTML.slice(0, 120));
        """,
    )
    assert stuck == []


@pytest.mark.parametrize("make", MAKES)
def test_the_close_button_of_a_narrow_dialog_is_always_in_reach(page: Open, make: Make) -> None:
    driver = page(make())
    resize(driver, 400, 800)
    for place in PLACES:
        address(driver, *place)
        dialog = driver.find_element(By.TAG_NAME, "dialog")
        (close,) = all_of(driver, "dialog .close")
        assert fits_across(driver)
        assert ask(
            driver, "const d = document.querySelector('dialog'); return d.scrollWidth <= d.clientWidth"
        )
        for _ in range(2):
            assert is_in(driver, close)
            assert all(is_in(driver, button) for button in all_of(driver, ".detail-bar button"))
            driver.execute_script("arguments[0].scrollTop = arguments[0].scrollHeight", dialog)
        close.click()
        assert not ask(driver, "return document.querySelector('dialog').open")


def test_the_matrix_of_a_narrow_page_can_be_read(page: Open) -> None:
    driver = page(large(30, 20))
    resize(driver, 400, 800)
    measured = """
        const rows = [...document.querySelectorAll(".row-head")].filter(isSeen);
        return rows.map((head) => {
          const [outer, label, sub] = [head, head.querySelector(".label"), head.querySelector(".sub")]
            .map((each) => each.getBoundingClientRect());
          return [outer.left, outer.right, label.top >= outer.top && sub.bottom <= outer.bottom && label.bottom <= sub.top + 1];
        });
    """
    before = ask(driver, measured)
    assert before
    assert all(is_apart for _, _, is_apart in before)
    box = driver.find_element(By.CSS_SELECTOR, ".matrix").rect
    # Names leave room for a whole variant.
    assert box["x"] + box["width"] - before[0][1] >= 136
    driver.execute_script("document.querySelector('.matrix').scrollLeft = 1500")
    after = ask(driver, measured)
    assert [row[:2] for row in after] == [row[:2] for row in before]
    driver = page(large(30, 40))
    assert "is-compact" in driver.find_element(By.CSS_SELECTOR, ".matrix").get_attribute("class")
    assert min(label.rect["width"] for label in all_of(driver, ".row-head .label")) > 90


def test_a_window_that_becomes_narrow_draws_the_matrix_anew(page: Open) -> None:
    driver = page(small())
    for width, side in ((1200, 220), (400, 128), (1200, 220)):
        resize(driver, width, 800)
        drawn = f"return document.querySelector('.row-head')?.offsetWidth === {side}"
        WebDriverWait(driver, 5).until(partial(ask, code=drawn))


@pytest.mark.parametrize("make", MAKES)
def test_no_column_on_paper_has_a_line_for_every_word(page: Open, make: Make) -> None:
    driver = page(make())
    open_all(driver)
    emulate(driver, "print")
    resize(driver, *PAPER)
    WebDriverWait(driver, 5).until(lambda d: all_of(d, ".printed td"))
    assert ask(driver, "return wordByWord()") == []
    assert fits_across(driver)
    emulate(driver, "light")
    for place in PLACES:
        address(driver, *place)
        emulate(driver, "print")
        assert ask(driver, "return wordByWord()") == []
        top = ask(driver, "return document.getElementById('detail-title').getBoundingClientRect().top")
        assert 0 <= top < 100, "the title is on the first page"
        assert fits_across(driver)
        emulate(driver, "light")


def test_a_column_of_single_words_is_noticed(page: Open) -> None:
    driver = page(small())
    emulate(driver, "print")
    resize(driver, *PAPER)
    WebDriverWait(driver, 5).until(lambda d: all_of(d, ".printed td"))
    ask(driver, "document.querySelector('.printed table').style.width = '60px'; return 0")
    assert ask(driver, "return wordByWord()") != []
