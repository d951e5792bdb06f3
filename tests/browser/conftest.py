"""A real Chromium for pages: `pytest -m browser`, with the extra `browser` and Debian's chromium-driver."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mapper.explore.record import ReportRecord
from mapper.files import write_text
from mapper.record import PlacementRecord
from mapper.report.html import html_text
from mapper.report.placement_page import page_text

# Without the extra there is nothing to collect; without Chromium these tests fail, once they are asked for.
collect_ignore_glob = [] if find_spec("selenium") else ["test_*.py"]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,1000",
)

Open = Callable[[ReportRecord | PlacementRecord], Any]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests, with a profile of its own."""
    from selenium import webdriver  # noqa: PLC0415  # an optional extra
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    browser, server = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or server is None:
        pytest.fail("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(server))
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a report or a placement; what the console says by the end of the test fails it."""

    def show(record: ReportRecord | PlacementRecord) -> Any:
        text = html_text(record) if isinstance(record, ReportRecord) else page_text(record)
        write_text(tmp_path / "report.html", text)
        chromium.get((tmp_path / "report.html").as_uri())
        return chromium

    chromium.get_log("browser")
    yield show
    said = chromium.get_log("browser")
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.get("about:blank")
    assert said == []
