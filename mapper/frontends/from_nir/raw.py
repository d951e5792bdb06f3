"""Graphs as they stand in a file or in memory, and nested ones made flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mapper.errors import Finding, NetworkError

__all__ = ["RawGraph", "RawNode", "flattened"]

# Graphs inside graphs, deeper than any model is written.
_DEPTH_MAX = 32


@dataclass(frozen=True)
class RawNode:
    """A node as it stands in the file: nothing filled in.

    Attributes
    ----------
    fields
        Arrays and texts by name; absent where the file has none.
    inner
        The graph that a node of kind NIRGraph is.
    """

    kind: str
    fields: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    inner: RawGraph | None = None


@dataclass(frozen=True)
class RawGraph:
    """Nodes by name, and edges as (source, target); an end of a nested graph may be "graph.port"."""

    nodes: Mapping[str, RawNode]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def flattened(graph: RawGraph) -> RawGraph:
    """The graph with the nodes of nested ones called "graph.node", and their ports taken out.

    Raises
    ------
    NetworkError
        Names that two nodes would have, ports that no nested graph has, graphs nested too deeply, a signal
        that arrives at a node in several ways.
    """
    nodes: dict[str, RawNode] = {}
    edges: list[tuple[str, str]] = []
    ports: set[str] = set()
    findings: list[Finding] = []
    _unfold(graph, "", nodes, edges, ports, findings)
    if findings:
        raise NetworkError(*dict.fromkeys(findings))
    edges = list(dict.fromkeys(edges))
    for port in sorted(ports):
        before = [source for source, target in edges if target == port]
        after = [target for source, target in edges if source == port]
        edges = [edge for edge in edges if port not in edge]
        edges += [(source, target) for source in before for target in after]
        del nodes[port]
    if twice := [edge for edge, count in Counter(edges).items() if count > 1]:
        problem = "would arrive several times, over different ports of nested graphs"
        step = "Put a Scale there, or give each way weights of its own"
        raise NetworkError(*(Finding(f"edge {a} -> {b}", problem, next_step=step) for a, b in twice))
    return RawGraph(nodes, tuple(edges), graph.metadata)


def _unfold(
    graph: RawGraph,
    prefix: str,
    nodes: dict[str, RawNode],
    edges: list[tuple[str, str]],
    ports: set[str],
    findings: list[Finding],
) -> None:
    """Add a graph's nodes and edges under a prefix; ports of nested graphs stay as nodes of their own."""
    if prefix.count(".") > _DEPTH_MAX:
        raise NetworkError(Finding(f"node {prefix[:-1]}", "graphs are nested too deeply", None, _DEPTH_MAX))
    for name, node in graph.nodes.items():
        full = prefix + name
        if node.inner is not None:
            _unfold(node.inner, full + ".", nodes, edges, ports, findings)
            continue
        if full in nodes:
            problem = "two nodes would have this name, one of them in a nested graph"
            findings.append(Finding(f"node {full}", problem, next_step="Rename one of them"))
        nodes[full] = node
        if prefix and node.kind in ("Input", "Output"):
            ports.add(full)
    for source, target in graph.edges:
        ends = [_end(graph, end, kind, findings) for end, kind in ((source, "Output"), (target, "Input"))]
        edges += [(prefix + a, prefix + b) for a in ends[0] for b in ends[1]]


def _end(graph: RawGraph, end: str, kind: str, findings: list[Finding]) -> list[str]:
    """The nodes that an end of an edge means: itself, or a nested graph's ports of a kind."""
    name, _, port = (end, "", "") if end in graph.nodes else end.rpartition(".")
    node = graph.nodes.get(name)
    if node is None or node.inner is None:
        # Some writers name the ports of ordinary nodes as well: "conv.output".
        is_port = node is not None and port in ("input", "output")
        return [name if is_port else end]
    inner = {n for n, entry in node.inner.nodes.items() if entry.kind == kind}
    if port and port not in inner and len(inner) != 1:
        findings.append(Finding(f"edge end {end}", f"graph {name} has no such {kind}", port, sorted(inner)))
    return [f"{name}.{n}" for n in sorted(inner) if not port or port == n or len(inner) == 1]
