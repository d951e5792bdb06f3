"""Nodes and graphs of events as samna has them: a source, filters, a sink; nothing flows before `start`.

As in the real library, a graph that nobody holds is gone, and several graphs may read one board.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

__all__ = ["EventFilterGraph", "Filter", "Node", "Sink", "Source", "Through", "sequential"]


class Node:
    """Passes events on to what started graphs connect it with."""

    def __init__(self, *_: Any) -> None:
        self.links: list[Link] = []

    def receive(self, events: list[Any]) -> None:
        """Take events that arrive, and pass on what comes of them."""
        self.forward(events)

    def forward(self, events: list[Any]) -> None:
        """Hand events to every node behind this one."""
        for link in self._open():
            if link.source is self and events:
                link.target.receive(list(events))

    def refresh(self) -> None:
        """Let what has become due upstream arrive."""
        for link in self._open():
            if link.target is self:
                link.source.refresh()

    def _open(self) -> list[Link]:
        self.links = [link for link in self.links if link.graph() is not None]
        return [link for link in self.links if (graph := link.graph()) is not None and graph.is_running]


@dataclass(frozen=True)
class Link:
    """Two nodes that a graph connects."""

    graph: Callable[[], EventFilterGraph | None]
    source: Node
    target: Node


class Source(Node):
    """Where a program writes events."""

    def write(self, events: list[Any]) -> None:
        """Send a list of events; without a running graph they are lost, which is an error here."""
        if not isinstance(events, list):
            raise TypeError("a list of events")
        if not self._open():
            raise RuntimeError("this node is in no running graph")
        self.forward(events)


class Sink(Node):
    """Where a program reads events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def receive(self, events: list[Any]) -> None:
        """Keep events until they are read."""
        self.events += events

    def get_events(self) -> list[Any]:
        """All events since the last call."""
        self.refresh()
        drained, self.events = self.events, []
        return drained

    def get_events_blocking(self, timeout: float = 10.0) -> list[Any]:
        """All events since the last call, at least one if it comes in time (s)."""
        end = time.monotonic() + timeout
        while not (events := self.get_events()) and time.monotonic() < end:
            time.sleep(0.01)
        return events


class Filter(Node):
    """A node in between; setters, named at construction, keep what they are given."""

    SETTERS: tuple[str, ...] = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments
        self.settings: dict[str, tuple[Any, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in type(self).SETTERS:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        return lambda *values: self.settings.update({name: values})


class Through(Node):
    """A node that hands all that arrives to a function: what a board is to a graph."""

    def __init__(self, take: Callable[[list[Any]], None] | None = None) -> None:
        super().__init__()
        self._take = take
        self.pull: Callable[[], list[Any]] | None = None

    def receive(self, events: list[Any]) -> None:
        """Give events to the board."""
        if self._take is None:
            raise RuntimeError("nothing can be written here")
        self._take(events)

    def refresh(self) -> None:
        """Send on what the board has ready by now."""
        if self.pull is not None:
            self.forward(self.pull())


class EventFilterGraph:
    """A graph of nodes; `NAMED` are filters that samna knows by a string."""

    NAMED: Mapping[str, type[Node]] = MappingProxyType({})

    def __init__(self) -> None:
        self.is_running = False
        self._nodes: list[Node] = []

    def sequential(self, nodes: Sequence[Node | str]) -> list[Node]:
        """Connect nodes one after the other; returns them, those given by name as objects."""
        made = [self._node(node) for node in nodes]
        for source, target in pairwise(made):
            link = Link(weakref.ref(self), source, target)
            source.links.append(link)
            target.links.append(link)
        self._nodes += made
        return made

    def _node(self, node: Node | str) -> Node:
        if isinstance(node, str):
            if node not in self.NAMED:
                raise RuntimeError(f"no filter is called {node}")
            return self.NAMED[node]()
        if not isinstance(node, Node):
            raise TypeError(f"{node!r} is no node")
        return node

    def start(self) -> None:
        """Let events flow."""
        self.is_running = True

    def stop(self) -> None:
        """Stop them."""
        self.is_running = False


def sequential(nodes: Iterable[Node | str]) -> EventFilterGraph:
    """A graph of nodes in a row."""
    graph = EventFilterGraph()
    graph.sequential(list(nodes))
    return graph
