"""Draw the placements that the README and the guide show: `mapper/guide/pictures/*.svg`.

python scripts/pictures.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import mapper
from mapper.files import write_text
from mapper.record import placement_record
from mapper.report.placement_page import svg_text
from mapper.result import Result

__all__ = ["drawn", "pictures"]

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "mapper" / "guide"


def drawn(result: Result) -> str:
    """What `mapper solve --out` writes as placement.svg."""
    return svg_text(placement_record(result))


def first_network() -> Result:
    """The network of the page for beginners, as its file stands there; no placement depends on weights."""
    page = (GUIDE / "ten-minutes.md").read_text(encoding="utf-8")
    code = page.split('```python title="net.py"\n')[1].split("```")[0]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "net.py"
        write_text(file, code)
        read = mapper.TorchOptions(relu_as_if=1.0)
        return mapper.solve(f"{file}:Net", input_shape=(1, 8, 8), torch=read, add_output_neuron=1.0)


def pictures() -> dict[str, str]:
    """All of them, by the file's name."""
    wide = mapper.solve(ROOT / "mapper" / "data" / "wide.yaml")
    return {"placement.svg": drawn(wide), "ten-minutes.svg": drawn(first_network())}


def main() -> None:
    """Write all of them."""
    for name, text in pictures().items():
        write_text(GUIDE / "pictures" / name, text)


if __name__ == "__main__":
    main()
