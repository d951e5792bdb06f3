"""What a cell depends on, as hashes: equal hashes mean equal cells."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from hwspec.schema import ChipSpec
from mapper.network import Network
from mapper.operations import Convolution

__all__ = ["digest", "facts_hash", "network_hash", "program_version"]


def digest(content: Any) -> str:
    """SHA-256 of something JSON can hold, in canonical form, hexadecimal."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def network_hash(network: Network) -> str:
    """Hash of a network after the passes: names, shapes and edges; no weights, which decide no placement."""
    layers = [
        {
            "name": layer.name,
            "input_shape": layer.input_shape,
            "operation": _sizes(layer.operation),
            "spiking": layer.neuron is not None,
        }
        for layer in network.layers
    ]
    return digest(
        {
            "name": network.name,
            "inputs": [asdict(entry) for entry in network.inputs],
            "layers": layers,
            "edges": [asdict(edge) for edge in network.edges],
            "outputs": [asdict(output) for output in network.outputs],
            "notes": network.notes,
        }
    )


def _sizes(operation: object) -> dict[str, Any]:
    if not isinstance(operation, Convolution):
        raise TypeError(f"after the passes a layer is a convolution, not {type(operation).__name__}")
    names = (name for name in operation.__slots__ if name not in ("weight", "bias"))
    return {name: getattr(operation, name) for name in names}


def facts_hash(chip: ChipSpec) -> str:
    """Hash of the facts that decide placements: chips that differ in name and sources alone agree in it."""
    kept = {"routing", "input", "readout", "monitor"}
    classes = [[entry.core.model_dump(mode="json"), entry.core_ids] for entry in chip.core_classes]
    return digest({"classes": classes, **chip.model_dump(mode="json", include=kept)})


@lru_cache(maxsize=1)
def program_version() -> str:
    """Version of this package and, behind "+", a hash of its source: another program may decide otherwise."""
    root = Path(__file__).parents[1]
    content = hashlib.sha256()
    for folder in (root, root.parent / "hwspec"):
        for path in sorted(folder.rglob("*.py")):
            content.update(path.relative_to(root.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{import_module('mapper').__version__}+{content.hexdigest()[:12]}"
