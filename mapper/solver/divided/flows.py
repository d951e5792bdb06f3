"""Who reads whom, given how many copies, pieces and relays there are: one canonical answer.

A transportation problem of a handful of rows: providers have slots, takers want some of them, and not
every provider suits every taker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Taker", "share_slots"]


@dataclass(frozen=True, slots=True)
class Taker:
    """Someone who wants slots.

    Attributes
    ----------
    wants
        How many.
    providers
        Levels that suit, the preferred one first.
    """

    wants: int
    providers: tuple[int, ...]


def share_slots(slots: Mapping[int, int], takers: Sequence[Taker]) -> list[dict[int, int]] | None:
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
        share: dict[int, int] = {}
        wants, later = taker.wants, takers[n + 1 :]
        for at, provider in enumerate(taker.providers):
            count = min(wants, left.get(provider, 0))
            rest = taker.providers[at + 1 :]
            while count and not _after(left, provider, count, [Taker(wants - count, rest), *later]):
                count -= 1
            left[provider] = left.get(provider, 0) - count
            wants -= count
            if count:
                share[provider] = count
        shares.append(share)
    return shares


def _after(left: Mapping[int, int], provider: int, count: int, takers: Sequence[Taker]) -> bool:
    return _suffice({**left, provider: left[provider] - count}, takers)


def _suffice(slots: Mapping[int, int], takers: Sequence[Taker]) -> bool:
    """Whether all takers can be served: by augmenting paths, one slot at a time."""
    given: dict[tuple[int, int], int] = {}
    free = dict(slots)

    def served(taker: int, seen: set[int]) -> bool:
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

    return all(served(n, set()) for n, taker in enumerate(takers) for _ in range(taker.wants))
