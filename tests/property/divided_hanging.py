"""Who reads whom: readers and relays of one signal on what makes it and on one another, by trying everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Hanging", "Link", "hang"]


@dataclass(frozen=True)
class Link:
    """What passes a signal on, as its readers see it.

    Attributes
    ----------
    level
        Pool that its output contains.
    slots
        Readers that it may have.
    takes
        Slots that it takes itself: one a relay, as each of those that share a signal reads all of it.
    """

    level: int
    slots: int
    takes: int = 1


@dataclass(frozen=True)
class Hanging:
    """Per link, what each of its slots reads, and per consumer; 0 is what makes the signal, n link n - 1.

    Aligned relays, which read what makes the signal, have the number behind the last link.
    """

    links: tuple[tuple[int, ...], ...]
    consumers: tuple[int, ...]


@lru_cache(maxsize=200_000)
def hang(
    root: int,
    direct: frozenset[int],
    poolings: frozenset[int],
    links: tuple[Link, ...],
    consumers: tuple[tuple[int, bool], ...],
    aligned: Link | None = None,
) -> Hanging | None:
    """Who reads whom so that nobody has more readers than slots; None if that cannot be.

    Parameters
    ----------
    root
        Slots of what makes the signal; the pools they can have are `direct`.
    consumers
        (level, whether what makes the signal may serve it), ascending.
    aligned
        A set of aligned relays; it reads what makes the signal, never a relay.
    """
    sets = () if aligned is None else (aligned,)
    if root < len(sets) or any(link.level not in direct for link in sets):
        return None
    offered = root + sum(link.slots for link in (*links, *sets))
    if offered < len(consumers) + len(sets) + sum(link.takes for link in links):
        return None
    providers = (Link(1, root), *links, *sets)
    return _Search(providers, direct, poolings, len(links), consumers).grow(
        (root - len(sets), *(0 for _ in links), *(link.slots for link in sets)), {}
    )


class _Search:
    def __init__(
        self,
        providers: Sequence[Link],
        direct: frozenset[int],
        poolings: frozenset[int],
        links: int,
        consumers: tuple[tuple[int, bool], ...],
    ) -> None:
        self.providers, self.direct, self.poolings = providers, direct, poolings
        self.links, self.consumers = links, consumers
        self.dead: set[tuple[object, ...]] = set()

    def grow(self, free: tuple[int, ...], parents: dict[int, tuple[int, ...]]) -> Hanging | None:
        """Hang links one after the other: none gives before it reads, so that there is never a circle."""
        if len(parents) == self.links:
            served = self._serve(free, ())
            return (
                None if served is None else Hanging(tuple(parents[n + 1] for n in range(self.links)), served)
            )
        if (free, frozenset(parents)) in self.dead:
            return None
        tried = set()
        for number in range(1, self.links + 1):
            link = self.providers[number]
            if number in parents or link in tried:
                continue
            tried.add(link)
            for left, reads in self._readings(free, link, ()):
                after = (*left[:number], link.slots, *left[number + 1 :])
                if found := self.grow(after, {**parents, number: reads}):
                    return found
        self.dead.add((free, frozenset(parents)))
        return None

    def _readings(
        self, free: tuple[int, ...], link: Link, reads: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Every choice of providers for the slots that a link takes: (slots left, providers)."""
        if len(reads) == link.takes:
            yield free, reads
            return
        for provider in self._open(link.level, free, direct=True):
            if not reads or provider >= reads[-1]:
                yield from self._readings(_without(free, provider), link, (*reads, provider))

    def _open(self, wanted: int, free: Sequence[int], *, direct: bool) -> Iterator[int]:
        """Providers with a slot left that reach a level by one pool; of equal ones the first."""
        seen = set()
        for provider, link in enumerate(self.providers):
            is_root = provider == 0
            kind, pools = (is_root, link.level), self.direct if is_root else self.poolings
            if (
                free[provider] > 0
                and kind not in seen
                and wanted % link.level == 0
                and wanted // link.level in pools
                and (direct or not is_root)
            ):
                seen.add(kind)
                yield provider

    def _serve(self, free: tuple[int, ...], served: tuple[int, ...]) -> tuple[int, ...] | None:
        """A provider for every consumer, by trying all; states that failed once are not tried again."""
        if len(served) == len(self.consumers):
            return served
        if (free, len(served)) in self.dead:
            return None
        level, direct = self.consumers[len(served)]
        for provider in self._open(level, free, direct=direct):
            found = self._serve(_without(free, provider), (*served, provider))
            if found is not None:
                return found
        self.dead.add((free, len(served)))
        return None


def _without(free: tuple[int, ...], provider: int) -> tuple[int, ...]:
    return tuple(slots - (n == provider) for n, slots in enumerate(free))
