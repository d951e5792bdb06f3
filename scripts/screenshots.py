"""Photograph the pages that commands write, for the guide: `mapper/guide/pictures/*.png`.

    python scripts/screenshots.py

Needs the extras `dev` and `browser`, and Debian's `chromium` and `chromium-driver`. Fonts differ between
machines, and so do these pictures: they are made anew when the pages have changed, and no test compares them.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from PIL import Image  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from mapper.cli.entry import run  # noqa: E402
from mapper.files import write_bytes  # noqa: E402
from tests.browser.conftest import FLAGS  # noqa: E402

PICTURES = ROOT / "mapper" / "guide" / "pictures"
DATA = ROOT / "mapper" / "data"
SHADES, BYTES_MAX = 256, 60_000
NETWORKS = [
    "digits",
    *(str(DATA / name) for name in ("wide.yaml", "example.yaml")),
    str(ROOT / "tests" / "data" / "zoo" / "sinabs_dvs_gesture_9layer.yaml"),
]


def command(*words: str) -> None:
    """Run a command of ours, which must succeed, without what it prints."""
    with redirect_stdout(io.StringIO()):
        status = run(words)
    if status:
        raise SystemExit(f"mapper {' '.join(words)}: {status}")


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    """A Chromium with a profile of its own, in the colours of day."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    day = {"media": "", "features": [{"name": "prefers-color-scheme", "value": "light"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", day)
    try:
        yield driver
    finally:
        driver.quit()


def photograph(
    driver: Any, page: Path, name: str, size: tuple[int, int], prepare: Callable[[Any], None] = lambda _: None
) -> None:
    """Open a page at a size in pixels, and keep what is seen as a picture of few colours."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(page.as_uri())
    prepare(driver)
    seen = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    kept = io.BytesIO()
    seen.quantize(SHADES, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        kept, "PNG", optimize=True
    )
    if len(kept.getvalue()) > BYTES_MAX:
        raise SystemExit(f"{name}: {len(kept.getvalue())} bytes, more than {BYTES_MAX}")
    write_bytes(PICTURES / name, kept.getvalue())
    print(f"{name}: {width}x{height}, {len(kept.getvalue())} bytes")


def follow(layer: str) -> Callable[[Any], None]:
    """Lights the signal of a layer, as a click on it does."""

    def prepare(driver: Any) -> None:
        nodes = driver.find_elements(By.CSS_SELECTOR, ".mfp-node")
        name = "return arguments[0].querySelector('title').textContent"
        found = next(
            node for node in nodes if driver.execute_script(name, node).startswith(f"layer {layer},")
        )
        ActionChains(driver).move_to_element(found).click().perform()
        WebDriverWait(driver, 10).until(lambda d: d.find_elements(By.CSS_SELECTOR, ".mfp-wire.is-lit"))

    return prepare


def open_cell(network: int, variant: int) -> Callable[[Any], None]:
    """Opens a cell of the report, and waits for its picture."""

    def prepare(driver: Any) -> None:
        driver.execute_script(f"location.hash = '#cell-{network}-{variant}'")
        drawn = (
            "const d = document.querySelector('dialog'); return d.open && d.querySelector('.mfp') !== null"
        )
        WebDriverWait(driver, 10).until(lambda d: d.execute_script(drawn))

    return prepare


def main() -> None:
    """All of them."""
    with TemporaryDirectory() as name, browser(Path(name)) as driver:
        folder = Path(name)
        chips = ("--chip", "speck2f", "--chip", "speck2e", "--chip", "speck2cmini")
        command("report", *NETWORKS, *chips, "--out", str(folder / "report"), "--workers", "1")
        page = folder / "report" / "report.html"
        command("solve", str(DATA / "wide.yaml"), "--out", str(folder / "placed"))
        photograph(driver, folder / "placed" / "placement.html", "placement.png", (1200, 800), follow("stem"))
        photograph(driver, page, "report.png", (1100, 620))
        photograph(driver, page, "report-cell.png", (1100, 900), open_cell(1, 0))


if __name__ == "__main__":
    main()
