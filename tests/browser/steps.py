"""What tests do in a browser and ask of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

__all__ = [
    "address", "all_of", "ask", "emulate", "heading", "is_drawn", "open_all", "resize", "tab_stops",
]  # fmt: skip

PROBES = (Path(__file__).parent / "probes.js").read_text(encoding="utf-8")


def all_of(driver: Any, selector: str) -> list[Any]:
    return list(driver.find_elements(By.CSS_SELECTOR, selector))


def ask(driver: Any, code: str) -> Any:
    return driver.execute_script(f"{PROBES}\n{code}")


def emulate(driver: Any, mode: str) -> None:
    media = "print" if mode == "print" else ""
    # On paper the page is light even where the screen is dark.
    scheme = {"name": "prefers-color-scheme", "value": "light" if mode == "light" else "dark"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})


def address(driver: Any, network: int, variant: int) -> None:
    driver.execute_script(f"location.hash = '#cell-{network}-{variant}'")
    WebDriverWait(driver, 5).until(
        lambda d: (
            d.execute_script("return document.querySelector('dialog').open")
            and heading(d) != ""
            and is_drawn(d)
        )
    )


def is_drawn(driver: Any) -> bool:
    """Whether the floorplan, if the open cell keeps one, has been decompressed."""
    return not all_of(driver, "dialog .drawing:empty")


def heading(driver: Any) -> str:
    return str(driver.find_element(By.ID, "detail-title").text)


def resize(driver: Any, width: int, height: int) -> None:
    """Give the page a window of this size, smaller than a browser's own may be."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def open_all(driver: Any) -> None:
    """Open all that opens below the matrix."""
    WebDriverWait(driver, 5).until(lambda d: all_of(d, "#networks .opener"))
    for opener in all_of(driver, ".opener"):
        driver.execute_script("arguments[0].click()", opener)


def tab_stops(driver: Any, first: Any = None) -> list[Any]:
    """Everything that Tab reaches, from a stop or the begin of the page on until it leaves it."""
    found: list[Any] = []
    if first is None:
        driver.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    else:
        driver.execute_script("arguments[0].focus()", first)
        found.append(first)
    for _ in range(500):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        active = driver.switch_to.active_element
        if active.tag_name in ("body", "html") or (found and active == found[0]):
            return found
        found.append(active)
    raise AssertionError("Tab does not come to an end")
