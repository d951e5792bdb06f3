"""NIR files, read with h5py: no object of the file is ever executed, and sizes are checked before reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hwspec.inert import as_text
from mapper.errors import Finding, NetworkError
from mapper.frontends import NirOptions
from mapper.frontends.from_nir.contents import check_contents, texts_of
from mapper.frontends.from_nir.graph import network_of
from mapper.frontends.from_nir.raw import RawGraph, RawNode
from mapper.network import Network
from mapper.texts import irregular, unreachable

__all__ = ["load_nir"]

_NODES_MAX = 100_000
_DEPTH_MAX = 32


def load_nir(path: Path, options: NirOptions, input_shape: tuple[int, int, int] | None = None) -> Network:
    """Read a NIR file of any version that the `nir` package wrote since 1.0.

    Parameters
    ----------
    input_shape
        (features, height, width), where the file does not tell.

    Raises
    ------
    NetworkError
        The file cannot be read or is malformed, or holds what no chip of the family can run.
    """
    if (problem := unreachable(path)) is not None:
        raise NetworkError(Finding(str(path), problem))
    try:
        if (problem := irregular(path)) is not None:
            raise NetworkError(Finding(str(path), problem))
        with h5py.File(path, "r") as file:
            check_contents(file, path.name)
            graph = _graph(file, path.name)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, MemoryError) as error:
        text = " ".join(str(error).split())[:200]
        raise NetworkError(Finding(path.name, f"cannot be read as a NIR file: {text}")) from None
    return network_of(graph, as_text(path.stem), options, input_shape)


def _graph(file: Any, where: str) -> RawGraph:
    node = file.get("node")
    if not isinstance(node, h5py.Group) or not isinstance(node.get("nodes"), h5py.Group):
        step = "Write it with nir.write"
        raise NetworkError(Finding(where, "has no graph: the group node/nodes is missing", next_step=step))
    findings: list[Finding] = []
    graph = _nested(node, "", findings)
    if findings:
        raise NetworkError(*findings)
    return graph


def _nested(node: Any, prefix: str, findings: list[Finding]) -> RawGraph:
    """A group with nodes and edges, and what is nested in it."""
    entries = node.get("nodes")
    if not isinstance(entries, h5py.Group):
        findings.append(Finding(f"node {prefix[:-1]}", "is a graph without nodes"))
        return RawGraph({}, ())
    if len(entries) > _NODES_MAX or prefix.count("/") > _DEPTH_MAX:
        problem = "too many nodes, or nested too deeply"
        raise NetworkError(Finding(f"graph {prefix[:-1]}".strip(), problem, len(entries), _NODES_MAX))
    nodes = {}
    for name, group in entries.items():
        if not isinstance(group, h5py.Group):
            findings.append(Finding(f"node {prefix}{name}", "is not a group"))
            continue
        nodes[str(name)] = _node(f"{prefix}{name}", group, findings)
    return RawGraph(nodes, _edges(node, findings), _metadata(node))


def _node(name: str, group: Any, findings: list[Finding]) -> RawNode:
    fields = {key: _value(item) for key, item in group.items() if isinstance(item, h5py.Dataset)}
    kind = fields.pop("type", None)
    if not isinstance(kind, str):
        findings.append(Finding(f"node {name}", "has no type"))
    inner = _nested(group, f"{name}/", findings) if kind == "NIRGraph" else None
    return RawNode(str(kind), fields, _metadata(group), inner)


def _metadata(group: Any) -> dict[str, Any]:
    metadata = group.get("metadata")
    if not isinstance(metadata, h5py.Group):
        return {}
    return {key: _value(item) for key, item in metadata.items() if isinstance(item, h5py.Dataset)}


def _value(item: Any) -> Any:
    if item.shape is None:
        return None
    if h5py.check_string_dtype(item.dtype) is None:
        array = np.asarray(item[()])
        array.flags.writeable = False
        return array
    texts = texts_of(item)
    return np.array(texts, object).reshape(item.shape) if item.shape else texts[0]


def _edges(node: Any, findings: list[Finding]) -> tuple[tuple[str, str], ...]:
    item = node.get("edges")
    if not isinstance(item, h5py.Dataset):
        findings.append(Finding("edges", "are missing"))
        return ()
    if item.shape in (None, (0,), (0, 2)):
        return ()
    if len(item.shape) != 2 or item.shape[1] != 2:
        findings.append(Finding("edges", "must be pairs of names", item.shape, "(number, 2)"))
        return ()
    if h5py.check_string_dtype(item.dtype) is None:
        findings.append(Finding("edges", "must be pairs of names of nodes", item.dtype))
        return ()
    names = texts_of(item)
    return tuple(zip(names[::2], names[1::2], strict=True))
