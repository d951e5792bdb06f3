"""Who reads whom, given how many copies, pieces and relays there are: one canonical answer.

A transportation problem of a handful of rows: providers have slots, takers want some of them, and not
every provider suits every taker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mapper.solver.divided.tables import Provider

__all__ = ["Wish", "share_slots"]


@dataclass(frozen=True, slots=True)
class Wish:
    """Slots that one taker asks for.

    Attributes
    ----------
    slots
        How many.
    providers
        Those that suit, the preferred one first.
    """

    slots: int
    providers: tuple[Provider, ...]


def share_slots(slots: Mapping[Provider, int], takers: Sequence[Wish]) -> list[dict[Provider, int]] | None:
    """Per taker, slots by provider: taker by taker as many of the preferred providers as leave enough.

    Returns
    -------
    list or None
        None if the slots do not suffice.
    """
    left = dict(slots)
    if not _suffice(left, takers):
        return None
    shares = []
    for n, taker in enumerate(takers):
        share: dict[Provider, int] = {}
        left_over, later = taker.slots, takers[n + 1 :]
        for at, provider in enumerate(taker.providers):
            count = min(left_over, left.get(provider, 0))
            rest = taker.providers[at + 1 :]
            while count and not _after(left, provider, count, [Wish(left_over - count, rest), *later]):
                count -= 1
            left[provider] = left.get(provider, 0) - count
            left_over -= count
            if count:
                share[provider] = count
        shares.append(share)
    return shares


def _after(left: Mapping[Provider, int], provider: Provider, count: int, takers: Sequence[Wish]) -> bool:
    return _suffice({**left, provider: left[provider] - count}, takers)


def _suffice(slots: Mapping[Provider, int], takers: Sequence[Wish]) -> bool:
    """Whether all takers can be served: by augmenting paths, one slot at a time."""
    given: dict[tuple[Provider, int], int] = {}
    free = dict(slots)

    def served(taker: int, seen: set[Provider]) -> bool:
        """Give a taker one more slot, moving others to where they suit as well; False where none is left."""
        for provider in takers[taker].providers:
            if provider in seen:
                continue
            seen.add(provider)
            if free.get(provider, 0) > 0:
                free[provider] -= 1
                given[provider, taker] = given.get((provider, taker), 0) + 1
                return True
            for other in range(len(takers)):
                if other != taker and given.get((provider, other), 0) and served(other, seen):
                    given[provider, other] -= 1
                    given[provider, taker] = given.get((provider, taker), 0) + 1
                    return True
        return False

    return all(served(n, set[Provider]()) for n, taker in enumerate(takers) for _ in range(taker.slots))
