"""Ways through a NIR graph: what stands before and behind a node, spikes apart from currents."""

from __future__ import annotations

from collections.abc import Iterator

from mapper.errors import Finding
from mapper.frontends.from_nir.nodes import NEURONS, path_step_of
from mapper.frontends.from_nir.raw import RawGraph
from mapper.operations import PathOperation
from mapper.references import natural_key

__all__ = ["ON_THE_WAY", "WEIGHTS", "Walk"]

WEIGHTS = ("Conv2d", "Affine", "Linear")
ON_THE_WAY = ("SumPool2d", "AvgPool2d", "Flatten", "Scale")
# Nodes without weights in a row, and ways through such nodes to one layer, that are followed.
_STEPS_MAX, _WALKS_MAX = 200, 1000


class Walk:
    """A flat graph with its edges by both ends, in natural order of the names.

    Attributes
    ----------
    findings, unsupported
        What is wrong with the graph, and what no chip of the family can run.
    layer_of
        Per neuron node, the name of the layer that it makes; filled by who makes the layers.
    """

    def __init__(self, graph: RawGraph) -> None:
        self.graph = graph
        self.findings: list[Finding] = []
        self.unsupported: list[Finding] = []
        self.layer_of: dict[str, str] = {}
        self.walked = 0
        self.after: dict[str, list[str]] = {name: [] for name in graph.nodes}
        self.before: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in sorted(
            set(graph.edges), key=lambda edge: (natural_key(edge[0]), natural_key(edge[1]))
        ):
            if source in self.after and target in self.before:
                self.after[source].append(target)
                self.before[target].append(source)

    def kind(self, name: str) -> str:
        """The type of a node."""
        return self.graph.nodes[name].kind

    def named(self, kind: str) -> list[str]:
        """Nodes of a type, in natural order."""
        return sorted((name for name in self.graph.nodes if self.kind(name) == kind), key=natural_key)

    def order(self) -> list[str]:
        """All nodes that an input reaches, each behind all that feed it but over cycles.

        A depth-first walk from the inputs, names in natural order, read from its end (Tarjan, 1976): a node
        comes before everything that it leads to.
        """
        done: dict[str, None] = {}
        seen: set[str] = set()
        for start in reversed(self.named("Input")):
            stack = [(start, iter(reversed(self.after[start])))]
            seen.add(start)
            while stack:
                name, rest = stack[-1]
                follower = next((n for n in rest if n not in seen), None)
                if follower is None:
                    done[stack.pop()[0]] = None
                else:
                    seen.add(follower)
                    stack.append((follower, iter(reversed(self.after[follower]))))
        for name in self.graph.nodes:
            if name not in done and self.kind(name) != "Output":
                self.findings.append(Finding(f"node {name}", "cannot be reached from an input"))
        return list(reversed(done))

    def carries_currents(self, name: str) -> bool:
        """Whether weights reach a node without neurons between."""
        waiting, seen = [name], set[str]()
        while waiting:
            here = waiting.pop()
            if self.kind(here) in WEIGHTS:
                return True
            if here not in seen and self.kind(here) in ON_THE_WAY:
                seen.add(here)
                waiting += self.before[here]
        return False

    def way_back(self, name: str) -> Iterator[str]:
        """Nodes on the way to a node's input, the last one first, as long as there is one way."""
        seen: set[str] = set()
        while len(self.before[name]) == 1 and name not in seen:
            seen.add(name)
            (name,) = self.before[name]
            if self.kind(name) not in ON_THE_WAY:
                return
            yield name

    def signals(self, node: str, seen: tuple[str, ...] = ()) -> list[tuple[str, tuple[PathOperation, ...]]]:
        """The signals that reach a node's input, each with its path: a walk back to neurons or inputs."""
        signals: list[tuple[str, tuple[PathOperation, ...]]] = []
        self.walked = self.walked + 1 if seen else 1
        if len(seen) > _STEPS_MAX or self.walked > _WALKS_MAX:
            problem = "more nodes between neurons and weights, or ways through them, than are followed"
            limit = f"{_STEPS_MAX} in a row, {_WALKS_MAX} to one layer"
            finding = Finding(f"node {node}", problem, limit=limit, next_step="Merge pools and scales")
            if not any(entry.problem == problem for entry in self.unsupported):
                self.unsupported.append(finding)
            return []
        for source in self.before[node]:
            kind = self.kind(source)
            if source in seen:
                self.findings.append(Finding(f"node {source}", "is part of a cycle without neurons"))
            elif kind == "Input" or kind in WEIGHTS:
                signals.append((source, ()))
            elif kind in NEURONS:
                signals += [(self.layer_of[source], ())] if source in self.layer_of else []
            elif kind == "Scale" and any(self.kind(n) in WEIGHTS for n in self.before[source]):
                # Of weights without neurons: it belongs to their layer.
                signals += [(n, ()) for n in self.before[source]]
            else:
                try:
                    step = path_step_of(kind, self.graph.nodes[source].fields)
                except ValueError as error:
                    self.unsupported.append(Finding(f"node {source} ({kind})", str(error)))
                    continue
                signals += [(s, (*path, step)) for s, path in self.signals(source, (*seen, source))]
        return signals
